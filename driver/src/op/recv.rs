//! `IORING_OP_RECV`: `recv(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::read::{Exact, serve_bytes};
use super::{OnDrop, Operation, Origin, Success};
use crate::buf::{BufResult, IoBufMut, fill, filled, kernel_len, refuse_empty};
use crate::fd::Lane;
use crate::kept::Kept;

/// Receives from a socket.
///
/// Receives on one socket follow one another; what a dropped one brings is kept for the next.
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

    /// With `MSG_*` flags, as `recv(2)` has them.
    pub fn with_flags(buf: B, flags: i32) -> Recv<B> {
        Recv { buf, flags }
    }

    fn peeks(&self) -> bool {
        self.flags & libc::MSG_PEEK != 0
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

    /// A plain receive runs on. One that insists on a full buffer would hold back what is there already.
    fn on_drop(&self) -> OnDrop {
        if self.flags & (libc::MSG_WAITALL | libc::MSG_PEEK) == 0 {
            OnDrop::Keep
        } else {
            OnDrop::Cancel
        }
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
        let result = result.map(|s| filled(&mut self.buf, s.value as usize).len());
        (result, self.buf)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        if !self.peeks() {
            origin.keep_read(&result, |kept, n| kept.put_bytes(filled(&mut self.buf, n)));
        }
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        if self.peeks() {
            let n = fill(&mut self.buf, kept.bytes());
            return (n > 0).then_some(Ok(Success::of(n as u32)));
        }
        serve_bytes(&mut self.buf, kept)
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
