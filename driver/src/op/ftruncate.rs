//! `IORING_OP_FTRUNCATE`: `ftruncate(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::{Operation, Success};

/// Sets a file's length: cuts it off, or adds zeros.
///
/// Linux 6.9. There is no fallback here, as the system call waits for the disk: run that on a thread pool.
#[derive(Debug)]
pub struct Ftruncate {
    len: u64,
}

impl Ftruncate {
    /// To `len` bytes.
    pub fn new(len: u64) -> Ftruncate {
        Ftruncate { len }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for Ftruncate {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Ftruncate::CODE;
    const NAME: &'static str = "IORING_OP_FTRUNCATE";
    const SINCE: &'static str = "6.9";

    fn check(&mut self) -> io::Result<()> {
        if i64::try_from(self.len).is_err() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the length is beyond 2^63 - 1",
            ));
        }
        Ok(())
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::Ftruncate::new(types::Fd(fd), self.len).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
