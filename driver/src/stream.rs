//! Reading and writing by traits, for code that takes any stream: a socket, a pipe, a file, something wrapped around
//! one.
//!
//! Handles have these methods themselves, returning operations ([`Op`](crate::Op)) that can be limited and cancelled.
//! The traits are the common part of them.

use std::future::{Future, ready};
use std::io;

use crate::buf::{BufResult, IoBuf, IoBufExt, IoBufMut, IoVectoredBuf, IoVectoredBufMut};
use crate::fd::Fd;
use crate::partial::Partial;

/// Something to read bytes from, in order.
///
/// Implemented by handles and by references to them (`&TcpStream`), so that one can be read from and written to at a
/// time. A type that wraps a stream implements [`read`](AsyncRead::read) and has the rest.
///
/// # Cancel safety
///
/// Handles lose nothing when the future of a [`read`](AsyncRead::read) or of their own
/// [`read_exact`](AsyncRead::read_exact) is dropped: what arrives goes to the next read. What is done in several reads
/// here, [`read_to_end`](AsyncRead::read_to_end) and the provided `read_exact`, loses with its buffer what it has read.
///
/// # Examples
///
/// A stream that counts:
///
/// ```
/// use runtime::buf::{BufResult, IoBufMut};
/// use runtime::io::AsyncRead;
///
/// struct Counted<R>(R, u64);
///
/// impl<R: AsyncRead> AsyncRead for Counted<R> {
///     async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
///         let (result, buf) = self.0.read(buf).await;
///         self.1 += *result.as_ref().unwrap_or(&0) as u64;
///         (result, buf)
///     }
/// }
///
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// let (reader, writer) = runtime::fs::pipe()?;
/// writer.write_all("counted").await.0?;
/// writer.close().await?;
/// let mut reader = Counted(reader, 0);
/// let (result, all) = reader.read_to_end(Vec::new()).await;
/// assert_eq!((result?, reader.1), (7, 7));
/// assert_eq!(all, b"counted");
/// # Ok(()) }) }
/// ```
pub trait AsyncRead {
    /// Reads into the buffer's room (all of a `Vec`'s capacity) and tells how much; 0 at the end of the stream.
    fn read<B: IoBufMut>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>>;

    /// As [`read`](AsyncRead::read), into several buffers, which are filled in order.
    ///
    /// # Errors
    ///
    /// `Unsupported` where a stream can only read into one, as by default. Read into one then.
    fn read_vectored<B: IoVectoredBufMut>(
        &mut self,
        bufs: B,
    ) -> impl Future<Output = BufResult<usize, B>> {
        ready((Err(io::ErrorKind::Unsupported.into()), bufs))
    }

    /// Reads until the buffer's room is full.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends first. What was read by then is at the front of the buffer, and
    /// [`Partial::of`] tells how much that is.
    fn read_exact<B: IoBufMut>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> {
        async move {
            let (mut buf, mut done) = (buf, 0);
            while done < buf.bytes_total() {
                let (result, part) = self.read(buf.slice(done..)).await;
                buf = part.into_inner();
                match result {
                    Ok(0) => {
                        let end = io::ErrorKind::UnexpectedEof.into();
                        return (Err(Partial::after(done, end)), buf);
                    }
                    Ok(n) => done += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(Partial::after(done, error)), buf),
                }
            }
            (Ok(()), buf)
        }
    }

    /// Reads to the end of the stream, behind what is in `buf` already, which grows. Tells how much was read.
    ///
    /// # Errors
    ///
    /// Those of the reads. What was read before is in the buffer.
    fn read_to_end(&mut self, buf: Vec<u8>) -> impl Future<Output = BufResult<usize, Vec<u8>>> {
        async move {
            let mut buf = buf;
            let start = buf.len();
            loop {
                if buf.capacity() - buf.len() < ROOM {
                    buf.reserve(ROOM.max(buf.len()));
                }
                let done = buf.len();
                let (result, part) = self.read(buf.slice(done..)).await;
                buf = part.into_inner();
                match result {
                    Ok(0) => return (Ok(buf.len() - start), buf),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(error), buf),
                }
            }
        }
    }

    /// Where the kernel finds the stream's bytes, if it alone has them.
    #[doc(hidden)]
    fn source(&self) -> Option<Endpoint<'_>> {
        None
    }
}

impl<R: AsyncRead + ?Sized> AsyncRead for &mut R {
    fn read<B: IoBufMut>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
        (**self).read(buf)
    }

    fn read_vectored<B: IoVectoredBufMut>(
        &mut self,
        bufs: B,
    ) -> impl Future<Output = BufResult<usize, B>> {
        (**self).read_vectored(bufs)
    }

    fn read_exact<B: IoBufMut>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> {
        (**self).read_exact(buf)
    }

    fn read_to_end(&mut self, buf: Vec<u8>) -> impl Future<Output = BufResult<usize, Vec<u8>>> {
        (**self).read_to_end(buf)
    }

    fn source(&self) -> Option<Endpoint<'_>> {
        (**self).source()
    }
}

/// The least room a read to the end offers.
const ROOM: usize = 8 * 1024;

/// Something to write bytes to, in order.
///
/// Implemented by handles and by references to them. A type that wraps a stream implements
/// [`write`](AsyncWrite::write), [`flush`](AsyncWrite::flush) and [`shutdown`](AsyncWrite::shutdown), and has the rest.
///
/// # Cancel safety
///
/// Of a dropped write any part may have been written.
///
/// # Examples
///
/// ```
/// use runtime::io::AsyncWrite;
///
/// async fn greet(mut to: impl AsyncWrite) -> std::io::Result<()> {
///     to.write_all("hello").await.0?;
///     to.shutdown().await
/// }
///
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// let (reader, writer) = runtime::fs::pipe()?;
/// greet(&writer).await?;
/// assert_eq!(reader.read([0; 8]).await.0?, 5);
/// assert_eq!(reader.read([0; 8]).await.0?, 0);
/// # Ok(()) }) }
/// ```
pub trait AsyncWrite {
    /// Writes from the buffer's initialised bytes and tells how many of them.
    fn write<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>>;

