//! Glommio with its defaults: a task a connection, the streams' polled reads and writes.
#![allow(unsafe_code, reason = "glommio takes a listener only by its number")]

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};
use hyper_util::rt::TokioIo;
use rustix::net::SocketFlags;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::services::{Blocks, CHUNKS_A_BLOCK, pattern};
use super::{Contender, Job, Service, hello};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "glommio",
    about: "glommio's TcpStream, with its defaults",
    services: &[
        (Service::Echo, |job| serve(job, echo)),
        (Service::Sink, |job| serve(job, sink)),
        (Service::Source, |job| serve(job, source)),
        (Service::Once, |job| serve(job, once)),
        (Service::Http, |job| serve(job, http)),
    ],
    works: works::glommio::WORKS,
};

fn serve<F>(job: &Job, handle: fn(TcpStream, usize) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = job.listen(SocketFlags::empty())?;
    // It is pinned already, with the whole process.
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make()?;
    executor.run(async {
        // SAFETY: the number is that of a listener, and nobody else's any more.
        let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            glommio::spawn_local(handle(stream, job.buffer)).detach();
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
    let mut buf = vec![0; size];
    let n = stream.read(&mut buf).await?;
    stream.write_all(&buf[..n]).await
}

async fn http(stream: TcpStream, _size: usize) -> io::Result<()> {
    hello::serve(TokioIo::new(stream.compat())).await
}
