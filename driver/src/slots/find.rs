//! Finding operations: all, those on a descriptor, the one a cancel must name.

use super::slot::{Phase, Slot};
use super::{Key, Slots};
use crate::fd::{FdRef, NONE};

impl Slots {
    /// Marks the operation as cancelled and says which entry a cancel must name for that to work: its
    /// own, or that of the first member of its chain that is still running. `None`: nothing to cancel.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<Key> {
        let slot = self.slot_mut(key).filter(|s| s.phase == Phase::InFlight)?;
        slot.cancelled = true;
        let before = |key| self.rare(self.slot(key)?)?.chain_prev;
        let in_flight = |key| self.slot(key).is_some_and(|s| s.phase == Phase::InFlight);
        let mut target = key;
        while let Some(previous) = before(target).filter(|key| in_flight(*key)) {
            target = previous;
        }
        // What the cancel interrupts must not pass for a signal.
        self.slot_mut(target)?.cancelled = true;
        Some(target)
    }

    /// The operations in `phase` that `pick` picks, oldest first.
    pub(super) fn keys(&self, phase: Phase, pick: impl Fn(&Slot) -> bool) -> Vec<Key> {
        let picked = self
            .table
            .iter()
            .filter(|(_, slot)| slot.phase == phase && pick(slot));
        let key = |(index, slot): (u32, &Slot)| Key {
            index,
            generation: slot.generation,
        };
        let mut keys: Vec<Key> = picked.map(key).collect();
        keys.sort_by_key(|key| key.generation);
        keys
    }

    /// All operations in flight that can be cancelled, oldest first: all but closes in the background.
    pub(crate) fn all_cancellable(&self) -> Vec<Key> {
        // What is kept without a descriptor is a close; interrupting it would leave open whether it happened.
        self.keys(Phase::InFlight, |slot| !slot.keep || slot.fd.is_some())
    }

    /// Whether the operation follows another in a chain.
    pub(crate) fn follows(&self, key: Key) -> bool {
        let rare = self.slot(key).and_then(|slot| self.rare(slot));
        rare.is_some_and(|rare| rare.chain_prev.is_some())
    }

    /// How many operations in flight on `fd` the kernel has started, or will before it starts anything else.
    /// `None`: one follows others in a chain; when it starts is not known.
    pub(crate) fn started_on(&self, fd: &FdRef, home: bool) -> Option<u32> {
        let keys = self.on_fd(fd, home);
        (!keys.iter().any(|key| self.follows(*key))).then_some(keys.len() as u32)
    }

    /// The operations in flight on `fd`, oldest first.
    pub(crate) fn on_fd(&self, fd: &FdRef, home: bool) -> Vec<Key> {
        if !home {
            return self.keys(Phase::InFlight, |slot| self.is_on(slot, fd));
        }
        let mut keys = Vec::new();
        let mut index = fd.head();
        while index != NONE {
            let slot = &self.table[index];
            keys.push(Key {
                index,
                generation: slot.generation,
            });
            index = slot.next;
        }
        let several = fd.second_head() != NONE;
        self.add_seconds(fd, &mut keys);
        if several {
            keys.sort_by_key(|key| key.generation);
        } else {
            keys.reverse();
        }
        keys
    }

    // --- the descriptor's list ------------------------------------------------------------------

    #[inline]
    pub(super) fn list(&mut self, index: u32) {
        let slot = &mut self.table[index];
        let Some(fd) = &slot.fd else {
            return;
        };
        let head = fd.head();
        fd.set_head(index);
        slot.next = head;
        slot.listed = true;
        if head != NONE {
            self.table[head].prev = index;
        }
    }

    /// Takes an operation out of its descriptor's list, where most are alone.
    #[inline]
    pub(super) fn unlist(&mut self, index: u32) {
        let slot = &mut self.table[index];
        slot.listed = false;
        match (&slot.fd, slot.next, slot.prev) {
            (Some(fd), NONE, NONE) => fd.set_head(NONE),
            (_, next, prev) => self.close_gap(index, next, prev),
        }
    }

    fn close_gap(&mut self, index: u32, next: u32, prev: u32) {
        if prev != NONE {
            self.table[prev].next = next;
        } else if let Some(fd) = &self.table[index].fd {
            fd.set_head(next);
        }
        if next != NONE {
            self.table[next].prev = prev;
        }
    }
}
