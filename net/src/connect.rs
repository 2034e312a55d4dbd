//! Connecting one socket to one address ([`Connect`]). To a name: [`tcp`](crate::tcp)'s `connecting`.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use annulet_driver::{CancelToken, Fd, Op, op};
use socket2::SockAddr;

use crate::TcpStream;
use crate::connection::Connected;

/// The future of [`TcpSocket::connect`](crate::TcpSocket::connect) and [`UnixStream::connect`](crate::UnixStream::connect).
///
/// # Cancel safety
///
/// If it is dropped, or fails, the socket is closed: a connection attempt that was given up leaves a socket in
/// no state to try again.
#[derive(Debug)]
#[must_use = "nothing is connected until it is awaited"]
pub struct Connect<S = TcpStream> {
    /// The socket and what connects it; or why there is none. `None` once it has resolved.
    going: Option<io::Result<(Fd, Op<op::Connect>)>>,
    makes: PhantomData<fn() -> S>,
}

impl<S: Connected> Connect<S> {
    pub(crate) fn new(fd: Fd, addr: SockAddr) -> Connect<S> {
        let op = Op::on(&fd, op::Connect::new(addr));
        Connect::of(Ok((fd, op)))
    }

    /// One that fails if there is no socket.
    pub(crate) fn of(going: io::Result<(Fd, Op<op::Connect>)>) -> Connect<S> {
        Connect {
            going: Some(going),
            makes: PhantomData,
        }
    }

    /// With what limits and cancels it.
    pub(crate) fn on_terms(
        self,
        terms: impl FnOnce(Op<op::Connect>) -> Op<op::Connect>,
    ) -> Connect<S> {
        Connect {
            going: self
                .going
                .map(|going| going.map(|(fd, op)| (fd, terms(op)))),
            ..self
        }
    }

    /// Gives up after `duration`, counted from the first poll: it fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn timeout(self, duration: Duration) -> Connect<S> {
        self.on_terms(|op| op.timeout(duration))
    }

    /// Gives up at `instant`; otherwise as [`timeout`](Connect::timeout).
    pub fn deadline(self, instant: Instant) -> Connect<S> {
        self.on_terms(|op| op.deadline(instant))
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
    pub fn cancel_with(self, token: &CancelToken) -> Connect<S> {
        self.on_terms(|op| op.cancel_with(token))
    }
}

impl<S: Connected> Future for Connect<S> {
    type Output = io::Result<S>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<S>> {
        let connected = match &mut self.going {
            Some(Ok((_, op))) => ready!(Pin::new(op).poll(cx)),
            _ => Ok(()),
        };
        let going = self.going.take().expect("polled after it had resolved");
        Poll::Ready(connected.and(going).map(|(fd, _)| S::adopt(fd, false)))
    }
}
