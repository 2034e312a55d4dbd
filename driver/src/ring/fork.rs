//! Noticing that the process was forked.
//!
//! A ring is its maker's process's alone. Its mappings are not there in the child of a fork (`MADV_DONTFORK`: two
//! processes writing one queue would be worse), and their addresses may be another mapping's there. So whoever
//! touches them first asks whether this is still the process that made them.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How many forks lie between this process and the first that asked.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process that something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(u32);

impl Owner {
    /// This process.
    pub(super) fn this() -> Owner {
        static COUNTING: Once = Once::new();
        COUNTING.call_once(|| {
            // SAFETY: the handler is a function of this program's and does what is allowed in a child of a program with
            // threads: one atomic addition. Refused (no memory), forks stay unnoticed.
            unsafe { libc::pthread_atfork(None, None, Some(forked)) };
        });
        Owner(FORKS.load(Relaxed))
    }

    /// Whether this process is it. An ordinary load: the count changes only while a process has one thread.
    #[inline]
    pub(super) fn is_this(self) -> bool {
        FORKS.load(Relaxed) == self.0
    }
}

extern "C" fn forked() {
    FORKS.fetch_add(1, Relaxed);
}
