//! `IORING_OP_WRITE`: `pwrite(2)`, or `write(2)` at the descriptor's own position.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::position::{Position, placed};
use super::rounds::Rounds;
use super::{Operation, Origin, Success, attempt};
use crate::buf::{Alignment, BufResult, IoBuf, Region, kernel_len, refuse_empty};
use crate::fd::{Lane, Tried};

placed!(Write, WriteAll);

/// Writes a buffer's initialised bytes.
#[derive(Debug)]
pub struct Write<B> {
    buf: B,
    position: Position,
    flags: i32,
    alignment: Alignment,
}

impl<B: IoBuf> Write<B> {
    /// Writes at the descriptor's own position (pipes, terminals, files as streams). Such writes follow one
    /// another.
    pub fn new(buf: B) -> Write<B> {
        Write {
            buf,
            position: Position::Stream,
            flags: 0,
            alignment: Alignment::NONE,
        }
    }

    /// Writes where a file's cursor is, or at the end of a file opened to append: in turn with all that is done there,
    /// reads and writes and [`Seek`](super::Seek). For what can seek; elsewhere see [`new`](Write::new). Not in chains
    /// (`InvalidInput`).
    pub fn at_cursor(buf: B) -> Write<B> {
        Write {
            position: Position::CURSOR,
            ..Write::new(buf)
        }
    }

    /// Writes at `offset` bytes from the start, and moves no position. Such writes may overlap.
    pub fn at(buf: B, offset: u64) -> Write<B> {
        Write {
            position: Position::At(offset),
            ..Write::new(buf)
        }
    }

    /// With flags (`RWF_*`) of `pwritev2(2)`. `RWF_APPEND` writes at the file's end, `RWF_DSYNC` waits until
    /// the data is on the disk.
    pub fn flags(mut self, flags: i32) -> Write<B> {
        self.flags = flags;
        self
    }
}

// SAFETY: the entry points at `buf`'s initialised bytes, which the `IoBuf` contract keeps in place.
unsafe impl<B: IoBuf> Operation for Write<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::Write::CODE;
    const NAME: &'static str = "IORING_OP_WRITE";
    const FIXED_FILE: bool = true;

    fn lane(&self) -> Option<Lane> {
        self.position.lane(Lane::Write)
    }

    fn check(&mut self) -> io::Result<()> {
        self.position.check_aligned(self.alignment)?;
        let (ptr, len) = (self.buf.stable_ptr(), self.buf.bytes_init());
        self.alignment.check(self, ptr, len)?;
        refuse_empty(
            self.buf.bytes_init(),
            "there is nothing in the buffer to write",
        )
    }

    fn check_in_chain(&self) -> io::Result<()> {
        self.position.check_in_chain()
    }

    fn seal(&mut self, fd: RawFd, _own: u32) -> io::Result<()> {
        self.position.begin(fd, Lane::Write, self.alignment)
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.buf.bytes_init());
        opcode::Write::new(types::Fd(fd), self.buf.stable_ptr(), len)
            .offset(self.position.offset(0))
            .rw_flags(self.flags)
            .build()
    }

    fn region(&self) -> Option<&Region> {
        self.position.is_in_a_file().then(|| self.buf.region())?
    }

    fn landed(&mut self, result: &io::Result<Success>, origin: Origin<'_>) {
        self.position
            .land(result.as_ref().map_or(0, |s| s.value as usize), origin);
    }

    fn attempts(&self) -> Option<Tried> {
        (self.position == Position::Stream && self.flags == 0).then_some(Tried::Write)
    }

    fn attempt(&mut self, fd: RawFd) -> io::Result<Success> {
        let len = kernel_len(self.buf.bytes_init());
        let bytes = attempt::vector(self.buf.stable_ptr(), len);
        // SAFETY: open, as we are counted in; the vector is `buf`'s initialised bytes.
        unsafe { attempt::write(fd, &raw const bytes, 1) }
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.buf)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        // What was written was: the cursor follows, as for one that is not dropped.
        self.landed(&result, origin);
    }
}

/// A buffer on its way out; what [`WriteAll`] and [`SendAll`](super::SendAll) share.
#[derive(Debug)]
pub(super) struct Whole<B> {
    buf: B,
    rounds: Rounds,
}

impl<B: IoBuf> Whole<B> {
    pub(super) fn new(buf: B) -> Whole<B> {
        let rounds = Rounds::of(buf.bytes_init());
        Whole { buf, rounds }
    }

    pub(super) fn is_out(&self) -> bool {
        self.rounds.left() == 0
    }

    fn done(&self) -> usize {
        self.rounds.done()
    }

