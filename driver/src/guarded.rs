//! Running what is the user's (a destructor, a waker) where a panic would leave something half done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Whether `f` came to its end. If it panicked, the panic hook has told of it.
pub fn guarded(f: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else {
        return true;
    };
    // A payload whose own destructor panics is given up on: leaking it is the one thing that cannot fail.
    let leaked = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    std::mem::forget(leaked);
    false
}

/// Wakes them all, and tells how many panicked: none of these keeps those behind it asleep.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) -> u64 {
    let mut wakers = wakers.into_iter();
    let mut panics = 0;
    while !guarded(|| wakers.by_ref().for_each(Waker::wake)) {
        panics += 1;
    }
    panics
}
