//! Connecting: to one address ([`Connect`]), or to the first of several that answers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use annulet_driver::{CancelToken, Fd, Op, op};

use super::{TcpSocket, TcpStream};
use crate::ToSocketAddrs;
use crate::addrs::Addrs;

impl TcpStream {
    /// Connects to `addr`; several addresses are tried in turn.
    ///
    /// For a time limit see [`connect_timeout`](TcpStream::connect_timeout), for options that must be set before,
    /// and for a cancel token, [`TcpSocket::connect`].
    ///
    /// # Errors
    ///
    /// For each address what `socket(2)` and `connect(2)` report: `ConnectionRefused`, `HostUnreachable`,
    /// `TimedOut` (after the kernel's own patience of about two minutes); the last error if all addresses fail.
    /// `InvalidInput` if there is no address. What the look-up of a name reports.
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
    pub async fn connect(addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        TcpStream::connect_to(addr.resolve(), None).await
    }

    /// As [`connect`](TcpStream::connect), but gives up after `duration`: the look-up of a name and all attempts
    /// together.
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
        // One that is beyond the clock's end is none.
        let deadline = Instant::now().checked_add(duration);
        TcpStream::connect_to(addr.resolve(), deadline).await
    }

    async fn connect_to(addrs: Addrs, deadline: Option<Instant>) -> io::Result<TcpStream> {
        let mut last = None;
        for addr in addrs.found(deadline).await? {
            let connect = TcpSocket::for_addr(addr).await?.connect(addr);
            let connected = match deadline {
                Some(instant) => connect.deadline(instant).await,
                None => connect.await,
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
            if deadline.is_some_and(|instant| instant <= Instant::now()) {
                break;
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
    }
}

/// The future of [`TcpSocket::connect`].
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
        let op = Op::on(&fd, op::Connect::new(addr.into()));
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
