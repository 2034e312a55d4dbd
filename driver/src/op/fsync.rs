//! `IORING_OP_FSYNC`: `fsync(2)` and `fdatasync(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::{Operation, Success};

/// Waits until what was written to a file is on its disk.
///
/// It knows nothing of writes still in flight beside it: link it behind them, or await them first.
#[derive(Debug)]
pub struct Fsync {
    data_only: bool,
}

impl Fsync {
    /// Data and metadata: `fsync(2)`.
    pub fn all() -> Fsync {
        Fsync { data_only: false }
    }

    /// Data, and the metadata needed to read it: `fdatasync(2)`.
    pub fn data() -> Fsync {
        Fsync { data_only: true }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for Fsync {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Fsync::CODE;
    const NAME: &'static str = "IORING_OP_FSYNC";
    const SINCE: &'static str = "5.1";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let flags = if self.data_only {
            types::FsyncFlags::DATASYNC
        } else {
            types::FsyncFlags::empty()
        };
        opcode::Fsync::new(types::Fd(fd)).flags(flags).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
