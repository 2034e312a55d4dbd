//! Compio on io_uring: a task a connection, buffers moved in and out.
//!
//! `compio` has its makers' defaults: no set-up flags, 1024 entries. `compio-tuned` has the options of its
//! `ProactorBuilder` that suit one thread best. Both accept by `incoming`. HTTP goes by way of `cyper-core`, its
//! makers' stream for hyper.

use std::io;
use std::num::NonZero;
use std::pin::pin;

pub(crate) use annulet_benches::executors::compio::tuned;
use compio::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::compat::AsyncStream;
use compio::io::{AsyncRead, AsyncReadMulti, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;
use cyper_core::HyperStream;
use futures_lite::StreamExt;
use rustix::net::SocketFlags;

use super::services::{Blocks, CHUNKS_A_BLOCK, pattern};
use super::{Contender, Job, Service, hello};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "compio",
    about: "compio's TcpStream, with its defaults",
    services: &[
        (Service::Echo, |job| serve(plain(), job, echo)),
        (Service::Sink, |job| serve(plain(), job, sink)),
        (Service::Source, |job| serve(plain(), job, source)),
        (Service::Once, |job| serve(plain(), job, once)),
        (Service::Http, |job| serve(plain(), job, http)),
    ],
    works: works::compio::WORKS,
};

pub(super) const TUNED: Contender = Contender {
    name: "compio-tuned",
    about: "compio, its ring set up with SINGLE_ISSUER, DEFER_TASKRUN and TASKRUN_FLAG",
    services: &[
        (Service::Echo, |job| serve(tuned(), job, echo)),
        (Service::Sink, |job| serve(tuned(), job, sink)),
        (Service::Source, |job| serve(tuned(), job, source)),
        (Service::Once, |job| serve(tuned(), job, once)),
        (Service::Http, |job| serve(tuned(), job, http)),
    ],
    works: works::compio::TUNED,
};

pub(super) const MULTI: Contender = Contender {
    name: "compio-multi",
    about: "compio-tuned, with multishot receives into its pool, enlarged to two buffers a connection, 1,024 at least",
    services: &[
        (Service::Echo, |job| serve(pooled(job), job, echo_multi)),
        (Service::Sink, |job| serve(pooled(job), job, sink_multi)),
    ],
    works: &[],
};

pub(crate) fn plain() -> ProactorBuilder {
    ProactorBuilder::new()
}

/// The pool it has by default, of eight buffers, runs dry, and receives fail. One buffer a connection is not enough: the
/// next message may come before the task has given back that of the last.
fn pooled(job: &Job) -> ProactorBuilder {
    const MOST: usize = 1 << 15;
    let buffers = (2 * job.connections).clamp(1024, MOST) as u16;
    let mut builder = tuned();
    builder
        .buffer_pool_size(NonZero::new(buffers).unwrap_or(NonZero::<u16>::MIN))
        .buffer_pool_buffer_len(job.buffer);
    builder
}

fn serve<F>(
    proactor: ProactorBuilder,
    job: &Job,
    handle: fn(TcpStream, usize) -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = job.listen(SocketFlags::empty())?;
    let runtime = RuntimeBuilder::new().with_proactor(proactor).build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener.into())?;
        let mut incoming = listener.incoming();
        while let Some(stream) = incoming.next().await {
            let stream = stream?;
            stream.set_nodelay(true)?;
            compio::runtime::spawn(handle(stream, job.buffer)).detach();
        }
        Ok(())
    })
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = Vec::with_capacity(size);
    loop {
        let BufResult(read, filled) = stream.read(buf).await;
        if read? == 0 {
            return Ok(());
        }
        let BufResult(sent, mut filled) = stream.write_all(filled).await;
        sent?;
        filled.clear();
        buf = filled;
    }
}

async fn echo_multi(stream: TcpStream, _size: usize) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let mut received = pin!(reader.read_multi(0));
    while let Some(buf) = received.try_next().await? {
        writer.write_all(buf).await.0?;
    }
    Ok(())
}

async fn sink(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut blocks = Blocks::default();
    let mut buf = Vec::with_capacity(size);
    loop {
        let BufResult(read, mut filled) = stream.read(buf).await;
        if read? == 0 {
            return Ok(());
        }
        if let Some(last) = blocks.push(&filled) {
            stream.write_all([last]).await.0?;
        }
        filled.clear();
        buf = filled;
    }
}

async fn source(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut asked = Vec::with_capacity(size);
    loop {
        let BufResult(read, mut filled) = stream.read(asked).await;
        let blocks = read?;
        if blocks == 0 {
            return Ok(());
        }
        for _ in 0..blocks * CHUNKS_A_BLOCK {
            stream.write_all(pattern()).await.0?;
        }
        filled.clear();
        asked = filled;
    }
}

async fn sink_multi(stream: TcpStream, _size: usize) -> io::Result<()> {
    let mut blocks = Blocks::default();
    let (mut reader, mut writer) = stream.into_split();
    let mut received = pin!(reader.read_multi(0));
    while let Some(buf) = received.try_next().await? {
        if let Some(last) = blocks.push(&buf) {
            writer.write_all([last]).await.0?;
        }
    }
    Ok(())
}

async fn once(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let BufResult(read, filled) = stream.read(Vec::with_capacity(size)).await;
    read?;
    stream.write_all(filled).await.0
}

async fn http(stream: TcpStream, size: usize) -> io::Result<()> {
    let stream = AsyncStream::with_capacity(size, stream);
    hello::serve(HyperStream::new_plain(Box::pin(stream))).await
}