    /// As [`write`](AsyncWrite::write), from several buffers in order.
    ///
    /// # Errors
    ///
    /// `Unsupported` where a stream can only write from one, as by default. Write from one then.
    fn write_vectored<B: IoVectoredBuf>(
        &mut self,
        bufs: B,
    ) -> impl Future<Output = BufResult<usize, B>> {
        ready((Err(io::ErrorKind::Unsupported.into()), bufs))
    }

    /// Writes all of the buffer's initialised bytes.
    ///
    /// # Errors
    ///
    /// `WriteZero` if a write takes nothing. [`Partial::of`] tells how much was written by then.
    fn write_all<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> {
        async move {
            let (mut buf, mut done) = (buf, 0);
            while done < buf.bytes_init() {
                let (result, part) = self.write(buf.slice(done..)).await;
                buf = part.into_inner();
                match result {
                    Ok(0) => {
                        let none = io::ErrorKind::WriteZero.into();
                        return (Err(Partial::after(done, none)), buf);
                    }
                    Ok(n) => done += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(Partial::after(done, error)), buf),
                }
            }
            (Ok(()), buf)
        }
    }

    /// Passes on what the stream itself holds back. Handles hold nothing back.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>>;

    /// Ends writing, after all that was written: the other side reads the end.
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>>;

    /// Where the kernel takes the stream's bytes, if they go there unchanged.
    #[doc(hidden)]
    fn sink(&self) -> Option<Endpoint<'_>> {
        None
    }
}

impl<W: AsyncWrite + ?Sized> AsyncWrite for &mut W {
    fn write<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
        (**self).write(buf)
    }

    fn write_vectored<B: IoVectoredBuf>(
        &mut self,
        bufs: B,
    ) -> impl Future<Output = BufResult<usize, B>> {
        (**self).write_vectored(bufs)
    }

    fn write_all<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> {
        (**self).write_all(buf)
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        (**self).flush()
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        (**self).shutdown()
    }

    fn sink(&self) -> Option<Endpoint<'_>> {
        (**self).sink()
    }
}

/// A stream as the kernel knows it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    pub fd: &'a Fd,
    pub kind: EndpointKind,
}

/// What kind of descriptor a stream is.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    Pipe,
    Socket,
    /// A file, at its cursor.
    File,
}

/// Implements [`AsyncRead`] for a handle and references to it, by the handle's own methods.
#[doc(hidden)]
#[macro_export]
macro_rules! async_read {
    ($handle:ty, |$this:ident| $source:expr) => {
        $crate::async_read!(@ $handle, $handle, |$this| $source);
        $crate::async_read!(@ $handle, &$handle, |$this| $source);
    };
    (@ $handle:ty, $type:ty, |$this:ident| $source:expr) => {
        impl $crate::AsyncRead for $type {
            fn read<B: $crate::IoBufMut>(
                &mut self,
                buf: B,
            ) -> impl Future<Output = $crate::BufResult<usize, B>> {
                <$handle>::read(self, buf)
            }

            fn read_vectored<B: $crate::IoVectoredBufMut>(
                &mut self,
                bufs: B,
            ) -> impl Future<Output = $crate::BufResult<usize, B>> {
                <$handle>::read_vectored(self, bufs)
            }

            fn read_exact<B: $crate::IoBufMut>(
                &mut self,
                buf: B,
            ) -> impl Future<Output = $crate::BufResult<(), B>> {
                <$handle>::read_exact(self, buf)
            }

            fn source(&self) -> Option<$crate::Endpoint<'_>> {
                let $this: &$handle = self;
                $source
            }
        }
    };
}

/// Implements [`AsyncWrite`] for a handle and references to it, by the handle's own methods.
#[doc(hidden)]
#[macro_export]
macro_rules! async_write {
    ($handle:ty, |$this:ident| $sink:expr, $shutdown:expr) => {
        $crate::async_write!(@ $handle, $handle, |$this| $sink, $shutdown);
        $crate::async_write!(@ $handle, &$handle, |$this| $sink, $shutdown);
    };
    (@ $handle:ty, $type:ty, |$this:ident| $sink:expr, $shutdown:expr) => {
        impl $crate::AsyncWrite for $type {
            fn write<B: $crate::IoBuf>(
                &mut self,
                buf: B,
            ) -> impl Future<Output = $crate::BufResult<usize, B>> {
                <$handle>::write(self, buf)
            }

            fn write_vectored<B: $crate::IoVectoredBuf>(
                &mut self,
                bufs: B,
            ) -> impl Future<Output = $crate::BufResult<usize, B>> {
                <$handle>::write_vectored(self, bufs)
            }

            fn write_all<B: $crate::IoBuf>(
                &mut self,
                buf: B,
            ) -> impl Future<Output = $crate::BufResult<(), B>> {
                <$handle>::write_all(self, buf)
            }

            fn flush(&mut self) -> impl Future<Output = std::io::Result<()>> {
                std::future::ready(Ok(()))
            }

            fn shutdown(&mut self) -> impl Future<Output = std::io::Result<()>> {
                let $this: &$handle = self;
                $shutdown
            }

            fn sink(&self) -> Option<$crate::Endpoint<'_>> {
                let $this: &$handle = self;
                $sink
            }
        }
    };
}
