//! The join handle's side of a cell: reading the output, leaving a waker, asking for an abort.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::task::{Poll, Waker};

use super::waker::{clone_ref, drop_ref, enqueue, task_behind, wake_remote};
use super::{Header, Phase, current, drop_quietly, release};
use crate::task::join::JoinError;
use crate::task::state::{CANCEL, COMPLETE, JOIN_WAKER, REMOTE};

/// The one join handle of a task whose output is a `T`. Holds the reference that the state word began with, until it
/// has given the output.
pub(in crate::task) struct JoinRef<T> {
    task: Option<NonNull<Header>>,
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
            task: Some(task),
            output: PhantomData,
        }
    }

    pub(super) fn task(&self) -> Option<NonNull<Header>> {
        self.task
    }

    fn header(&self) -> Option<&Header> {
        // SAFETY: as long as it is there, the handle's reference keeps the cell.
        self.task.map(|task| unsafe { task.as_ref() })
    }

    pub(in crate::task) fn is_finished(&self) -> bool {
        self.header()
            .is_none_or(|header| header.state.load().has(COMPLETE))
    }

    /// The output if there is one, else `waker` is woken when there is.
    ///
    /// # Panics
    /// If the output was taken before.
    #[inline]
    pub(in crate::task) fn poll(&mut self, waker: &Waker) -> Poll<Result<T, JoinError>> {
        let task = self
            .task
            .expect("`JoinHandle` polled after it gave its result");
        // SAFETY: the handle's reference keeps the cell.
        let header = unsafe { task.as_ref() };
        if header.state.load().has(COMPLETE) || !header.leave_waker(waker) {
            return Poll::Ready(self.take_output(task));
        }
        Poll::Pending
    }

    /// The output of the task, which is complete, and the end of this handle's reference to it.
    fn take_output(&mut self, task: NonNull<Header>) -> Result<T, JoinError> {
        self.task = None;
        let mut output = MaybeUninit::<Result<T, JoinError>>::uninit();
        // SAFETY: complete, seen with acquire; this is the join handle, which takes the output once, as the task it
        // has taken from itself shows; `T` is the output's type by construction.
        let output = unsafe {
            (task.as_ref().vtable.take_output)(task, output.as_mut_ptr().cast());
            output.assume_init()
        };
        release(task);
        output
    }

    pub(in crate::task) fn abort(&self) {
        if let Some(task) = self.task {
            abort(task);
        }
    }

    pub(in crate::task) fn abort_ref(&self) -> AbortRef {
        // The state word's half of the count: right on every thread, and this is not a hot path.
        self.header().inspect(|header| header.state.add_ref());
        AbortRef(self.task)
    }
}

impl Header {
    /// `false` if the task has completed.
    #[inline]
    fn leave_waker(&self, waker: &Waker) -> bool {
        match task_behind(waker) {
            Some(joiner) if current::is_owner(self.owner) => {
                self.joiner.get() == Some(joiner) || self.leave_joiner(joiner)
            }
            _ => self.leave_foreign_waker(waker),
        }
    }

    /// On the owner thread.
    #[inline]
    fn leave_joiner(&self, joiner: NonNull<Header>) -> bool {
        clone_ref(joiner);
        match self.joiner.replace(Some(joiner)) {
            None => true,
            Some(old) => self.joiner_left_instead_of(old),
        }
    }

    #[cold]
    fn joiner_left_instead_of(&self, old: NonNull<Header>) -> bool {
        drop_ref(old);
        // What the last reference frees may do anything as it is dropped. A completed task has woken its joiner.
        !self.state.load().has(COMPLETE)
    }

    /// On any thread.
    #[cold]
    fn leave_foreign_waker(&self, waker: &Waker) -> bool {
        if self.state.load().has(JOIN_WAKER) {
            let same = self.join_waker.with(|slot| {
                // SAFETY: the bit lets both sides read.
                let left = unsafe { &*slot };
                left.as_ref().is_some_and(|left| left.will_wake(waker))
            });
            if same {
                return true;
            }
            if self.state.unset_join_waker().is_err() {
                return false;
            }
        }
        let waker = waker.clone();
        // SAFETY: the bit is clear, which makes the slot the handle's, of which there is one.
        let old = self
            .join_waker
            .with_mut(|slot| unsafe { (*slot).replace(waker) });
        let left = self.state.set_join_waker();
        drop_quietly(old);
        left.is_ok()
    }

    /// The handle is dropped: the joiner's cell should not live as long as this task. (It does so if the handle left its
    /// waker on the owner thread and is dropped on another, which must not touch that.)
    fn forget_joiner(&self) {
        if current::is_owner(self.owner)
            && let Some(joiner) = self.joiner.take()
        {
            drop_ref(joiner);
        }
    }
}

impl<T> Drop for JoinRef<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(task) = self.task {
            detach(task);
        }
    }
}

/// The join handle is dropped without having given the output.
fn detach(task: NonNull<Header>) {
    // SAFETY: the handle's reference keeps the cell, until it is dropped here.
    let header = unsafe { task.as_ref() };
    header.forget_joiner();
    let mut seen = header.state.load();
    loop {
        if seen.has(COMPLETE) {
            // SAFETY: complete, seen with acquire, and this is the join handle.
            unsafe { (header.vtable.drop_output)(task) };
            return release(task);
        }
        if !seen.has(JOIN_WAKER) {
            match header.state.drop_join(seen) {
                Ok(()) => return,
                Err(actual) => seen = actual,
            }
        } else {
            if header.state.unset_join_waker().is_ok() {
                // Else what it wakes would live as long as this task.
                // SAFETY: the bit is clear, which makes the slot the handle's.
                let waker = header.join_waker.with_mut(|slot| unsafe { (*slot).take() });
                drop_quietly(waker);
            }
            seen = header.state.load();
        }
    }
}

/// A counted reference that can only ask for an abort; none to a task whose output was taken before.
pub(in crate::task) struct AbortRef(Option<NonNull<Header>>);

// SAFETY: it touches the state word, and on the owner thread what the owner may touch.
unsafe impl Send for AbortRef {}
// SAFETY: as above.
unsafe impl Sync for AbortRef {}

impl AbortRef {
    fn header(&self) -> Option<&Header> {
        // SAFETY: the reference keeps the cell.
        self.0.map(|task| unsafe { task.as_ref() })
    }

    pub(in crate::task) fn abort(&self) {
        if let Some(task) = self.0 {
            abort(task);
        }
    }

    pub(in crate::task) fn is_finished(&self) -> bool {
        self.header()
            .is_none_or(|header| header.state.load().has(COMPLETE))
    }
}

impl Clone for AbortRef {
    fn clone(&self) -> Self {
        self.header().inspect(|header| header.state.add_ref());
        Self(self.0)
    }
}

impl Drop for AbortRef {
    fn drop(&mut self) {
        if let Some(task) = self.0 {
            release(task);
        }
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
