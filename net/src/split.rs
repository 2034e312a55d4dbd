//! A stream in two halves, each with an owner of its own.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use annulet_driver::op::{self, Readv, Recv, RecvChunk, RecvExact, Send, SendAll, Writev};
use annulet_driver::{IoBuf, IoBufMut, IoVectoredBuf, IoVectoredBufMut, Op};

use crate::TcpStream;
use crate::chunks::Chunks;
use crate::connection::Connected;
use crate::options::with_socket;

pub(crate) fn split<S: Connected>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let stream = Arc::new(stream);
    let reader = OwnedReadHalf {
        stream: stream.clone(),
    };
    let writer = OwnedWriteHalf {
        stream,
        ends_writing: true,
    };
    (reader, writer)
}

/// The reading half of a stream; made by [`TcpStream::into_split`] and
/// [`UnixStream::into_split`](crate::UnixStream::into_split).
///
/// Dropping it leaves the connection as it is; with the write half gone too, the socket is closed.
#[derive(Debug)]
pub struct OwnedReadHalf<S = TcpStream> {
    stream: Arc<S>,
}

impl<S: Connected> OwnedReadHalf<S> {
    /// As [`TcpStream::read`].
    pub fn read<B: IoBufMut>(&self, buf: B) -> Op<Recv<B>> {
        self.stream.read(buf)
    }

    /// As [`TcpStream::read_exact`].
    pub fn read_exact<B: IoBufMut>(&self, buf: B) -> Op<RecvExact<B>> {
        self.stream.read_exact(buf)
    }

    /// As [`TcpStream::read_vectored`].
    pub fn read_vectored<B: IoVectoredBufMut>(&self, bufs: B) -> Op<Readv<B>> {
        self.stream.read_vectored(bufs)
    }

    /// As [`TcpStream::recv`].
    pub fn recv(&self) -> Op<RecvChunk> {
        self.stream.recv()
    }

    /// As [`TcpStream::chunks`].
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks::of(&*self.stream)
    }

    /// As [`TcpStream::peek`].
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Op<Recv<B>> {
        self.stream.peek(buf)
    }

    /// As [`TcpStream::local_addr`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::local_addr`].
    pub fn local_addr(&self) -> io::Result<S::Addr> {
        self.stream.local_addr()
    }

    /// As [`TcpStream::peer_addr`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::peer_addr`].
    pub fn peer_addr(&self) -> io::Result<S::Addr> {
        self.stream.peer_addr()
    }

    /// Puts the stream together again.
    ///
    /// # Errors
    ///
    /// If `writer` is another stream's half: the error gives both back.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let (reader, writer) = stream.into_split();
    /// let stream = reader.reunite(writer).expect("both are of one stream");
    /// stream.write_all("hello").await.0?;
    /// # Ok(()) }) }
    /// ```
    pub fn reunite(self, mut writer: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Arc::ptr_eq(&self.stream, &writer.stream) {
            return Err(ReuniteError(self, writer));
        }
        writer.ends_writing = false;
        drop(writer);
        Ok(Arc::into_inner(self.stream).expect("a stream has two halves, and one is gone"))
    }
}

impl<S> AsRef<S> for OwnedReadHalf<S> {
    /// The whole stream, for its settings, and to close it with both halves.
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

/// The writing half of a stream; made by [`TcpStream::into_split`] and
/// [`UnixStream::into_split`](crate::UnixStream::into_split).
///
/// Dropping it ends writing: the peer reads the end after all that was sent. A write in flight, whose future
/// outlives the half, then fails.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: Connected = TcpStream> {
    stream: Arc<S>,
    ends_writing: bool,
}

impl<S: Connected> OwnedWriteHalf<S> {
    /// As [`TcpStream::write`].
    pub fn write<B: IoBuf>(&self, buf: B) -> Op<Send<B>> {
        self.stream.write(buf)
    }

    /// As [`TcpStream::write_all`].
    pub fn write_all<B: IoBuf>(&self, buf: B) -> Op<SendAll<B>> {
        self.stream.write_all(buf)
    }

    /// As [`TcpStream::write_vectored`].
    pub fn write_vectored<B: IoVectoredBuf>(&self, bufs: B) -> Op<Writev<B>> {
        self.stream.write_vectored(bufs)
    }

    /// Ends writing, as dropping the half does, but tells how that went. As [`TcpStream::shutdown`] otherwise.
    pub fn shutdown(&self) -> Op<op::Shutdown> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// From how many bytes on a write goes without a copy, as with [`TcpStream::set_zero_copy`]; of a unix socket none does.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (peer, _) = listener.accept().await?;
    /// let (_reader, writer) = stream.into_split();
    /// writer.set_zero_copy(Some(16 * 1024));
    /// assert_eq!(writer.zero_copy(), Some(16 * 1024));
    /// writer.write_all(vec![7; 64 * 1024]).await.0?;
    /// assert_eq!(peer.read_exact(vec![0; 64 * 1024]).await.1, [7; 64 * 1024]);
    /// # Ok(()) }) }
    /// ```
    pub fn set_zero_copy(&self, least: Option<usize>) {
        self.stream.fd().set_zero_copy(least);
    }

    /// What [`set_zero_copy`](OwnedWriteHalf::set_zero_copy), the stream's own, or the runtime's builder set, if it was not
    /// undone.
    pub fn zero_copy(&self) -> Option<usize> {
        self.stream.fd().zero_copy()
    }

    /// Drops the half without ending writing: the connection stays as it is while the read half lives.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (peer, _) = listener.accept().await?;
    /// let (reader, writer) = stream.into_split();
    /// writer.forget();
    /// peer.write_all("one way").await.0?;
    /// assert_eq!(reader.read([0; 64]).await.0?, 7);
    /// # Ok(()) }) }
    /// ```
    pub fn forget(mut self) {
        self.ends_writing = false;
    }

    /// As [`TcpStream::local_addr`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::local_addr`].
    pub fn local_addr(&self) -> io::Result<S::Addr> {
        self.stream.local_addr()
    }

    /// As [`TcpStream::peer_addr`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::peer_addr`].
    pub fn peer_addr(&self) -> io::Result<S::Addr> {
        self.stream.peer_addr()
    }

    /// As [`OwnedReadHalf::reunite`].
    ///
    /// # Errors
    ///
    /// As [`OwnedReadHalf::reunite`].
    pub fn reunite(self, reader: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        reader.reunite(self)
    }
}

impl<S: Connected> AsRef<S> for OwnedWriteHalf<S> {
    /// The whole stream, for its settings, and to close it with both halves.
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: Connected> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.ends_writing {
            // Never blocks. It fails only where there is nothing left to end: the connection was reset, or the
            // stream closed.
            let _ = with_socket(self.stream.fd(), |socket| socket.shutdown(Shutdown::Write));
        }
    }
}

/// The halves of two different streams; see [`OwnedReadHalf::reunite`].
#[derive(Debug)]
pub struct ReuniteError<S: Connected = TcpStream>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: Connected> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are not of the same stream")
    }
}

impl<S: Connected + fmt::Debug> Error for ReuniteError<S> {}
