//! A connection that carries bytes.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net;
use std::path::Path;

use annulet_driver::op::{
    Readv, Recv, RecvChunk, RecvExact, RecvFrom, Send, SendAll, SendTo, Writev,
};
use annulet_driver::{
    Fd, IntoStdError, IoBuf, IoBufMut, IoVectoredBuf, IoVectoredBufMut, Kept, KeptMessage, Op,
    from_unix_addr,
};
use socket2::Type;

use super::{Passed, connect, handle, pair, passing, path_addr};
use crate::chunks::Chunks;
use crate::connect::Connect;
use crate::connection::Connection;
use crate::convert;
use crate::limit::Limits;
use crate::split::{OwnedReadHalf, OwnedWriteHalf, split};

/// A connection between two processes of one machine, or two parts of one.
///
/// All methods take `&self`, and reads and writes queue and return [`Op`] as those of a
/// [`TcpStream`](crate::TcpStream) do. Besides bytes it carries descriptors:
/// [`send_fds`](UnixStream::send_fds), [`recv_fds`](UnixStream::recv_fds).
///
/// Dropping it closes it, in the background if something is in flight; [`close`](UnixStream::close) tells when that is done.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::UnixStream;
///
/// let (one, two) = UnixStream::pair()?;
/// one.write_all("hello").await.0?;
/// let (result, buf) = two.read(Vec::with_capacity(64)).await;
/// assert_eq!(result?, 5);
/// assert_eq!(buf, b"hello");
/// # Ok(()) }) }
/// ```
pub struct UnixStream {
    fd: Fd,
    limits: Limits,
}

handle::talking_handle!(UnixStream);
handle::peer!(UnixStream);

