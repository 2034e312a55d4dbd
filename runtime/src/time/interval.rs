//! [`interval`]: one tick a period, and what to do about those that were missed.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::clock::far_add;
use super::now;
use super::sleep::{Sleep, sleep_until};

/// A tick later than this is a missed one, so that a timer's ordinary lateness does not shift the ticks after it.
/// With a period shorter than twice that, half the period counts.
const MISSED_AFTER: Duration = Duration::from_millis(5);

/// Ticks at once, and then every `period`.
///
/// # Panics
///
/// If `period` is zero; and when a tick is awaited outside of a runtime.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let rt = runtime::Runtime::new().unwrap();
/// rt.block_on(async {
///     let start = Instant::now();
///     let mut ticks = runtime::time::interval(Duration::from_millis(1));
///     for _ in 0..3 {
///         ticks.tick().await;
///     }
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(now(), period)
}

/// Ticks at `start`, and then every `period`.
///
/// # Panics
///
/// As [`interval`].
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "the period of an interval must not be zero"
    );
    Interval {
        sleep: sleep_until(start),
        period,
        missed: MissedTickBehavior::default(),
    }
}

/// What an [`Interval`] does after its owner was too late for a tick.
///
/// A tick counts as missed when it is given more than 5 ms (or half a period, if that is less) after it was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Ticks as fast as they are asked for until all that were missed are made up. The default.
    #[default]
    Burst,
    /// The next tick is one period after the late one was given; all later ones are shifted.
    Delay,
    /// Missed ticks are left out; the next is the first one ahead that is a multiple of the period after the start.
    Skip,
}

impl MissedTickBehavior {
    /// When to tick after the tick that was due at `due` and given, too late, at `now`.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        match self {
            Self::Burst => far_add(due, period),
            Self::Delay => far_add(now, period),
            Self::Skip => {
                let over = now.duration_since(due).as_nanos() % period.as_nanos();
                // Less than the period, which is a Duration.
                let secs = (over / 1_000_000_000) as u64;
                let over = Duration::new(secs, (over % 1_000_000_000) as u32);
                far_add(now, period - over)
            }
        }
    }
}

/// Ticks; from [`interval`] and [`interval_at`]. Also a [`Stream`] of them, without end.
#[derive(Debug)]
pub struct Interval {
    /// Its deadline is the next tick's.
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick, and gives the time at which it was due.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses no tick.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// As [`tick`](Self::tick), for futures written by hand.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(self.sleep.poll_elapsed(cx));
        let (due, now) = (self.sleep.deadline(), now());
        let late = now.saturating_duration_since(due) > MISSED_AFTER.min(self.period / 2);
        let missed = if late {
            self.missed
        } else {
            MissedTickBehavior::Burst
        };
        self.sleep.reset(missed.next(due, now, self.period));
        Poll::Ready(due)
    }

    /// Lets the next tick come one period from now.
    pub fn reset(&mut self) {
        self.reset_at(far_add(now(), self.period));
    }

    /// Lets the next tick come at once.
    pub fn reset_immediately(&mut self) {
        self.reset_at(now());
    }

    /// Lets the next tick come at `deadline`.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.sleep.reset(deadline);
    }

    /// The time between two ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What is done about missed ticks.
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Chooses what is done about missed ticks.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}
