//! The part of a task's state that other threads see: one word, five bits and a count.
//!
//! What only the owner thread needs (is it queued, is it running, the wakers it cloned itself) is *not* here but in
//! plain cells of the header, so that a wake, a poll and a waker's clone on the owner thread touch no atomic at all.
//!
//! # The count
//!
//! The number of references is split: this word counts those made or dropped by other threads (and the join handle's),
//! a plain cell counts those the owner made and dropped. Either half may be negative, only the sum means something.
//! [`State::complete`] folds the owner's half into the word, in the very step that sets [`COMPLETE`]; from then on the
//! word counts alone and whoever takes it to zero frees the cell. Before that nobody can: the owner holds the task.

use super::sync::{AtomicUsize, Ordering};

/// The task is in the inbox, or the thread that set this bit is about to put it there.
///
/// Set by a waker (or an abort) on another thread, which must push the task exactly if the bit was clear before and
/// [`COMPLETE`] too. Cleared by the owner as it takes the task out, *before* it polls it; or by the pusher, if the
/// inbox turned out to be closed. While it is set nobody else may touch the task's inbox link.
pub(super) const REMOTE: usize = 1 << 0;

/// Someone asked for the task to be aborted.
///
/// Set by a join or abort handle, never cleared. The owner reads it before each poll and then drops the future instead.
pub(super) const CANCEL: usize = 1 << 1;

/// The future is gone; its output is in the cell, or was taken or dropped.
///
/// Set once, by the owner. Excludes every later poll and push. The output belongs to the join handle if
/// [`JOIN_INTEREST`] was set in that step, else the owner dropped it before.
pub(super) const COMPLETE: usize = 1 << 2;

/// The join handle exists.
///
/// Set at birth, cleared by a handle that is dropped before completion, together with its reference. It never comes
/// back, and after completion it means nothing.
pub(super) const JOIN_INTEREST: usize = 1 << 3;

/// The join handle left a waker in the cell that is no task's of ours, or left it away from the owner thread.
///
/// (A task that awaits another one on the same thread, the common case, is a plain pointer in the header, and no bit.)
/// Set and cleared by the handle, only while [`COMPLETE`] is clear. Clear: the slot is the handle's alone, to read and
/// write. Set: both sides may read it, none may write.
pub(super) const JOIN_WAKER: usize = 1 << 4;

const REF_SHIFT: u32 = 5;
const REF: usize = 1 << REF_SHIFT;

/// One reading of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot(usize);

impl Snapshot {
    pub(super) fn has(self, bits: usize) -> bool {
        self.0 & bits == bits
    }

    pub(super) fn has_any(self, bits: usize) -> bool {
        self.0 & bits != 0
    }

    /// The references left, which is the whole truth only once [`COMPLETE`] is set.
    fn is_unreferenced(self) -> bool {
        self.has(COMPLETE) && self.0 >> REF_SHIFT == 0
    }
}

/// What [`State::complete`] found.
pub(super) struct Completed {
    /// A join waker waits to be woken; one reference was kept for doing so.
    pub(super) wake_joiner: bool,
    /// No reference is left: free the cell.
    pub(super) free: bool,
}

pub(super) struct State(AtomicUsize);

impl State {
    /// A new task with its join handle, whose reference is the only one this word counts.
    pub(super) fn new(bits: usize) -> Self {
        Self(AtomicUsize::new(bits | JOIN_INTEREST | REF))
    }

    /// Acquire: who sees [`COMPLETE`] also sees the output.
    #[inline]
    pub(super) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Sets `bits` and says what was there before.
    ///
    /// Acquire and release: a waker that finds [`REMOTE`] set does nothing more, and relies on the owner's
    /// [`Self::clear_remote`], later in this word's order, to see all that the waker's thread wrote.
    pub(super) fn set(&self, bits: usize) -> Snapshot {
        Snapshot(self.0.fetch_or(bits, Ordering::AcqRel))
    }

