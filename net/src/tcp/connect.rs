//! Connecting to a name. The future is in [`connecting`](super::connecting); that of one socket and one address is
//! [`Connect`](crate::Connect).

use std::io;
use std::time::Duration;

use super::{Connecting, TcpStream};
use crate::ToSocketAddrs;

impl TcpStream {
    /// Connects to `addr`.
    ///
    /// A name or a list may stand for several addresses. They are tried as RFC 8305 ("Happy Eyeballs") has it: IPv6
    /// and IPv4 in turn; when an attempt fails, or has no answer after 250 ms
    /// ([`attempt_delay`](Connecting::attempt_delay)), the next one starts; the first connection wins, the others are
    /// closed.
    ///
    /// The future takes a time limit ([`timeout`](Connecting::timeout)) or a cancel token
    /// ([`cancel_with`](Connecting::cancel_with)). For options that must be set before see
    /// [`TcpSocket::connect`](super::TcpSocket::connect).
    ///
    /// Goes through the ring: `IORING_OP_SOCKET`, Linux 5.19 (before that the plain system call), and
    /// `IORING_OP_CONNECT`, Linux 5.5. Names are looked up on the thread pool.
    ///
    /// # Errors
    ///
    /// What `socket(2)` and `connect(2)` report: `ConnectionRefused`, `HostUnreachable`, `TimedOut` (after the
    /// kernel's own patience of about two minutes, or the time limit). If several addresses fail, the kind of the
    /// last error, which holds a [`ConnectError`](super::ConnectError) with all of them. `InvalidInput` if there
    /// is no address. What the look-up of a name reports.
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
    /// use runtime::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("localhost:0").await?;
    /// let stream = TcpStream::connect(("localhost", listener.local_addr()?.port())).await?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(()) }) }
    /// ```
    pub fn connect(addr: impl ToSocketAddrs) -> Connecting {
        Connecting::to(addr.resolve())
    }

    /// As [`connect`](TcpStream::connect) with a [`timeout`](Connecting::timeout), which must not be zero, as in
    /// `std`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) if it takes longer; `InvalidInput` for a duration of zero; those of
    /// [`connect`](TcpStream::connect).
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
    /// use runtime::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let addr = listener.local_addr()?;
    /// let stream = TcpStream::connect_timeout(addr, Duration::from_secs(5)).await?;
    /// # drop(stream);
    /// # Ok(()) }) }
    /// ```
    pub async fn connect_timeout(
        addr: impl ToSocketAddrs,
        duration: Duration,
    ) -> io::Result<TcpStream> {
        if duration.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a timeout of zero leaves no time to connect",
            ));
        }
        TcpStream::connect(addr).timeout(duration).await
    }
}
