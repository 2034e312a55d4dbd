//! Anonymous pipes (`pipe(7)`), named as in `std::io`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use annulet_driver::op::{Read, ReadExact, Readv, Write, WriteAll, Writev};
use annulet_driver::{
    Close, Fd, IntoStdError, IoBuf, IoBufMut, IoVectoredBuf, IoVectoredBufMut, Op,
};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

/// Makes a pipe: what is written to one end is read from the other. Both ends are close-on-exec.
///
/// It holds 64 KiB by default; a write waits while it is full.
///
/// # Errors
///
/// What `pipe2(2)` reports: `EMFILE` when out of descriptors.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// let (reader, writer) = runtime::fs::pipe()?;
/// writer.write_all("hello").await.0?;
/// let (result, buf) = reader.read(Vec::with_capacity(64)).await;
/// assert_eq!(result?, 5);
/// assert_eq!(buf, b"hello");
///
/// writer.close().await?;
/// assert_eq!(reader.read([0; 1]).await.0?, 0);
/// # Ok(()) }) }
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let (reader, writer) = (Fd::new(reader), Fd::new(writer));
    Ok((PipeReader { fd: reader }, PipeWriter { fd: writer }))
}

/// The end of a pipe that is read from; made by [`pipe()`](fn@pipe).
///
/// Reads follow one another in the order they were called. They return [`Op`], which takes a time limit
/// ([`Op::timeout`]) or a cancel token ([`Op::cancel_with`]). Dropping the end closes it in the background.
#[derive(Debug)]
pub struct PipeReader {
    fd: Fd,
}

impl PipeReader {
    /// Reads into the buffer's room (all of a `Vec`'s capacity), at least one byte: what is there, or
    /// what comes first. 0 means that every writing end is closed.
    ///
    /// Goes through the ring: `IORING_OP_READ`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// What `read(2)` reports. `InvalidInput` for a buffer without room. `TimedOut` past the operation's
    /// [`timeout`](Op::timeout). [Cancelled](annulet_driver::is_cancelled) if the end is closed meanwhile, `EBADF` if
    /// it was before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: bytes it reads go to the next read. The buffer is lost.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use std::time::Duration;
    ///
    /// let (reader, writer) = runtime::fs::pipe()?;
    /// let nothing_yet = reader.read([0; 4]).timeout(Duration::from_millis(1)).await;
    /// assert_eq!(nothing_yet.0.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    ///
    /// writer.write_all("ping").await.0?;
    /// let (result, buf) = reader.read([0; 4]).await;
    /// assert_eq!(&buf[..result?], b"ping");
    /// # Ok(()) }) }
    /// ```
    pub fn read<B: IoBufMut>(&self, buf: B) -> Op<Read<B>> {
        Op::on(&self.fd, Read::new(buf))
    }

    /// Reads until the buffer's room (all of a `Vec`'s capacity) is full. A buffer without room is full at once.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if every writing end is closed first; otherwise as [`read`](PipeReader::read). What was read
    /// by then is at the front of the buffer, and [`Partial::of`](annulet_driver::Partial::of) tells from the error
    /// how much that is. A time limit covers the whole.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: bytes it has read go to the next read. The buffer is lost.
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
    /// writer.write_all("length:").await.0?;
    /// let (result, buf) = reader.read_exact([0; 7]).await;
    /// result?;
    /// assert_eq!(&buf, b"length:");
    /// # Ok(()) }) }
    /// ```
    pub fn read_exact<B: IoBufMut>(&self, buf: B) -> Op<ReadExact<B>> {
        Op::on(&self.fd, ReadExact::new(buf))
    }

    /// As [`read`](PipeReader::read), into several buffers, which are filled in order (`IORING_OP_READV`, Linux 5.1).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// let (reader, writer) = runtime::fs::pipe()?;
    /// writer.write_vectored(["head", "body"]).await.0?;
    /// let (result, (head, body)) = reader.read_vectored(([0; 4], [0; 4])).await;
    /// assert_eq!(result?, 8);
    /// assert_eq!((&head, &body), (b"head", b"body"));
    /// # Ok(()) }) }
    /// ```
    pub fn read_vectored<B: IoVectoredBufMut>(&self, bufs: B) -> Op<Readv<B>> {
        Op::on(&self.fd, Readv::new(bufs))
    }

    /// Ends every read in flight, then closes this end.
    ///
    /// They resolve as [cancelled](annulet_driver::is_cancelled) before this does; later ones fail with `EBADF`.
    /// Closing twice, or from several tasks or threads, is fine: one closes, all resolve.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports; the end is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// The close begins with the call. A dropped future leaves it to finish in the background.
    pub fn close(&self) -> Close {
        self.fd.close()
    }

    /// Takes over a pipe's end from the standard library, blocking or not (it is made blocking, for all who
    /// share it: only so do reads wait).
    ///
    /// # Errors
    ///
    /// What `fcntl(2)` reports.
    pub fn from_std(reader: io::PipeReader) -> io::Result<PipeReader> {
        Ok(PipeReader {
            fd: adopt(reader.into())?,
        })
    }

    /// Ends every read in flight, and gives the end to the standard library, in blocking mode.
    ///
    /// # Errors
    ///
    /// If bytes arrived for reads whose futures were dropped, they and the end are in the error's
    /// [parts](IntoStdError::into_parts). `EBADF`, without parts, if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the end is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use std::process::Command;
    ///
    /// let (reader, writer) = runtime::fs::pipe()?;
    /// let stdout = writer.into_std().await?;
    /// Command::new("echo").arg("hello").stdout(stdout).spawn()?.wait()?;
    /// assert_eq!(reader.read([0; 8]).await.0?, 6);
    /// # Ok(()) }) }
    /// ```
    pub async fn into_std(self) -> Result<io::PipeReader, IntoStdError<io::PipeReader, Vec<u8>>> {
        let (fd, kept) = self.fd.reclaim().await.map_err(IntoStdError::gone)?;
        kept.hand_over(fd.into())
    }
}

