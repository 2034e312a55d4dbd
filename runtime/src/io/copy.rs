//! From one stream to another, until it ends.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use annulet_driver::{AsyncRead, AsyncWrite, Endpoint, EndpointKind, Partial};

use super::splice::{again, splice_now};

/// The buffer of a copy by reads and writes.
const BUFFER_BYTES: usize = 64 * 1024;
/// The most that one splice is asked to move. A pipe holds less, mostly.
const SPLICE_BYTES: usize = 1 << 20;

/// Copies all that `reader` has until its end to `writer`, and tells how many bytes that were.
///
/// The writer is flushed, not shut down.
///
/// If one of the two is a pipe and the other a pipe, a socket or a file, the kernel moves the bytes
/// ([`splice`](super::splice())), and none is ever on its way. All else is read and written: whatever implements the
/// traits, two sockets, a stream with a time limit of its own. (Between two sockets, splicing by way of a pipe was
/// measured to cost no less.)
///
/// # Errors
///
/// What reading or writing reports. [`Partial::of`] tells from the error how many bytes the writer had taken by then.
/// If writing fails, what was read and not written is lost, 64 KiB at most; not if the kernel moves the bytes.
///
/// # Cancel safety
///
/// A dropped copy loses what it had read and not written yet, 64 KiB at most; nothing if the kernel moves the bytes.
///
/// # Panics
///
/// If awaited outside a runtime.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// let (reader, writer) = runtime::fs::pipe()?;
/// let (out, into) = runtime::fs::pipe()?;
/// writer.write_all("through two pipes").await.0?;
/// writer.close().await?;
/// assert_eq!(runtime::io::copy(&reader, &into).await?, 17);
/// assert_eq!(out.read([0; 32]).await.0?, 17);
/// # Ok(()) }) }
/// ```
pub async fn copy(mut reader: impl AsyncRead, mut writer: impl AsyncWrite) -> io::Result<u64> {
    let mut copied = 0;
    match copy_all(&mut reader, &mut writer, &mut copied).await {
        Ok(()) => {}
        Err(error) => return Err(Partial::after(copied as usize, error)),
    }
    writer.flush().await?;
    Ok(copied)
}

/// Copies from `a` to `b` and from `b` to `a`, until both have ended, and tells how many bytes went each way.
///
/// When one ends, writing to the other is [shut down](AsyncWrite::shutdown); the other direction goes on.
///
/// # Errors
///
/// The first error of either direction, which ends both.
///
/// # Cancel safety
///
/// As of [`copy`], for each direction.
///
/// # Examples
///
/// A proxy's connection:
///
/// ```no_run
/// # async fn proxy() -> std::io::Result<()> {
/// use runtime::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:8080").await?;
/// let (client, _) = listener.accept().await?;
/// let server = TcpStream::connect("127.0.0.1:80").await?;
/// let (up, down) = runtime::io::copy_bidirectional(&client, &server).await?;
/// println!("{up} bytes up, {down} down");
/// # Ok(()) }
/// ```
pub async fn copy_bidirectional<A, B>(a: &A, b: &B) -> io::Result<(u64, u64)>
where
    for<'s> &'s A: AsyncRead + AsyncWrite,
    for<'s> &'s B: AsyncRead + AsyncWrite,
{
    both(copy_and_end(a, b), copy_and_end(b, a)).await
}

async fn copy_and_end(reader: impl AsyncRead, mut writer: impl AsyncWrite) -> io::Result<u64> {
    let copied = copy(reader, &mut writer).await?;
    match writer.shutdown().await {
        // The peer is gone: it needs no end.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
        other => other?,
    }
    Ok(copied)
}

/// Both results, or the first error.
async fn both<T>(
    one: impl Future<Output = io::Result<T>>,
    other: impl Future<Output = io::Result<T>>,
) -> io::Result<(T, T)> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(cx)
        {
            first = Some(done?);
        }
        if second.is_none()
            && let Poll::Ready(done) = other.as_mut().poll(cx)
        {
            second = Some(done?);
        }
        match (first.take(), second.take()) {
            (Some(one), Some(other)) => Poll::Ready(Ok((one, other))),
            (one, other) => {
                (first, second) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

/// What a copy does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing: the reader has ended.
    End,
    /// A read and a write, as bytes are kept that only a read gives.
    ReadOnce,
    /// Reads and writes, as the kernel does not move these bytes.
    Read,
}

/// Moves bytes inside the kernel for as long as it does that.
async fn by_splice(from: Endpoint<'_>, to: Endpoint<'_>, copied: &mut u64) -> io::Result<Next> {
    loop {
        match splice_now(from, to, SPLICE_BYTES).await {
            Ok(0) => return Ok(Next::End),
            Ok(n) => *copied += n as u64,
            Err(error) => match error.kind() {
                _ if again(from, to, &error).await? => {}
                io::ErrorKind::InvalidInput if from.fd.has_kept() => return Ok(Next::ReadOnce),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => return Ok(Next::Read),
                _ => return Err(error),
            },
        }
    }
}

/// Whether splicing pays: into or out of a pipe it does. Between two others it would take a pipe in the middle, which
/// costs as much as it saves, and more than the bytes' visit to user space.
fn splices(from: Endpoint<'_>, to: Endpoint<'_>) -> bool {
    from.kind == EndpointKind::Pipe || to.kind == EndpointKind::Pipe
}

/// Reads once, and writes that. `false`: the reader has ended.
async fn by_buffer(
    reader: &mut impl AsyncRead,
    writer: &mut impl AsyncWrite,
    buf: &mut Vec<u8>,
    copied: &mut u64,
) -> io::Result<bool> {
    let mut part = std::mem::take(buf);
    part.clear();
    part.reserve(BUFFER_BYTES);
    let (result, part) = reader.read(part).await;
    match result {
        Ok(0) => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
        Err(error) => return Err(error),
    }
    let len = part.len();
    let (result, part) = writer.write_all(part).await;
    let written = match &result {
        Ok(()) => len,
        Err(error) => Partial::of(error),
    };
    *copied += written as u64;
    *buf = part;
    result.map(|()| true)
}

async fn copy_all(
    reader: &mut impl AsyncRead,
    writer: &mut impl AsyncWrite,
    copied: &mut u64,
) -> io::Result<()> {
    let mut buf = Vec::new();
    let mut next = Next::ReadOnce;
    loop {
        if next == Next::ReadOnce {
            next = match (reader.source(), writer.sink()) {
                (Some(from), Some(to)) if splices(from, to) => by_splice(from, to, copied).await?,
                _ => Next::Read,
            };
        }
        if next == Next::End || !by_buffer(reader, writer, &mut buf, copied).await? {
            return Ok(());
        }
    }
}
