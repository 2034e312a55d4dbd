//! The slots themselves, by number: those in use, and a list of those that are free.
//!
//! A slot stays where it was written; taking one writes its fields in place, freeing one writes two. Each has a
//! small cell of its own (see [`super::memory`]), so that most operations lend none.

use std::ops::{Index, IndexMut};

use super::memory::Cells;
use super::slot::{MOST, Phase, Slot};
use crate::fd::NONE;

#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    cells: Cells,
    free: Free,
}

/// The list of free slots.
pub(super) struct Free {
    /// The first one; each names the next.
    first: u32,
    live: usize,
}

impl Default for Free {
    fn default() -> Free {
        Free {
            first: NONE,
            live: 0,
        }
    }
}

impl Free {
    /// Frees a slot, the one at `index`, whose operation is out.
    #[inline]
    pub(super) fn put(&mut self, index: u32, slot: &mut Slot) {
        debug_assert!(slot.phase != Phase::Free, "a slot was freed twice");
        slot.phase = Phase::Free;
        slot.next = self.first;
        self.first = index;
        self.live -= 1;
    }
}

impl Table {
    /// Slots in use.
    pub(super) fn live(&self) -> usize {
        self.free.live
    }

    /// Takes a free slot into use. Its fields are as its last tenant left them, but for those that own something, which
    /// are empty.
    #[inline]
    pub(super) fn take(&mut self) -> (u32, &mut Slot) {
        if self.free.first == NONE {
            self.add();
        }
        let index = self.free.first;
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.phase == Phase::Free, "a slot was given to two");
        self.free.first = slot.next;
        self.free.live += 1;
        (index, slot)
    }

    #[cold]
    fn add(&mut self) {
        let index = self.slots.len();
        assert!(
            index < MOST as usize,
            "more than 2^30 operations in flight on one thread"
        );
        self.slots.push(Slot::new(self.cells.cell(index)));
        self.slots[index].next = self.free.first;
        self.free.first = index as u32;
    }

    /// Frees a slot whose operation is out.
    #[inline]
    pub(super) fn free(&mut self, index: u32) {
        self.free.put(index, &mut self.slots[index as usize]);
    }

    /// A slot, in use or not, and the list that it goes to when it no longer is.
    #[inline]
    pub(super) fn with_free(&mut self, index: u32) -> Option<(&mut Slot, &mut Free)> {
        Some((self.slots.get_mut(index as usize)?, &mut self.free))
    }

    /// A slot, in use or not.
    #[inline]
    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Slot> {
        let slot = self.slots.get(index as usize);
        slot.filter(|slot| slot.phase != Phase::Free)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(index as usize);
        slot.filter(|slot| slot.phase != Phase::Free)
    }

    /// Those in use, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        let slots = (0..).zip(&self.slots);
        slots.filter(|(_, slot)| slot.phase != Phase::Free)
    }
}

impl Index<u32> for Table {
    type Output = Slot;

    #[inline]
    fn index(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }
}

impl IndexMut<u32> for Table {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_that_was_freed_last_is_taken_first_and_none_is_given_to_two() {
        let mut table = Table::default();
        let take = |table: &mut Table| {
            let (index, slot) = table.take();
            slot.phase = Phase::InFlight;
            index
        };
        let taken: Vec<u32> = (0..200).map(|_| take(&mut table)).collect();
        assert_eq!(taken, (0..200).collect::<Vec<u32>>());
        assert_eq!(table.live(), 200);
        table.free(7);
        table.free(150);
        assert!(table.get(7).is_none() && table.get(150).is_none());
        assert_eq!((table.live(), table.iter().count()), (198, 198));
        assert_eq!((take(&mut table), take(&mut table)), (150, 7));
        assert_eq!(take(&mut table), 200);
    }

    #[test]
    fn each_slot_has_a_cell_of_its_own() {
        let mut table = Table::default();
        let mut cells: Vec<usize> = (0..200)
            .map(|_| {
                let (_, slot) = table.take();
                slot.phase = Phase::InFlight;
                slot.home.as_ptr().addr()
            })
            .collect();
        cells.sort_unstable();
        cells.dedup();
        assert_eq!(cells.len(), 200);
        assert!(
            cells
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= super::super::memory::OWN)
        );
    }
}