/// The end of a pipe that is written to; made by [`pipe()`](fn@pipe).
///
/// Writes follow one another in the order they were called, a whole [`write_all`](PipeWriter::write_all) as one. They
/// return [`Op`], which takes a time limit ([`Op::timeout`]) or a cancel token ([`Op::cancel_with`]). Dropping the
/// end closes it in the background.
#[derive(Debug)]
pub struct PipeWriter {
    fd: Fd,
}

impl PipeWriter {
    /// Writes from the buffer's initialised bytes what there is room for, at least one byte, and tells how much
    /// that was.
    ///
    /// Goes through the ring: `IORING_OP_WRITE`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// What `write(2)` reports: `BrokenPipe` when every reading end is closed. (The kernel raises `SIGPIPE` too, which
    /// Rust programs ignore unless told otherwise.) `InvalidInput` for an empty buffer. `TimedOut` past the operation's
    /// [`timeout`](Op::timeout). [Cancelled](annulet_driver::is_cancelled) if the end is closed meanwhile, `EBADF` if
    /// it was before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any part of the buffer may have been written.
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
    /// let (result, buf) = writer.write(b"hello".to_vec()).await;
    /// assert_eq!(result?, buf.len());
    ///
    /// reader.close().await?;
    /// let (result, _) = writer.write(buf).await;
    /// assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    /// # Ok(()) }) }
    /// ```
    pub fn write<B: IoBuf>(&self, buf: B) -> Op<Write<B>> {
        Op::on(&self.fd, Write::new(buf))
    }

    /// Writes all of the buffer's initialised bytes. An empty buffer is written without any I/O.
    ///
    /// # Errors
    ///
    /// As [`write`](PipeWriter::write). [`Partial::of`](annulet_driver::Partial::of) tells from the error how much was
    /// written by then. A time limit covers the whole.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any part of the buffer may have been written.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::Partial;
    /// use std::time::Duration;
    ///
    /// let (reader, writer) = runtime::fs::pipe()?;
    /// let (result, _) = writer
    ///     .write_all(vec![0; 1 << 20])
    ///     .timeout(Duration::from_millis(1))
    ///     .await;
    /// let error = result.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// assert!(Partial::of(&error) > 0);
    /// # drop(reader);
    /// # Ok(()) }) }
    /// ```
    pub fn write_all<B: IoBuf>(&self, buf: B) -> Op<WriteAll<B>> {
        Op::on(&self.fd, WriteAll::new(buf))
    }

    /// As [`write`](PipeWriter::write), from several buffers in order (`IORING_OP_WRITEV`,
    /// Linux 5.1).
    pub fn write_vectored<B: IoVectoredBuf>(&self, bufs: B) -> Op<Writev<B>> {
        Op::on(&self.fd, Writev::new(bufs))
    }

    /// Ends every write in flight, then closes this end; otherwise as [`PipeReader::close`].
    ///
    /// # Errors
    ///
    /// What `close(2)` reports; the end is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// The close begins with the call. A dropped future leaves it to finish in the background.
    pub fn close(&self) -> Close {
        self.fd.close()
    }

    /// As [`PipeReader::from_std`].
    ///
    /// # Errors
    ///
    /// What `fcntl(2)` reports.
    pub fn from_std(writer: io::PipeWriter) -> io::Result<PipeWriter> {
        Ok(PipeWriter {
            fd: adopt(writer.into())?,
        })
    }

    /// Ends every write in flight, and gives the end to the standard library, in blocking mode.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the end is closed.
    pub async fn into_std(self) -> io::Result<io::PipeWriter> {
        let (fd, _) = self.fd.reclaim().await?;
        Ok(io::PipeWriter::from(fd))
    }
}

/// Takes over a pipe's end. The ring waits only where the descriptor itself does: on a pipe, unlike on a socket,
/// `O_NONBLOCK` makes it answer `EAGAIN`.
pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Fd> {
    let flags = fcntl_getfl(&fd)?;
    if flags.contains(OFlags::NONBLOCK) {
        fcntl_setfl(&fd, flags - OFlags::NONBLOCK)?;
    }
    Ok(Fd::new(fd))
}

macro_rules! descriptor {
    ($($end:ident),*) => {$(
        impl $end {
            /// Makes a second handle of the end (`dup(2)`). A plain system call that does not block.
            ///
            /// Closing one ends its operations and no others, and the other side hears of it when both are closed. Nothing
            /// orders what the two do: bytes that came for a dropped read are there for the next one of the same handle.
            ///
            /// # Errors
            ///
            /// `EMFILE` when out of descriptors; `EBADF` if the end is closed.
            pub fn try_clone(&self) -> io::Result<$end> {
                let fd = self.fd.with(|fd| fd.try_clone_to_owned())?;
                Ok($end { fd: Fd::new(fd) })
            }
        }

        impl AsRawFd for $end {
            /// The number. It may belong to another file once the end is closed.
            fn as_raw_fd(&self) -> RawFd {
                self.fd.as_raw_fd()
            }
        }

        impl AsFd for $end {
            /// Borrows the descriptor, which makes closing the end dearer: its number stays taken until the
            /// handle is dropped.
            ///
            /// # Panics
            ///
            /// If the end is closed.
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.fd.as_fd()
            }
        }
    )*};
}

descriptor!(PipeReader, PipeWriter);

mod capacity;
mod fifo;
mod read_write;

pub use self::fifo::{FifoOptions, mkfifo};

#[cfg(test)]
mod tests;
