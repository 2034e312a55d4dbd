//! A socket of any kind: for what has no type of its own here, and for options that must be set before it is one.
//! What it can become is in `typed`.

mod typed;

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;

use annulet_driver::op::{
    self, Control, Recv, RecvExact, RecvFrom, RecvMsg, SendAll, SendMsg, SendTo,
};
use annulet_driver::{Close, Fd, IoBuf, IoBufMut, IoVectoredBuf, IoVectoredBufMut, Op};
use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use crate::accept::Accept;
use crate::connection::Connection;
use crate::convert::descriptor;
use crate::limit::{Limits, time_limits};
use crate::options::{mind_linger, with_socket};

/// A socket of any domain, type and protocol (`socket(2)`): raw, packet, netlink, vsock, and those that have a type
/// of their own.
///
/// Addresses are [`SockAddr`]s. Options are all those of `socket2`: see [`options`](Socket::options). Sends and
/// receives follow one another in the order they were called; what a dropped receive or accept brings goes to the
/// next.
///
/// Dropping the socket closes it in the background; [`close`](Socket::close) tells when that is done.
///
/// # Examples
///
/// Several sockets share a port, and each becomes what it is used as:
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::{Domain, Socket, Type, UdpSocket};
///
/// let mut addr: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
/// let mut sockets: Vec<UdpSocket> = Vec::new();
/// for _ in 0..4 {
///     let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).await?;
///     socket.options(|socket| socket.set_reuse_port(true))?;
///     socket.bind(&addr.into()).await?;
///     let socket = socket.into_udp_socket()?;
///     addr = socket.local_addr()?;
///     sockets.push(socket);
/// }
/// # Ok(()) }) }
/// ```
pub struct Socket {
    fd: Fd,
    limits: Limits,
}

/// Makes a socket, close-on-exec.
pub(crate) fn open(domain: Domain, kind: Type, protocol: Option<Protocol>) -> Op<op::Socket> {
    let protocol = protocol.map_or(0, Protocol::into);
    Op::new(op::Socket::new(domain.into(), kind.into(), protocol))
}

