//! Accepting: one connection ([`Accept`]), or all that come ([`Incoming`]).

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use annulet_driver::op::{self, AcceptMulti, Multi};
use annulet_driver::{CancelToken, Cancelled, Fd, Op, is_cancelled};
use futures_core::Stream;
use futures_core::stream::FusedStream;
use socket2::{SockAddr, SockRef};

use crate::TcpStream;
use crate::connection::{Connected, Connection};

/// The future of [`TcpListener::accept`](crate::TcpListener::accept) and its kin.
///
/// # Cancel safety
///
/// Dropping it loses nothing: a connection it brings later goes to the next accept.
#[derive(Debug)]
#[must_use = "nothing is accepted until it is awaited"]
pub struct Accept<S = TcpStream> {
    op: Op<op::Accept>,
    /// Whether the connection may have inherited `SO_LINGER`.
    may_linger: bool,
    brings: PhantomData<fn() -> S>,
}

impl<S: Connected> Accept<S> {
    pub(crate) fn on(fd: &Fd) -> Accept<S> {
        Accept {
            op: Op::on(fd, op::Accept::new()),
            may_linger: fd.may_linger(),
            brings: PhantomData,
        }
    }

    /// Gives up after `duration`, counted from the first poll: the accept fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut), and the listener goes on as before.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpListener;
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let accepted = listener.accept().timeout(Duration::from_millis(1)).await;
    /// assert_eq!(accepted.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// # Ok(()) }) }
    /// ```
    pub fn timeout(mut self, duration: Duration) -> Accept<S> {
        self.op = self.op.timeout(duration);
        self
    }

    /// Gives up at `instant`; otherwise as [`timeout`](Accept::timeout).
    pub fn deadline(mut self, instant: Instant) -> Accept<S> {
        self.op = self.op.deadline(instant);
        self
    }

    /// Lets `token` cancel the accept: it then fails as [cancelled](is_cancelled).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpListener;
    /// use runtime::{CancelToken, is_cancelled};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let token = CancelToken::new();
    /// let stopper = token.clone();
    /// let stop = runtime::spawn(async move { stopper.cancel().await });
    /// let accepted = listener.accept().cancel_with(&token).await;
    /// assert!(is_cancelled(&accepted.unwrap_err()));
    /// # drop(stop);
    /// # Ok(()) }) }
    /// ```
    pub fn cancel_with(mut self, token: &CancelToken) -> Accept<S> {
        self.op = self.op.cancel_with(token);
        self
    }
}

impl<S: Connected> Future for Accept<S> {
    type Output = io::Result<(S, S::Addr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let accepted = ready!(Pin::new(&mut self.op).poll(cx));
        Poll::Ready(accepted.and_then(|(socket, peer)| {
            let peer = peer_of::<S>(&socket, peer)?;
            Ok((S::adopt(Fd::new(socket), self.may_linger), peer))
        }))
    }
}

/// The peer's address, which is asked for where the kernel did not tell it.
pub(crate) fn peer_of<S: Connection>(
    socket: &OwnedFd,
    peer: Option<SockAddr>,
) -> io::Result<S::Addr> {
    let peer = match peer {
        Some(peer) => peer,
        None => SockRef::from(socket).peer_addr().map_err(aborted)?,
    };
    S::addr(&peer)
}

/// A connection that was reset while it waited here has no peer any more. Accept's own word for that is
/// `ECONNABORTED`, which callers know to go on after.
fn aborted(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotConnected => io::ErrorKind::ConnectionAborted.into(),
        _ => error,
    }
}

/// The connections a listener accepts, one after the other; made by
/// [`TcpListener::incoming`](crate::TcpListener::incoming) and its kin.
///
/// Connections that arrive faster than they are taken wait here, but no more than 64 of them, or as many as come at once:
/// then accepting pauses until all of them are taken, and the others wait in the listener's queue.
///
/// A [`Stream`], and fused: after the listener was closed it is empty for good. An error is an item like any
/// other, after which it goes on.
///
/// # Cancel safety
///
/// Dropping it, or the future of [`next`](Incoming::next), loses nothing: connections that have arrived go to
/// the next accept.
#[derive(Debug)]
#[must_use = "nothing is accepted until it is awaited"]
pub struct Incoming<'a, S = TcpStream> {
    fd: &'a Fd,
    how: How,
    stop: Option<Cancelled>,
    brings: PhantomData<fn() -> S>,
}

#[derive(Debug)]
enum How {
    Multishot(Multi<AcceptMulti>),
    /// The kernel has no multishot accept.
    OneByOne(Op<op::Accept>),
    Ended,
}

impl<'a, S: Connected> Incoming<'a, S> {
    pub(crate) fn on(fd: &'a Fd) -> Incoming<'a, S> {
        Incoming {
            fd,
            how: How::Multishot(Multi::on(fd)),
            stop: None,
            brings: PhantomData,
        }
    }

    /// Lets `token` end it, as if the listener were closed; but that goes on, and connections that have arrived go to
    /// the next accept.
    ///
    /// To wait for one connection no longer than some time, put a `time::timeout` around [`next`](Incoming::next).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::CancelToken;
    /// use runtime::net::TcpListener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let token = CancelToken::new();
    /// let stopper = token.clone();
    /// let stop = runtime::spawn(async move { stopper.cancel().await });
    /// let mut incoming = listener.incoming().cancel_with(&token);
    /// assert!(incoming.next().await.is_none());
    /// # drop(stop);
    /// # Ok(()) }) }
    /// ```
    pub fn cancel_with(mut self, token: &CancelToken) -> Incoming<'a, S> {
        self.stop = Some(token.cancelled());
        self
    }

