//! The loop of one thread: tasks, inbox, timers, park.
//!
//! It decides *when* each of them is looked at and knows none of them closely; what parks the thread is behind
//! [`Park`]. The policy:
//!
//! 1. Run a slice: at most `budget` polls, first in, first out. The main future is one of the tasks.
//! 2. Take in what other threads woke and spawned.
//! 3. Fire the timers that are due. The clock is not read if none is armed.
//! 4. Something is runnable: let the park hand over and reap, without sleeping; but only after a slice that ran
//!    something, for else nothing can be new. Nothing is: announce the sleep, look at the inbox once more, sleep until
//!    the next timer at most.
//!
//! All that is ready at one time is run in this order: what was runnable, first woken first run; what other threads
//! woke; timers, by their deadlines; what the ring brings, in the order in which the kernel completed it, be it of
//! descriptors, signals or children. Each runs once before any runs again. [`Core::run_once`] keeps to it, too.
//!
//! So a task that wakes itself for ever delays timers, completions and other threads by one slice; and what a thousand
//! yields cost the park is a thousand polls divided by the budget.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::task::{JoinHandle, Local, MainTask, PollMain, Remote, Unpark};
use crate::time::{Clock, Timers};

/// Polls per slice, unless configured.
pub(crate) const DEFAULT_BUDGET: u32 = 256;

/// How late a timer may be so that others are fired by the same wake, unless configured: what the kernel, too, allows
/// itself where a thread sleeps (`PR_SET_TIMERSLACK`).
pub(crate) const DEFAULT_SLACK: Duration = Duration::from_micros(50);

/// How long a turn may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// At most this long; `None`: until something happens.
    AtMost(Option<Duration>),
}

/// Where the thread sleeps and its I/O happens, as far as the loop can tell.
pub(crate) trait Park {
    /// Hands over what is staged; reaps what has completed and wakes it; sleeps only if `wait` says so.
    ///
    /// It may return early for no reason. An unpark, also one from before this call, ends its sleep.
    fn turn(&self, wait: Wait) -> io::Result<()>;

    /// Ends a sleep in [`Self::turn`], from any thread.
    fn unparker(&self) -> Arc<dyn Unpark>;

    /// Whether a turn would find something now.
    fn has_more(&self) -> bool {
        false
    }
}

/// What the loop has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Tasks taken from the run queue.
    pub(crate) polls: u64,
    /// Slices they were run in.
    pub(crate) slices: u64,
    /// Tasks this thread has taken on.
    pub(crate) spawned: u64,
    /// Times the park was called without leave to sleep.
    pub(crate) turns: u64,
    /// Times it was called with it.
    pub(crate) sleeps: u64,
}

/// An executor, its timers, and what they park on.
pub(crate) struct Core<P: Park> {
    // Dropped in this order: futures may hold operations of the park's.
    local: Local,
    timers: Rc<Timers>,
    park: P,
    budget: u32,
    turns: Cell<u64>,
    sleeps: Cell<u64>,
    /// The loop runs further up the stack.
    looping: Cell<bool>,
}

thread_local! {
    static BLOCKING: Cell<bool> = const { Cell::new(false) };
}

/// What the main future has come to.
enum Main<T> {
    Pending,
    Ready(T),
    Panicked(Box<dyn Any + Send>),
}

impl<P: Park> Core<P> {
    /// `budget` is how many tasks a slice polls at most; at least one. `slack` is how late timers may be.
    pub(crate) fn new(park: P, clock: Clock, budget: u32, slack: Duration) -> Self {
        Self {
            local: Local::new(park.unparker()),
            timers: Timers::new(clock, slack),
            park,
            budget: budget.max(1),
            turns: Cell::new(0),
            sleeps: Cell::new(0),
            looping: Cell::new(false),
        }
    }

