//! What waits for a time: timeouts, deadlines, and what is to be tried again a little later.

use std::collections::BTreeMap;
use std::time::Instant;

use super::requests::Key;

/// A timer that is armed.
pub(super) type TimerId = (Instant, u64);

/// Timers in the order in which they are due; equal ones in that of their arming.
#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: BTreeMap<TimerId, Key>,
    count: u64,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Instant, key: Key) -> TimerId {
        self.count += 1;
        self.armed.insert((at, self.count), key);
        (at, self.count)
    }

    pub(super) fn disarm(&mut self, id: TimerId) {
        self.armed.remove(&id);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.armed.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let first = self.armed.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
