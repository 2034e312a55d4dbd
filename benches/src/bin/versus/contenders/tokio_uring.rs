//! Tokio-uring with its defaults (a ring of 256 entries watched by tokio's epoll): a task a connection, buffers moved in
//! and out. It has no HTTP: nothing shows its streams to hyper.

use std::io;

use rustix::net::SocketFlags;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

use super::services::{Blocks, CHUNKS_A_BLOCK, pattern};
use super::{Contender, Job, Service};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "tokio-uring",
    about: "tokio-uring's TcpStream, with its defaults",
    services: &[
        (Service::Echo, |job| serve(job, echo)),
        (Service::Sink, |job| serve(job, sink)),
        (Service::Source, |job| serve(job, source)),
        (Service::Once, |job| serve(job, once)),
    ],
    works: works::tokio_uring::WORKS,
};

fn serve<F>(job: &Job, handle: fn(TcpStream, usize) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = job.listen(SocketFlags::empty())?;
    let size = job.buffer;
    tokio_uring::start(async move {
        let listener = TcpListener::from_std(listener.into());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio_uring::spawn(handle(stream, size));
        }
    })
}

async fn echo(stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = vec![0; size];
    loop {
        let (read, filled) = stream.read(buf).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        let (sent, rest) = stream.write_all(filled.slice(..n)).await;
        sent?;
        buf = rest.into_inner();
    }
}

async fn sink(stream: TcpStream, size: usize) -> io::Result<()> {
    let mut blocks = Blocks::default();
    let mut buf = vec![0; size];
    loop {
        let (read, filled) = stream.read(buf).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        if let Some(last) = blocks.push(&filled[..n]) {
            stream.write_all(vec![last]).await.0?;
        }
        buf = filled;
    }
}

async fn source(stream: TcpStream, size: usize) -> io::Result<()> {
    let mut asked = vec![0; size];
    loop {
        let (read, filled) = stream.read(asked).await;
        let blocks = read?;
        if blocks == 0 {
            return Ok(());
        }
        for _ in 0..blocks * CHUNKS_A_BLOCK {
            stream.write_all(pattern()).await.0?;
        }
        asked = filled;
    }
}

async fn once(stream: TcpStream, size: usize) -> io::Result<()> {
    let (read, filled) = stream.read(Vec::with_capacity(size)).await;
    let n = read?;
    stream.write_all(filled.slice(..n)).await.0
}
