//! The list of an executor's tasks, in no order: each knows its slot, and the last one takes the slot of one that leaves.

use std::ptr::NonNull;

use super::{Header, NO_SLOT};
use crate::task::sync::UnsafeCell;

/// The tasks that are not complete. Being in it is the executor's hold: it keeps the cell.
///
/// It stays on the owner thread, not being `Sync`, and no reference into it outlives a function of this file, none of
/// which calls out.
pub(in crate::task) struct TaskList {
    tasks: UnsafeCell<Vec<NonNull<Header>>>,
}

impl TaskList {
    pub(in crate::task) fn new() -> Self {
        Self {
            tasks: UnsafeCell::new(Vec::new()),
        }
    }

    pub(in crate::task) fn len(&self) -> usize {
        // SAFETY: nobody else refers into the list, as said above.
        self.tasks.with(|tasks| unsafe { &*tasks }.len())
    }

    /// Puts in a task that is in no list.
    #[inline]
    pub(super) fn push(&self, task: NonNull<Header>) {
        let slot = self.tasks.with_mut(|tasks| {
            // SAFETY: as in `len`.
            let tasks = unsafe { &mut *tasks };
            tasks.push(task);
            tasks.len() - 1
        });
        assert!(slot < NO_SLOT as usize, "four billion tasks");
        // SAFETY: the executor holds the task from here on.
        unsafe { task.as_ref() }.slot.set(slot as u32);
    }

    /// Takes out the task of this slot.
    #[inline]
    pub(super) fn remove(&self, slot: u32) {
        let moved = self.tasks.with_mut(|tasks| {
            // SAFETY: as in `len`.
            let tasks = unsafe { &mut *tasks };
            tasks.swap_remove(slot as usize);
            tasks.get(slot as usize).copied()
        });
        if let Some(moved) = moved {
            // SAFETY: what is in the list lives.
            unsafe { moved.as_ref() }.slot.set(slot);
        }
    }

    pub(super) fn last(&self) -> Option<NonNull<Header>> {
        // SAFETY: as in `len`.
        self.tasks.with(|tasks| unsafe { &*tasks }.last().copied())
    }
}
