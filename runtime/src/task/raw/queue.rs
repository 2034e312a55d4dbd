//! The run queue: first in, first out, linked through the headers, so that it allocates nothing however long it gets.

use std::ptr::NonNull;

use super::{Header, Runnable};
use crate::task::sync::Cell;

/// Tasks to be polled. One is in it at most once, which its `queued` says; it then is kept by the executor's hold, or, once
/// complete, by a reference that [`finish`](super::finish) counted for the queue.
pub(in crate::task) struct RunQueue {
    first: Cell<Option<NonNull<Header>>>,
    last: Cell<Option<NonNull<Header>>>,
}

impl RunQueue {
    pub(in crate::task) fn new() -> Self {
        Self {
            first: Cell::new(None),
            last: Cell::new(None),
        }
    }

    #[inline]
    pub(in crate::task) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    #[inline]
    pub(in crate::task) fn push(&self, Runnable(task): Runnable) {
        match self.last.replace(Some(task)) {
            // SAFETY: what is in the queue lives; and is touched by the owner thread alone, which a queue cannot leave.
            Some(last) => unsafe { last.as_ref() }.next.set(Some(task)),
            None => self.first.set(Some(task)),
        }
    }

    #[inline]
    pub(in crate::task) fn pop(&self) -> Option<Runnable> {
        let task = self.first.get()?;
        // SAFETY: as above.
        let next = unsafe { task.as_ref() }.next.take();
        self.first.set(next);
        if next.is_none() {
            self.last.set(None);
        }
        Some(Runnable(task))
    }
}
