//! A socket for datagrams: sending and receiving. Several in one call are in [`segments`](super::segments), settings
//! in [`options`](super::options), conversions in [`convert`](super::convert).

use std::io;
use std::net::SocketAddr;

use annulet_driver::op::{self, Control, RecvFrom, RecvMsg, SendMsg, SendTo};
use annulet_driver::{Close, Fd, IoBuf, IoBufMut, IoVectoredBuf, IoVectoredBufMut, Op};
use socket2::{Domain, Protocol, SockAddr, Type};

use crate::ToSocketAddrs;
use crate::connection::Connection;
use crate::limit::Limits;
use crate::options::{ip_addr, with_socket};

/// `MSG_PEEK` of `recv(2)`.
const PEEK: i32 = rustix::net::RecvFlags::PEEK.bits().cast_signed();

/// A UDP socket.
///
/// All methods take `&self`: sending and receiving go on side by side, from one task or several, on one thread or
/// several. Receives follow one another in the order they were called, and so do sends. They return [`Op`], which
/// takes a time limit ([`Op::timeout`]) or a cancel token ([`Op::cancel_with`]) and can be a member of a
/// [chain](annulet_driver::chain()).
///
/// A datagram is received whole or cut to the buffer's room; the rest of it is lost, as UDP has it. A receive whose
/// future is dropped loses none: the datagram it brings goes to the next one, cut to the room the dropped one had.
///
/// Dropping the socket closes it in the background; [`close`](UdpSocket::close) tells when that is done.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::UdpSocket;
///
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
///
/// client.send_to("hello", server.local_addr()?).await.0?;
/// let (result, buf) = server.recv_from(Vec::with_capacity(1500)).await;
/// let (len, peer) = result?;
/// assert_eq!((len, &buf[..]), (5, &b"hello"[..]));
/// assert_eq!(peer, client.local_addr()?);
/// # Ok(()) }) }
/// ```
pub struct UdpSocket {
    pub(super) fd: Fd,
    pub(super) limits: Limits,
}

impl UdpSocket {
    pub(crate) fn new(fd: Fd) -> UdpSocket {
        fd.set_default_zero_copy();
        UdpSocket {
            fd,
            limits: Limits::default(),
        }
    }

    /// A socket bound to `addr`; of several addresses, to the first that can be had. Port 0 asks for a free one.
    ///
    /// For options that must be set before it is bound, `SO_REUSEPORT` for instance, see [`Socket`](crate::Socket).
    ///
    /// Goes through the ring: `IORING_OP_SOCKET`, Linux 5.19, and `IORING_OP_BIND`, Linux 6.11; before that the plain
    /// system calls. Names are looked up on the thread pool.
    ///
    /// # Errors
    ///
    /// For each address what `socket(2)` and `bind(2)` report, `AddrInUse` and `AddrNotAvailable` among it; the last
    /// error if all addresses fail. `InvalidInput` if there is no address. What the look-up of a name reports.
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
    /// use runtime::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("[::1]:0").await?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok(()) }) }
    /// ```
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        let mut last = None;
        for addr in addr.resolve().find(None).await? {
            match UdpSocket::bind_one(addr).await {
                Ok(socket) => return Ok(socket),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
    }

    async fn bind_one(addr: SocketAddr) -> io::Result<UdpSocket> {
        let domain = Domain::for_address(addr);
        let socket = crate::socket::open(domain, Type::DGRAM, Some(Protocol::UDP)).await?;
        let socket = UdpSocket::new(Fd::new(socket));
        Op::on(&socket.fd, op::Bind::new(addr.into())).await?;
        Ok(socket)
    }

    /// Fixes the peer: [`send`](UdpSocket::send) goes to it, and only its datagrams are received. Of several
    /// addresses the first to which there is a route.
    ///
    /// Goes through the ring: `IORING_OP_CONNECT`, Linux 5.5. It sends nothing and waits for nothing.
    ///
    /// # Errors
    ///
    /// For each address what `connect(2)` reports, `NetworkUnreachable` among it; the last error if all fail.
    /// `InvalidInput` if there is no address. What the look-up of a name reports.
    ///
    /// # Cancel safety
    ///
    /// After the future is dropped the socket may be connected or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::UdpSocket;
    /// let one = UdpSocket::bind("127.0.0.1:0").await?;
    /// let two = UdpSocket::bind("127.0.0.1:0").await?;
    /// one.connect(two.local_addr()?).await?;
    /// two.connect(one.local_addr()?).await?;
    ///
    /// one.send("ping").await.0?;
    /// let (result, buf) = two.recv([0; 16]).await;
    /// assert_eq!(&buf[..result?], b"ping");
    /// # Ok(()) }) }
    /// ```
    pub async fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        let mut last = None;
        for addr in addr.resolve().find(None).await? {
            match Op::on(&self.fd, op::Connect::new(addr.into())).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
    }

    /// Sends the buffer's initialised bytes as one datagram to the peer the socket is
    /// [connected](UdpSocket::connect) to. An empty buffer sends an empty datagram.
    ///
    /// Goes through the ring: `IORING_OP_SENDMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// What `sendmsg(2)` reports: `ConnectionRefused` if an earlier datagram found no one, `EMSGSIZE` for more than
    /// 65,507 bytes (IPv4), `EDESTADDRREQ` if there is no peer. `TimedOut` past
    /// [`set_write_timeout`](UdpSocket::set_write_timeout) or the operation's own [`timeout`](Op::timeout).
    /// [Cancelled](annulet_driver::is_cancelled) if the socket is closed meanwhile, `EBADF` if it was before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the datagram may have been sent or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn send<B: IoBuf>(&self, buf: B) -> Op<SendTo<B>> {
        self.writing(SendTo::new(buf, None, 0))
    }

