//! Connecting to a name with several addresses: "Happy Eyeballs" (RFC 8305).
//!
//! Addresses of the two families alternate. An attempt that fails, or has no answer after a while, is followed by
//! the next; the first connection wins, the others are given up.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use annulet_driver::op::{self, Timeout};
use annulet_driver::{CancelToken, Cancelled, Fd, Op, is_cancelled};

use super::{Connect, ConnectError, TcpSocket, TcpStream};
use crate::addrs::{Addrs, Finding, Found};

/// RFC 8305, section 8: "Connection Attempt Delay", recommended value.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The future of [`TcpStream::connect`].
///
/// # Cancel safety
///
/// Dropping it ends every attempt and leaves nothing open. (A look-up of a name that has begun runs to its end on
/// its thread.)
///
/// # Panics
///
/// When first polled outside a runtime, and when polled again after it has resolved.
#[derive(Debug)]
#[must_use = "nothing is connected until it is awaited"]
pub struct Connecting {
    state: State,
    limit: Option<Limit>,
    terms: Terms,
    /// Tells of the token's cancel while a name is looked up: then nothing else would.
    watch: Option<Cancelled>,
}

#[derive(Debug)]
enum State {
    Idle(Addrs),
    Finding(Finding),
    /// One address, which needs no memory.
    One(SocketAddr, Attempt),
    Several(Race),
    Done,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    After(Duration),
    At(Instant),
}

/// What holds for every attempt.
#[derive(Debug)]
struct Terms {
    deadline: Option<Instant>,
    token: Option<CancelToken>,
    attempt_delay: Duration,
}

impl Terms {
    fn apply<T: op::Operation>(&self, op: Op<T>) -> Op<T> {
        let op = match self.deadline {
            Some(instant) => op.deadline(instant),
            None => op,
        };
        match &self.token {
            Some(token) => op.cancel_with(token),
            None => op,
        }
    }

    fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    fn is_cancelled(&self) -> bool {
        self.token.as_ref().is_some_and(CancelToken::is_cancelled)
    }
}

impl Connecting {
    pub(super) fn to(addrs: Addrs) -> Connecting {
        Connecting {
            state: State::Idle(addrs),
            limit: None,
            terms: Terms {
                deadline: None,
                token: None,
                attempt_delay: ATTEMPT_DELAY,
            },
            watch: None,
        }
    }

    /// Gives up after `duration`, counted from the first poll: the look-up of a name and all attempts together. It
    /// fails with [`TimedOut`](io::ErrorKind::TimedOut).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let connect = TcpStream::connect(listener.local_addr()?);
    /// let stream = connect.timeout(Duration::from_secs(5)).await?;
    /// # drop(stream);
    /// # Ok(()) }) }
    /// ```
    pub fn timeout(mut self, duration: Duration) -> Connecting {
        self.limit = Some(Limit::After(duration));
        self
    }

    /// Gives up at `instant`; otherwise as [`timeout`](Connecting::timeout).
    pub fn deadline(mut self, instant: Instant) -> Connecting {
        self.limit = Some(Limit::At(instant));
        self
    }

    /// Lets `token` cancel it: it then fails as [cancelled](annulet_driver::is_cancelled).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpStream;
    /// use runtime::{CancelToken, is_cancelled};
    ///
    /// let token = CancelToken::new();
    /// token.cancel().await;
    /// let connected = TcpStream::connect("localhost:9").cancel_with(&token).await;
    /// assert!(is_cancelled(&connected.unwrap_err()));
    /// # Ok(()) }) }
    /// ```
    pub fn cancel_with(mut self, token: &CancelToken) -> Connecting {
        self.terms.token = Some(token.clone());
        self
    }

    /// With several addresses: how long one attempt may stay without an answer before the next one starts beside
    /// it. 250 ms by default; zero starts all of them at once, [`Duration::MAX`] one after the other.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("localhost:0").await?;
    /// let stream = TcpStream::connect(("localhost", listener.local_addr()?.port()))
    ///     .attempt_delay(Duration::from_millis(100))
    ///     .await?;
    /// # drop(stream);
    /// # Ok(()) }) }
    /// ```
    pub fn attempt_delay(mut self, delay: Duration) -> Connecting {
        self.terms.attempt_delay = delay;
        self
    }

    fn start(&mut self, addrs: Addrs) -> State {
        self.terms.deadline = match self.limit {
            None => None,
            Some(Limit::At(instant)) => Some(instant),
            // One that is beyond the clock's end is none.
            Some(Limit::After(duration)) => Instant::now().checked_add(duration),
        };
        self.watch = self.terms.token.as_ref().map(CancelToken::cancelled);
        State::Finding(addrs.find(self.terms.deadline))
    }