    /// The next connection, or `None` when the listener is closed.
    ///
    /// # Errors
    ///
    /// What `accept(2)` reports; `ConnectionAborted` and being out of descriptors among it. The listener goes on,
    /// so wait a little, or free a descriptor, before asking again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let mut incoming = listener.incoming();
    /// let stream = incoming.next().await.expect("the listener is open")?;
    /// assert_eq!(stream.peer_addr()?, client.local_addr()?);
    /// # Ok(()) }) }
    /// ```
    pub async fn next(&mut self) -> Option<io::Result<S>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<S>>> {
        if let Some(stop) = &mut self.stop
            && Pin::new(stop).poll(cx).is_ready()
        {
            self.how = How::Ended;
            self.stop = None;
        }
        loop {
            let accepted = match &mut self.how {
                How::Multishot(multi) => ready!(multi.poll_next(cx)),
                How::OneByOne(accept) => {
                    let accepted = ready!(Pin::new(&mut *accept).poll(cx));
                    *accept = Op::on(self.fd, op::Accept::new());
                    accepted.map(|(socket, _)| socket)
                }
                How::Ended => return Poll::Ready(None),
            };
            match accepted {
                Ok(socket) => {
                    let stream = S::adopt(Fd::new(socket), self.fd.may_linger());
                    return Poll::Ready(Some(Ok(stream)));
                }
                // Too many connections were waiting, and all are taken: it begins anew.
                Err(error)
                    if self.is_multishot() && is_cancelled(&error) && !self.fd.is_closed() => {}
                Err(error) if is_cancelled(&error) || self.fd.is_closed() => self.how = How::Ended,
                // Before Linux 5.19 the flag is unknown. A socket that does not listen answers the same, and
                // will do so again to a plain accept.
                Err(error)
                    if self.is_multishot() && error.kind() == io::ErrorKind::InvalidInput =>
                {
                    self.how = How::OneByOne(Op::on(self.fd, op::Accept::new()));
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_multishot(&self) -> bool {
        matches!(self.how, How::Multishot(_))
    }
}

impl<S: Connected> Stream for Incoming<'_, S> {
    type Item = io::Result<S>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl<S: Connected> FusedStream for Incoming<'_, S> {
    fn is_terminated(&self) -> bool {
        matches!(self.how, How::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TcpListener;

    #[test]
    fn without_multishot_connections_come_one_by_one() {
        runtime::Runtime::new().unwrap().block_on(async {
            let listener = TcpListener::bind("[::1]:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let mut incoming = listener.incoming();
            incoming.how = How::OneByOne(Op::on(incoming.fd, op::Accept::new()));
            for _ in 0..3 {
                let client = TcpStream::connect(addr).await.unwrap();
                let server = incoming.next().await.unwrap().unwrap();
                assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
            }
            listener.close().await.unwrap();
            assert!(incoming.next().await.is_none());
            assert!(incoming.is_terminated());
        });
    }

    #[test]
    fn a_socket_that_does_not_listen_says_so_and_does_not_spin() {
        runtime::Runtime::new().unwrap().block_on(async {
            let socket = crate::TcpSocket::new_v4().await.unwrap();
            let fd = std::os::fd::AsFd::as_fd(&socket)
                .try_clone_to_owned()
                .unwrap();
            let listener = TcpListener::from(fd);
            let mut incoming = listener.incoming();
            let error = incoming.next().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        });
    }

    #[test]
    fn a_token_ends_it_and_leaves_the_rest_to_the_next_accept() {
        runtime::Runtime::new().unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let token = CancelToken::new();
            let mut incoming = listener.incoming().cancel_with(&token);
            let _first = TcpStream::connect(addr).await.unwrap();
            incoming.next().await.unwrap().unwrap();
            // It has arrived here before the cancel.
            let second = TcpStream::connect(addr).await.unwrap();
            Op::new(op::Nop::new()).await.unwrap();
            token.cancel().await;
            assert!(incoming.next().await.is_none());
            assert!(incoming.is_terminated());
            assert!(incoming.next().await.is_none());
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, second.local_addr().unwrap());
            assert!(
                listener
                    .incoming()
                    .cancel_with(&token)
                    .next()
                    .await
                    .is_none()
            );
        });
    }

    #[test]
    fn a_token_wakes_who_waits_for_the_next_connection() {
        let runtime = runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let token = CancelToken::new();
            let stopper = token.clone();
            let stopping = runtime::spawn(async move { stopper.cancel().await });
            let mut incoming = listener.incoming().cancel_with(&token);
            assert!(incoming.next().await.is_none());
            stopping.await.unwrap();
        });
    }
}
