//! From one stream to another, until it ends.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use annulet_driver::{AsyncRead, AsyncWrite, Partial};

/// The buffer of a copy by reads and writes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Copies all that `reader` has until its end to `writer`, and tells how many bytes that were.
///
/// The writer is flushed, not shut down.
///
/// # Errors
///
/// What reading or writing reports. [`Partial::of`] tells from the error how many bytes the writer had taken by then.
/// What was read and not written yet, 64 KiB at most, is lost when writing fails.
///
/// # Cancel safety
///
/// A dropped copy loses what it had read and not written yet, 64 KiB at most. To limit a copy that must not lose
/// anything, close the reader, or cancel by what the reader offers.
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
    let copied = by_buffer(&mut reader, &mut writer).await?;
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

async fn by_buffer(reader: &mut impl AsyncRead, writer: &mut impl AsyncWrite) -> io::Result<u64> {
    let mut copied = 0;
    let mut buf = Vec::with_capacity(BUFFER_BYTES);
    loop {
        buf.clear();
        let result;
        (result, buf) = reader.read(buf).await;
        match result {
            Ok(0) => return Ok(copied),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Partial::after(copied as usize, error)),
        }
        let len = buf.len();
        let result;
        (result, buf) = writer.write_all(buf).await;
        if let Err(error) = result {
            let done = copied as usize + Partial::of(&error);
            return Err(Partial::after(done, error));
        }
        copied += len as u64;
    }
}
