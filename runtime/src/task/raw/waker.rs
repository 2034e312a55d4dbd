//! Wakers: a reference to a task each, without an `Arc`, and without an atomic on the owner thread.

use std::ptr::{self, NonNull};
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::{Header, Incoming, Phase, Runnable, current, release};
use crate::task::local::Local;
use crate::task::state::{COMPLETE, REMOTE};

static WAKER: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: a waker's data is a task it holds a reference to.
        let task = unsafe { task_of(data) };
        clone_ref(task);
        RawWaker::new(data, &WAKER)
    },
    |data| {
        // SAFETY: as above; the reference is this call's to drop.
        let task = unsafe { task_of(data) };
        wake_and_drop_ref(task);
    },
    // SAFETY: as above.
    |data| wake(unsafe { task_of(data) }),
    // SAFETY: as above.
    |data| drop_ref(unsafe { task_of(data) }),
);

/// # Safety
/// The waker takes over one reference to `task`.
pub(super) unsafe fn waker(task: NonNull<Header>) -> Waker {
    // SAFETY: the functions of the vtable uphold RawWaker's contract: any thread, any time a reference exists.
    unsafe { Waker::new(task.as_ptr().cast_const().cast(), &WAKER) }
}

/// The task that a waker wakes, if it is one of ours, of whatever executor.
#[inline]
pub(super) fn task_behind(waker: &Waker) -> Option<NonNull<Header>> {
    // SAFETY: a waker with this table was made by `waker`.
    ptr::eq(waker.vtable(), &WAKER).then(|| unsafe { task_of(waker.data()) })
}

/// # Safety
/// `data` came from [`waker`].
unsafe fn task_of(data: *const ()) -> NonNull<Header> {
    // SAFETY: it came from a NonNull.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

#[inline]
fn wake(task: NonNull<Header>) {
    // SAFETY: the caller has a reference.
    let header = unsafe { task.as_ref() };
    current::with_owner(header.owner, |local| match local {
        Some(local) => {
            if header.phase.get() != Phase::Done {
                enqueue(header, task, local);
            }
        }
        None => wake_remote(task, REMOTE),
    });
}

/// As [`wake`] and [`drop_ref`], for a task on its own thread in one go.
#[inline]
pub(super) fn wake_and_drop_ref(task: NonNull<Header>) {
    // SAFETY: the caller's reference, which this drops.
    let header = unsafe { task.as_ref() };
    current::with_owner(header.owner, |local| match local {
        Some(local) if header.phase.get() != Phase::Done => {
            header.refs.set(header.refs.get() - 1);
            enqueue(header, task, local);
        }
        _ => wake_elsewhere_and_drop_ref(task),
    });
}

#[cold]
fn wake_elsewhere_and_drop_ref(task: NonNull<Header>) {
    wake(task);
    drop_ref(task);
}

#[inline]
pub(super) fn enqueue(header: &Header, task: NonNull<Header>, local: &Local) {
    if !header.queued.replace(true) {
        local.push(Runnable(task));
    }
}

/// The caller has a reference and is not, or cannot tell that it is, on the owner thread.
#[cold]
pub(super) fn wake_remote(task: NonNull<Header>, bits: usize) {
    // SAFETY: the caller has a reference.
    let header = unsafe { task.as_ref() };
    if header.state.set(bits).has_any(REMOTE | COMPLETE) {
        return;
    }
    // SAFETY: every cell keeps its `Shared` alive.
    let shared = unsafe { header.owner.as_ref() };
    if let Err(Incoming(task)) = shared.inbox.push(Incoming(task)) {
        // Closed. If the owner completed the task in between, it counted a reference for the inbox.
        if header.state.clear_remote().has(COMPLETE) {
            release(task);
        }
    }
}

#[inline]
pub(super) fn clone_ref(task: NonNull<Header>) {
    // SAFETY: the caller has a reference.
    let header = unsafe { task.as_ref() };
    if current::is_owner(header.owner) && header.phase.get() != Phase::Done {
        header.refs.set(header.refs.get() + 1);
    } else {
        header.state.add_ref();
    }
}

#[inline]
pub(super) fn drop_ref(task: NonNull<Header>) {
    // SAFETY: the caller's reference, which this drops.
    let header = unsafe { task.as_ref() };
    if current::is_owner(header.owner) && header.phase.get() != Phase::Done {
        header.refs.set(header.refs.get() - 1);
    } else {
        release(task);
    }
}
