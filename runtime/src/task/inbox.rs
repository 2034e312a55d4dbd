//! Where other threads leave tasks for an executor: remote wakes and remote spawns; and how they wake it up.
//!
//! # The protocol
//!
//! 1. A producer pushes its task. The task's `REMOTE` bit, which only the producer that found it clear may act upon,
//!    makes sure that no task is pushed twice.
//! 2. If the stack was empty before, the producer makes a sequentially consistent fence and then reads `asleep`.
//!    (If it was not, the one who pushed onto the empty stack does so, and the owner cannot miss both tasks.)
//! 3. Only if `asleep` is set, and only if this producer is the one to clear it, it pokes: at most one poke a sleep.
//! 4. The owner, out of work, sets `asleep`, makes a sequentially consistent fence and then looks at the stack again.
//! 5. Empty: it may sleep. Not empty: it clears `asleep` and goes on working.
//! 6. Of the two fences one comes first. If the producer's, the owner's second look finds the task. If the owner's, the
//!    producer finds `asleep`. So no task is pushed unseen while its owner falls asleep.
//! 7. Between 5 and the sleep itself a poke may come. It sticks: [`Unpark`] promises that the next sleep then returns
//!    at once. A poke may also come late, into a later sleep; that one ends early, which is harmless.
//! 8. The owner, awake again, clears `asleep` itself: what ended the sleep need not have been a poke.
//! 9. An executor that shuts down closes the stack and takes what is in it. Every later push is refused and its
//!    producer takes the `REMOTE` bit back: a wake is dropped, a spawned task completes as cancelled.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::raw::{Batch, Incoming, TaskStack};
use super::sync::{AtomicBool, Ordering, fence};

/// Ends the sleep of the thread that parks, from any other thread.
///
/// It sticks: if nobody sleeps, the next sleep returns at once. More often than once is as good as once.
pub(crate) trait Unpark: Send + Sync {
    /// Ends the sleep, or the next one.
    fn unpark(&self);
}

pub(super) struct Inbox {
    /// Contended by producers; padded away from what the owner writes around each sleep.
    stack: CachePadded<TaskStack>,
    asleep: CachePadded<AtomicBool>,
    unpark: Arc<dyn Unpark>,
}

impl Inbox {
    pub(super) fn new(unpark: Arc<dyn Unpark>) -> Self {
        Self {
            stack: CachePadded::new(TaskStack::new()),
            asleep: CachePadded::new(AtomicBool::new(false)),
            unpark,
        }
    }

    /// Steps 1 to 3. `Err`: the executor has closed.
    pub(super) fn push(&self, task: Incoming) -> Result<(), Incoming> {
        if self.stack.push(task)? {
            fence(Ordering::SeqCst);
            self.poke();
        }
        Ok(())
    }

    /// Step 3.
    pub(super) fn poke(&self) {
        // Not a swap: a producer that comes too late must write nothing, not `false` over `false`.
        if self.asleep.load(Ordering::Relaxed)
            && self
                .asleep
                .compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.unpark.unpark();
        }
    }

    /// Steps 4 and 5, for the owner: `true` if it may sleep now, and then it calls [`Self::awake`] after.
    pub(super) fn announce_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.stack.is_empty() {
            return true;
        }
        self.awake();
        false
    }

    /// Step 8, for the owner.
    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// All that came, in the order it came, for the owner.
    pub(super) fn take(&self) -> Batch {
        self.stack.take()
    }

    /// Step 9, for the owner.
    pub(super) fn close(&self) -> Batch {
        self.stack.close()
    }
}
