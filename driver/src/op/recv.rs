//! `IORING_OP_RECV`: `recv(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::read::{Exact, serve_end};
use super::{OnDrop, Operation, Origin, Success};
use crate::buf::{BufResult, IoBufMut, fill, filled, kernel_len, refuse_empty};
use crate::fd::Lane;
use crate::kept::Kept;

/// Receives from a socket.
///
/// Receives on one socket follow one another; what a dropped one brings is kept for the next: bytes of a stream, or
/// a message, as much of it as the dropped one had room for.
#[derive(Debug)]
pub struct Recv<B> {
    buf: B,
    flags: i32,
}

impl<B: IoBufMut> Recv<B> {
    /// Receives what there is, at least one byte; 0 is the end.
    pub fn new(buf: B) -> Recv<B> {
        Recv { buf, flags: 0 }
    }

    /// With `MSG_*` flags, as `recv(2)` has them. With `MSG_TRUNC` a datagram's whole length is told, which may be
    /// more than there was room for.
    pub fn with_flags(buf: B, flags: i32) -> Recv<B> {
        Recv { buf, flags }
    }
}

/// What the `MSG_*` flags of a receive mean to it beyond the system call.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecvFlags(pub(super) i32);

impl RecvFlags {
    fn has(self, flags: i32) -> bool {
        self.0 & flags != 0
    }

    pub(super) fn peeks(self) -> bool {
        self.has(libc::MSG_PEEK)
    }

    /// The kernel counts bytes that it does not write.
    pub(super) fn truncates(self) -> bool {
        self.has(libc::MSG_TRUNC)
    }

    /// Whether it takes from what all receives take from: not out-of-band bytes, nor a queue of errors.
    pub(super) fn is_in_band(self) -> bool {
        !self.has(libc::MSG_OOB | libc::MSG_ERRQUEUE)
    }

    /// A plain receive runs on. One that insists on a full buffer would hold back what is there already.
    pub(super) fn on_drop(self) -> OnDrop {
        if self.is_in_band() && !self.has(libc::MSG_WAITALL | libc::MSG_PEEK) {
            OnDrop::Keep
        } else {
            OnDrop::Cancel
        }
    }

    /// Whether what it brought late is the next receive's. A stream's bytes that it was to discard are not.
    pub(super) fn is_kept(self, kept: &Kept) -> bool {
        self.is_in_band() && !self.peeks() && (kept.bounded == Some(true) || !self.truncates())
    }

    /// What it answers when `n` bytes of a kept message of `len` were given to it.
    pub(super) fn answer(self, n: usize, len: usize, kept: &Kept) -> Success {
        let whole = kept.bounded == Some(true) && self.truncates();
        Success::of(if whole { len } else { n } as u32)
    }
}

/// With `MSG_TRUNC` a TCP socket counts bytes that it does not write: they must not be what was there before.
pub(super) fn zero_if_truncating(flags: i32, room: *mut u8, len: usize) {
    if flags & libc::MSG_TRUNC != 0 {
        // SAFETY: the callers pass the room of a buffer that they own.
        unsafe { room.write_bytes(0, len) };
    }
}

// SAFETY: the entry points at `buf`'s memory, within its room, which the `IoBufMut` contract keeps in place.
unsafe impl<B: IoBufMut> Operation for Recv<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::Recv::CODE;
    const NAME: &'static str = "IORING_OP_RECV";

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Read)
    }

    fn on_drop(&self) -> OnDrop {
        RecvFlags(self.flags).on_drop()
    }

    fn check(&mut self) -> io::Result<()> {
        refuse_empty(
            self.buf.bytes_total(),
            "there is no room in the buffer to receive into",
        )
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        zero_if_truncating(
            self.flags,
            self.buf.stable_mut_ptr(),
            self.buf.bytes_total(),
        );
        let len = kernel_len(self.buf.bytes_total());
        opcode::Recv::new(types::Fd(fd), self.buf.stable_mut_ptr(), len)
            .flags(self.flags)
            .build()
    }

    fn complete(mut self, result: io::Result<Success>) -> Self::Output {
        let result = result.map(|s| {
            let n = s.value as usize;
            let fits = filled(&mut self.buf, n).len();
            if RecvFlags(self.flags).truncates() {
                n
            } else {
                fits
            }
        });
        (result, self.buf)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        let flags = RecvFlags(self.flags);
        if flags.is_in_band() && !flags.peeks() {
            origin.keep_read(&result, |kept, n| {
                if flags.is_kept(kept) {
                    kept.put_bytes(filled(&mut self.buf, n));
                }
            });
        }
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        let flags = RecvFlags(self.flags);
        if !flags.is_in_band() {
            return None;
        }
        let Some(front) = kept.front() else {
            return if flags.peeks() { None } else { serve_end(kept) };
        };
        let (n, len) = (fill(&mut self.buf, front), front.len());
        let answer = flags.answer(n, len, kept);
        if !flags.peeks() {
            kept.take(n);
        }
        Some(Ok(answer))
    }
}

/// Receives until a buffer is full (`MSG_WAITALL`), however often the kernel stops short.
///
/// Resolves with an error otherwise: [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the stream ends first. What
/// had come by then is at the front of the buffer; [`Partial::of`](crate::Partial::of) tells how much. A buffer
/// without room is full without any I/O. A dropped one is cancelled; what it had received is kept for the
/// next receive.
#[derive(Debug)]
pub struct RecvExact<B> {
    all: Exact<B>,
}

impl<B: IoBufMut> RecvExact<B> {
    /// Fills all the room `buf` has.
    pub fn new(buf: B) -> RecvExact<B> {
        RecvExact {
            all: Exact::new(buf),
        }
    }
}

// SAFETY: the entry points at that part of `buf`'s room which earlier rounds have not filled; the `IoBufMut`
// contract keeps it in place.
unsafe impl<B: IoBufMut> Operation for RecvExact<B> {
    type Output = BufResult<(), B>;
    const OPCODE: u8 = opcode::Recv::CODE;
    const NAME: &'static str = "IORING_OP_RECV";
    const ROUNDS: bool = true;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Read)
    }

    fn has_nothing_to_do(&self) -> bool {
        self.all.is_full()
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (to, len) = self.all.room();
        opcode::Recv::new(types::Fd(fd), to, len)
            .flags(libc::MSG_WAITALL)
            .build()
    }

    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.all.goes_on(result)
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        self.all.complete(result)
    }

    fn discard(self, result: io::Result<Success>, origin: Origin<'_>) {
        self.all.discard(&result, origin);
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        self.all.serve(kept)
    }
}