    /// As [`send`](UdpSocket::send), to `addr`.
    ///
    /// # Errors
    ///
    /// As [`send`](UdpSocket::send); `PermissionDenied` for a broadcast address without
    /// [`set_broadcast`](UdpSocket::set_broadcast).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// let (result, buf) = socket.send_to(vec![7; 100], socket.local_addr()?).await;
    /// assert_eq!(result?, buf.len());
    /// # Ok(()) }) }
    /// ```
    pub fn send_to<B: IoBuf>(&self, buf: B, addr: SocketAddr) -> Op<SendTo<B>> {
        self.writing(SendTo::new(buf, Some(addr.into()), 0))
    }

    /// As [`send`](UdpSocket::send): the bytes of several buffers as one datagram.
    pub fn send_vectored<B: IoVectoredBuf>(&self, bufs: B) -> Op<SendMsg<B>> {
        self.writing(SendMsg::new(bufs, None, 0))
    }

    /// As [`send_to`](UdpSocket::send_to): the bytes of several buffers as one datagram.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// let here = socket.local_addr()?;
    /// socket.send_vectored_to(["head", "body"], here).await.0?;
    /// let (result, buf) = socket.recv([0; 16]).await;
    /// assert_eq!(&buf[..result?], b"headbody");
    /// # Ok(()) }) }
    /// ```
    pub fn send_vectored_to<B: IoVectoredBuf>(&self, bufs: B, addr: SocketAddr) -> Op<SendMsg<B>> {
        self.writing(SendMsg::new(bufs, Some(addr.into()), 0))
    }

    /// As [`send`](UdpSocket::send) and [`send_to`](UdpSocket::send_to), with control data: the local address to send
    /// from (`IP_PKTINFO`) or the type of service of this one datagram, for instance.
    ///
    /// # Errors
    ///
    /// As [`send`](UdpSocket::send); `InvalidInput` for control data the kernel does not know.
    pub fn send_msg<B: IoVectoredBuf>(
        &self,
        bufs: B,
        addr: Option<SocketAddr>,
        control: Control,
    ) -> Op<SendMsg<B>> {
        self.writing(SendMsg::new(bufs, addr.map(SockAddr::from), 0).with_control(control))
    }

