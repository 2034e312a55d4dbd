//! When operations may be tried by plain calls before they are handed to the ring.
//!
//! A call of its own for each costs less than an enter for one or two, and more than its share of an enter for many. So
//! attempts are made where little is handed over at a time; and only so many a turn, so that what is always ready does
//! not keep the loop from its turns.
//!
//! A send costs the same by a call as its share of an enter, but is done with at once: no slot, no second poll of its task,
//! and the peer has it earlier. Where many are to be sent they are better handed over together, for the caches' sake: what
//! receives and what sends in the kernel then run one after the other. So only a few sends a turn are tried.

use std::cell::Cell;

/// Attempts a turn.
const BUDGET: u32 = 128;
/// So many entries handed over at a time are few.
const FEW: u64 = 4;
/// Sends a turn, up to which they are few.
const FEW_SENDS: u32 = 8;

pub(super) struct Attempts {
    on: bool,
    left: Cell<u32>,
    made: Cell<u64>,
    enters: Cell<u64>,
    /// What had been staged, ever, when the kernel was entered last; and what of that was handed over then.
    staged: Cell<u64>,
    load: Cell<u64>,
    /// Sends begun in this turn, and in the one before.
    sends: Cell<u32>,
    sends_before: Cell<u32>,
}

impl Attempts {
    pub(super) fn new(on: bool) -> Attempts {
        Attempts {
            on,
            left: Cell::new(BUDGET),
            made: Cell::new(0),
            enters: Cell::new(0),
            staged: Cell::new(0),
            load: Cell::new(0),
            sends: Cell::new(0),
            sends_before: Cell::new(0),
        }
    }

    pub(super) fn made(&self) -> u64 {
        self.made.get()
    }

    /// How often the ring was entered.
    #[inline]
    pub(super) fn enters(&self) -> u64 {
        self.enters.get()
    }

    /// A new turn.
    #[inline]
    pub(super) fn refill(&self) {
        self.left.set(BUDGET);
        self.sends_before.set(self.sends.take());
    }

    /// The ring is entered; so much has been staged so far.
    #[inline]
    pub(super) fn entered(&self, staged: u64) {
        self.enters.set(self.enters.get() + 1);
        self.load.set(staged - self.staged.replace(staged));
    }

    /// Whether one may be made now; it is.
    #[inline]
    pub(super) fn take(&self, staged: u64) -> bool {
        let left = self.left.get();
        let few = self.load.get() <= FEW && staged - self.staged.get() <= FEW;
        let may = self.on && few && left > 0;
        if may {
            self.left.set(left - 1);
            self.made.set(self.made.get() + 1);
        }
        may
    }

    /// The same of a send that begins. It counts as one of the turn's also where it is not `worth` a try.
    #[inline]
    pub(super) fn take_send(&self, worth: bool) -> bool {
        let sends = self.sends.get();
        self.sends.set(sends.saturating_add(1));
        let few = sends < FEW_SENDS && self.sends_before.get() <= FEW_SENDS;
        let may = self.on && worth && few;
        if may {
            self.made.set(self.made.get() + 1);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_made_a_turn() {
        let attempts = Attempts::new(true);
        let made = |attempts: &Attempts| (0..1000).filter(|_| attempts.take(0)).count();
        assert_eq!(made(&attempts), BUDGET as usize);
        attempts.refill();
        assert_eq!(made(&attempts), BUDGET as usize);
        assert_eq!(attempts.made(), 2 * u64::from(BUDGET));
    }

    #[test]
    fn none_is_made_where_much_is_handed_over_at_a_time_or_about_to_be() {
        let attempts = Attempts::new(true);
        assert!(attempts.take(FEW));
        assert!(!attempts.take(FEW + 1));
        attempts.entered(FEW + 1);
        assert!(!attempts.take(FEW + 1));
        attempts.entered(2 * FEW);
        assert!(attempts.take(2 * FEW));
    }

    #[test]
    fn none_is_made_where_they_are_off() {
        assert!(!Attempts::new(false).take(0));
        assert!(!Attempts::new(false).take_send(true));
    }

    #[test]
    fn a_few_sends_a_turn_are_tried_and_none_after_a_turn_with_many() {
        let attempts = Attempts::new(true);
        let tried = |count| (0..count).filter(|_| attempts.take_send(true)).count() as u32;
        assert_eq!(tried(FEW_SENDS), FEW_SENDS);
        attempts.refill();
        assert_eq!(tried(3 * FEW_SENDS), FEW_SENDS);
        attempts.refill();
        assert_eq!(tried(FEW_SENDS), 0);
        attempts.refill();
        assert_eq!(tried(1), 1);
    }
}
