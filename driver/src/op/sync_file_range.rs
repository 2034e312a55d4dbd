//! `IORING_OP_SYNC_FILE_RANGE`: `sync_file_range(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::fadvise::Part;
use super::{Operation, Success};

/// Starts, or awaits, the writing of a part of a file to its disk.
///
/// No substitute for [`Fsync`](super::Fsync): neither metadata nor the disk's own cache are written.
#[derive(Debug)]
pub struct SyncFileRange {
    flags: u32,
    part: Part,
}

impl SyncFileRange {
    /// For `len` bytes from `offset` on, all of the rest if `len` is 0; `flags` are `SYNC_FILE_RANGE_*`.
    pub fn new(flags: u32, offset: u64, len: u64) -> SyncFileRange {
        SyncFileRange {
            flags,
            part: Part::new(offset, len),
        }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for SyncFileRange {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::SyncFileRange::CODE;
    const NAME: &'static str = "IORING_OP_SYNC_FILE_RANGE";
    const SINCE: &'static str = "5.2";
    const ROUNDS: bool = true;

    fn check(&mut self) -> io::Result<()> {
        self.part.check()
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::SyncFileRange::new(types::Fd(fd), self.part.len())
            .offset(self.part.offset())
            .flags(self.flags)
            .build()
    }

    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.part.goes_on(result)
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
