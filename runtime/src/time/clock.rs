//! What time it is: the system's monotonic clock, or one that a simulation moves.
//!
//! The wheel counts nanoseconds since the clock's epoch; users speak [`Instant`]. Both conversions are exact, and
//! saturate: before the epoch is zero, 584 years after it is `u64::MAX`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// As good as never, where an `Instant` cannot say it.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// One runtime's clock.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// `CLOCK_MONOTONIC`.
    System { epoch: Instant },
    /// Stands still until its owner moves it on.
    Manual { epoch: Instant, ns: Rc<Cell<u64>> },
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self::System {
            epoch: Instant::now(),
        }
    }

    /// A clock that shows `ns` nanoseconds since its epoch.
    #[cfg_attr(
        any(not(test), loom),
        expect(dead_code, reason = "tests turn it by hand")
    )]
    pub(crate) fn manual(ns: Rc<Cell<u64>>) -> Self {
        Self::Manual {
            epoch: Instant::now(),
            ns,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::System { .. } => Instant::now(),
            Self::Manual { epoch, ns } => far_add(*epoch, Duration::from_nanos(ns.get())),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        match self {
            Self::System { .. } => self.to_ns(Instant::now()),
            Self::Manual { ns, .. } => ns.get(),
        }
    }

    pub(crate) fn to_ns(&self, instant: Instant) -> u64 {
        let (Self::System { epoch } | Self::Manual { epoch, .. }) = self;
        let since = instant.saturating_duration_since(*epoch);
        since
            .as_secs()
            .checked_mul(1_000_000_000)
            .and_then(|ns| ns.checked_add(u64::from(since.subsec_nanos())))
            .unwrap_or(u64::MAX)
    }
}

/// `instant + duration`, or in a hundred years if there is no such `Instant`.
pub(super) fn far_add(instant: Instant, duration: Duration) -> Instant {
    instant
        .checked_add(duration)
        .or_else(|| instant.checked_add(FAR))
        .unwrap_or(instant)
}
