//! `lseek(2)`, which has no opcode: a plain call, in its turn among the operations at the file's cursor.

use std::io::{self, SeekFrom};
use std::os::fd::RawFd;

use io_uring::{opcode, squeue};

use super::position::Position;
use super::{Operation, Success};
use crate::fd::Lane;

/// Moves a file's cursor; resolves to where it is then.
///
/// It waits for what is in flight there before it. The call itself does not block. Not in chains (`InvalidInput`).
#[derive(Debug)]
pub struct Seek {
    to: SeekFrom,
    reached: u64,
}

impl Seek {
    /// To so many bytes from the start, from the end, or from where it is.
    pub fn new(to: SeekFrom) -> Seek {
        Seek { to, reached: 0 }
    }
}

/// Where the cursor is after the call.
pub(super) fn lseek(fd: RawFd, offset: i64, whence: i32) -> io::Result<u64> {
    // SAFETY: lseek(2) takes no pointers.
    let reached = unsafe { libc::lseek(fd, offset, whence) };
    u64::try_from(reached).map_err(|_| io::Error::last_os_error())
}

// SAFETY: the entry, of which no use is made, has no pointers.
unsafe impl Operation for Seek {
    type Output = io::Result<u64>;
    const OPCODE: u8 = opcode::Nop::CODE;
    const NAME: &'static str = "lseek";
    const CALLED: bool = true;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Read)
    }

    fn check_in_chain(&self) -> io::Result<()> {
        Position::CURSOR.check_in_chain()
    }

    fn call(&mut self, fd: RawFd) -> io::Result<Success> {
        self.reached = match self.to {
            // One beyond 2^63 - 1 becomes negative, which the kernel refuses.
            SeekFrom::Start(at) => lseek(fd, at.cast_signed(), libc::SEEK_SET),
            SeekFrom::End(by) => lseek(fd, by, libc::SEEK_END),
            SeekFrom::Current(by) => lseek(fd, by, libc::SEEK_CUR),
        }?;
        Ok(Success::of(0))
    }

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        opcode::Nop::new().build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<u64> {
        result.map(|_| self.reached)
    }
}
