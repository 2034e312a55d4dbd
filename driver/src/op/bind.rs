//! `IORING_OP_BIND`: `bind(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::{Operation, Success};

/// Binds a socket to an address.
///
/// Linux 6.11; before that the plain system call, which does not block.
#[derive(Debug)]
pub struct Bind {
    addr: SockAddr,
}

impl Bind {
    /// Binds to `addr`.
    pub fn new(addr: SockAddr) -> Bind {
        Bind { addr }
    }
}

/// The answer of a plain system call.
pub(super) fn answer(result: libc::c_int) -> io::Result<Success> {
    match u32::try_from(result) {
        Ok(value) => Ok(Success::of(value)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

// SAFETY: the entry points at the address inside `self`, which stays where it is.
unsafe impl Operation for Bind {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Bind::CODE;
    const NAME: &'static str = "IORING_OP_BIND";
    const SINCE: &'static str = "6.11";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::Bind::new(types::Fd(fd), self.addr.as_ptr().cast(), self.addr.len()).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }

    fn fallback(&mut self, fd: RawFd) -> Option<io::Result<Success>> {
        // SAFETY: the address is valid for its own length.
        Some(answer(unsafe {
            libc::bind(fd, self.addr.as_ptr().cast(), self.addr.len())
        }))
    }
}
