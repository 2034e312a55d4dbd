//! `IORING_OP_SEND`: `send(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::send_zc::{self, Way};
use super::write::Whole;
use super::{Operation, Origin, Success, attempt};
use crate::buf::{BufResult, IoBuf, kernel_len, refuse_empty};
use crate::driver::Driver;
use crate::fd::{Lane, Tried};

/// Sends a buffer's initialised bytes on a connected socket. Never raises `SIGPIPE`.
///
/// Sends on one socket follow one another. A dropped send may have sent any part of the buffer.
///
/// On a descriptor that says so ([`Fd::set_zero_copy`](crate::Fd::set_zero_copy)) large buffers are not copied; not as a
/// member of a chain.
#[derive(Debug)]
pub struct Send<B> {
    buf: B,
    flags: i32,
    way: Way,
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
            way: Way::default(),
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
    const ROUNDS: bool = true;
    const NOTIFIED: bool = true;

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
        entry(fd, self.buf.stable_ptr(), len, self.flags, self.way)
    }

    fn attempts(&self) -> Option<Tried> {
        // One that wants all of it sent does not end short.
        let at_once = self.flags & libc::MSG_WAITALL == 0 && self.way.is_copied();
        attempt::of_a_send(self.buf.bytes_init()).filter(|_| at_once)
    }

    fn attempt(&mut self, fd: RawFd) -> io::Result<Success> {
        let len = kernel_len(self.buf.bytes_init());
        // SAFETY: open, as we are counted in; the bytes are `buf`'s initialised ones.
        unsafe { attempt::send(fd, (self.buf.stable_ptr(), len), self.flags) }
    }

    fn choose_way(&mut self, least: usize, driver: &Driver) {
        let len = self.buf.bytes_init();
        self.way.choose(len, least, driver, opcode::SendZc::CODE);
    }

    fn will_go_on(&self, result: &io::Result<Success>) -> bool {
        self.way.is_refused(result)
    }

    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.way.refused(result)
    }

    fn landed(&mut self, result: &io::Result<Success>, origin: Origin<'_>) {
        self.way.landed(result, origin);
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.buf)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        self.landed(&result, origin);
    }
}

/// The entry of a send that goes such a way.
#[inline]
fn entry(fd: RawFd, from: *const u8, len: u32, flags: i32, way: Way) -> squeue::Entry {
    if way.is_in_place() {
        return send_zc::entry(fd, from, len, flags);
    }
    opcode::Send::new(types::Fd(fd), from, len)
        .flags(flags)
        .build()
}

/// Sends all of a buffer (`MSG_WAITALL`), however often the kernel stops short.
///
/// Resolves with an error otherwise; [`Partial::of`](crate::Partial::of) tells how much of the buffer went. An
/// empty buffer is sent without any I/O. A dropped one may have sent any part of the buffer. For large buffers see
/// [`Send`].
#[derive(Debug)]
pub struct SendAll<B> {
    all: Whole<B>,
    way: Way,
}

impl<B: IoBuf> SendAll<B> {
    /// Sends all of `buf`'s initialised bytes.
    pub fn new(buf: B) -> SendAll<B> {
        SendAll {
            all: Whole::new(buf),
            way: Way::default(),
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
    const NOTIFIED: bool = true;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Write)
    }

    fn has_nothing_to_do(&self) -> bool {
        self.all.is_out()
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (from, len) = self.all.rest();
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        entry(fd, from, len, flags, self.way)
    }

    fn attempts(&self) -> Option<Tried> {
        let (_, len) = self.all.rest();
        attempt::of_a_send(len as usize).filter(|_| self.way.is_copied())
    }

    fn attempt(&mut self, fd: RawFd) -> io::Result<Success> {
        // SAFETY: open, as we are counted in; the bytes are those of `buf`'s initialised ones that are left.
        unsafe { attempt::send(fd, self.all.rest(), libc::MSG_NOSIGNAL) }
    }

    fn choose_way(&mut self, least: usize, driver: &Driver) {
        let (_, len) = self.all.rest();
        self.way
            .choose(len as usize, least, driver, opcode::SendZc::CODE);
    }

    fn will_go_on(&self, result: &io::Result<Success>) -> bool {
        self.way.is_refused(result) || self.all.will_go_on(result)
    }

    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.way.refused(result) || self.all.goes_on(result)
    }

    fn landed(&mut self, result: &io::Result<Success>, origin: Origin<'_>) {
        self.way.landed(result, origin);
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        self.landed(&result, origin);
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        self.all.complete(result)
    }
}
