//! A stream's settings: time limits, which live in the handle, and socket options, which live in the kernel.

use std::io;
use std::time::Duration;

use annulet_driver::Fd;
use socket2::TcpKeepalive;

use super::{TcpStream, with_socket};

pub(super) fn set_keepalive(fd: &Fd, keepalive: Option<&TcpKeepalive>) -> io::Result<()> {
    with_socket(fd, |socket| match keepalive {
        Some(keepalive) => socket.set_tcp_keepalive(keepalive),
        None => socket.set_keepalive(false),
    })
}

impl TcpStream {
    /// Limits how long each read may take that is called from now on; `None`, the default, is no limit.
    ///
    /// A read that takes longer fails with [`TimedOut`](io::ErrorKind::TimedOut) and loses nothing. An operation's
    /// own [`timeout`](annulet_driver::Op::timeout) goes before it. The limit is this handle's: the kernel does not
    /// know it, and handles made by `dup(2)` do not share it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a limit of zero.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # use std::time::Duration;
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    /// let (result, _) = stream.read([0; 1]).await;
    /// assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// # Ok(()) }) }
    /// ```
    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.limits.read.store(limit)
    }

    /// Limits how long each write may take that is called from now on, a [`write_all`](TcpStream::write_all) as a
    /// whole; otherwise as [`set_read_timeout`](TcpStream::set_read_timeout).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a limit of zero.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// use std::time::Duration;
    ///
    /// stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    /// assert_eq!(stream.write_timeout()?, Some(Duration::from_secs(30)));
    /// assert!(stream.set_write_timeout(Some(Duration::ZERO)).is_err());
    /// # Ok(()) }) }
    /// ```
    pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.limits.write.store(limit)
    }

    /// What [`set_read_timeout`](TcpStream::set_read_timeout) set.
    ///
    /// # Errors
    ///
    /// None; the result is as in `std`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.limits.read.load())
    }

    /// What [`set_write_timeout`](TcpStream::set_write_timeout) set.
    ///
    /// # Errors
    ///
    /// None; the result is as in `std`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.limits.write.load())
    }

    /// From how many bytes on a write goes without a copy (`IORING_OP_SEND_ZC`, Linux 6.2); `None`: none does. Default:
    /// as the runtime was [built](https://docs.rs/annulet/latest/runtime/struct.Builder.html#method.zero_copy), which
    /// is `None` by itself.
    ///
    /// Such a write resolves, and gives its buffer back, when the peer has acknowledged the bytes. Neither a time limit
    /// nor a cancel shortens that once they are in the socket's queue; [`close`](TcpStream::close) does not wait for it.
    /// The next write need not either. A dropped one keeps its buffer until then. Writes in chains always copy.
    ///
    /// It is undone when the ring says of a write that the bytes were copied after all, as the kernel does on the loopback
    /// device, and the ring in user space always; or that it cannot do without.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// stream.set_zero_copy(Some(16 * 1024));
    /// stream.write_all(vec![7; 64 * 1024]).await.0?;
    /// assert_eq!(peer.read_exact(vec![0; 64 * 1024]).await.1, [7; 64 * 1024]);
    /// # Ok(()) }) }
    /// ```
    pub fn set_zero_copy(&self, least: Option<usize>) {
        self.fd.set_zero_copy(least);
    }

    /// What [`set_zero_copy`](TcpStream::set_zero_copy) set, or the runtime's builder, if it was not undone.
    pub fn zero_copy(&self) -> Option<usize> {
        self.fd.zero_copy()
    }

    /// Whether small writes go out at once (`TCP_NODELAY`), instead of waiting for the peer's word on earlier ones
    /// (Nagle's algorithm). Off by default.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports; `EBADF` if the stream is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # Ok(()) }) }
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        with_socket(&self.fd, |socket| socket.set_tcp_nodelay(nodelay))
    }

    /// What [`set_nodelay`](TcpStream::set_nodelay) sets.
    ///
    /// # Errors
    ///
    /// `EBADF` if the stream is closed.
    pub fn nodelay(&self) -> io::Result<bool> {
        with_socket(&self.fd, |socket| socket.tcp_nodelay())
    }

    /// Has the kernel probe an idle connection (`SO_KEEPALIVE`), and end it with `TimedOut` when the peer does not
    /// answer; `None`, the default, does not.
    ///
    /// What `keepalive` leaves open is as the system has it: a first probe after
    /// `/proc/sys/net/ipv4/tcp_keepalive_time` seconds, then every `tcp_keepalive_intvl`, `tcp_keepalive_probes` times.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports; `EBADF` if the stream is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// use runtime::net::TcpKeepalive;
    /// use std::time::Duration;
    ///
    /// let keepalive = TcpKeepalive::new()
    ///     .with_time(Duration::from_secs(60))
    ///     .with_interval(Duration::from_secs(10))
    ///     .with_retries(6);
    /// stream.set_keepalive(Some(&keepalive))?;
    /// assert!(stream.keepalive()?);
    /// # Ok(()) }) }
    /// ```
    pub fn set_keepalive(&self, keepalive: Option<&TcpKeepalive>) -> io::Result<()> {
        set_keepalive(&self.fd, keepalive)
    }

    /// Whether the kernel probes the connection while it is idle.
    ///
    /// # Errors
    ///
    /// `EBADF` if the stream is closed.
    pub fn keepalive(&self) -> io::Result<bool> {
        with_socket(&self.fd, |socket| socket.keepalive())
    }

    /// What closing does with bytes the peer has not acknowledged (`SO_LINGER`): `None`, the default, sends them
    /// in the background; `Some` of zero discards them and resets the connection; `Some` of more sends them for so
    /// long, in whole seconds, and discards what is left then.
    ///
    /// The kernel waits for the latter inside `close(2)`, so the last handle's close is left to a worker of the
    /// kernel's, and resolves before the waiting is over. To know that the peer has it all, end writing by
    /// [`shutdown`](TcpStream::shutdown) and read until the peer has closed.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports; `EBADF` if the stream is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (peer, _) = listener.accept().await?;
    /// use std::time::Duration;
    ///
    /// stream.set_linger(Some(Duration::ZERO))?;
    /// stream.close().await?;
    /// let (result, _) = peer.read([0; 1]).await;
    /// assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    /// # Ok(()) }) }
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        super::set_linger(&self.fd, linger)
    }

    /// What [`set_linger`](TcpStream::set_linger) sets.
    ///
    /// # Errors
    ///
    /// `EBADF` if the stream is closed.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        with_socket(&self.fd, |socket| socket.linger())
    }

    /// Sets the time to live of packets (`IP_TTL`), in hops.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is not within 1..=255; `EBADF` if the stream is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_ttl(1)?;
    /// assert_eq!(stream.ttl()?, 1);
    /// # Ok(()) }) }
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        with_socket(&self.fd, |socket| socket.set_ttl_v4(ttl))
    }

    /// What [`set_ttl`](TcpStream::set_ttl) sets; the default is in `/proc/sys/net/ipv4/ip_default_ttl`.
    ///
    /// # Errors
    ///
    /// `EBADF` if the stream is closed.
    pub fn ttl(&self) -> io::Result<u32> {
        with_socket(&self.fd, |socket| socket.ttl_v4())
    }

    /// Takes the socket's pending error (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// `EBADF` if the stream is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(stream.take_error()?.is_none());
    /// # Ok(()) }) }
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        with_socket(&self.fd, |socket| socket.take_error())
    }
}