    pub(super) fn clear_remote(&self) -> Snapshot {
        Snapshot(self.0.fetch_and(!REMOTE, Ordering::AcqRel))
    }

    /// A reference made by a thread that is not the owner, or after completion.
    ///
    /// There is no overflow check: 2^58 leaked references do not fit into an address space.
    pub(super) fn add_ref(&self) {
        self.0.fetch_add(REF, Ordering::Relaxed);
    }

    /// Drops such a reference; `true` if the cell is to be freed.
    ///
    /// Only a reference can make another. So if the task is complete, which makes the count whole, and the count is
    /// one, then that one is the caller's, nobody else can come, and there is nothing to write.
    #[must_use]
    #[inline]
    pub(super) fn drop_ref(&self) -> bool {
        let now = self.load();
        if now.has(COMPLETE) && now.0 >> REF_SHIFT == 1 {
            return true;
        }
        let before = self.0.fetch_sub(REF, Ordering::AcqRel);
        Snapshot(before.wrapping_sub(REF)).is_unreferenced()
    }

    /// The future is gone and the output is in place: folds the owner's references into the word and publishes both.
    ///
    /// `refs` are the owner's references without the one by which the executor held the task; one more is kept for the
    /// inbox if the task is in it, and one for waking the joiner. `output_unwanted` runs, at most once and before
    /// anything is published, if the join handle is gone.
    pub(super) fn complete(&self, refs: isize, output_unwanted: impl FnOnce()) -> Completed {
        let mut output_unwanted = Some(output_unwanted);
        let mut now = self.load();
        loop {
            if !now.has(JOIN_INTEREST)
                && let Some(drop_output) = output_unwanted.take()
            {
                drop_output();
            }
            let wake_joiner = now.has(JOIN_INTEREST | JOIN_WAKER);
            let kept = isize::from(now.has(REMOTE)) + isize::from(wake_joiner);
            let delta = (refs + kept).cast_unsigned().wrapping_mul(REF);
            let next = Snapshot((now.0 | COMPLETE).wrapping_add(delta));
            match self.exchange(now, next) {
                Ok(()) => {
                    return Completed {
                        wake_joiner,
                        free: next.is_unreferenced(),
                    };
                }
                Err(actual) => now = actual,
            }
        }
    }

    /// As [`Self::complete`], where the owner has no references, if nothing but the join handle, which left no waker here,
    /// refers to the task; that is the common case. `false`: something does, or may, and nothing was done.
    #[inline]
    pub(super) fn complete_for_handle(&self) -> bool {
        let alone = Snapshot(JOIN_INTEREST | REF);
        self.load() == alone && self.exchange(alone, Snapshot(alone.0 | COMPLETE)).is_ok()
    }

    /// The handle wrote its waker; `Err` if the task completed meanwhile, which the owner then tells nobody.
    pub(super) fn set_join_waker(&self) -> Result<(), Snapshot> {
        self.update_unless_complete(|now| now | JOIN_WAKER)
    }

    /// The handle wants its waker slot back; `Err` if the task completed, so that the owner may be reading it.
    pub(super) fn unset_join_waker(&self) -> Result<(), Snapshot> {
        self.update_unless_complete(|now| now & !JOIN_WAKER)
    }

    /// Drops the join handle's interest and reference, if the word still is `seen`, a task's that is not complete.
    pub(super) fn drop_join(&self, seen: Snapshot) -> Result<(), Snapshot> {
        self.exchange(seen, Snapshot((seen.0 & !JOIN_INTEREST).wrapping_sub(REF)))
    }

    fn update_unless_complete(&self, f: impl Fn(usize) -> usize) -> Result<(), Snapshot> {
        let mut now = self.load();
        while !now.has(COMPLETE) {
            match self.exchange(now, Snapshot(f(now.0))) {
                Ok(()) => return Ok(()),
                Err(actual) => now = actual,
            }
        }
        Err(now)
    }

    fn exchange(&self, now: Snapshot, next: Snapshot) -> Result<(), Snapshot> {
        self.0
            .compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Snapshot)
    }
}
