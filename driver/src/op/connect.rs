//! `IORING_OP_CONNECT`: `connect(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::{Operation, Success};

/// Connects a socket. A dropped connect leaves the socket in an undefined state: close it.
#[derive(Debug)]
pub struct Connect {
    addr: SockAddr,
}

impl Connect {
    /// Connects to `addr`.
    pub fn new(addr: SockAddr) -> Connect {
        Connect { addr }
    }
}

// SAFETY: the entry points at the address inside `self`, which stays where it is.
unsafe impl Operation for Connect {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Connect::CODE;
    const NAME: &'static str = "IORING_OP_CONNECT";
    const SINCE: &'static str = "5.5";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::Connect::new(types::Fd(fd), self.addr.as_ptr().cast(), self.addr.len()).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
