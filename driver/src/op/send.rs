//! `IORING_OP_SEND`: `send(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::write::Whole;
use super::{Operation, Success};
use crate::buf::{BufResult, IoBuf, kernel_len, refuse_empty};
use crate::fd::Lane;

/// Sends a buffer's initialised bytes on a connected socket. Never raises `SIGPIPE`.
///
/// Sends on one socket follow one another. A dropped send may have sent any part of the buffer.
#[derive(Debug)]
pub struct Send<B> {
    buf: B,
    flags: i32,
}

impl<B: IoBuf> Send<B> {
    /// Sends what the socket takes, at least one byte.
    pub fn new(buf: B) -> Send<B> {
        Send::with_flags(buf, 0)
    }

    /// With `MSG_*` flags, as `send(2)` has them. `MSG_WAITALL` sends the whole buffer, or reports how much
    /// went before the failure, the deadline or the cancel.
    pub fn with_flags(buf: B, flags: i32) -> Send<B> {
        Send {
            buf,
            flags: send_flags(flags),
        }
    }
}

/// Flags of a send: no `SIGPIPE`; and no `MSG_ZEROCOPY`, with which the kernel would read the buffer after the
/// completion that gives it back.
pub(super) fn send_flags(flags: i32) -> i32 {
    (flags | libc::MSG_NOSIGNAL) & !libc::MSG_ZEROCOPY
}

// SAFETY: the entry points at `buf`'s initialised bytes, which the `IoBuf` contract keeps in place.
unsafe impl<B: IoBuf> Operation for Send<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::Send::CODE;
    const NAME: &'static str = "IORING_OP_SEND";

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Write)
    }

    fn check(&mut self) -> io::Result<()> {
        refuse_empty(
            self.buf.bytes_init(),
            "there is nothing in the buffer to send",
        )
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.buf.bytes_init());
        opcode::Send::new(types::Fd(fd), self.buf.stable_ptr(), len)
            .flags(self.flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.buf)
    }
}

/// Sends all of a buffer (`MSG_WAITALL`), however often the kernel stops short.
///
/// Resolves with an error otherwise; [`Partial::of`](crate::Partial::of) tells how much of the buffer went. An
/// empty buffer is sent without any I/O. A dropped one may have sent any part of the buffer.
#[derive(Debug)]
pub struct SendAll<B> {
    all: Whole<B>,
}

impl<B: IoBuf> SendAll<B> {
    /// Sends all of `buf`'s initialised bytes.
    pub fn new(buf: B) -> SendAll<B> {
        SendAll {
            all: Whole::new(buf),
        }
    }
}

// SAFETY: the entry points at that part of `buf`'s initialised bytes which earlier rounds have not sent; the
// `IoBuf` contract keeps them in place.
unsafe impl<B: IoBuf> Operation for SendAll<B> {
    type Output = BufResult<(), B>;
    const OPCODE: u8 = opcode::Send::CODE;
    const NAME: &'static str = "IORING_OP_SEND";
    const ROUNDS: bool = true;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Write)
    }

    fn has_nothing_to_do(&self) -> bool {
        self.all.is_out()
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (from, len) = self.all.rest();
        opcode::Send::new(types::Fd(fd), from, len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
    }

    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.all.goes_on(result)
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        self.all.complete(result)
    }
}
