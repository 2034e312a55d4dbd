//! Messages, from anybody to anybody.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use annulet_driver::op::{self, RecvFrom, SendTo};
use annulet_driver::{Fd, IntoStdError, IoBuf, IoBufMut, Kept, KeptMessage, Op, from_unix_addr};
use socket2::{SockAddr, Type};

use super::{Passed, bind, handle, pair, passing, path_addr, socket};
use crate::connection::{Connection, PEEK};
use crate::convert;
use crate::limit::Limits;

/// A unix socket for messages: each is sent and received as a whole, none is lost on the way or overtakes another. A
/// send waits while the receiver has too many.
///
/// All methods take `&self`: receives follow one another in the order they were called, and so do sends. They return
/// [`Op`], which takes a time limit ([`Op::timeout`]) or a cancel token ([`Op::cancel_with`]). Dropping it closes it in the
/// background; its path stays.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::UnixDatagram;
///
/// let path = std::env::temp_dir().join(format!("annulet-doc-datagram-{}", std::process::id()));
/// let server = UnixDatagram::bind(&path).await?;
/// let client = UnixDatagram::unbound()?;
/// client.send_to("hello", &path).await.0?;
/// let (result, buf) = server.recv_from(Vec::with_capacity(64)).await;
/// let (len, peer) = result?;
/// assert_eq!((len, &buf[..]), (5, &b"hello"[..]));
/// assert!(peer.is_unnamed());
/// # std::fs::remove_file(path)?;
/// # Ok(()) }) }
/// ```
pub struct UnixDatagram {
    fd: Fd,
    limits: Limits,
}

handle::talking_handle!(UnixDatagram);

impl UnixDatagram {
    /// One without a name: it can send, and receive once it is connected. By the plain system call, which does not block.
    ///
    /// # Errors
    ///
    /// What `socket(2)` reports: `EMFILE` when out of descriptors.
    pub fn unbound() -> io::Result<UnixDatagram> {
        Ok(UnixDatagram::new(socket(Type::DGRAM)?))
    }

