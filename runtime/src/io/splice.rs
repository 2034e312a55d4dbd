//! Bytes moved by the kernel from one descriptor to another, one of which is a pipe.

use std::io;

use annulet_driver::op::{Events, PollAdd, Splice, Tee};
use annulet_driver::{AsyncRead, AsyncWrite, Endpoint, EndpointKind, Op};
use rustix::pipe::SpliceFlags;

/// Not to wait for a pipe. (For sockets there is no such flag.)
const DONT_WAIT: u32 = SpliceFlags::NONBLOCK.bits();

/// Moves at most `len` bytes from `from` to `to` inside the kernel, and tells how many; 0 at the end of `from`.
///
/// Both have to be descriptors, one of them a pipe. A file is read, or written, where its cursor is.
///
/// Goes through the ring: `IORING_OP_SPLICE`, Linux 5.7, once `IORING_OP_POLL_ADD` has said that there is something to
/// move and room for it: what waits holds up none of the kernel's workers.
///
/// # Errors
///
/// What `splice(2)` reports: `BrokenPipe`. `InvalidInput` if neither is a pipe, for a `len` of 0, for a file opened to be
/// appended to, and if bytes that came for a dropped read of `from` are still to be read. `Unsupported` if one is no
/// descriptor, or has a time limit of its own for each read or write; or by older kernels.
///
/// # Cancel safety
///
/// Dropping the future loses nothing: what has not gone is still in `from`. It does not tell how much has gone.
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
/// writer.write_all("0123456789").await.0?;
/// assert_eq!(runtime::io::splice(&reader, &into, 4).await?, 4);
/// let (result, buf) = out.read(Vec::with_capacity(16)).await;
/// result?;
/// assert_eq!(buf, b"0123");
/// # Ok(()) }) }
/// ```
pub async fn splice(from: &impl AsyncRead, to: &impl AsyncWrite, len: usize) -> io::Result<usize> {
    let (from, to) = ends(from, to)?;
    loop {
        match splice_now(from, to, len).await {
            Err(error) if again(from, to, &error).await? => {}
            other => return other,
        }
    }
}

/// Duplicates at most `len` bytes of what is in the pipe `from` into the pipe `to`, where `from` keeps them, and tells
/// how many; 0 if every writing end of `from` is closed.
///
/// Goes through the ring: `IORING_OP_TEE`, Linux 5.8; it waits as [`splice`] does.
///
/// # Errors
///
/// As of [`splice`]; `InvalidInput` if one of them is no pipe.
///
/// # Cancel safety
///
/// If the future is dropped, the bytes may be in `to` or not.
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
/// writer.write_all("twice").await.0?;
/// assert_eq!(runtime::io::tee(&reader, &into, 1024).await?, 5);
/// assert_eq!(reader.read([0; 8]).await.0?, 5);
/// assert_eq!(out.read([0; 8]).await.0?, 5);
/// # Ok(()) }) }
/// ```
pub async fn tee(from: &impl AsyncRead, to: &impl AsyncWrite, len: usize) -> io::Result<usize> {
    let (from, to) = ends(from, to)?;
    loop {
        let tee = Tee::new(from.fd, len).with_flags(DONT_WAIT);
        match Op::on(to.fd, tee).await {
            Err(error) if again(from, to, &error).await? => {}
            other => return other,
        }
    }
}

fn ends<'a>(
    from: &'a impl AsyncRead,
    to: &'a impl AsyncWrite,
) -> io::Result<(Endpoint<'a>, Endpoint<'a>)> {
    let ends = from.source().zip(to.sink());
    ends.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel cannot move these bytes by itself: use copy",
        )
    })
}

/// Moves what is there, without waiting for it. A socket is waited for that has no room at all.
pub(super) async fn splice_now(
    from: Endpoint<'_>,
    to: Endpoint<'_>,
    len: usize,
) -> io::Result<usize> {
    if to.kind == EndpointKind::Socket {
        Op::on(to.fd, PollAdd::new(Events::WRITE)).await?;
    }
    let mut splice = Splice::new(from.fd, len).with_flags(DONT_WAIT);
    if from.kind == EndpointKind::File {
        splice = splice.from_cursor();
    }
    if to.kind == EndpointKind::File {
        splice = splice.to_cursor();
    }
    Op::on(to.fd, splice).await
}

/// Whether `error` only says that there was nothing to move or no room: then both have been waited for.
pub(super) async fn again(
    from: Endpoint<'_>,
    to: Endpoint<'_>,
    error: &io::Error,
) -> io::Result<bool> {
    match error.kind() {
        io::ErrorKind::Interrupted => return Ok(true),
        io::ErrorKind::WouldBlock => {}
        _ => return Ok(false),
    }
    // A file is always ready.
    if from.kind != EndpointKind::File {
        Op::on(from.fd, PollAdd::new(Events::READ)).await?;
    }
    if to.kind != EndpointKind::File {
        Op::on(to.fd, PollAdd::new(Events::WRITE)).await?;
    }
    Ok(true)
}
