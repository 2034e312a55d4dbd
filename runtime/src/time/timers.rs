//! One runtime's timers: the wheel, the clock it goes by, and how a `Sleep` finds them.
//!
//! The runtime and each armed [`Sleep`](super::Sleep) share them; a `Sleep` that outlives its runtime keeps a wheel that
//! nobody turns. Wakers are the user's code: none is cloned, woken or dropped while the wheel is borrowed.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use annulet_driver::guarded;

use super::clock::Clock;
use super::wheel::{Key, Wheel};

thread_local! {
    // Without a destructor, so that a runtime in another thread-local's destructor has it still. `enter` empties it.
    static CURRENT: Cell<ManuallyDrop<Option<Rc<Timers>>>> =
        const { Cell::new(ManuallyDrop::new(None)) };
    static ORDER: Cell<u64> = const { Cell::new(0) };
}

pub(crate) struct Timers {
    clock: Clock,
    wheel: RefCell<Wheel<Waker>>,
    /// Kept for its capacity: the batch being woken.
    batch: Cell<Vec<Waker>>,
}

impl Timers {
    /// `slack` is how late a timer may be so that others are fired by the same wake.
    pub(crate) fn new(clock: Clock, slack: Duration) -> Rc<Self> {
        let slack = u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX);
        Rc::new(Self {
            clock,
            wheel: RefCell::new(Wheel::new(slack)),
            batch: Cell::default(),
        })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How many timers are armed. None: there is no reason to read the clock.
    pub(crate) fn armed(&self) -> usize {
        self.wheel.borrow().armed()
    }

    /// Wakes what is due, in the order of the deadlines. Does not read the clock if nothing is armed.
    ///
    /// The time, if it was read and nothing was due: it still is good for [`Self::until_next`].
    pub(crate) fn fire(&self) -> Option<u64> {
        if self.armed() == 0 {
            return None;
        }
        let now = self.clock.now_ns();
        let mut batch = self.batch.take();
        self.wheel
            .borrow_mut()
            .advance(now, |waker| batch.push(waker));
        let idle = batch.is_empty();
        for waker in batch.drain(..) {
            // A foreign waker that panics must not keep the others asleep.
            guarded(|| waker.wake());
        }
        self.batch.set(batch);
        idle.then_some(now)
    }

    /// How long the thread may sleep, as far as the timers are concerned; `None`: for ever. The clock is read unless the
    /// time is known.
    pub(crate) fn until_next(&self, now: Option<u64>) -> Option<Duration> {
        let next = self.wheel.borrow_mut().next_advance()?;
        let now = now.unwrap_or_else(|| self.clock.now_ns());
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    /// Makes these the thread's current timers for the time of `f`, also if it unwinds.
    ///
    /// As the thread exits, a runtime kept in another thread-local may be shut down after this one is gone; there are
    /// no current timers then.
    pub(crate) fn enter<R>(self: &Rc<Self>, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<Rc<Timers>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                drop(replace(self.0.take()));
            }
        }

        let _restore = Restore(replace(Some(Rc::clone(self))));
        f()
    }

    /// The timers of the runtime this thread is running, if it is.
    pub(super) fn current() -> Option<Rc<Self>> {
        with_current(Option::clone)
    }

    pub(super) fn is_current(self: &Rc<Self>) -> bool {
        with_current(|current| {
            current
                .as_ref()
                .is_some_and(|current| Rc::ptr_eq(current, self))
        })
    }

    /// Arms a timer; `None` if the wheel has been past that deadline already.
    pub(super) fn arm(&self, deadline: Instant, order: u64, waker: &Waker) -> Option<Key> {
        let deadline = self.clock.to_ns(deadline);
        if deadline <= self.wheel.borrow().now() {
            return None;
        }
        let waker = waker.clone();
        Some(self.wheel.borrow_mut().insert(deadline, order, waker))
    }

    /// `true` if the timer is due, else `waker` is the one to wake.
    pub(super) fn poll(&self, key: Key, waker: &Waker) -> bool {
        let mut wheel = self.wheel.borrow_mut();
        if wheel.is_due(key) {
            return true;
        }
        if wheel
            .value_mut(key)
            .as_ref()
            .is_some_and(|old| old.will_wake(waker))
        {
            return false;
        }
        drop(wheel);
        let new = waker.clone();
        let old = self.wheel.borrow_mut().value_mut(key).replace(new);
        drop(old);
        false
    }

    pub(super) fn reset(&self, key: Key, deadline: Instant, order: u64) {
        let deadline = self.clock.to_ns(deadline);
        self.wheel.borrow_mut().reset(key, deadline, order);
    }

    pub(super) fn is_due(&self, key: Key) -> bool {
        self.wheel.borrow().is_due(key)
    }

    pub(super) fn remove(&self, key: Key) {
        let waker = self.wheel.borrow_mut().remove(key);
        drop(waker);
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("armed", &self.armed())
            .finish_non_exhaustive()
    }
}

/// Makes them the thread's, and tells whose were.
fn replace(timers: Option<Rc<Timers>>) -> Option<Rc<Timers>> {
    let timers = CURRENT.with(|current| current.replace(ManuallyDrop::new(timers)));
    ManuallyDrop::into_inner(timers)
}

/// Taken and put back: `look` runs nothing that could miss it meanwhile.
fn with_current<R>(look: impl FnOnce(&Option<Rc<Timers>>) -> R) -> R {
    CURRENT.with(|current| {
        let timers = current.replace(ManuallyDrop::new(None));
        let seen = look(&timers);
        current.set(timers);
        seen
    })
}

/// A number for each sleep of this thread, to tell apart those with one deadline.
pub(super) fn next_order() -> u64 {
    ORDER.with(|order| order.replace(order.get() + 1))
}
