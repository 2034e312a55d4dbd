//! Annulet, with its defaults: a task a connection.
//!
//! `annulet` receives messages into the runtime's buffers, by `chunks`, which is for many connections, and streams, and
//! messages of more than 16 KiB, into a buffer of the connection's own, by `read`, which stays in the cache. The other way
//! round they are contenders of their own: `annulet-read`, `annulet-chunks`, `annulet-incremental`. All accept by
//! `incoming`.

use std::io;

use runtime::net::{TcpListener, TcpStream};
use runtime::{Builder, Runtime};
use rustix::net::SocketFlags;

use super::annulet_hyper::HyperStream;
use super::services::{Blocks, CHUNKS_A_BLOCK, pattern};
use super::{Contender, Job, Service, hello};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "annulet",
    about: "Annulet's TcpStream, messages by `chunks`, those of more than 16 KiB and streams by `read`, a task a connection",
    services: &[
        (Service::Echo, |job| serve_echo(runtime(job)?, job)),
        (Service::Sink, |job| serve(runtime(job)?, job, sink)),
        (Service::Source, |job| serve(runtime(job)?, job, source)),
        (Service::Once, |job| serve(runtime(job)?, job, once)),
        (Service::Http, |job| serve(runtime(job)?, job, http)),
    ],
    works: works::annulet::WORKS,
};

/// What the runtime's buffers have by default. Who expects more at once is told to read into memory of his own.
const LARGEST_CHUNK: usize = 16 * 1024;

pub(super) const READ: Contender = Contender {
    name: "annulet-read",
    about: "the same with `read`, into a buffer a connection, moved in and out",
    services: &[(Service::Echo, |job| serve(runtime(job)?, job, echo_read))],
    works: &[],
};

pub(super) const CHUNKS: Contender = Contender {
    name: "annulet-chunks",
    about: "streams received by `chunks`, too",
    services: &[(Service::Sink, |job| serve(runtime(job)?, job, sink_chunks))],
    works: &[],
};

pub(super) const INCREMENTAL: Contender = Contender {
    name: "annulet-incremental",
    about: "the same as annulet, streams too received by `chunks`, buffers of 64 KiB filled by and by",
    services: &[
        (Service::Echo, |job| serve(incremental()?, job, echo)),
        (Service::Sink, |job| serve(incremental()?, job, sink_chunks)),
    ],
    works: &[],
};

fn incremental() -> io::Result<Runtime> {
    let builder = Builder::new().incremental(true);
    builder.chunk_size(64 * 1024).build()
}

/// All have the same size of buffers; it is the only option set.
fn runtime(job: &Job) -> io::Result<Runtime> {
    Builder::new().chunk_size(job.buffer).build()
}

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
        let mut incoming = listener.incoming();
        while let Some(stream) = incoming.next().await {
            let stream = stream?;
            stream.set_nodelay(true)?;
            runtime::spawn(handle(stream, job.buffer));
        }
        Ok(())
    })
}

pub(super) fn serve_echo(runtime: Runtime, job: &Job) -> io::Result<()> {
    match job.buffer {
        ..=LARGEST_CHUNK => serve(runtime, job, echo),
        _ => serve(runtime, job, echo_read),
    }
}

async fn echo(stream: TcpStream, _size: usize) -> io::Result<()> {
    let mut chunks = stream.chunks();
    while let Some(chunk) = chunks.next().await {
        stream.write_all(chunk?).await.0?;
    }
    Ok(())
}

async fn echo_read(stream: TcpStream, size: usize) -> io::Result<()> {
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

async fn sink_chunks(stream: TcpStream, _size: usize) -> io::Result<()> {
    let mut blocks = Blocks::default();
    let mut chunks = stream.chunks();
    while let Some(chunk) = chunks.next().await {
        if let Some(last) = blocks.push(&chunk?) {
            stream.write_all([last]).await.0?;
        }
    }
    Ok(())
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

pub(super) async fn once(stream: TcpStream, _size: usize) -> io::Result<()> {
    let chunk = stream.recv().await?;
    stream.write_all(chunk).await.0
}

pub(super) async fn http(stream: TcpStream, size: usize) -> io::Result<()> {
    hello::serve(HyperStream::new(stream, size)).await
}
