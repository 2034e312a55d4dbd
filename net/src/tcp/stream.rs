//! A connection: reading, writing, ending it. Making it is in [`connect`](super::connect), its settings are in
//! [`options`](super::options), its conversions in [`convert`](super::convert).

use std::io;
use std::net::{Shutdown, SocketAddr};

use annulet_driver::op::{self, Readv, Recv, RecvExact, Send, SendAll, Writev};
use annulet_driver::{Close, Fd, IoBuf, IoBufMut, IoVectoredBuf, IoVectoredBufMut, Op};
use socket2::SockAddr;

use super::{ip_addr, mind_linger};
use crate::connection::Connection;
use crate::limit::Limits;
use crate::split::{OwnedReadHalf, OwnedWriteHalf, split};

/// A TCP connection.
///
/// All methods take `&self`: reading and writing go on side by side, from one task or several, on one thread or
/// several. Reads follow one another in the order they were called, and so do writes; a whole
/// [`write_all`](TcpStream::write_all) or [`read_exact`](TcpStream::read_exact) counts as one. Reads and writes return
/// [`Op`], which takes a time limit ([`Op::timeout`]) or a cancel token ([`Op::cancel_with`]) and can be a
/// member of a [chain](annulet_driver::chain()).
///
/// Dropping it closes it, in the background if something is in flight; [`close`](TcpStream::close) tells when that is done.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, _) = listener.accept().await?;
///
/// client.write_all("hello").await.0?;
/// let (result, buf) = server.read(Vec::with_capacity(1024)).await;
/// assert_eq!(result?, 5);
/// assert_eq!(buf, b"hello");
/// # Ok(()) }) }
/// ```
pub struct TcpStream {
    pub(super) fd: Fd,
    pub(super) limits: Limits,
}

impl TcpStream {
    pub(super) fn new(fd: Fd) -> TcpStream {
        fd.set_default_zero_copy();
        fd.set_prompt();
        TcpStream {
            fd,
            limits: Limits::default(),
        }
    }

    /// Receives into the buffer's room (all of a `Vec`'s capacity), at least one byte: what is there, or
    /// what comes first. 0 means the peer has ended its side.
    ///
    /// Goes through the ring: `IORING_OP_RECV`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// What `recv(2)` reports: `ConnectionReset`. `InvalidInput` for a buffer without room. `TimedOut` past
    /// [`set_read_timeout`](TcpStream::set_read_timeout) or the operation's own [`timeout`](Op::timeout).
    /// [Cancelled](annulet_driver::is_cancelled) if the stream is closed meanwhile, `EBADF` if it was before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: bytes it receives go to the next read. The buffer is lost.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # use std::time::Duration;
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// let nothing_yet = stream.read(vec![0; 4]).timeout(Duration::from_millis(1)).await;
    /// assert_eq!(nothing_yet.0.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    ///
    /// peer.write_all("ping").await.0?;
    /// let (result, buf) = stream.read([0; 4]).await;
    /// assert_eq!(&buf[..result?], b"ping");
    ///
    /// peer.close().await?;
    /// assert_eq!(stream.read([0; 4]).await.0?, 0);
    /// # Ok(()) }) }
    /// ```
    pub fn read<B: IoBufMut>(&self, buf: B) -> Op<Recv<B>> {
        Connection::read(self, buf)
    }

    /// Receives until the buffer's room (all of a `Vec`'s capacity) is full. A buffer without room is full at
    /// once.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the peer ends its side first; otherwise as [`read`](TcpStream::read). What was received
    /// by then is at the front of the buffer, and [`Partial::of`](annulet_driver::Partial::of) tells from the error
    /// how much that is. A time limit covers the whole.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: bytes it has received go to the next read. The buffer is lost.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// use runtime::Partial;
    ///
    /// peer.write_all("length:7").await.0?;
    /// let (result, header) = stream.read_exact([0; 7]).await;
    /// result?;
    /// assert_eq!(&header, b"length:");
    ///
    /// peer.close().await?;
    /// let (result, rest) = stream.read_exact(Vec::with_capacity(7)).await;
    /// let error = result.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    /// assert_eq!(Partial::of(&error), 1);
    /// assert_eq!(rest, b"7");
    /// # Ok(()) }) }
    /// ```
    pub fn read_exact<B: IoBufMut>(&self, buf: B) -> Op<RecvExact<B>> {
        Connection::read_exact(self, buf)
    }

    /// As [`read`](TcpStream::read), into several buffers, which are filled in order (`IORING_OP_READV`, Linux 5.1).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// peer.write_vectored(["head", "body"]).await.0?;
    /// let (result, (head, body)) = stream.read_vectored(([0; 4], Vec::with_capacity(64))).await;
    /// assert_eq!(result?, 8);
    /// assert_eq!((&head, &body[..]), (b"head", &b"body"[..]));
    /// # Ok(()) }) }
    /// ```
    pub fn read_vectored<B: IoVectoredBufMut>(&self, bufs: B) -> Op<Readv<B>> {
        Connection::read_vectored(self, bufs)
    }

    /// As [`read`](TcpStream::read), but leaves the bytes for the next read (`MSG_PEEK`).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the buffer.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// peer.write_all("x").await.0?;
    /// assert_eq!(stream.peek([0; 8]).await.0?, 1);
    /// assert_eq!(stream.read([0; 8]).await.0?, 1);
    /// # Ok(()) }) }
    /// ```
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Op<Recv<B>> {
        Connection::peek(self, buf)
    }

