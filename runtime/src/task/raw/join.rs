//! The join handle's side of a cell: reading the output, leaving a waker, asking for an abort.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::task::{Poll, Waker};

use super::{Header, Phase, current, enqueue, free, guarded, wake_remote};
use crate::task::join::JoinError;
use crate::task::state::{CANCEL, COMPLETE, JOIN_WAKER, REMOTE};

/// The one join handle of a task whose output is a `T`. Holds the reference that the state word began with.
pub(in crate::task) struct JoinRef<T> {
    task: NonNull<Header>,
    output: PhantomData<fn() -> T>,
}

// SAFETY: all the handle does from another thread goes through the state word, and the output, the only thing of the
// task's that it touches, is `Send`. It gives out no reference to the output, so `Sync` asks no more than that.
unsafe impl<T: Send> Send for JoinRef<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for JoinRef<T> {}

impl<T> JoinRef<T> {
    pub(super) fn new(task: NonNull<Header>) -> Self {
        Self {
            task,
            output: PhantomData,
        }
    }

    pub(super) fn task(&self) -> NonNull<Header> {
        self.task
    }

    fn header(&self) -> &Header {
        // SAFETY: the handle's reference keeps the cell.
        unsafe { self.task.as_ref() }
    }

    pub(in crate::task) fn is_finished(&self) -> bool {
        self.header().state.load().has(COMPLETE)
    }

    /// The output if there is one, else `waker` is woken when there is.
    ///
    /// # Panics
    /// If the output was taken before.
    pub(in crate::task) fn poll(&mut self, waker: &Waker) -> Poll<Result<T, JoinError>> {
        let header = self.header();
        let seen = header.state.load();
        if seen.has(COMPLETE) {
            return Poll::Ready(self.take_output());
        }
        if seen.has(JOIN_WAKER) {
            // SAFETY: the bit lets both sides read.
            let same = header.join_waker.with(|slot| {
                unsafe { &*slot }
                    .as_ref()
                    .is_some_and(|left| left.will_wake(waker))
            });
            if same {
                return Poll::Pending;
            }
            if header.state.unset_join_waker().is_err() {
                return Poll::Ready(self.take_output());
            }
        }
        let waker = waker.clone();
        // SAFETY: the bit is clear, which makes the slot the handle's, and `&mut self` makes that us.
        let old = header
            .join_waker
            .with_mut(|slot| unsafe { (*slot).replace(waker) });
        let left = header.state.set_join_waker();
        guarded(|| drop(old));
        match left {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(self.take_output()),
        }
    }

    fn take_output(&mut self) -> Result<T, JoinError> {
        let mut output = MaybeUninit::<Result<T, JoinError>>::uninit();
        // SAFETY: complete, seen with acquire; this is the join handle; `T` is the output's type by construction.
        let taken =
            unsafe { (self.header().vtable.take_output)(self.task, output.as_mut_ptr().cast()) };
        assert!(taken, "`JoinHandle` polled after it gave its result");
        // SAFETY: `true` says it was written.
        unsafe { output.assume_init() }
    }

    pub(in crate::task) fn abort(&self) {
        abort(self.task);
    }

    pub(in crate::task) fn abort_ref(&self) -> AbortRef {
        // The state word's half: it is right on every thread, and this is not a hot path.
        self.header().state.add_ref();
        AbortRef(self.task)
    }
}

impl<T> Drop for JoinRef<T> {
    fn drop(&mut self) {
        let header = self.header();
        let mut seen = header.state.load();
        let mut output_dropped = false;
        let free_it = loop {
            if seen.has(COMPLETE) && !output_dropped {
                // SAFETY: complete, seen with acquire, and this is the join handle.
                unsafe { (header.vtable.drop_output)(self.task) };
                output_dropped = true;
            } else if seen.has(JOIN_WAKER)
                && !seen.has(COMPLETE)
                && header.state.unset_join_waker().is_ok()
            {
                // Else the joiner's cell would live as long as this task.
                // SAFETY: the bit is clear, which makes the slot the handle's.
                let waker = header.join_waker.with_mut(|slot| unsafe { (*slot).take() });
                guarded(|| drop(waker));
                seen = header.state.load();
                continue;
            }
            match header.state.drop_join(seen) {
                Ok(free_it) => break free_it,
                Err(actual) => seen = actual,
            }
        };
        if free_it {
            free(self.task);
        }
    }
}

/// A counted reference that can only ask for an abort.
pub(in crate::task) struct AbortRef(NonNull<Header>);

// SAFETY: it touches the state word, and on the owner thread what the owner may touch.
unsafe impl Send for AbortRef {}
// SAFETY: as above.
unsafe impl Sync for AbortRef {}

impl AbortRef {
    pub(in crate::task) fn abort(&self) {
        abort(self.0);
    }

    pub(in crate::task) fn is_finished(&self) -> bool {
        // SAFETY: the reference keeps the cell.
        unsafe { self.0.as_ref() }.state.load().has(COMPLETE)
    }
}

impl Clone for AbortRef {
    fn clone(&self) -> Self {
        // SAFETY: as above.
        unsafe { self.0.as_ref() }.state.add_ref();
        Self(self.0)
    }
}

impl Drop for AbortRef {
    fn drop(&mut self) {
        super::release(self.0);
    }
}

/// The future is dropped where it is polled, so an abort is a mark and a wake.
fn abort(task: NonNull<Header>) {
    // SAFETY: the caller has a reference.
    let header = unsafe { task.as_ref() };
    current::with_owner(header.owner, |local| match local {
        Some(local) => {
            if header.phase.get() != Phase::Done {
                header.state.set(CANCEL);
                enqueue(header, task, local);
            }
        }
        None => wake_remote(task, CANCEL | REMOTE),
    });
}

impl<T> fmt::Debug for JoinRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("finished", &self.is_finished())
            .finish()
    }
}
