//! Which executor this thread is running, and the part of an executor that outlives it.

use std::cell::Cell as Slot;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::Hold;
use crate::task::inbox::{Inbox, Unpark};
use crate::task::local::Local;
use crate::task::sync::{AtomicIsize, Cell, Ordering};

/// What other threads see of an executor. Lives as long as the executor, any of its task cells, or any `Remote`.
pub(in crate::task) struct Shared {
    pub(in crate::task) inbox: Inbox,
    /// Cells held together that this word knows of; see [`SharedCells`].
    cells: AtomicIsize,
}

/// More than there can be cells: while the executor lives, the word cannot reach zero.
const EXECUTOR_LIVES: isize = isize::MAX / 2;

impl Shared {
    pub(in crate::task) fn new(unpark: Arc<dyn Unpark>) -> Arc<Self> {
        Arc::new(Self {
            inbox: Inbox::new(unpark),
            cells: AtomicIsize::new(EXECUTOR_LIVES),
        })
    }
}

/// The one strong count of `Shared` that all cells spawned by the owner hold together.
///
/// The owner counts them in a plain cell as it makes and frees them; other threads count theirs off the atomic word.
/// As the executor goes, the plain count is folded into the word, and whoever takes that to zero drops the `Arc`:
/// the scheme of a task's own references, once more.
pub(in crate::task) struct SharedCells {
    shared: NonNull<Shared>,
    live: Cell<isize>,
}

impl SharedCells {
    pub(in crate::task) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: hold(shared),
            live: Cell::new(0),
        }
    }

    pub(super) fn add_one(&self) {
        self.live.set(self.live.get() + 1);
    }

    /// One of those held together was freed by the owner.
    pub(super) fn remove_one(&self) {
        self.live.set(self.live.get() - 1);
    }
}

impl Drop for SharedCells {
    fn drop(&mut self) {
        count_off(self.shared, EXECUTOR_LIVES - self.live.get());
    }
}

fn count_off(shared: NonNull<Shared>, cells: isize) {
    // SAFETY: the strong count that the cells hold together is dropped only below, by the last of them.
    let before = unsafe { shared.as_ref() }
        .cells
        .fetch_sub(cells, Ordering::AcqRel);
    if before == cells {
        drop_hold(shared);
    }
}

/// A strong count of its own, to be given back to [`release`].
pub(super) fn hold(shared: &Arc<Shared>) -> NonNull<Shared> {
    let raw = Arc::into_raw(Arc::clone(shared));
    // SAFETY: an Arc's pointer is never null.
    unsafe { NonNull::new_unchecked(raw.cast_mut()) }
}

fn drop_hold(shared: NonNull<Shared>) {
    // SAFETY: the count came from `hold`, and its one holder gives it back here.
    drop(unsafe { Arc::from_raw(shared.as_ptr().cast_const()) });
}

/// A cell was freed, by whichever thread.
pub(super) fn release(owner: NonNull<Shared>, hold: Hold) {
    match hold {
        Hold::Alone => drop_hold(owner),
        Hold::Together => count_off(owner, 1),
    }
}

struct Current {
    owner: Slot<*const Shared>,
    local: Slot<*const Local>,
}

impl Current {
    const fn new() -> Self {
        Self {
            owner: Slot::new(ptr::null()),
            local: Slot::new(ptr::null()),
        }
    }
}

// No destructor, so that a waker used in another thread-local's destructor still finds it.
#[cfg(not(loom))]
thread_local! { static CURRENT: Current = const { Current::new() } }
#[cfg(loom)]
loom::thread_local! { static CURRENT: Current = Current::new(); }

/// Makes `local` this thread's current executor for the time of `f`, also if it unwinds.
pub(in crate::task) fn enter<R>(local: &Local, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Shared, *const Local);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|current| {
                current.owner.set(self.0);
                current.local.set(self.1);
            });
        }
    }

    let _restore = CURRENT.with(|current| {
        Restore(
            current.owner.replace(Arc::as_ptr(local.shared())),
            current.local.replace(local),
        )
    });
    f()
}

#[inline]
pub(super) fn is_owner(owner: NonNull<Shared>) -> bool {
    CURRENT.with(|current| ptr::eq(current.owner.get(), owner.as_ptr()))
}

/// Gives `f` the executor if it is the current one of this thread.
#[inline(always)]
pub(super) fn with_owner<R>(owner: NonNull<Shared>, f: impl FnOnce(Option<&Local>) -> R) -> R {
    let (is_owner, local) = CURRENT.with(|current| {
        let is_owner = ptr::eq(current.owner.get(), owner.as_ptr());
        (is_owner, current.local.get())
    });
    if is_owner {
        // SAFETY: as in `with_current`; where an owner is named, its executor is, too.
        f(Some(unsafe { &*local }))
    } else {
        f(None)
    }
}

/// Gives `f` this thread's current executor, if there is one.
#[inline]
pub(in crate::task) fn with_current<R>(f: impl FnOnce(Option<&Local>) -> R) -> R {
    let local = CURRENT.with(|current| current.local.get());
    // SAFETY: set by an `enter` further up this stack, which borrows the executor until it has restored the pointer;
    // entries nest, being closures, so nothing `f` does can end that one.
    f(unsafe { local.as_ref() })
}
