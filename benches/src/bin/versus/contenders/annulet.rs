//! Annulet, with its defaults: a task a connection, buffers moved in and out.

use std::io;

use runtime::Runtime;
use runtime::net::{TcpListener, TcpStream};
use rustix::net::SocketFlags;

use super::annulet_hyper::HyperStream;
use super::services::{Blocks, CHUNKS_A_BLOCK, pattern};
use super::{Contender, Job, Service, hello};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "annulet",
    about: "Annulet's TcpStream, a task a connection",
    services: &[
        (Service::Echo, |job| serve(Runtime::new()?, job, echo)),
        (Service::Sink, |job| serve(Runtime::new()?, job, sink)),
        (Service::Source, |job| serve(Runtime::new()?, job, source)),
        (Service::Once, |job| serve(Runtime::new()?, job, once)),
        (Service::Http, |job| serve(Runtime::new()?, job, http)),
    ],
    works: works::annulet::WORKS,
};

pub(super) fn serve<F>(
    runtime: Runtime,
    job: &Job,
    handle: fn(TcpStream, usize) -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = job.listen(SocketFlags::empty())?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener.into())?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            runtime::spawn(handle(stream, job.buffer));
        }
    })
}

pub(super) async fn echo(stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = Vec::with_capacity(size);
    loop {
        let (read, filled) = stream.read(buf).await;
        if read? == 0 {
            return Ok(());
        }
        let (sent, filled) = stream.write_all(filled).await;
        sent?;
        buf = filled;
    }
}

pub(super) async fn sink(stream: TcpStream, size: usize) -> io::Result<()> {
    let mut blocks = Blocks::default();
    let mut buf = Vec::with_capacity(size);
    loop {
        let (read, filled) = stream.read(buf).await;
        if read? == 0 {
            return Ok(());
        }
        if let Some(last) = blocks.push(&filled) {
            stream.write_all([last]).await.0?;
        }
        buf = filled;
    }
}

pub(super) async fn source(stream: TcpStream, size: usize) -> io::Result<()> {
    let mut asked = Vec::with_capacity(size);
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

pub(super) async fn once(stream: TcpStream, size: usize) -> io::Result<()> {
    let (read, filled) = stream.read(Vec::with_capacity(size)).await;
    read?;
    stream.write_all(filled).await.0
}

pub(super) async fn http(stream: TcpStream, size: usize) -> io::Result<()> {
    hello::serve(HyperStream::new(stream, size)).await
}