    /// Two that are connected to each other, without names. By the plain system call, which does not block.
    ///
    /// # Errors
    ///
    /// What `socketpair(2)` reports: `EMFILE` when out of descriptors.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, two) = pair(Type::DGRAM)?;
        Ok((UnixDatagram::new(one), UnixDatagram::new(two)))
    }

    /// One that receives what is sent to a path, which it makes. It stays when the socket is closed: remove it.
    ///
    /// Goes through the ring: `IORING_OP_BIND`, Linux 6.11; before that the plain system call.
    ///
    /// # Errors
    ///
    /// As [`UnixListener::bind`](super::UnixListener::bind).
    ///
    /// # Cancel safety
    ///
    /// After a dropped future nothing is open, but there may be something at the path.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let addr = path_addr(path.as_ref())?;
        Ok(UnixDatagram::new(bind(Type::DGRAM, addr).await?))
    }

    /// As [`bind`](UnixDatagram::bind), at any address; an unnamed one has the kernel choose an abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind`](UnixDatagram::bind).
    pub async fn bind_addr(addr: &SocketAddr) -> io::Result<UnixDatagram> {
        Ok(UnixDatagram::new(
            bind(Type::DGRAM, from_unix_addr(addr)?).await?,
        ))
    }

    /// Sets where [`send`](UnixDatagram::send) sends to, and receives from nobody else from then on.
    ///
    /// Goes through the ring: `IORING_OP_CONNECT`, Linux 5.5.
    ///
    /// # Errors
    ///
    /// What `connect(2)` reports: `NotFound`, `ConnectionRefused` if the socket of that path is closed;
    /// `PermissionDenied` if it is connected to another. `InvalidInput` for a path of more than 107 bytes or with a NUL
    /// byte in it.
    ///
    /// # Cancel safety
    ///
    /// After the future is dropped it may be connected or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_to(path_addr(path.as_ref())?).await
    }

    /// As [`connect`](UnixDatagram::connect), to any address.
    ///
    /// # Errors
    ///
    /// As [`connect`](UnixDatagram::connect).
    pub async fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        self.connect_to(from_unix_addr(addr)?).await
    }

    async fn connect_to(&self, addr: SockAddr) -> io::Result<()> {
        Op::on(&self.fd, op::Connect::new(addr)).await
    }

    /// Sends the buffer's initialised bytes, none perhaps, as one message to whom the socket is connected.
    ///
    /// Goes through the ring: `IORING_OP_SENDMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// What `send(2)` reports: `NotConnected`; `ConnectionRefused` if the peer is closed; `EMSGSIZE` for a message that is
    /// longer than the send buffer. `TimedOut` past [`set_write_timeout`](UnixDatagram::set_write_timeout) or the
    /// operation's own [`timeout`](Op::timeout). [Cancelled](annulet_driver::is_cancelled) if the socket is closed
    /// meanwhile, `EBADF` if it was before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the message may have been sent or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn send<B: IoBuf>(&self, buf: B) -> Op<SendTo<B>> {
        self.writing(SendTo::new(buf, None, 0))
    }

    /// As [`send`](UnixDatagram::send), to who is bound to a path.
    ///
    /// # Errors
    ///
    /// As [`send`](UnixDatagram::send); `NotFound`, `PermissionDenied`. `InvalidInput` for a path of more than 107 bytes
    /// or with a NUL byte in it.
    pub async fn send_to<B: IoBuf>(
        &self,
        buf: B,
        path: impl AsRef<Path>,
    ) -> annulet_driver::BufResult<usize, B> {
        match path_addr(path.as_ref()) {
            Ok(addr) => self.writing(SendTo::new(buf, Some(addr), 0)).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// As [`send_to`](UnixDatagram::send_to), to any address.
    pub async fn send_to_addr<B: IoBuf>(
        &self,
        buf: B,
        addr: &SocketAddr,
    ) -> annulet_driver::BufResult<usize, B> {
        match from_unix_addr(addr) {
            Ok(addr) => self.writing(SendTo::new(buf, Some(addr), 0)).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// Receives a message into the buffer's room (all of a `Vec`'s capacity) and tells its length. What the buffer has no
    /// room for is lost.
    ///
    /// Goes through the ring: `IORING_OP_RECVMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// What `recv(2)` reports. `TimedOut` past [`set_read_timeout`](UnixDatagram::set_read_timeout) or the operation's own
    /// [`timeout`](Op::timeout). [Cancelled](annulet_driver::is_cancelled) if the socket is closed meanwhile, `EBADF` if it
    /// was before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: a message it receives goes to the next receive, with its sender, as much of it
    /// as this one had room for.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::UnixDatagram;
    ///
    /// let (one, two) = UnixDatagram::pair()?;
    /// one.send("first").await.0?;
    /// one.send("second").await.0?;
    /// let (result, buf) = two.recv([0; 3]).await;
    /// assert_eq!((result?, &buf), (3, b"fir"));
    /// assert_eq!(two.recv([0; 64]).await.0?, 6);
    /// # Ok(()) }) }
    /// ```
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, usize>> {
        self.reading(RecvFrom::new(buf, 0))
    }

    /// As [`recv`](UnixDatagram::recv), and tells the sender, which is unnamed if it is not bound.
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, (usize, SocketAddr)>> {
        self.reading(RecvFrom::new(buf, 0))
    }

    /// As [`recv`](UnixDatagram::recv), but leaves the message for the next receive (`MSG_PEEK`).
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, usize>> {
        self.reading(RecvFrom::new(buf, PEEK))
    }

    /// As [`recv_from`](UnixDatagram::recv_from), but leaves the message for the next receive (`MSG_PEEK`).
    pub fn peek_from<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, (usize, SocketAddr)>> {
        self.reading(RecvFrom::new(buf, PEEK))
    }

    /// As [`send`](UnixDatagram::send), with descriptors; as for these, see
    /// [`UnixStream::send_fds`](super::UnixStream::send_fds).
    pub fn send_fds<B: IoBuf>(
        &self,
        buf: B,
        fds: impl IntoIterator<Item = OwnedFd>,
    ) -> Op<SendTo<B>> {
        self.writing(passing::send(buf, fds))
    }

    /// As [`recv`](UnixDatagram::recv), with up to `max_fds` descriptors that came with the message.
    pub fn recv_fds<B: IoBufMut>(&self, buf: B, max_fds: usize) -> Op<RecvFrom<B, Passed>> {
        self.reading(passing::receive(buf, max_fds))
    }

    /// Takes a socket of the standard library over, blocking or not, with its time limits.
    ///
    /// # Errors
    ///
    /// What reading these settings (`getsockopt(2)`) reports.
    pub fn from_std(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        convert::from_std(socket)
    }

    /// Ends every operation in flight, and gives the socket to the standard library: in blocking mode, with its
    /// time limits.
    ///
    /// # Errors
    ///
    /// If messages arrived for receives whose futures were dropped, they and the socket are in the error's
    /// [parts](IntoStdError::into_parts), and so is the socket if an error arrived for such a receive, or if its settings
    /// cannot be made. `EBADF`, without parts, if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the socket is closed.
    pub async fn into_std(
        self,
    ) -> Result<net::UnixDatagram, IntoStdError<net::UnixDatagram, Vec<KeptMessage>>> {
        convert::into_std(self.fd, Some(&self.limits), Kept::into_messages).await
    }
}
