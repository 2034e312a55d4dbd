//! `IORING_OP_NOP`: does nothing, by way of the kernel.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue};

use super::{Operation, Success};

/// Does nothing, by way of the kernel: the cost of a round trip.
#[derive(Debug, Default)]
pub struct Nop {
    _private: (),
}

impl Nop {
    /// A nop.
    pub fn new() -> Nop {
        Nop::default()
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for Nop {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Nop::CODE;
    const NAME: &'static str = "IORING_OP_NOP";
    const SINCE: &'static str = "5.1";

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        opcode::Nop::new().build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
