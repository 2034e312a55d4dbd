//! The life of one operation: a future that is idle, queued, in flight, done.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Operation, Origin, Timeout};
use crate::cancel::{CancelToken, TokenInner, TokenSeat};
use crate::driver::Driver;
use crate::fd::{Fd, FdRef, Lane};
use crate::group::SerialGroup;
use crate::slots::{Key, Look, Taken};

/// When an operation is to be given up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline {
    /// Nanoseconds: a `Duration` would take the room of two.
    After(u64),
    At(Instant),
}

impl Deadline {
    /// Beyond five hundred years it is all one.
    fn after(duration: Duration) -> Deadline {
        Deadline::After(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn left(self) -> Duration {
        match self {
            Deadline::After(nanos) => Duration::from_nanos(nanos),
            Deadline::At(instant) => instant.saturating_duration_since(Instant::now()),
        }
    }
}

/// An operation: a future that submits itself when first polled.
///
/// # Cancel safety
///
/// A dropped operation is cancelled; what it did before that is lost. Reads, receives and accepts on a
/// descriptor are the exception: they run on and what they bring goes to the next one.
///
/// # Panics
///
/// When first polled outside a runtime, and when polled again after it has resolved.
#[must_use = "an operation does nothing until it is awaited"]
pub struct Op<T: Operation> {
    pub(super) phase: Phase<T>,
    pub(super) fd: Option<FdRef>,
    /// The serial group's lane.
    pub(super) group: Option<FdRef>,
    pub(super) deadline: Option<Deadline>,
    pub(super) token: Option<Rc<TokenInner>>,
}

pub(super) enum Phase<T> {
    Idle(T),
    Waiting(Waiting<T>),
    Flight(Flight),
    Done,
}

/// An operation in its slot.
pub(super) struct Flight {
    pub(super) driver: Driver,
    pub(super) key: Key,
    /// How often the driver had entered the kernel when it was staged.
    pub(super) since: u64,
}

impl Flight {
    /// Another waker than before is to be woken.
    #[cold]
    fn wake_by(&self, waker: &Waker) {
        // Cloning one and dropping one may run anything: nothing is borrowed meanwhile.
        let waker = waker.clone();
        let replaced = self.driver.core().slots.set_waker(self.key, waker);
        drop(replaced);
    }
}

/// An operation queued for a lane.
pub(super) struct Waiting<T> {
    pub(super) op: T,
    /// Which of its seats the lane is: it has those before it.
    pub(super) at: u8,
    pub(super) lane: Lane,
    pub(super) id: u64,
    /// Where the token's registry wakes it from.
    pub(super) token_seat: TokenSeat,
    /// Its deadline runs while it queues, too.
    pub(super) timer: Option<Pin<Box<Op<Timeout>>>>,
}

impl<T: Operation> Unpin for Op<T> {}

impl<T: Operation> Op<T> {
    /// An operation that needs no descriptor.
    pub fn new(op: T) -> Op<T> {
        Op {
            phase: Phase::Idle(op),
            fd: None,
            group: None,
            deadline: None,
            token: None,
        }
    }

    /// An operation on `fd`.
    pub fn on(fd: &Fd, op: T) -> Op<T> {
        Op::on_shared(fd.shared().clone(), op)
    }

    pub(crate) fn on_shared(fd: FdRef, op: T) -> Op<T> {
        Op {
            phase: Phase::Idle(op),
            fd: Some(fd),
            group: None,
            deadline: None,
            token: None,
        }
    }

    /// Gives the operation up after `duration`, counted from its first poll.
    ///
    /// It then resolves as [`TimedOut`](std::io::ErrorKind::TimedOut), or with what it had done by then. The
    /// deadline is part of the submission (`IORING_OP_LINK_TIMEOUT`): it costs no further system call.
    pub fn timeout(mut self, duration: Duration) -> Op<T> {
        self.deadline = Some(Deadline::after(duration));
        self
    }

    /// Gives the operation up at `instant`; see [`timeout`](Op::timeout).
    pub fn deadline(mut self, instant: Instant) -> Op<T> {
        self.deadline = Some(Deadline::At(instant));
        self
    }

    /// Sets or takes away the deadline; see [`timeout`](Op::timeout).
    pub fn maybe_timeout(mut self, duration: Option<Duration>) -> Op<T> {
        self.deadline = duration.map(Deadline::after);
        self
    }

    /// Lets `token` cancel the operation.
    pub fn cancel_with(mut self, token: &CancelToken) -> Op<T> {
        self.token = Some(token.inner());
        self
    }

    /// Puts the operation into a group of which one at a time runs; see [`SerialGroup`].
    pub fn in_group(mut self, group: &SerialGroup) -> Op<T> {
        self.group = Some(group.lane().clone());
        self
    }

    pub(crate) fn token_is_cancelled(&self) -> bool {
        self.token
            .as_ref()
            .is_some_and(|token| token.is_cancelled())
    }

    /// Has the operation's token wake `waker` when it is cancelled, or no longer.
    pub(crate) fn queue_by_token(&self, seat: &mut TokenSeat, waker: Option<&Waker>) {
        let Some(token) = &self.token else {
            return;
        };
        if *seat != TokenSeat::NONE {
            token.stand_up(*seat);
        }
        *seat = waker.map_or(TokenSeat::NONE, |waker| token.sit_down(waker));
    }

    pub(crate) fn has_deadline(&self) -> bool {
        self.deadline.is_some()
    }

    /// Takes the result of an operation in flight, once it is there.
    #[inline]
    pub(crate) fn poll_flight(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        if !self.has_landed(cx) {
            return Poll::Pending;
        }
        Poll::Ready(finish(self.take_out()))
    }

    /// As [`poll_flight`](Op::poll_flight), for an operation that may take several rounds.
    #[inline]
    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        if !T::ROUNDS {
            return self.poll_flight(cx);
        }
        if !self.has_landed(cx) {
            return Poll::Pending;
        }
        let driver = self.flight().map(|(driver, _)| driver.clone());
        let mut taken = self.take_out();
        match driver {
            Some(driver) if taken.op.goes_on(&taken.result) => self
                .next_round(&driver, taken, cx)
                .map_or(Poll::Pending, Poll::Ready),
            _ => Poll::Ready(finish(taken)),
        }
    }

    /// Whether the last completion of an operation in flight has come. If not, the context's waker is the one to wake.
    #[inline]
    fn has_landed(&self, cx: &Context<'_>) -> bool {
        let Phase::Flight(flight) = &self.phase else {
            polled_again(T::NAME);
        };
        let look = flight.driver.core().slots.look(flight.key, cx.waker());
        if look == Look::WaitsForAnother {
            flight.wake_by(cx.waker());
        }
        look == Look::Done
    }

    /// Takes an operation that has landed out of its slot.
    #[inline]
    fn take_out(&mut self) -> Taken<T> {
        let Phase::Flight(flight) = &self.phase else {
            polled_again(T::NAME);
        };
        // SAFETY: `key` was made by `place` from an operation of this very type `T`.
        let taken = unsafe { flight.driver.core().slots.take_out::<T>(flight.key) };
        if let (Some(tried), Some(fd), Ok(_)) = (taken.op.attempts(), &taken.fd, &taken.result) {
            let at_once = flight.driver.enters() == flight.since + 1;
            fd.hint(tried).completed(at_once);
        }
        // Not an assignment, which would look for what else there may be to drop.
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Flight(flight) => drop(flight),
            other => self.phase = other,
        }
        taken
    }