    /// What all rounds have written.
    fn all_done(&self, result: &io::Result<Success>) -> usize {
        let last = result.as_ref().map_or(0, |success| success.value as usize);
        self.rounds.done() + last
    }

    /// What earlier rounds have left of the buffer's bytes.
    pub(super) fn rest(&self) -> (*const u8, u32) {
        let from = self.buf.stable_ptr().wrapping_add(self.rounds.done());
        (from, kernel_len(self.rounds.left()))
    }

    pub(super) fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.rounds.goes_on(result)
    }

    /// Whether it is going to.
    pub(super) fn will_go_on(&self, result: &io::Result<Success>) -> bool {
        let mut rounds = self.rounds;
        rounds.goes_on(result)
    }

    pub(super) fn complete(self, result: io::Result<Success>) -> BufResult<(), B> {
        let (_, outcome) = self.rounds.outcome(result, io::ErrorKind::WriteZero);
        (outcome, self.buf)
    }
}

/// Writes all of a buffer, however often the kernel stops short.
///
/// Resolves with an error otherwise; [`Partial::of`](crate::Partial::of) tells how much of the buffer went. An
/// empty buffer is written without any I/O. A dropped one may have written any part of the buffer.
#[derive(Debug)]
pub struct WriteAll<B> {
    all: Whole<B>,
    position: Position,
    flags: i32,
    alignment: Alignment,
}

impl<B: IoBuf> WriteAll<B> {
    /// Writes all of `buf`'s initialised bytes: to a pipe, a terminal, a file as a stream.
    pub fn new(buf: B) -> WriteAll<B> {
        WriteAll {
            all: Whole::new(buf),
            position: Position::Stream,
            flags: 0,
            alignment: Alignment::NONE,
        }
    }

    /// The same where a file's cursor is; see [`Write::at_cursor`].
    pub fn at_cursor(buf: B) -> WriteAll<B> {
        WriteAll {
            position: Position::CURSOR,
            ..WriteAll::new(buf)
        }
    }

    /// The same from `offset` bytes from the start on; see [`Write::at`].
    pub fn at(buf: B, offset: u64) -> WriteAll<B> {
        WriteAll {
            position: Position::At(offset),
            ..WriteAll::new(buf)
        }
    }

    /// With flags (`RWF_*`) of `pwritev2(2)`; see [`Write::flags`].
    pub fn flags(mut self, flags: i32) -> WriteAll<B> {
        self.flags = flags;
        self
    }
}

// SAFETY: the entry points at that part of `buf`'s initialised bytes which earlier rounds have not written; the
// `IoBuf` contract keeps them in place.
unsafe impl<B: IoBuf> Operation for WriteAll<B> {
    type Output = BufResult<(), B>;
    const OPCODE: u8 = opcode::Write::CODE;
    const NAME: &'static str = "IORING_OP_WRITE";
    const FIXED_FILE: bool = true;
    const ROUNDS: bool = true;

    fn lane(&self) -> Option<Lane> {
        self.position.lane(Lane::Write)
    }

    fn check(&mut self) -> io::Result<()> {
        self.position.check_aligned(self.alignment)?;
        let (ptr, len) = self.all.rest();
        self.alignment.check(self, ptr, len as usize)
    }

    fn has_nothing_to_do(&self) -> bool {
        self.all.is_out()
    }

    fn check_in_chain(&self) -> io::Result<()> {
        self.position.check_in_chain()
    }

    fn seal(&mut self, fd: RawFd, _own: u32) -> io::Result<()> {
        if self.all.done() > 0 {
            return Ok(());
        }
        self.position.begin(fd, Lane::Write, self.alignment)
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (from, len) = self.all.rest();
        opcode::Write::new(types::Fd(fd), from, len)
            .offset(self.position.offset(self.all.done()))
            .rw_flags(self.flags)
            .build()
    }

    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.all.goes_on(result)
    }

    fn region(&self) -> Option<&Region> {
        self.position
            .is_in_a_file()
            .then(|| self.all.buf.region())?
    }

    fn landed(&mut self, result: &io::Result<Success>, origin: Origin<'_>) {
        self.position.land(self.all.all_done(result), origin);
    }

    fn attempts(&self) -> Option<Tried> {
        (self.position == Position::Stream && self.flags == 0).then_some(Tried::Write)
    }

    fn attempt(&mut self, fd: RawFd) -> io::Result<Success> {
        let (from, len) = self.all.rest();
        let bytes = attempt::vector(from, len);
        // SAFETY: open, as we are counted in; the vector is that part of the buffer's initialised bytes which is to be written.
        unsafe { attempt::write(fd, &raw const bytes, 1) }
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        self.all.complete(result)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        // What was written was: the cursor follows, as for one that is not dropped.
        self.landed(&result, origin);
    }
}