    /// Receives a datagram into the buffer's room (all of a `Vec`'s capacity) and tells its length. What there
    /// is no room for is lost; to hear of that, use [`recv_vectored`](UdpSocket::recv_vectored).
    ///
    /// Goes through the ring: `IORING_OP_RECVMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// What `recv(2)` reports: `ConnectionRefused` if a datagram sent before found no one (connected sockets only).
    /// `TimedOut` past [`set_read_timeout`](UdpSocket::set_read_timeout) or the operation's own
    /// [`timeout`](Op::timeout). [Cancelled](annulet_driver::is_cancelled) if the socket is closed meanwhile,
    /// `EBADF` if it was before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no datagram: the one it receives goes to the next receive, with the bytes the
    /// dropped one had room for. The buffer is lost.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, usize>> {
        self.reading(RecvFrom::new(buf, 0))
    }

    /// As [`recv`](UdpSocket::recv), and tells who sent it.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](UdpSocket::recv): no datagram is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::UdpSocket;
    /// # use std::time::Duration;
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// let nothing_yet = socket.recv_from([0; 64]).timeout(Duration::from_millis(1)).await;
    /// assert_eq!(nothing_yet.0.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    ///
    /// socket.send_to("to myself", socket.local_addr()?).await.0?;
    /// let (result, buf) = socket.recv_from([0; 64]).await;
    /// let (len, peer) = result?;
    /// assert_eq!(&buf[..len], b"to myself");
    /// assert_eq!(peer, socket.local_addr()?);
    /// # Ok(()) }) }
    /// ```
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, (usize, SocketAddr)>> {
        self.reading(RecvFrom::new(buf, 0))
    }

    /// As [`recv`](UdpSocket::recv), into several buffers, which are filled in order, and tells all there is to tell:
    /// who sent it, and whether it was cut (`MSG_TRUNC` in its flags).
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](UdpSocket::recv): no datagram is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::UdpSocket;
    /// const MSG_TRUNC: i32 = 0x20;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.send_to("too long", socket.local_addr()?).await.0?;
    /// let (result, (head, body)) = socket.recv_vectored(([0; 4], [0; 3])).await;
    /// let message = result?;
    /// assert_eq!((message.len, &head, &body), (7, b"too ", b"lon"));
    /// assert!(message.flags & MSG_TRUNC != 0);
    /// # Ok(()) }) }
    /// ```
    pub fn recv_vectored<B: IoVectoredBufMut>(&self, bufs: B) -> Op<RecvMsg<B>> {
        self.recv_msg(bufs, 0)
    }

    /// As [`recv_vectored`](UdpSocket::recv_vectored), with `control_room` bytes of room for control data
    /// ([`Control::room`](op::Control::room)): the type of service
    /// ([`set_recv_tos_v4`](UdpSocket::set_recv_tos_v4)), for instance.
    pub fn recv_msg<B: IoVectoredBufMut>(&self, bufs: B, control_room: usize) -> Op<RecvMsg<B>> {
        self.reading(RecvMsg::new(bufs, 0).with_control(control_room))
    }

    /// As [`recv`](UdpSocket::recv), but leaves the datagram for the next receive (`MSG_PEEK`).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the buffer.
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, usize>> {
        self.reading(RecvFrom::new(buf, PEEK))
    }

    /// As [`recv_from`](UdpSocket::recv_from), but leaves the datagram for the next receive (`MSG_PEEK`).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the buffer.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.send_to("once", socket.local_addr()?).await.0?;
    /// assert_eq!(socket.peek_from([0; 8]).await.0?.0, 4);
    /// assert_eq!(socket.recv_from([0; 8]).await.0?.0, 4);
    /// # Ok(()) }) }
    /// ```
    pub fn peek_from<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, (usize, SocketAddr)>> {
        self.reading(RecvFrom::new(buf, PEEK))
    }

    /// Ends every operation in flight, then closes the socket.
    ///
    /// They resolve as [cancelled](annulet_driver::is_cancelled) before this does; later ones fail with `EBADF`.
    /// Closing twice, or from several tasks or threads, is fine: one closes, all resolve.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports; the socket is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// The close begins with the call. A dropped future leaves it to finish in the background.
    pub fn close(&self) -> Close {
        self.fd.close()
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    ///
    /// `EBADF` if the socket is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        with_socket(&self.fd, |socket| ip_addr(&socket.local_addr()?))
    }

    /// The address of the peer the socket is connected to.
    ///
    /// # Errors
    ///
    /// `NotConnected` if it is connected to none; `EBADF` if the socket is closed.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        with_socket(&self.fd, |socket| ip_addr(&socket.peer_addr()?))
    }
}
