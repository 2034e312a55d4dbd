//! What an operation holds besides its descriptor: a second one, a serial group.
//!
//! Both are in its [`Rare`](super::slot::Rare): operations with one descriptor do not pay for them. The second
//! descriptor is given up at the last completion, the group when the result is taken.

use std::sync::Arc;

use super::slot::{SecondFd, Slot};
use super::{Key, Slots};
use crate::fd::{FdRef, Lane, NONE};

impl Slots {
    /// Gives the operation a second descriptor, on which it is counted in already, with the lane to give up.
    /// `home`: this driver's slots are the ones the descriptor lists.
    pub(crate) fn set_second(&mut self, key: Key, fd: FdRef, lane: Option<Lane>, home: bool) {
        let head = if home { fd.second_head() } else { NONE };
        if home {
            fd.set_second_head(key.index);
        }
        self.rare_mut(key).second = Some(SecondFd {
            fd,
            lane,
            listed: home,
            next: head,
            prev: NONE,
        });
        if let Some(next) = self.second_mut(head) {
            next.prev = key.index;
        }
    }

    /// Gives the operation the group's lane to give up.
    pub(crate) fn set_group(&mut self, key: Key, group: FdRef) {
        self.rare_mut(key).group = Some(group);
    }

    /// Takes the second descriptor away: the last completion has come. The caller counts it out there.
    pub(super) fn take_second(&mut self, key: Key) -> Option<(FdRef, Option<Lane>)> {
        let rare = self.table[key.index].rare;
        let second = self.rare.get_mut(rare as usize)?.second.take()?;
        if second.listed {
            match self.second_mut(second.prev) {
                Some(prev) => prev.next = second.next,
                None => second.fd.set_second_head(second.next),
            }
            if let Some(next) = self.second_mut(second.next) {
                next.prev = second.prev;
            }
        }
        Some((second.fd, second.lane))
    }

    pub(super) fn take_group(&mut self, key: Key) -> Option<FdRef> {
        let rare = self.table[key.index].rare;
        self.rare.get_mut(rare as usize)?.group.take()
    }

    /// The operation's second descriptor, while it is in flight.
    pub(super) fn second(&self, slot: &Slot) -> Option<&SecondFd> {
        self.rare(slot)?.second.as_ref()
    }

    fn second_mut(&mut self, index: u32) -> Option<&mut SecondFd> {
        let rare = self.table.get(index)?.rare;
        self.rare.get_mut(rare as usize)?.second.as_mut()
    }

    /// Adds the operations in flight that have `fd` as their second descriptor, newest first.
    pub(super) fn add_seconds(&self, fd: &FdRef, keys: &mut Vec<Key>) {
        let mut index = fd.second_head();
        while let Some(slot) = self.table.get(index) {
            keys.push(Key {
                index,
                generation: slot.generation,
            });
            index = self.second(slot).map_or(NONE, |second| second.next);
        }
    }

    /// Whether the operation is on `fd`, by either of its descriptors.
    pub(super) fn is_on(&self, slot: &Slot, fd: &FdRef) -> bool {
        slot.fd.as_ref().is_some_and(|f| Arc::ptr_eq(f, fd))
            || self.second(slot).is_some_and(|s| Arc::ptr_eq(&s.fd, fd))
    }
}
