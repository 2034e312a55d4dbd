//! The life of one operation: a future that is idle, queued, in flight, done.

use std::fmt;
use std::future::Future;
use std::mem::{self, ManuallyDrop};
use std::pin::Pin;
use std::ptr;
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
    // Dropped by hand, if there is something to drop: mostly there is not, and all of this takes a while to look through.
    pub(super) phase: ManuallyDrop<Phase<T>>,
    pub(super) fd: ManuallyDrop<Option<FdRef>>,
    pub(super) extras: ManuallyDrop<Extras>,
}

/// What few operations have. In one place, so that all others look for it once.
#[derive(Default)]
pub(super) struct Extras(Option<Few>);

#[derive(Default)]
pub(super) struct Few {
    /// The serial group's lane.
    pub(super) group: Option<FdRef>,
    pub(super) deadline: Option<Deadline>,
    pub(super) token: Option<Rc<TokenInner>>,
}

impl Extras {
    #[inline]
    pub(super) fn group(&self) -> Option<&FdRef> {
        self.0.as_ref()?.group.as_ref()
    }

    #[inline]
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.0.as_ref()?.deadline
    }

    #[inline]
    pub(super) fn token(&self) -> Option<&Rc<TokenInner>> {
        self.0.as_ref()?.token.as_ref()
    }

    pub(super) fn token_is_cancelled(&self) -> bool {
        self.token().is_some_and(|token| token.is_cancelled())
    }

    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// To be written to.
    pub(super) fn few(&mut self) -> &mut Few {
        self.0.get_or_insert_default()
    }

    pub(super) fn take_token(&mut self) -> Option<Rc<TokenInner>> {
        self.0.as_mut()?.token.take()
    }

    pub(super) fn take_group(&mut self) -> Option<FdRef> {
        self.0.as_mut()?.group.take()
    }
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
        Op::with(None, op)
    }

    /// An operation on `fd`.
    pub fn on(fd: &Fd, op: T) -> Op<T> {
        Op::on_shared(fd.shared().clone(), op)
    }

    pub(crate) fn on_shared(fd: FdRef, op: T) -> Op<T> {
        Op::with(Some(fd), op)
    }

    #[inline]
    fn with(fd: Option<FdRef>, op: T) -> Op<T> {
        Op {
            phase: ManuallyDrop::new(Phase::Idle(op)),
            fd: ManuallyDrop::new(fd),
            extras: ManuallyDrop::default(),
        }
    }

    /// Gives the operation up after `duration`, counted from its first poll.
    ///
    /// It then resolves as [`TimedOut`](std::io::ErrorKind::TimedOut), or with what it had done by then. The
    /// deadline is part of the submission (`IORING_OP_LINK_TIMEOUT`): it costs no further system call.
    pub fn timeout(mut self, duration: Duration) -> Op<T> {
        self.extras.few().deadline = Some(Deadline::after(duration));
        self
    }

    /// Gives the operation up at `instant`; see [`timeout`](Op::timeout).
    pub fn deadline(mut self, instant: Instant) -> Op<T> {
        self.extras.few().deadline = Some(Deadline::At(instant));
        self
    }

    /// Sets or takes away the deadline; see [`timeout`](Op::timeout).
    pub fn maybe_timeout(mut self, duration: Option<Duration>) -> Op<T> {
        if duration.is_some() || self.has_deadline() {
            self.extras.few().deadline = duration.map(Deadline::after);
        }
        self
    }

    /// Lets `token` cancel the operation.
    pub fn cancel_with(mut self, token: &CancelToken) -> Op<T> {
        self.extras.few().token = Some(token.inner());
        self
    }

    /// Puts the operation into a group of which one at a time runs; see [`SerialGroup`].
    pub fn in_group(mut self, group: &SerialGroup) -> Op<T> {
        self.extras.few().group = Some(group.lane().clone());
        self
    }

    pub(crate) fn token_is_cancelled(&self) -> bool {
        self.extras.token_is_cancelled()
    }

    /// Has the operation's token wake `waker` when it is cancelled, or no longer.
    pub(crate) fn queue_by_token(&self, seat: &mut TokenSeat, waker: Option<&Waker>) {
        let Some(token) = self.extras.token() else {
            return;
        };
        if *seat != TokenSeat::NONE {
            token.stand_up(*seat);
        }
        *seat = waker.map_or(TokenSeat::NONE, |waker| token.sit_down(waker));
    }

    pub(crate) fn has_deadline(&self) -> bool {
        self.extras.deadline().is_some()
    }

    /// Takes the result of an operation in flight, once it is there: of a chain's member, which takes one round.
    #[inline]
    pub(crate) fn poll_flight(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        self.poll_rounds::<false>(cx)
    }

    /// As [`poll_flight`](Op::poll_flight), for an operation that may take several.
    #[inline]
    fn poll_rounds<const SEVERAL: bool>(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        let Phase::Flight(flight) = &*self.phase else {
            polled_again(T::NAME);
        };
        let mut core = flight.driver.core();
        let taken = match core.slots.look(flight.key, cx.waker()) {
            // SAFETY: `key` was made by `place` from an operation of this very type `T`.
            Look::Done(landed) => unsafe { landed.take_out::<T>() },
            Look::DoneRare => {
                drop(core);
                return self.poll_rare::<SEVERAL>(cx);
            }
            Look::Waits => return Poll::Pending,
            Look::WaitsForAnother => {
                drop(core);
                flight.wake_by(cx.waker());
                return Poll::Pending;
            }
        };
        drop(core);
        self.take_landed::<SEVERAL>(taken, cx)
    }

    /// The same for what only [`take_out`](crate::slots::Slots::take_out) takes out.
    #[cold]
    fn poll_rare<const SEVERAL: bool>(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        let Phase::Flight(flight) = &*self.phase else {
            polled_again(T::NAME);
        };
        // SAFETY: `key` was made by `place` from an operation of this very type `T`.
        let taken = unsafe { flight.driver.core().slots.take_out::<T>(flight.key) };
        self.take_landed::<SEVERAL>(taken, cx)
    }

    /// It is out of its slot: it has ended, or takes another round.
    #[inline]
    fn take_landed<const SEVERAL: bool>(
        &mut self,
        mut taken: Taken<T>,
        cx: &mut Context<'_>,
    ) -> Poll<T::Output> {
        let Phase::Flight(flight) = &*self.phase else {
            polled_again(T::NAME);
        };
        if let (Some(tried), Some(fd), Ok(_)) = (taken.op.attempts(), &taken.fd, &taken.result) {
            let at_once = flight.driver.enters() == flight.since + 1;
            fd.hint(tried).completed(at_once);
        }
        // SAFETY: it is overwritten, not dropped, next. (To replace the phase would move all of it.)
        let driver = unsafe { ptr::read(&raw const flight.driver) };
        self.phase = ManuallyDrop::new(Phase::Done);
        if T::ROUNDS && SEVERAL && taken.op.goes_on(&taken.result) {
            return self
                .next_round(driver, taken, cx)
                .map_or(Poll::Pending, Poll::Ready);
        }
        Poll::Ready(finish(taken))
    }

    /// The future goes before its operation has ended.
    #[cold]
    fn abandon(&mut self) {
        match mem::replace(&mut *self.phase, Phase::Done) {
            Phase::Idle(_) | Phase::Done => {}
            Phase::Waiting(waiting) => self.leave(&waiting),
            Phase::Flight(flight) => flight.driver.abandon(flight.key),
        }
    }

    #[cold]
    fn drop_all(&mut self) {
        self.abandon();
        // SAFETY: called by `drop` only, after which nobody looks at these; each once.
        unsafe {
            ManuallyDrop::drop(&mut self.phase);
            ManuallyDrop::drop(&mut self.fd);
            ManuallyDrop::drop(&mut self.extras);
        }
    }

    pub(crate) fn flight(&self) -> Option<(&Driver, Key)> {
        match &*self.phase {
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
fn finish<T: Operation>(taken: Taken<T>) -> T::Output {
    // In parts: a whole would be kept in memory for the sake of what may unwind.
    let Taken {
        mut op,
        result,
        fd,
        lane,
        group,
    } = taken;
    if let Some(fd) = &fd {
        op.landed(&result, Origin::landing(fd));
    }
    let output = op.complete(result);
    if let (Some(fd), Some(lane)) = (fd, lane) {
        fd.release(lane);
    }
    if let Some(group) = group {
        group.release(Lane::Write);
    }
    output
}

impl<T: Operation> Future for Op<T> {
    type Output = T::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        let this = self.get_mut();
        match &*this.phase {
            Phase::Flight(_) | Phase::Done => this.poll_rounds::<true>(cx),
            Phase::Idle(_) => this.start(cx).map_or(Poll::Pending, Poll::Ready),
            Phase::Waiting(_) => this.wait(cx),
        }
    }
}

impl<T: Operation> Drop for Op<T> {
    #[inline]
    fn drop(&mut self) {
        let nothing =
            matches!(*self.phase, Phase::Done) && self.fd.is_none() && self.extras.is_none();
        if !nothing {
            self.drop_all();
        }
    }
}

impl<T: Operation> fmt::Debug for Op<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &*self.phase {
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