    fn poll_finding(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<State>> {
        if let Some(watch) = &mut self.watch
            && Pin::new(watch).poll(cx).is_ready()
        {
            return Poll::Ready(Err(cancelled()));
        }
        let State::Finding(finding) = &mut self.state else {
            panic!("a connect was polled after it had resolved");
        };
        let found = ready!(Pin::new(finding).poll(cx))?;
        self.watch = None;
        Poll::Ready(Ok(match found {
            Found::One(Some(addr)) => State::One(addr, Attempt::new(addr, &self.terms)),
            several => State::Several(Race::among(several)),
        }))
    }
}

impl Future for Connecting {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let this = &mut *self;
        loop {
            let connected = match &mut this.state {
                State::One(addr, attempt) => ready!(attempt.poll(*addr, &this.terms, cx)),
                State::Several(race) => ready!(race.poll(&this.terms, cx)),
                State::Finding(_) | State::Done => match ready!(this.poll_finding(cx)) {
                    Ok(found) => {
                        this.state = found;
                        continue;
                    }
                    Err(error) => Err(error),
                },
                State::Idle(_) => {
                    if let State::Idle(addrs) = std::mem::replace(&mut this.state, State::Done) {
                        this.state = this.start(addrs);
                    }
                    continue;
                }
            };
            // The losers are closed here.
            this.state = State::Done;
            return Poll::Ready(connected);
        }
    }
}

fn cancelled() -> io::Error {
    rustix::io::Errno::CANCELED.into()
}

/// One address tried: a socket made, then connected.
#[derive(Debug)]
enum Attempt {
    Socket(Op<op::Socket>),
    Connect(Connect),
}

impl Attempt {
    fn new(addr: SocketAddr, terms: &Terms) -> Attempt {
        Attempt::Socket(terms.apply(TcpSocket::open(addr)))
    }

    fn poll(
        &mut self,
        addr: SocketAddr,
        terms: &Terms,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<TcpStream>> {
        if let Attempt::Socket(socket) = self {
            let fd = Fd::new(ready!(Pin::new(socket).poll(cx))?);
            *self = Attempt::Connect(Connect::new(fd, addr.into()).on_terms(|op| terms.apply(op)));
        }
        match self {
            Attempt::Connect(connect) => Pin::new(connect).poll(cx),
            Attempt::Socket(_) => Poll::Pending,
        }
    }
}

/// Several addresses, and the attempts under way.
#[derive(Debug)]
struct Race {
    waiting: std::vec::IntoIter<SocketAddr>,
    running: Vec<(SocketAddr, Attempt)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// Until the next one may start beside those that run.
    pause: Option<Op<Timeout>>,
}

impl Race {
    fn among(addrs: impl Iterator<Item = SocketAddr>) -> Race {
        Race {
            waiting: interleaved(addrs).into_iter(),
            running: Vec::new(),
            failed: Vec::new(),
            pause: None,
        }
    }

    fn poll(&mut self, terms: &Terms, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        loop {
            if let Some(stream) = self.poll_running(terms, cx)? {
                return Poll::Ready(Ok(stream));
            }
            if !self.starts_another(terms, cx) {
                break;
            }
        }
        if self.running.is_empty() {
            return Poll::Ready(Err(self.error(terms)));
        }
        Poll::Pending
    }

    /// A connection, if there is one; an error if the race is cancelled.
    fn poll_running(
        &mut self,
        terms: &Terms,
        cx: &mut Context<'_>,
    ) -> io::Result<Option<TcpStream>> {
        let mut at = 0;
        while let Some((addr, attempt)) = self.running.get_mut(at) {
            match attempt.poll(*addr, terms, cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(stream)) => return Ok(Some(stream)),
                Poll::Ready(Err(error)) if terms.is_cancelled() && is_cancelled(&error) => {
                    return Err(error);
                }
                Poll::Ready(Err(error)) => {
                    self.failed.push((*addr, error));
                    // The next in order keep their places.
                    self.running.remove(at);
                    self.pause = None;
                }
            }
        }
        Ok(None)
    }

    /// Starts the next attempt, if it is time for it and there is one.
    fn starts_another(&mut self, terms: &Terms, cx: &mut Context<'_>) -> bool {
        if self.waiting.as_slice().is_empty() || terms.is_over() {
            return false;
        }
        if let Some(pause) = &mut self.pause
            && Pin::new(pause).poll(cx).is_pending()
        {
            return false;
        }
        let Some(addr) = self.waiting.next() else {
            return false;
        };
        self.running.push((addr, Attempt::new(addr, terms)));
        self.pause =
            (!terms.attempt_delay.is_zero()).then(|| Op::new(Timeout::new(terms.attempt_delay)));
        true
    }

    fn error(&mut self, terms: &Terms) -> io::Error {
        let kind = match self.failed.last() {
            Some((_, error)) if !terms.is_over() => error.kind(),
            _ => io::ErrorKind::TimedOut,
        };
        let failed = std::mem::take(&mut self.failed);
        let untried = self.waiting.by_ref().collect();
        io::Error::new(kind, ConnectError::new(failed, untried))
    }
}

/// The addresses with their families alternating, each family's in the order it has; RFC 8305, section 4.
fn interleaved(addrs: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut first = Vec::new();
    let mut second = Vec::new();
    for addr in addrs {
        let is_first = first
            .first()
            .is_none_or(|one: &SocketAddr| one.is_ipv4() == addr.is_ipv4());
        if is_first { &mut first } else { &mut second }.push(addr);
    }
    let mut second = second.into_iter();
    let mut all = Vec::with_capacity(first.len() + second.len());
    for addr in first {
        all.push(addr);
        all.extend(second.next());
    }
    all.extend(second);
    all
}

#[cfg(test)]
mod tests;