impl Socket {
    /// A socket, close-on-exec. Without a protocol it has the usual one of its domain and type.
    ///
    /// Goes through the ring: `IORING_OP_SOCKET`, Linux 5.19; before that the plain system call.
    ///
    /// # Errors
    ///
    /// What `socket(2)` reports: `PermissionDenied` for raw and packet sockets without `CAP_NET_RAW`,
    /// `EAFNOSUPPORT` and `EPROTONOSUPPORT` for what the kernel does not have, `EMFILE` when out of descriptors.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves nothing open.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn new(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
        let socket = open(domain, kind, protocol).await?;
        Ok(Socket::of(Fd::new(socket)))
    }

    /// Two sockets that are connected to each other (`socketpair(2)`), close-on-exec.
    ///
    /// No opcode: a plain system call, which does not block.
    ///
    /// # Errors
    ///
    /// What `socketpair(2)` reports: `EOPNOTSUPP` for domains other than unix and TIPC.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{Domain, Socket, Type};
    ///
    /// let (one, two) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
    /// one.send("a message").await.0?;
    /// let (result, buf) = two.recv([0; 64]).await;
    /// assert_eq!(&buf[..result?], b"a message");
    /// # Ok(()) }) }
    /// ```
    pub fn pair(
        domain: Domain,
        kind: Type,
        protocol: Option<Protocol>,
    ) -> io::Result<(Socket, Socket)> {
        let (one, two) = socket2::Socket::pair(domain, kind, protocol)?;
        let socket = |socket| Socket::of(Fd::new(OwnedFd::from(socket)));
        Ok((socket(one), socket(two)))
    }

    fn of(fd: Fd) -> Socket {
        Socket {
            fd,
            limits: Limits::default(),
        }
    }

    /// Reads or sets options: all that `socket2` has. The socket stays open meanwhile.
    ///
    /// # Errors
    ///
    /// What `f` returns; `EBADF` if the socket is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{Domain, Socket, Type};
    /// let socket = Socket::new(Domain::IPV6, Type::STREAM, None).await?;
    /// socket.options(|socket| {
    ///     socket.set_only_v6(true)?;
    ///     socket.set_tcp_mss(1200)
    /// })?;
    /// # Ok(()) }) }
    /// ```
    pub fn options<R>(&self, f: impl FnOnce(&SockRef<'_>) -> io::Result<R>) -> io::Result<R> {
        let result = with_socket(&self.fd, f);
        // It may have been among them.
        let _ = mind_linger(&self.fd);
        result
    }

    /// Binds the socket to a local address.
    ///
    /// Goes through the ring: `IORING_OP_BIND`, Linux 6.11; before that the plain system call.
    ///
    /// # Errors
    ///
    /// What `bind(2)` reports: `AddrInUse`, `AddrNotAvailable`, `InvalidInput` for an address of another domain.
    ///
    /// # Cancel safety
    ///
    /// After the future is dropped it may have been done or not.
    pub fn bind(&self, addr: &SockAddr) -> Op<op::Bind> {
        Op::on(&self.fd, op::Bind::new(addr.clone()))
    }

    /// Listens, with room for `backlog` connections that nobody has accepted yet.
    ///
    /// Goes through the ring: `IORING_OP_LISTEN`, Linux 6.11; before that the plain system call.
    ///
    /// # Errors
    ///
    /// What `listen(2)` reports: `EOPNOTSUPP` for a type without connections.
    ///
    /// # Cancel safety
    ///
    /// After the future is dropped it may have been done or not.
    pub fn listen(&self, backlog: u32) -> Op<op::Listen> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        Op::on(&self.fd, op::Listen::new(backlog))
    }

    /// Connects the socket.
    ///
    /// Goes through the ring: `IORING_OP_CONNECT`, Linux 5.5.
    ///
    /// # Errors
    ///
    /// What `connect(2)` reports.
    ///
    /// # Cancel safety
    ///
    /// A connect that was dropped, or has failed, leaves the socket in no state to try again: close it. (But not
    /// one without connections: there it says only where sends go.)
    pub fn connect(&self, addr: &SockAddr) -> Op<op::Connect> {
        Op::on(&self.fd, op::Connect::new(addr.clone()))
    }

    /// Accepts a connection, and tells its peer's address; see [`TcpListener::accept`](crate::TcpListener::accept).
    ///
    /// # Errors
    ///
    /// As its; `InvalidInput` if the socket does not listen.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: a connection it brings goes to the next accept.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{Domain, SockAddr, Socket, Type};
    ///
    /// let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).await?;
    /// // No address at all asks for an abstract one of the kernel's choice.
    /// listener.bind(&SockAddr::unix("")?).await?;
    /// listener.listen(8).await?;
    ///
    /// let client = Socket::new(Domain::UNIX, Type::SEQPACKET, None).await?;
    /// client.connect(&listener.local_addr()?).await?;
    /// let (server, _peer) = listener.accept().await?;
    /// client.send("hello").await.0?;
    /// assert_eq!(server.recv([0; 64]).await.0?, 5);
    /// # Ok(()) }) }
    /// ```
    pub fn accept(&self) -> Accept<Socket> {
        Accept::on(&self.fd)
    }

    /// Receives into the buffer's room: a message, or what there is of a stream, of which 0 is the end.
    ///
    /// Goes through the ring: `IORING_OP_RECVMSG`, Linux 5.3.
    ///
    /// # Errors
    ///
    /// What `recvmsg(2)` reports. `TimedOut` past [`set_read_timeout`](Socket::set_read_timeout) or the
    /// operation's own [`timeout`](Op::timeout). [Cancelled](annulet_driver::is_cancelled) if the socket is closed
    /// meanwhile, `EBADF` if it was before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the buffer: what it receives goes to the next receive.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, usize>> {
        self.reading(RecvFrom::new(buf, 0))
    }

    /// As [`recv`](Socket::recv), and tells who sent it, if the protocol does.
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> Op<RecvFrom<B, (usize, Option<SockAddr>)>> {
        self.reading(RecvFrom::new(buf, 0))
    }

    /// As [`recv`](Socket::recv), with `MSG_*` flags as `recv(2)` has them: `MSG_PEEK`, `MSG_OOB`, `MSG_ERRQUEUE`.
    /// Receives with flags other than those of the message itself may lose it when they are dropped.
    ///
    /// Goes through the ring: `IORING_OP_RECV`, Linux 5.6.
    pub fn recv_with_flags<B: IoBufMut>(&self, buf: B, flags: i32) -> Op<Recv<B>> {
        self.reading(Recv::with_flags(buf, flags))
    }

    /// Receives from a stream until the buffer's room is full; see
    /// [`TcpStream::read_exact`](crate::TcpStream::read_exact).
    pub fn read_exact<B: IoBufMut>(&self, buf: B) -> Op<RecvExact<B>> {
        self.reading(RecvExact::new(buf))
    }

    /// As [`recv`](Socket::recv), into several buffers in order, with `control_room` bytes of room for control data
    /// ([`Control::room`]), and `MSG_*` flags as `recvmsg(2)` has them; tells all there is to tell.
    pub fn recv_msg<B: IoVectoredBufMut>(
        &self,
        bufs: B,
        control_room: usize,
        flags: i32,
    ) -> Op<RecvMsg<B>> {
        self.reading(RecvMsg::new(bufs, flags).with_control(control_room))
    }

    /// Sends the buffer's initialised bytes to the peer the socket is connected to: as a message, or what a stream
    /// takes of them.
    ///
    /// Goes through the ring: `IORING_OP_SENDMSG`, Linux 5.3. Never raises `SIGPIPE`.
    ///
    /// # Errors
    ///
    /// What `sendmsg(2)` reports: `EMSGSIZE`, `NotConnected`, `BrokenPipe`. `TimedOut` past
    /// [`set_write_timeout`](Socket::set_write_timeout) or the operation's own [`timeout`](Op::timeout).
    /// [Cancelled](annulet_driver::is_cancelled) if the socket is closed meanwhile, `EBADF` if it was before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any part of a stream's bytes, or the message, may have been sent.
    pub fn send<B: IoBuf>(&self, buf: B) -> Op<SendTo<B>> {
        self.writing(SendTo::new(buf, None, 0))
    }

    /// As [`send`](Socket::send), to `addr`.
    pub fn send_to<B: IoBuf>(&self, buf: B, addr: &SockAddr) -> Op<SendTo<B>> {
        self.writing(SendTo::new(buf, Some(addr.clone()), 0))
    }

    /// Sends all of the buffer down a stream; see [`TcpStream::write_all`](crate::TcpStream::write_all).
    pub fn write_all<B: IoBuf>(&self, buf: B) -> Op<SendAll<B>> {
        self.writing(SendAll::new(buf))
    }

    /// As [`send`](Socket::send) and [`send_to`](Socket::send_to): the bytes of several buffers, with control data
    /// and `MSG_*` flags as `sendmsg(2)` has them.
    pub fn send_msg<B: IoVectoredBuf>(
        &self,
        bufs: B,
        addr: Option<&SockAddr>,
        control: Control,
        flags: i32,
    ) -> Op<SendMsg<B>> {
        self.writing(SendMsg::new(bufs, addr.cloned(), flags).with_control(control))
    }

    /// From how many bytes on a send goes without a copy, as with
    /// [`TcpStream::set_zero_copy`](crate::TcpStream::set_zero_copy). Default: `None`, whatever the runtime was built with;
    /// what the socket becomes takes over what was set here.
    ///
    /// For TCP and UDP sockets; others copy all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{Domain, Socket, Type};
    ///
    /// let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).await?;
    /// socket.set_zero_copy(Some(4096));
    /// assert_eq!(socket.into_udp_socket()?.zero_copy(), Some(4096));
    /// # Ok(()) }) }
    /// ```
    pub fn set_zero_copy(&self, least: Option<usize>) {
        self.fd.set_zero_copy(least);
    }

    /// What [`set_zero_copy`](Socket::set_zero_copy) set, if it was not undone.
    pub fn zero_copy(&self) -> Option<usize> {
        self.fd.zero_copy()
    }

    /// Ends one direction of the connection, or both; see [`TcpStream::shutdown`](crate::TcpStream::shutdown).
    pub fn shutdown(&self, how: Shutdown) -> Op<op::Shutdown> {
        Op::on(&self.fd, op::Shutdown::new(how))
    }

    /// Ends every operation in flight, then closes the socket; see [`TcpStream::close`](crate::TcpStream::close).
    pub fn close(&self) -> Close {
        self.fd.close()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// `EBADF` if the socket is closed.
    pub fn local_addr(&self) -> io::Result<SockAddr> {
        with_socket(&self.fd, |socket| socket.local_addr())
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is none; `EBADF` if the socket is closed.
    pub fn peer_addr(&self) -> io::Result<SockAddr> {
        with_socket(&self.fd, |socket| socket.peer_addr())
    }
}

descriptor!(Socket);
time_limits!(Socket);

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("fd", &self.fd).finish()
    }
}

#[cfg(test)]
mod tests;
