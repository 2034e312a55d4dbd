//! [`Sleep`]: the one future that a timer is; timeouts and intervals are made of it.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::clock::far_add;
use super::now;
use super::timers::{Timers, next_order};
use super::wheel::Key;

/// Waits for `duration`, counted from this call.
///
/// It is never early. How late it can be is up to the kernel's timers and to the tasks of this thread: timers are
/// looked at once per slice of polls; and those of about the same time are fired together
/// ([`Builder::timer_slack`](crate::Builder::timer_slack), 50 us). A duration too long to add to an [`Instant`] waits for a
/// hundred years.
///
/// # Cancel safety
///
/// Dropping it takes the timer out; there is nothing to lose.
///
/// # Panics
///
/// When it is polled outside of a runtime. It may be made anywhere.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let rt = runtime::Runtime::new().unwrap();
/// rt.block_on(async {
///     let start = Instant::now();
///     runtime::time::sleep(Duration::from_millis(2)).await;
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// });
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(far_add(now(), duration))
}

/// Waits until `deadline`; not at all if that has passed.
///
/// # Cancel safety
///
/// As [`sleep`].
///
/// # Panics
///
/// As [`sleep`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let rt = runtime::Runtime::new().unwrap();
/// rt.block_on(async {
///     let deadline = Instant::now() + Duration::from_millis(2);
///     runtime::time::sleep_until(deadline).await;
///     assert!(Instant::now() >= deadline);
/// });
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        order: next_order(),
        state: State::New,
    }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// The timer is armed by the first poll, in the runtime that polls it, and moves along if another one polls it later.
/// Of two with the same deadline the one made first is woken first. It may outlive the runtime: polled in another it
/// goes on there, dropped it is gone.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: Instant,
    order: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Armed { timers: Rc<Timers>, key: Key },
    Elapsed,
}

impl Sleep {
    /// When it ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the runtime has seen the deadline pass, so that the next poll is ready. Never before the first poll.
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        match &self.state {
            State::New => false,
            State::Armed { timers, key } => timers.is_due(*key),
            State::Elapsed => true,
        }
    }

    /// Moves it to another deadline, whether it has elapsed or not, without a new allocation.
    ///
    /// Among equal deadlines it counts as made now. As with any future, the task is woken only after a poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let rt = runtime::Runtime::new().unwrap();
    /// rt.block_on(async {
    ///     let start = Instant::now();
    ///     let mut sleep = runtime::time::sleep(Duration::from_secs(3600));
    ///     sleep.reset(start + Duration::from_millis(2));
    ///     sleep.await;
    ///     assert!(start.elapsed() < Duration::from_secs(3600));
    /// });
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.order = next_order();
        match &self.state {
            State::Armed { timers, key } => timers.reset(*key, deadline, self.order),
            State::New | State::Elapsed => self.state = State::New,
        }
    }

    pub(super) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::Elapsed => return Poll::Ready(()),
            State::Armed { timers, key } if timers.is_current() => {
                if !timers.poll(*key, cx.waker()) {
                    return Poll::Pending;
                }
                self.disarm(State::Elapsed);
                return Poll::Ready(());
            }
            State::Armed { .. } => self.disarm(State::New),
            State::New => {}
        }
        let Some(timers) = Timers::current() else {
            panic!(
                "a `Sleep` (or a timeout, or an interval) was polled outside of a runtime: \
                 await it inside `Runtime::block_on` or in a task spawned with `runtime::spawn`"
            );
        };
        match timers.arm(self.deadline, self.order, cx.waker()) {
            Some(key) => {
                self.state = State::Armed { timers, key };
                Poll::Pending
            }
            None => {
                self.state = State::Elapsed;
                Poll::Ready(())
            }
        }
    }

    fn disarm(&mut self, next: State) {
        if let State::Armed { timers, key } = mem::replace(&mut self.state, next) {
            timers.remove(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_elapsed(cx)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm(State::Elapsed);
    }
}
