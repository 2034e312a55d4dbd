//! `IORING_OP_LISTEN`: `listen(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::bind::answer;
use super::{Operation, Success};

/// Makes a socket accept connections.
///
/// Linux 6.11; before that the plain system call, which does not block.
#[derive(Debug)]
pub struct Listen {
    backlog: i32,
}

impl Listen {
    /// With room for `backlog` connections nobody has accepted yet.
    pub fn new(backlog: i32) -> Listen {
        Listen { backlog }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for Listen {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Listen::CODE;
    const NAME: &'static str = "IORING_OP_LISTEN";
    const SINCE: &'static str = "6.11";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::Listen::new(types::Fd(fd), self.backlog).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }

    fn fallback(&mut self, fd: RawFd) -> Option<io::Result<Success>> {
        // SAFETY: listen(2) takes no pointers.
        Some(answer(unsafe { libc::listen(fd, self.backlog) }))
    }
}
