//! `IORING_OP_POLL_ADD`: waits for a descriptor to be ready, as `poll(2)` does.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::{Operation, Success};
use crate::driver::WAKE;
use crate::ring::Sqe;

/// What a descriptor is ready for: the bits of `poll(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events(pub u32);

impl Events {
    /// There is something to read, or the end.
    pub const READ: Events = Events(libc::POLLIN as u32);
    /// There is room to write.
    pub const WRITE: Events = Events(libc::POLLOUT as u32);

    /// Whether all of `other` is in it.
    pub fn contains(self, other: Events) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Events {
    type Output = Events;

    fn bitor(self, other: Events) -> Events {
        Events(self.0 | other.0)
    }
}

/// Waits until a descriptor is ready, once.
#[derive(Debug)]
pub struct PollAdd {
    events: Events,
}

impl PollAdd {
    /// For any of `events`; errors and hang-ups always count.
    pub fn new(events: Events) -> PollAdd {
        PollAdd { events }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for PollAdd {
    type Output = io::Result<Events>;
    const OPCODE: u8 = opcode::PollAdd::CODE;
    const NAME: &'static str = "IORING_OP_POLL_ADD";
    const SINCE: &'static str = "5.1";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::PollAdd::new(types::Fd(fd), self.events.0).build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        result.map(|success| Events(success.value))
    }
}

/// The entry by which a driver watches the eventfd that ends its sleep: each write to it is a completion.
pub(crate) fn watch_entry(eventfd: RawFd) -> Sqe {
    let entry = opcode::PollAdd::new(types::Fd(eventfd), libc::POLLIN as u32)
        .multi(true)
        .build();
    // SAFETY: the entry has no pointers.
    unsafe { Sqe::new(entry.user_data(WAKE)) }
}
