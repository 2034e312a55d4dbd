//! `IORING_OP_POLL_ADD` with `IORING_POLL_ADD_MULTI`: one entry, a completion each time the descriptor becomes ready.
//!
//! It tells once if the descriptor is ready when it starts, and of changes from then on; `IORING_POLL_ADD_LEVEL`, which
//! would go on telling, is refused with it (`EINVAL`). What completes goes to the [`Notes`] of a
//! [`Watch`](crate::Watch), not to whoever polls the operation: nobody need be waiting for it.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

use io_uring::{opcode, squeue, types};

use super::{Operation, Success};
use crate::watch::Notes;

/// Polls a descriptor that others own until it is dropped.
///
/// Linux 5.13.
#[derive(Debug)]
pub(crate) struct PollMulti {
    fd: RawFd,
    events: u32,
    notes: Rc<Notes>,
}

impl PollMulti {
    /// For any of `events` (bits of `poll(2)`) on the descriptor with the number `fd`; `notes` hear of them.
    pub(crate) fn new(fd: RawFd, events: u32, notes: Rc<Notes>) -> PollMulti {
        PollMulti { fd, events, notes }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for PollMulti {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::PollAdd::CODE;
    const NAME: &'static str = "IORING_OP_POLL_ADD (multishot)";
    const SINCE: &'static str = "5.13";
    const NOTES: bool = true;

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        opcode::PollAdd::new(types::Fd(self.fd), self.events)
            .multi(true)
            .build()
    }

    fn note(&mut self, result: i32, more: bool, wakers: &mut Vec<Waker>) {
        self.notes.take_note(result, more, wakers);
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