    /// Sends from the buffer's initialised bytes what the socket takes, at least one byte, and tells how much that
    /// was. Mostly [`write_all`](TcpStream::write_all) is what you want.
    ///
    /// Goes through the ring: `IORING_OP_SEND`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// What `send(2)` reports: `BrokenPipe`, `ConnectionReset`; `SIGPIPE` is never raised. `InvalidInput` for an
    /// empty buffer. `TimedOut` past [`set_write_timeout`](TcpStream::set_write_timeout) or the operation's own
    /// [`timeout`](Op::timeout). [Cancelled](annulet_driver::is_cancelled) if the stream is closed meanwhile,
    /// `EBADF` if it was before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any part of the buffer may have been sent.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let (result, buf) = stream.write(b"hello".to_vec()).await;
    /// assert_eq!(result?, buf.len());
    /// # Ok(()) }) }
    /// ```
    pub fn write<B: IoBuf>(&self, buf: B) -> Op<Send<B>> {
        Connection::write(self, buf)
    }

    /// Sends all of the buffer's initialised bytes. An empty buffer is sent without any I/O.
    ///
    /// # Errors
    ///
    /// As [`write`](TcpStream::write). [`Partial::of`](annulet_driver::Partial::of) tells from the error how much was
    /// sent by then. A time limit covers the whole.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any part of the buffer may have been sent.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// use runtime::Partial;
    /// use std::time::Duration;
    ///
    /// // Nobody reads at the other end, and this is more than the kernel's buffers hold.
    /// let (result, _) = stream
    ///     .write_all(vec![0; 64 << 20])
    ///     .timeout(Duration::from_millis(50))
    ///     .await;
    /// let error = result.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// assert!(Partial::of(&error) > 0);
    /// # Ok(()) }) }
    /// ```
    pub fn write_all<B: IoBuf>(&self, buf: B) -> Op<SendAll<B>> {
        Connection::write_all(self, buf)
    }

    /// As [`write`](TcpStream::write), from several buffers in order (`IORING_OP_WRITEV`, Linux 5.1).
    pub fn write_vectored<B: IoVectoredBuf>(&self, bufs: B) -> Op<Writev<B>> {
        Connection::write_vectored(self, bufs)
    }

    /// Ends one direction of the connection, or both. Reads in flight then read the end, writes fail.
    ///
    /// It does not wait for writes that have not resolved: await them first. It acts on the connection, so on handles
    /// made by `dup(2)` too. `IORING_OP_SHUTDOWN`, Linux 5.11.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection has ended; `EBADF` if the stream is closed; `Unsupported` before Linux 5.11.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, it may have been done or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// stream.shutdown(std::net::Shutdown::Write).await?;
    /// assert_eq!(peer.read([0; 1]).await.0?, 0);
    /// // The other direction goes on.
    /// peer.write_all("still here").await.0?;
    /// assert_eq!(stream.read([0; 64]).await.0?, 10);
    /// # Ok(()) }) }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> Op<op::Shutdown> {
        Connection::shutdown(self, how)
    }

    /// Ends every operation in flight, then closes the stream.
    ///
    /// They resolve as [cancelled](annulet_driver::is_cancelled) before this does; later ones fail with `EBADF`.
    /// Closing twice, or from several tasks or threads, is fine: one closes, all resolve.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports; the stream is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// The close begins with the call. A dropped future leaves it to finish in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// stream.close().await?;
    /// assert_eq!(peer.read([0; 1]).await.0?, 0);
    /// assert!(stream.read([0; 1]).await.0.is_err());
    /// # Ok(()) }) }
    /// ```
    pub fn close(&self) -> Close {
        self.fd.close()
    }

    /// Divides the stream into a half that reads and one that writes, to be owned by two tasks.
    ///
    /// Dropping the write half ends writing, so that the peer reads the end; the socket is closed when both
    /// halves are dropped. [`OwnedReadHalf::reunite`] undoes it. Without the need for two owners, just use the stream
    /// by reference.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// let (reader, writer) = stream.into_split();
    /// let writing = runtime::spawn(async move { writer.write_all("hello").await.0 });
    ///
    /// assert_eq!(peer.read_exact([0; 5]).await.1, *b"hello");
    /// peer.write_all("you").await.0?;
    /// assert_eq!(reader.read_exact([0; 3]).await.1, *b"you");
    /// writing.await.unwrap()?;
    /// // The write half is gone with its task.
    /// assert_eq!(peer.read([0; 1]).await.0?, 0);
    /// # Ok(()) }) }
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split(self)
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// `EBADF` if the stream is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Connection::local_addr(self)
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection has been reset; `EBADF` if the stream is closed.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Connection::peer_addr(self)
    }
}

impl Connection for TcpStream {
    type Addr = SocketAddr;

    /// What it does at its close it may have from the listener: asked only where that may be out of the ordinary.
    fn adopt(socket: Fd, may_linger: bool) -> TcpStream {
        if may_linger {
            // Sockets can be asked, unless they are closed; and that leaves nothing to mind.
            let _ = mind_linger(&socket);
        }
        TcpStream::new(socket)
    }

    fn addr(addr: &SockAddr) -> io::Result<SocketAddr> {
        ip_addr(addr)
    }

    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }
}
