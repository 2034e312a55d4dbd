//! `IORING_OP_TIMEOUT`: completes after a time.
//!
//! Tasks sleep on the runtime's timer wheel, which costs no entries. This is for time that must pass in the
//! kernel: in a chain, or where there is a driver and no runtime.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::types::Timespec;
use io_uring::{opcode, squeue};

use super::{Operation, Success};

/// The kernel's seconds are signed: more of them than that is no time at all (`EINVAL`).
pub(crate) fn timespec_of(after: Duration) -> Timespec {
    const LONGEST: Duration = Duration::from_secs(i64::MAX as u64);
    Timespec::from(after.min(LONGEST))
}

/// Completes after a time, on the monotonic clock.
#[derive(Debug)]
pub struct Timeout {
    timespec: Timespec,
}

impl Timeout {
    /// After `duration`, counted from the submission.
    pub fn new(duration: Duration) -> Timeout {
        Timeout {
            timespec: timespec_of(duration),
        }
    }
}

// SAFETY: the entry points at the timespec inside `self`, which stays where it is.
unsafe impl Operation for Timeout {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Timeout::CODE;
    const NAME: &'static str = "IORING_OP_TIMEOUT";
    const SINCE: &'static str = "5.4";

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        // ETIME_SUCCESS (5.16): its own passing must not break a chain.
        let flags = io_uring::types::TimeoutFlags::ETIME_SUCCESS;
        opcode::Timeout::new(&raw const self.timespec)
            .flags(flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            other => other.map(drop),
        }
    }
}