    /// Runs until `future` is ready; spawned tasks run beside it, and stay where they are when it is.
    ///
    /// # Errors
    /// The park's. The future is dropped then; the tasks stay.
    ///
    /// # Panics
    /// If this thread is in a `block_on` already. A panic of the future's goes on from here, when all is tidy.
    #[track_caller]
    pub(crate) fn block_on<F: Future>(&self, future: F) -> io::Result<F::Output> {
        let _blocking = Blocking::begin();
        let _looping = Looping::begin(&self.looping);
        self.enter(|| {
            let mut future = pin!(Some(future));
            let mut main = Main::Pending;
            // Caught here, so that the task it runs as, the slice and the counters are none the wiser.
            let mut poll = |cx: &mut Context<'_>| {
                let future = future
                    .as_mut()
                    .as_pin_mut()
                    .expect("the main future was dropped");
                main = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                    Ok(Poll::Pending) => return false,
                    Ok(Poll::Ready(output)) => Main::Ready(output),
                    Err(payload) => Main::Panicked(payload),
                };
                true
            };
            let task = self.local.spawn_main();
            let ended = self.turn_until_done(&task, &mut poll);
            self.local.end_main(task);
            // Not left to unwinding: a destructor that panics then would abort the process.
            let dropped = catch_unwind(AssertUnwindSafe(|| future.set(None)));
            match (main, dropped) {
                (Main::Panicked(payload), _) | (_, Err(payload)) => resume_unwind(payload),
                (Main::Ready(output), Ok(())) => Ok(output),
                (Main::Pending, Ok(())) => Err(ended.expect_err("only an error ends it early")),
            }
        })
    }

    fn turn_until_done(&self, task: &MainTask, poll: &mut PollMain<'_>) -> io::Result<()> {
        loop {
            let slice = self.local.run_slice(self.budget, Some((task, &mut *poll)));
            if slice.main_done {
                return Ok(());
            }
            self.local.drain_inbox();
            let now = self.timers.fire();
            if self.local.has_runnable() {
                if slice.polled > 0 {
                    self.turn(Wait::No)?;
                }
            } else if self.local.announce_sleep() {
                let slept = self.turn(Wait::AtMost(self.timers.until_next(now)));
                self.local.awake();
                slept?;
            }
        }
    }

    /// One round for a caller with a loop of its own: what came, what is due, one slice; no sleep.
    ///
    /// `true` if there is more to run at once. If not, every wake from outside a run unparks from here on, on this
    /// thread, too.
    ///
    /// # Errors
    /// The park's.
    ///
    /// # Panics
    /// From inside a task of this executor, and from all else that it calls: a waker, a buffer's destructor.
    #[track_caller]
    pub(crate) fn run_once(&self) -> io::Result<bool> {
        let _looping = Looping::begin(&self.looping);
        let _blocking = Blocking::nest();
        self.enter(|| {
            self.local.awake();
            self.local.drain_inbox();
            self.timers.fire();
            self.turn(Wait::No)?;
            if self.local.run_slice(self.budget, None).polled > 0 {
                self.turn(Wait::No)?;
            }
            Ok(self.local.has_runnable() || self.park.has_more() || !self.local.announce_sleep())
        })
    }

    /// How long a caller with a loop of its own may wait before the next [`Self::run_once`], unless unparked, if that
    /// said that there is no more to run.
    pub(crate) fn until_next_timer(&self) -> Option<Duration> {
        self.timers.until_next(None)
    }

    /// Makes this the thread's current runtime for the time of `f`: for `spawn` and for timers.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        self.local.enter(|| self.timers.enter(f))
    }

    /// Spawns from outside; it runs in the next `block_on` or `run_once`.
    pub(crate) fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let task = self.local.spawn(future);
        self.local.unpark();
        task
    }

    /// Spawns from any thread.
    pub(crate) fn remote(&self) -> Remote {
        self.local.remote()
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn park(&self) -> &P {
        &self.park
    }

    /// Tasks that are not complete.
    pub(crate) fn live(&self) -> usize {
        self.local.live()
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            polls: self.local.polls(),
            slices: self.local.slices(),
            spawned: self.local.spawned(),
            turns: self.turns.get(),
            sleeps: self.sleeps.get(),
        }
    }

    /// Drops every future, here and now, and refuses what comes later. The park is left to its owner. Idempotent.
    pub(crate) fn shutdown(&self) {
        self.enter(|| self.local.shutdown());
    }

    fn turn(&self, wait: Wait) -> io::Result<()> {
        let counter = if wait == Wait::No {
            &self.turns
        } else {
            &self.sleeps
        };
        counter.set(counter.get() + 1);
        self.park.turn(wait)
    }
}

impl<P: Park> Drop for Core<P> {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// This thread is inside a loop of turns; a `block_on` inside it would starve it. It has what was the case before.
struct Blocking(bool);

impl Blocking {
    #[track_caller]
    fn begin() -> Self {
        assert!(
            !BLOCKING.get(),
            "this thread is inside `block_on` (or `run_once`) already: await the future instead, or `spawn` it, \
             or run it on a thread of its own"
        );
        Self::nest()
    }

    /// For what starves nobody.
    fn nest() -> Self {
        Self(BLOCKING.replace(true))
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        BLOCKING.set(self.0);
    }
}

/// A round within a round would take the main task's wake, and settle completions out of their order.
struct Looping<'a>(&'a Cell<bool>);

impl<'a> Looping<'a> {
    #[track_caller]
    fn begin(looping: &'a Cell<bool>) -> Self {
        assert!(
            !looping.replace(true),
            "this runtime is running already: `run_once` is for the loop around it, not for its tasks"
        );
        Self(looping)
    }
}

impl Drop for Looping<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