impl UnixStream {
    /// Two that are connected to each other, without names. By the plain system call, which does not block.
    ///
    /// # Errors
    ///
    /// What `socketpair(2)` reports: `EMFILE` when out of descriptors.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, two) = pair(Type::STREAM)?;
        Ok((UnixStream::new(one), UnixStream::new(two)))
    }

    /// Connects to who listens at a path. It waits while too many others wait there.
    ///
    /// The future takes a time limit ([`timeout`](Connect::timeout)) or a cancel token
    /// ([`cancel_with`](Connect::cancel_with)).
    ///
    /// The socket is made by the plain system call. Goes through the ring: `IORING_OP_CONNECT`, Linux 5.5.
    ///
    /// # Errors
    ///
    /// What `connect(2)` reports: `NotFound` if there is nothing at the path, `ConnectionRefused` if nobody listens
    /// there, `PermissionDenied`; `EPROTOTYPE` if it listens for another kind. `InvalidInput` for a path of more than 107
    /// bytes or with a NUL byte in it.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves nothing open.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// let connect = UnixStream::connect("/nobody/is/here").timeout(Duration::from_secs(5));
    /// assert_eq!(connect.await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    /// # Ok(()) }) }
    /// ```
    pub fn connect(path: impl AsRef<Path>) -> Connect<UnixStream> {
        connect(Type::STREAM, path_addr(path.as_ref()))
    }

    /// As [`connect`](UnixStream::connect), to any address.
    pub fn connect_addr(addr: &net::SocketAddr) -> Connect<UnixStream> {
        connect(Type::STREAM, from_unix_addr(addr))
    }

    /// As [`TcpStream::read`](crate::TcpStream::read). Descriptors that came with the bytes are closed: to have them
    /// use [`recv_fds`](UnixStream::recv_fds).
    pub fn read<B: IoBufMut>(&self, buf: B) -> Op<Recv<B>> {
        Connection::read(self, buf)
    }

    /// As [`TcpStream::read_exact`](crate::TcpStream::read_exact).
    pub fn read_exact<B: IoBufMut>(&self, buf: B) -> Op<RecvExact<B>> {
        Connection::read_exact(self, buf)
    }

    /// As [`TcpStream::read_vectored`](crate::TcpStream::read_vectored).
    pub fn read_vectored<B: IoVectoredBufMut>(&self, bufs: B) -> Op<Readv<B>> {
        Connection::read_vectored(self, bufs)
    }

    /// As [`TcpStream::recv`](crate::TcpStream::recv). Descriptors that came with the bytes are closed.
    pub fn recv(&self) -> Op<RecvChunk> {
        Connection::recv(self)
    }

    /// As [`TcpStream::chunks`](crate::TcpStream::chunks). Descriptors that came with the bytes are closed.
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks::of(self)
    }

    /// As [`TcpStream::peek`](crate::TcpStream::peek).
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Op<Recv<B>> {
        Connection::peek(self, buf)
    }

    /// As [`TcpStream::write`](crate::TcpStream::write).
    pub fn write<B: IoBuf>(&self, buf: B) -> Op<Send<B>> {
        Connection::write(self, buf)
    }

    /// As [`TcpStream::write_all`](crate::TcpStream::write_all).
    pub fn write_all<B: IoBuf>(&self, buf: B) -> Op<SendAll<B>> {
        Connection::write_all(self, buf)
    }

    /// As [`TcpStream::write_vectored`](crate::TcpStream::write_vectored).
    pub fn write_vectored<B: IoVectoredBuf>(&self, bufs: B) -> Op<Writev<B>> {
        Connection::write_vectored(self, bufs)
    }

    /// Sends bytes, at least one, and descriptors with the first of them; tells how many bytes went. The receiver gets
    /// descriptors of its own for the same open files. These here are closed once the operation has ended, sent or not:
    /// pass a [`try_clone`](OwnedFd::try_clone) to keep one.
    ///
    /// Goes through the ring: `IORING_OP_SENDMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// As [`write`](UnixStream::write). `InvalidInput` for an empty buffer, and for more than 253 descriptors.
    /// `ETOOMANYREFS` if more of this user's descriptors are on their way than a process may have open.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any part of the bytes may have been sent, and the descriptors with the first. None stays
    /// open here.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::UnixStream;
    /// use std::io::Read;
    ///
    /// let (one, two) = UnixStream::pair()?;
    /// let file = std::fs::File::open("/proc/version")?;
    /// one.send_fds("a file", [file.into()]).await.0?;
    ///
    /// let (passed, buf) = two.recv_fds([0; 64], 1).await;
    /// let passed = passed?;
    /// assert_eq!(&buf[..passed.len], b"a file");
    /// let mut text = String::new();
    /// for fd in passed.fds {
    ///     std::fs::File::from(fd).read_to_string(&mut text)?;
    /// }
    /// assert!(text.starts_with("Linux"));
    /// # Ok(()) }) }
    /// ```
    pub fn send_fds<B: IoBuf>(
        &self,
        buf: B,
        fds: impl IntoIterator<Item = OwnedFd>,
    ) -> Op<SendTo<B>> {
        self.writing(passing::send(buf, fds).to_stream())
    }

    /// Receives bytes, as [`read`](UnixStream::read) does, and up to `max_fds` descriptors that came with them. It reads no
    /// further than the bytes that one [`send_fds`](UnixStream::send_fds) has sent, if there are descriptors.
    ///
    /// Goes through the ring: `IORING_OP_RECVMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// As [`read`](UnixStream::read).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: bytes and descriptors it receives go to the next read, as many as this one
    /// had room for. If that takes bytes alone, the descriptors that came with them are closed.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn recv_fds<B: IoBufMut>(&self, buf: B, max_fds: usize) -> Op<RecvFrom<B, Passed>> {
        self.reading(passing::receive(buf, max_fds).from_stream())
    }

    /// Divides the stream into a half that reads and one that writes, to be owned by two tasks; otherwise as
    /// [`TcpStream::into_split`](crate::TcpStream::into_split).
    pub fn into_split(self) -> (OwnedReadHalf<UnixStream>, OwnedWriteHalf<UnixStream>) {
        split(self)
    }

    /// Takes a stream of the standard library over, blocking or not, with its time limits.
    ///
    /// # Errors
    ///
    /// What reading these settings (`getsockopt(2)`) reports.
    pub fn from_std(stream: net::UnixStream) -> io::Result<UnixStream> {
        convert::from_std(stream)
    }

    /// Ends every operation in flight, and gives the stream to the standard library: in blocking mode, with its
    /// time limits.
    ///
    /// # Errors
    ///
    /// If bytes or descriptors arrived for reads whose futures were dropped, they and the stream are in the error's
    /// [parts](IntoStdError::into_parts), and so is the stream if an error arrived for such a read, or if its settings
    /// cannot be made. `EBADF`, without parts, if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the stream is closed.
    pub async fn into_std(
        self,
    ) -> Result<net::UnixStream, IntoStdError<net::UnixStream, Vec<KeptMessage>>> {
        convert::into_std(self.fd, Some(&self.limits), Kept::into_messages).await
    }
}
