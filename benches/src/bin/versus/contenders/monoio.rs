//! Monoio on its io_uring driver: a task a connection, buffers moved in and out.
//!
//! `monoio` has its makers' defaults: no set-up flags, 1024 entries; and the feature `sync`, without which a wake from
//! another thread panics. `monoio-tuned` has the flags that suit one thread best, which monoio leaves to its users
//! (`RuntimeBuilder::uring_builder`). HTTP goes by way of `monoio-compat`'s stream over buffers; its stream over readiness
//! (`poll-io`) would have a poll of its own run in all of monoio's servers.

use std::io;

pub(crate) use annulet_benches::executors::monoio::tuned;
use hyper_util::rt::TokioIo;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use monoio_compat::TcpStreamCompat;
use rustix::net::SocketFlags;

use super::services::{Blocks, CHUNKS_A_BLOCK, pattern};
use super::{Contender, Job, Service, hello};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "monoio",
    about: "monoio's TcpStream on its io_uring driver, with its defaults",
    services: &[
        (Service::Echo, |job| serve(plain(), job, echo)),
        (Service::Sink, |job| serve(plain(), job, sink)),
        (Service::Source, |job| serve(plain(), job, source)),
        (Service::Once, |job| serve(plain(), job, once)),
        (Service::Http, |job| serve(plain(), job, http)),
    ],
    works: works::monoio::WORKS,
};

pub(super) const TUNED: Contender = Contender {
    name: "monoio-tuned",
    about: "monoio, its ring set up with SINGLE_ISSUER and DEFER_TASKRUN",
    services: &[
        (Service::Echo, |job| serve(tuned(), job, echo)),
        (Service::Sink, |job| serve(tuned(), job, sink)),
        (Service::Source, |job| serve(tuned(), job, source)),
        (Service::Once, |job| serve(tuned(), job, once)),
        (Service::Http, |job| serve(tuned(), job, http)),
    ],
    works: works::monoio::TUNED,
};

pub(crate) fn plain() -> RuntimeBuilder<IoUringDriver> {
    RuntimeBuilder::new()
}

fn serve<F>(
    builder: RuntimeBuilder<IoUringDriver>,
    job: &Job,
    handle: fn(TcpStream, usize) -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = job.listen(SocketFlags::empty())?;
    builder.build()?.block_on(async {
        let listener = TcpListener::from_std(listener.into())?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            monoio::spawn(handle(stream, job.buffer));
        }
    })
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
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

async fn sink(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut blocks = Blocks::default();
    let mut buf = Vec::with_capacity(size);
    loop {
        let (read, filled) = stream.read(buf).await;
        if read? == 0 {
            return Ok(());
        }
        if let Some(last) = blocks.push(&filled) {
            stream.write_all(vec![last]).await.0?;
        }
        buf = filled;
    }
}

async fn source(mut stream: TcpStream, size: usize) -> io::Result<()> {
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

async fn once(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let (read, filled) = stream.read(Vec::with_capacity(size)).await;
    read?;
    stream.write_all(filled).await.0.map(drop)
}

async fn http(stream: TcpStream, size: usize) -> io::Result<()> {
    let stream = TcpStreamCompat::new_with_buffer_size(stream, size, size);
    hello::serve(TokioIo::new(stream)).await
}
