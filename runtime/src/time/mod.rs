//! Time: sleeping, deadlines, intervals.
//!
//! A [`Sleep`] is the one future here; [`Timeout`] and [`Interval`] are made of it. Its timer lies in the wheel
//! (`wheel.rs`) of the runtime that polls it (`timers.rs`) from the first poll until it fires, is reset, or is dropped.
//! The turn loop advances the wheel once per slice of polls and sleeps no longer than to the next deadline; no kernel
//! timer is made per sleep.
//!
//! Deadlines are exact to the nanosecond and never met early. Timers that are due together are woken in the order of
//! their deadlines, and of equal ones in the order in which they were made.

mod clock;
mod interval;
mod sleep;
#[cfg(all(test, not(loom)))]
mod tests;
mod timeout;
mod timers;
mod wheel;

use std::time::Instant;

pub(crate) use self::clock::Clock;
pub use self::interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use self::sleep::{Sleep, sleep, sleep_until};
pub use self::timeout::{Elapsed, Timeout, timeout, timeout_at};
pub(crate) use self::timers::Timers;

/// What time it is for this thread's runtime: [`Instant::now`], except under a simulated clock.
#[must_use]
pub fn now() -> Instant {
    Timers::current().map_or_else(Instant::now, |timers| timers.clock().now())
}
