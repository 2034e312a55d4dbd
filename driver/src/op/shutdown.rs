//! `IORING_OP_SHUTDOWN`: `shutdown(2)`.

use std::io;
use std::net;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::{Operation, Success};

/// Ends one direction of a connection, or both.
#[derive(Debug)]
pub struct Shutdown {
    how: net::Shutdown,
}

impl Shutdown {
    /// Ends the direction(s) that `how` names.
    pub fn new(how: net::Shutdown) -> Shutdown {
        Shutdown { how }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for Shutdown {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Shutdown::CODE;
    const NAME: &'static str = "IORING_OP_SHUTDOWN";
    const SINCE: &'static str = "5.11";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let how = match self.how {
            net::Shutdown::Read => libc::SHUT_RD,
            net::Shutdown::Write => libc::SHUT_WR,
            net::Shutdown::Both => libc::SHUT_RDWR,
        };
        opcode::Shutdown::new(types::Fd(fd), how).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
