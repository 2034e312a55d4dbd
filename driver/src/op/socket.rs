//! `IORING_OP_SOCKET`: `socket(2)`.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use io_uring::{opcode, squeue};

use super::accept::adopt;
use super::bind::answer;
use super::{Operation, Origin, Success};

/// Makes a socket, close-on-exec.
///
/// Linux 5.19; before that the plain system call, which does not block.
#[derive(Debug)]
pub struct Socket {
    domain: i32,
    kind: i32,
    protocol: i32,
}

impl Socket {
    /// With the numbers of `socket(2)`.
    pub fn new(domain: i32, kind: i32, protocol: i32) -> Socket {
        Socket {
            domain,
            kind: kind | libc::SOCK_CLOEXEC,
            protocol,
        }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for Socket {
    type Output = io::Result<OwnedFd>;
    const OPCODE: u8 = opcode::Socket::CODE;
    const NAME: &'static str = "IORING_OP_SOCKET";
    const SINCE: &'static str = "5.19";

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        opcode::Socket::new(self.domain, self.kind, self.protocol).build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        result.map(adopt)
    }

    fn discard(self, result: io::Result<Success>, _origin: Origin<'_>) {
        drop(result.map(adopt));
    }

    fn fallback(&mut self, _fd: RawFd) -> Option<io::Result<Success>> {
        // SAFETY: socket(2) takes no pointers.
        Some(answer(unsafe {
            libc::socket(self.domain, self.kind, self.protocol)
        }))
    }
}
