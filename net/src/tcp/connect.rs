//! Connecting a socket to one address ([`Connect`]). To the first of several that answers:
//! [`connecting`](super::connecting).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use annulet_driver::{CancelToken, Fd, Op, op};

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
    /// ([`cancel_with`](Connecting::cancel_with)). For options that must be set before see [`TcpSocket::connect`](super::TcpSocket::connect).
    ///
    /// Goes through the ring: `IORING_OP_SOCKET`, Linux 5.19 (before that the plain system call), and
    /// `IORING_OP_CONNECT`, Linux 5.5. Names are looked up on the thread pool.
    ///
    /// # Errors
    ///
    /// What `socket(2)` and `connect(2)` report: `ConnectionRefused`, `HostUnreachable`, `TimedOut` (after the
    /// kernel's own patience of about two minutes, or the time limit). If several addresses fail, the kind of the last
    /// error, which holds a [`ConnectError`](super::ConnectError) with all of them. `InvalidInput` if there is no
    /// address. What the look-up of a name reports.
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

    /// As [`connect`](TcpStream::connect) with a [`timeout`](Connecting::timeout), which must not be zero, as in `std`.
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

/// The future of [`TcpSocket::connect`](super::TcpSocket::connect).
///
/// # Cancel safety
///
/// If it is dropped, or fails, the socket is closed: a connection attempt that was given up leaves a socket in
/// no state to try again.
#[derive(Debug)]
#[must_use = "nothing is connected until it is awaited"]
pub struct Connect {
    fd: Option<Fd>,
    op: Op<op::Connect>,
}

impl Connect {
    pub(super) fn new(fd: Fd, addr: SocketAddr) -> Connect {
        Connect::with(fd, addr, |op| op)
    }

    pub(super) fn with(
        fd: Fd,
        addr: SocketAddr,
        terms: impl FnOnce(Op<op::Connect>) -> Op<op::Connect>,
    ) -> Connect {
        let op = terms(Op::on(&fd, op::Connect::new(addr.into())));
        Connect { fd: Some(fd), op }
    }

    /// Gives up after `duration`, counted from the first poll: it fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn timeout(mut self, duration: Duration) -> Connect {
        self.op = self.op.timeout(duration);
        self
    }

    /// Gives up at `instant`; otherwise as [`timeout`](Connect::timeout).
    pub fn deadline(mut self, instant: Instant) -> Connect {
        self.op = self.op.deadline(instant);
        self
    }

    /// Lets `token` cancel it: it then fails as [cancelled](annulet_driver::is_cancelled).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpSocket;
    /// use runtime::{CancelToken, is_cancelled};
    ///
    /// let token = CancelToken::new();
    /// token.cancel().await;
    /// let socket = TcpSocket::new_v4().await?;
    /// let connect = socket.connect("127.0.0.1:9".parse().unwrap());
    /// let connected = connect.cancel_with(&token).await;
    /// assert!(is_cancelled(&connected.unwrap_err()));
    /// # Ok(()) }) }
    /// ```
    pub fn cancel_with(mut self, token: &CancelToken) -> Connect {
        self.op = self.op.cancel_with(token);
        self
    }
}

impl Future for Connect {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let connected = ready!(Pin::new(&mut self.op).poll(cx));
        let fd = self.fd.take().expect("polled after it had resolved");
        Poll::Ready(connected.map(|()| TcpStream::new(fd)))
    }
}
