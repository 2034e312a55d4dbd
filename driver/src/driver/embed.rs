//! A driver inside a loop that is not its own.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Driver;

impl Driver {
    /// A descriptor that is readable when a [turn](Driver::turn) would find something: for `poll(2)`, `epoll(7)` and
    /// their like. It is the ring's own, duplicated.
    ///
    /// Not with `DEFER_TASKRUN`: the ring then hears of what has completed only when it is entered. An eventfd registered
    /// with it would be told, but not by the kernel that Linux 6.18 is: of completions that the writing of another eventfd
    /// brings about, it is told once, and never again.
    ///
    /// # Errors
    ///
    /// `Unsupported` with `DEFER_TASKRUN`; [`Setup::embedded`](crate::Setup::embedded) leaves it out. `NotConnected` after
    /// the shutdown.
    pub fn wait_fd(&self) -> io::Result<Arc<OwnedFd>> {
        if self.ring_flags().contains("DEFER_TASKRUN") {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the ring's DEFER_TASKRUN keeps completions back until it is entered: build the runtime with \
                 `Builder::embedded(true)`",
            ));
        }
        let ring = self.inner.remote.ring_to_wait_for();
        ring.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether a [turn](Driver::turn) would find something now.
    pub fn has_more(&self) -> bool {
        let mut core = self.core();
        !core.backlog.is_empty()
            || !core.batch.is_empty()
            || core.ring.has_completions()
            || core.ring.has_news()
    }
}
