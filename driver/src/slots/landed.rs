//! The side of an operation's future: whether its operation has landed, who is to be woken when it has, and taking it out.

use std::task::Waker;

use super::memory::Memory;
use super::slot::{Phase, Slot};
use super::table::Free;
use super::{Key, Slots, Taken};
use crate::fd::FdRef;
use crate::op::{Operation, Origin, Success};

/// What [`Slots::look`] sees.
pub(crate) enum Look<'a> {
    /// The operation can be taken out.
    Done(Landed<'a>),
    /// It can, by [`Slots::take_out`]: it has something that few have.
    DoneRare,
    /// It is in flight.
    Waits,
    /// It is in flight, and another waker is the one to wake.
    WaitsForAnother,
}

/// A finished operation, in its slot still.
pub(crate) struct Landed<'a> {
    index: u32,
    slot: &'a mut Slot,
    free: &'a mut Free,
    memory: &'a mut Memory,
}

impl Slots {
    /// Whether an operation's last completion has come; or else, whether `waker` is the one to wake then.
    ///
    /// # Panics
    ///
    /// If the operation was taken out before.
    #[inline]
    pub(crate) fn look(&mut self, key: Key, waker: &Waker) -> Look<'_> {
        let found = self.table.with_free(key.index);
        let (slot, free) = found
            .filter(|(slot, _)| slot.generation == key.generation)
            .expect("a slot keeps its operation until its future takes it");
        match (slot.phase, &slot.waker) {
            (Phase::Done, _) if slot.is_rare() => Look::DoneRare,
            (Phase::Done, _) => Look::Done(Landed {
                index: key.index,
                slot,
                free,
                memory: &mut self.memory,
            }),
            (Phase::InFlight | Phase::Sent, Some(old)) if old.will_wake(waker) => Look::Waits,
            (phase, _) => {
                assert!(
                    matches!(phase, Phase::InFlight | Phase::Sent),
                    "an operation was taken out twice"
                );
                Look::WaitsForAnother
            }
        }
    }

    /// Makes `waker` the one to wake. The one before is the caller's to drop, with nothing borrowed: that may run
    /// anything.
    pub(crate) fn set_waker(&mut self, key: Key, waker: Waker) -> Option<Waker> {
        match self.slot_mut(key) {
            Some(slot) => slot.waker.replace(waker),
            None => Some(waker),
        }
    }

    /// Takes an operation out whose last completion has come, with its result: one of those that are rare.
    ///
    /// # Safety
    ///
    /// `T` is the type `key` was inserted with.
    ///
    /// # Panics
    ///
    /// If its last completion has not come, or it was taken out before.
    #[cold]
    pub(crate) unsafe fn take_out<T: Operation>(&mut self, key: Key) -> Taken<T> {
        let slot = &self.table[key.index];
        assert!(
            slot.generation == key.generation && slot.phase == Phase::Done,
            "an operation was taken out while in flight"
        );
        let group = self.take_rare(key);
        let slot = &mut self.table[key.index];
        // SAFETY: the caller's; the slot is freed below, so this is done once.
        let taken = unsafe { slot.take_out(&mut self.memory, group) };
        self.free(key);
        taken
    }

    /// What an operation has besides its descriptor: its group; its completions that nobody asked for are discarded.
    #[cold]
    fn take_rare(&mut self, key: Key) -> Option<FdRef> {
        self.discard_more(key);
        self.take_group(key)
    }

    /// The next completion of a multishot operation, if one has come.
    #[inline]
    pub(crate) fn take_more(&mut self, key: Key) -> Option<Success> {
        let rare = self.slot(key)?.rare;
        self.rare.get_mut(rare as usize)?.more.pop_front()
    }

    /// Gives completions that nobody has asked for to the operation, which is about to be taken out.
    #[cold]
    fn discard_more(&mut self, key: Key) {
        let slot = &self.table[key.index];
        let Some(rare) = self.rare.get_mut(slot.rare as usize) else {
            return;
        };
        for success in rare.more.drain(..) {
            let origin = Origin {
                fd: slot.fd.as_ref(),
                ..Origin::NOWHERE
            };
            // SAFETY: the operation is in its cell still; the last completion has come.
            unsafe { (slot.vtable.discard_more)(slot.cell.as_ptr(), success, origin) };
        }
    }
}

impl Landed<'_> {
    /// Takes the operation out, with its result.
    ///
    /// # Safety
    ///
    /// `T` is the type it was inserted with.
    #[inline]
    pub(crate) unsafe fn take_out<T: Operation>(self) -> Taken<T> {
        // SAFETY: the caller's; the slot is freed below, so this is done once.
        let taken = unsafe { self.slot.take_out(self.memory, None) };
        self.free.put(self.index, self.slot);
        taken
    }
}
