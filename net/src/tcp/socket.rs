//! A TCP socket before it listens or connects.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use annulet_driver::{Fd, Op, op};
use socket2::{Domain, Protocol, TcpKeepalive, Type};

use super::{Connect, TcpListener, ip_addr, with_socket};
use crate::convert::descriptor;

/// A TCP socket that neither listens nor is connected yet: for options that must be set before.
///
/// [`TcpListener::bind`] and [`TcpStream::connect`](super::TcpStream::connect) suffice where the defaults do.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::TcpSocket;
///
/// let socket = TcpSocket::new_v4().await?;
/// socket.set_reuseport(true)?;
/// socket.bind("127.0.0.1:0".parse().unwrap()).await?;
/// let listener = socket.listen(16).await?;
///
/// let socket = TcpSocket::new_v4().await?;
/// socket.set_nodelay(true)?;
/// let stream = socket.connect(listener.local_addr()?).await?;
/// assert!(stream.nodelay()?);
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    pub(super) fd: Fd,
}

impl TcpSocket {
    /// An IPv4 socket, close-on-exec.
    ///
    /// `IORING_OP_SOCKET`, Linux 5.19; before that the plain system call.
    ///
    /// # Errors
    ///
    /// What `socket(2)` reports, `EMFILE` when out of descriptors.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves nothing open.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV4).await
    }

    /// An IPv6 socket; otherwise as [`new_v4`](TcpSocket::new_v4).
    pub async fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV6).await
    }

    pub(super) async fn for_addr(addr: SocketAddr) -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::for_address(addr)).await
    }

    async fn new(domain: Domain) -> io::Result<TcpSocket> {
        let fd = Fd::new(make(domain).await?);
        Ok(TcpSocket { fd })
    }

    /// A socket for `addr`.
    pub(super) fn open(addr: SocketAddr) -> Op<op::Socket> {
        make(Domain::for_address(addr))
    }

    /// Binds the socket to a local address; port 0 asks for a free one.
    ///
    /// `IORING_OP_BIND`, Linux 6.11; before that the plain system call.
    ///
    /// # Errors
    ///
    /// What `bind(2)` reports: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` for low ports.
    ///
    /// # Cancel safety
    ///
    /// After the future is dropped the socket may be bound or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        Op::on(&self.fd, op::Bind::new(addr.into())).await
    }

    /// Listens, with room for `backlog` connections that nobody has accepted yet. The kernel's limit is
    /// `/proc/sys/net/core/somaxconn`.
    ///
    /// `IORING_OP_LISTEN`, Linux 6.11; before that the plain system call.
    ///
    /// # Errors
    ///
    /// What `listen(2)` reports: `AddrInUse` if another listens at the address.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the socket is closed.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        Op::on(&self.fd, op::Listen::new(backlog)).await?;
        Ok(TcpListener::new(self.fd))
    }

    /// Connects to `addr`.
    ///
    /// The future takes a time limit ([`timeout`](Connect::timeout)) or a cancel token
    /// ([`cancel_with`](Connect::cancel_with)).
    ///
    /// Goes through the ring: `IORING_OP_CONNECT`, Linux 5.5.
    ///
    /// # Errors
    ///
    /// What `connect(2)` reports: `ConnectionRefused`, `HostUnreachable`, `TimedOut` (`ETIMEDOUT`, after the
    /// kernel's own patience of about two minutes).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the socket is closed.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{TcpListener, TcpSocket};
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let socket = TcpSocket::new_v4().await?;
    /// socket.bind("127.0.0.2:0".parse().unwrap()).await?;
    /// let stream = socket
    ///     .connect(listener.local_addr()?)
    ///     .timeout(Duration::from_secs(5))
    ///     .await?;
    /// assert_eq!(stream.local_addr()?.ip().to_string(), "127.0.0.2");
    /// # Ok(()) }) }
    /// ```
    pub fn connect(self, addr: SocketAddr) -> Connect {
        Connect::new(self.fd, addr.into())
    }

    /// The address it is bound to.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        with_socket(&self.fd, |socket| ip_addr(&socket.local_addr()?))
    }

    /// Whether a local address may be bound while connections of a former listener there linger
    /// (`SO_REUSEADDR`). Off by default; [`TcpListener::bind`] sets it.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    pub fn set_reuseaddr(&self, reuseaddr: bool) -> io::Result<()> {
        with_socket(&self.fd, |socket| socket.set_reuse_address(reuseaddr))
    }

    /// What [`set_reuseaddr`](TcpSocket::set_reuseaddr) sets.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` reports.
    pub fn reuseaddr(&self) -> io::Result<bool> {
        with_socket(&self.fd, |socket| socket.reuse_address())
    }

    /// Whether several sockets, all of which ask for it, may listen at one address and share its
    /// connections (`SO_REUSEPORT`). Off by default.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpSocket;
    ///
    /// let mut addr = "127.0.0.1:0".parse().unwrap();
    /// let mut listeners = Vec::new();
    /// for _ in 0..4 {
    ///     let socket = TcpSocket::new_v4().await?;
    ///     socket.set_reuseport(true)?;
    ///     socket.bind(addr).await?;
    ///     addr = socket.local_addr()?;
    ///     listeners.push(socket.listen(1024).await?);
    /// }
    /// # Ok(()) }) }
    /// ```
    pub fn set_reuseport(&self, reuseport: bool) -> io::Result<()> {
        with_socket(&self.fd, |socket| socket.set_reuse_port(reuseport))
    }

    /// What [`set_reuseport`](TcpSocket::set_reuseport) sets.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` reports.
    pub fn reuseport(&self) -> io::Result<bool> {
        with_socket(&self.fd, |socket| socket.reuse_port())
    }

    /// Whether an IPv6 socket serves IPv6 only, and not IPv4 too (`IPV6_V6ONLY`). The default is in
    /// `/proc/sys/net/ipv6/bindv6only`.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpSocket;
    ///
    /// let socket = TcpSocket::new_v6().await?;
    /// socket.set_only_v6(true)?;
    /// socket.bind("[::]:0".parse().unwrap()).await?;
    /// let listener = socket.listen(1024).await?;
    /// # drop(listener);
    /// # Ok(()) }) }
    /// ```
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        with_socket(&self.fd, |socket| socket.set_only_v6(only_v6))
    }

    /// Has the kernel give connections to the listener whose process is on the CPU they arrive at (`SO_INCOMING_CPU`),
    /// where several share a port.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    pub fn set_cpu_affinity(&self, cpu: usize) -> io::Result<()> {
        with_socket(&self.fd, |socket| socket.set_cpu_affinity(cpu))
    }

    /// Whether an address may be bound that this machine does not have (yet) (`IP_FREEBIND`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    pub fn set_freebind(&self, freebind: bool) -> io::Result<()> {
        with_socket(&self.fd, |socket| socket.set_freebind_v4(freebind))
    }

    /// As [`TcpStream::set_nodelay`](super::TcpStream::set_nodelay); accepted connections inherit it from their listener.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        with_socket(&self.fd, |socket| socket.set_tcp_nodelay(nodelay))
    }

    /// As [`TcpStream::set_linger`](super::TcpStream::set_linger); accepted connections inherit it from their listener.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        super::set_linger(&self.fd, linger)
    }

    /// What [`set_linger`](TcpSocket::set_linger) sets.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` reports.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        with_socket(&self.fd, |socket| socket.linger())
    }

    /// As [`TcpStream::set_keepalive`](super::TcpStream::set_keepalive); accepted connections inherit it from their listener.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    pub fn set_keepalive(&self, keepalive: Option<&TcpKeepalive>) -> io::Result<()> {
        super::options::set_keepalive(&self.fd, keepalive)
    }

    /// Whether the kernel probes the connection while it is idle.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` reports.
    pub fn keepalive(&self) -> io::Result<bool> {
        with_socket(&self.fd, |socket| socket.keepalive())
    }

    /// What [`set_nodelay`](TcpSocket::set_nodelay) sets.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` reports.
    pub fn nodelay(&self) -> io::Result<bool> {
        with_socket(&self.fd, |socket| socket.tcp_nodelay())
    }
}

fn make(domain: Domain) -> Op<op::Socket> {
    crate::socket::open(domain, Type::STREAM, Some(Protocol::TCP))
}

descriptor!(TcpSocket);
