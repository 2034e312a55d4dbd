//! Tokio on one thread (`current_thread`), with its defaults: a task a connection.

use std::io;

use hyper_util::rt::TokioIo;
use rustix::net::SocketFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::services::{Blocks, CHUNKS_A_BLOCK, pattern};
use super::{Contender, Job, Service, hello};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "tokio",
    about: "tokio's TcpStream on its current-thread runtime, a task a connection",
    services: &[
        (Service::Echo, |job| serve(job, echo)),
        (Service::Sink, |job| serve(job, sink)),
        (Service::Source, |job| serve(job, source)),
        (Service::Once, |job| serve(job, once)),
        (Service::Http, |job| serve(job, http)),
    ],
    works: works::tokio::WORKS,
};

fn serve<F>(job: &Job, handle: fn(TcpStream, usize) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = job.listen(SocketFlags::NONBLOCK)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = TcpListener::from_std(listener.into())?;
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::spawn(handle(stream, job.buffer));
            }
        })
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = vec![0; size];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n]).await?;
    }
}

async fn sink(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut blocks = Blocks::default();
    let mut buf = vec![0; size];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        if let Some(last) = blocks.push(&buf[..n]) {
            stream.write_all(&[last]).await?;
        }
    }
}

async fn source(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut asked = vec![0; size];
    loop {
        let blocks = stream.read(&mut asked).await?;
        if blocks == 0 {
            return Ok(());
        }
        for _ in 0..blocks * CHUNKS_A_BLOCK {
            stream.write_all(pattern()).await?;
        }
    }
}

async fn once(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = Vec::with_capacity(size);
    stream.read_buf(&mut buf).await?;
    stream.write_all(&buf).await
}

async fn http(stream: TcpStream, _size: usize) -> io::Result<()> {
    hello::serve(TokioIo::new(stream)).await
}
