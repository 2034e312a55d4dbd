//! Running what is the user's (a destructor, a waker) where a panic would leave something half done.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Whether `f` came to its end. If it panicked, the panic hook has told of it.
pub(crate) fn guarded(f: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else {
        return true;
    };
    // A payload whose own destructor panics is given up on: leaking it is the one thing that cannot fail.
    let leaked = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    std::mem::forget(leaked);
    false
}
