//! `IORING_OP_FALLOCATE`: `fallocate(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::position::Position;
use super::{Operation, Success};

/// Reserves room for a file, or gives some back.
#[derive(Debug)]
pub struct Fallocate {
    mode: i32,
    offset: u64,
    len: u64,
}

impl Fallocate {
    /// For `len` bytes from `offset` on; `mode` is made of `FALLOC_FL_*`, 0 to reserve.
    pub fn new(mode: i32, offset: u64, len: u64) -> Fallocate {
        Fallocate { mode, offset, len }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for Fallocate {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Fallocate::CODE;
    const NAME: &'static str = "IORING_OP_FALLOCATE";

    fn check(&mut self) -> io::Result<()> {
        Position::At(self.offset).check()
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::Fallocate::new(types::Fd(fd), self.len)
            .offset(self.offset)
            .mode(self.mode)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
