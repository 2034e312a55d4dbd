//! The inbox's intrusive stack: any thread pushes, the owner takes all at once, in the order of the pushes.
//!
//! There is no ABA: nodes leave only all together, by a swap of the head.

use std::ptr::{self, NonNull};

use super::{Header, Incoming};
use crate::task::sync::{AtomicPtr, Ordering};

/// The head of a closed stack. No header lies at address one.
const CLOSED: *mut Header = ptr::without_provenance_mut(1);

pub(in crate::task) struct TaskStack {
    head: AtomicPtr<Header>,
}

impl TaskStack {
    pub(in crate::task) fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// `Ok(true)`: the stack was empty before. `Err`: it is closed.
    pub(in crate::task) fn push(&self, task: Incoming) -> Result<bool, Incoming> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == CLOSED {
                return Err(task);
            }
            // SAFETY: the REMOTE bit makes the link the pusher's, and the task's holder keeps the cell.
            unsafe { task.0.as_ref() }
                .link
                .with_mut(|link| unsafe { *link = NonNull::new(head) });
            // Release: who takes the node sees the link, and all that was written before the wake.
            match self.head.compare_exchange_weak(
                head,
                task.0.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(head.is_null()),
                Err(actual) => head = actual,
            }
        }
    }

    pub(in crate::task) fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        head.is_null() || head == CLOSED
    }

    /// For the owner only. Nothing to take from an empty or closed stack, and then no write either.
    pub(in crate::task) fn take(&self) -> Batch {
        if self.is_empty() {
            return Batch(None);
        }
        // Only the owner closes, so what is not empty now is still open.
        Batch::reverse(self.head.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// For the owner only. From now on pushes are refused; what came before is the caller's.
    pub(in crate::task) fn close(&self) -> Batch {
        Batch::reverse(self.head.swap(CLOSED, Ordering::Acquire))
    }
}

/// What the owner took, first pushed first.
pub(in crate::task) struct Batch(Option<NonNull<Header>>);

impl Batch {
    fn reverse(head: *mut Header) -> Self {
        let mut rest = if head == CLOSED {
            None
        } else {
            NonNull::new(head)
        };
        let mut reversed = None;
        while let Some(task) = rest {
            // SAFETY: the REMOTE bit, which only the taker clears, keeps cell and link until it surfaces.
            rest = unsafe { task.as_ref() }
                .link
                .with_mut(|link| unsafe { ptr::replace(link, reversed) });
            reversed = Some(task);
        }
        Self(reversed)
    }
}

impl Iterator for Batch {
    type Item = Incoming;

    fn next(&mut self) -> Option<Incoming> {
        let task = self.0?;
        // SAFETY: as in `reverse`; the link is read before the bit is cleared by whoever gets the task.
        self.0 = unsafe { task.as_ref() }
            .link
            .with_mut(|link| unsafe { (*link).take() });
        Some(Incoming(task))
    }
}