    /// The future goes before its operation has ended.
    #[cold]
    fn abandon(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Idle(_) | Phase::Done => {}
            Phase::Waiting(waiting) => self.leave(&waiting),
            Phase::Flight(flight) => flight.driver.abandon(flight.key),
        }
    }

    pub(crate) fn flight(&self) -> Option<(&Driver, Key)> {
        match &self.phase {
            Phase::Flight(flight) => Some((&flight.driver, flight.key)),
            _ => None,
        }
    }
}

#[cold]
fn polled_again(operation: &str) -> ! {
    panic!("{operation} was polled after it had resolved")
}

/// An operation's result, out of its slot; what it held of its descriptor is given up.
#[inline]
fn finish<T: Operation>(mut taken: Taken<T>) -> T::Output {
    if let Some(fd) = &taken.fd {
        taken.op.landed(&taken.result, Origin::landing(fd));
    }
    let output = taken.op.complete(taken.result);
    if let (Some(fd), Some(lane)) = (taken.fd, taken.lane) {
        fd.release(lane);
    }
    if let Some(group) = taken.group {
        group.release(Lane::Write);
    }
    output
}

impl<T: Operation> Future for Op<T> {
    type Output = T::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        let this = self.get_mut();
        match &this.phase {
            Phase::Flight(_) | Phase::Done => this.poll_rounds(cx),
            Phase::Idle(_) => this.start(cx).map_or(Poll::Pending, Poll::Ready),
            Phase::Waiting(_) => this.wait(cx),
        }
    }
}

impl<T: Operation> Drop for Op<T> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.phase, Phase::Done) {
            self.abandon();
        }
    }
}

impl<T: Operation> fmt::Debug for Op<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.phase {
            Phase::Idle(_) => "not started",
            Phase::Waiting(_) => "queued for its direction",
            Phase::Flight(_) => "in flight",
            Phase::Done => "resolved",
        };
        f.debug_struct("Op")
            .field("name", &T::NAME)
            .field("phase", &phase)
            .finish()
    }
}
