//! `IORING_OP_READ`: `pread(2)`, or `read(2)` at the descriptor's own position.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::position::{Position, placed};
use super::rounds::Rounds;
use super::{OnDrop, Operation, Origin, Success, attempt};
use crate::buf::{
    Alignment, BufResult, IoBufMut, Region, bytes, fill, fill_from, filled, kernel_len,
    refuse_empty,
};
use crate::fd::{Lane, Tried};
use crate::kept::Kept;

placed!(Read, ReadExact);

/// Reads into a buffer.
#[derive(Debug)]
pub struct Read<B> {
    buf: B,
    position: Position,
    flags: i32,
    alignment: Alignment,
}

impl<B: IoBufMut> Read<B> {
    /// Reads at the descriptor's own position: pipes, terminals, files as streams.
    ///
    /// Such reads follow one another; what a dropped one brings is kept for the next.
    pub fn new(buf: B) -> Read<B> {
        Read {
            buf,
            position: Position::Stream,
            flags: 0,
            alignment: Alignment::NONE,
        }
    }

    /// Reads where a file's cursor is.
    ///
    /// In turn with all that is done at the cursor: reads, writes, [`Seek`](super::Seek). The cursor moves when the
    /// result is taken, so a dropped one loses nothing. For what can seek; elsewhere see [`new`](Read::new). Not in
    /// chains (`InvalidInput`).
    pub fn at_cursor(buf: B) -> Read<B> {
        Read {
            position: Position::CURSOR,
            ..Read::new(buf)
        }
    }

    /// Reads at `offset` bytes from the start, and moves no position. Such reads may overlap.
    pub fn at(buf: B, offset: u64) -> Read<B> {
        Read {
            position: Position::At(offset),
            ..Read::new(buf)
        }
    }

    /// With flags (`RWF_*`) of `preadv2(2)`. With `RWF_NOWAIT`, `WouldBlock` if it would have to wait
    /// for the disk.
    pub fn flags(mut self, flags: i32) -> Read<B> {
        self.flags = flags;
        self
    }
}

// SAFETY: the entry points at `buf`'s memory, within its room, which the `IoBufMut` contract keeps in place.
unsafe impl<B: IoBufMut> Operation for Read<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::Read::CODE;
    const NAME: &'static str = "IORING_OP_READ";
    const FIXED_FILE: bool = true;

    fn lane(&self) -> Option<Lane> {
        self.position.lane(Lane::Read)
    }

    fn on_drop(&self) -> OnDrop {
        self.position.on_drop_of_read()
    }

    fn check(&mut self) -> io::Result<()> {
        self.position.check_aligned(self.alignment)?;
        let (ptr, room) = (self.buf.stable_ptr(), self.buf.bytes_total());
        self.alignment.check(self, ptr, room)?;
        refuse_empty(
            self.buf.bytes_total(),
            "there is no room in the buffer to read into",
        )
    }

    fn check_in_chain(&self) -> io::Result<()> {
        self.position.check_in_chain()
    }

    fn seal(&mut self, fd: RawFd, _own: u32) -> io::Result<()> {
        self.position.begin(fd, Lane::Read, self.alignment)
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.buf.bytes_total());
        opcode::Read::new(types::Fd(fd), self.buf.stable_mut_ptr(), len)
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
        if self.flags != 0 {
            return None;
        }
        let len = kernel_len(self.buf.bytes_total());
        attempt::of_a_read(self.position, self.alignment, len)
    }

    fn attempt(&mut self, fd: RawFd) -> io::Result<Success> {
        let len = kernel_len(self.buf.bytes_total());
        let room = (self.buf.stable_mut_ptr(), len);
        // SAFETY: open, as we are counted in; it is `buf`'s room, which is ours.
        unsafe { attempt::read_one(fd, room, self.position, 0) }
    }

    fn complete(mut self, result: io::Result<Success>) -> Self::Output {
        let result = result.map(|s| filled(&mut self.buf, s.value as usize).len());
        (result, self.buf)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        if self.position == Position::Stream {
            origin.keep_read(&result, |kept, n| kept.put_bytes(filled(&mut self.buf, n)));
        }
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        serve_bytes(&mut self.buf, kept)
    }
}

/// Serves a read from kept bytes, then from the error or the end that followed them.
fn serve_bytes<B: IoBufMut>(buf: &mut B, kept: &mut Kept) -> Option<io::Result<Success>> {
    let Some(front) = kept.front() else {
        return serve_end(kept);
    };
    let n = fill(buf, front);
    kept.take(n);
    debug_assert!(n <= bytes(buf).len());
    Some(Ok(Success::of(n as u32)))
}

/// Serves a read from what followed the last of the kept bytes and messages: an error, or the end.
pub(super) fn serve_end(kept: &mut Kept) -> Option<io::Result<Success>> {
    if let Some(errno) = kept.take_error() {
        return Some(Err(io::Error::from_raw_os_error(errno)));
    }
    kept.take_end().then(|| Ok(Success::of(0)))
}

/// A buffer on its way to being full; what [`ReadExact`] and [`RecvExact`](super::RecvExact) share.
#[derive(Debug)]
pub(super) struct Exact<B> {
    buf: B,
    rounds: Rounds,
}

impl<B: IoBufMut> Exact<B> {
    pub(super) fn new(buf: B) -> Exact<B> {
        let rounds = Rounds::of(buf.bytes_total());
        Exact { buf, rounds }
    }

    pub(super) fn is_full(&self) -> bool {
        self.left() == 0
    }

    fn left(&self) -> usize {
        self.rounds.left()
    }

    /// What earlier rounds have left of the buffer's room.
    pub(super) fn room(&mut self) -> (*mut u8, u32) {
        let to = self.buf.stable_mut_ptr().wrapping_add(self.rounds.done());
        (to, kernel_len(self.rounds.left()))
    }

    pub(super) fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.rounds.goes_on(result)
    }

    pub(super) fn complete(mut self, result: io::Result<Success>) -> BufResult<(), B> {
        let untouched = result.is_err() && self.rounds.done() == 0;
        let (done, outcome) = self.rounds.outcome(result, io::ErrorKind::UnexpectedEof);
        if !untouched {
            filled(&mut self.buf, done);
        }
        (outcome, self.buf)
    }

    /// Keeps what all rounds brought, then how the last one ended.
    pub(super) fn discard(mut self, result: &io::Result<Success>, origin: Origin<'_>) {
        let done = self.rounds.done();
        if done > 0 {
            let earlier = Ok(Success::of(0));
            origin.keep_read(&earlier, |kept, _| {
                kept.put_bytes(filled(&mut self.buf, done));
            });
        }
        origin.keep_read(result, |kept, n| {
            kept.put_bytes(&filled(&mut self.buf, done + n)[done..]);
        });
    }

    /// What all rounds have read.
    fn all_done(&self, result: &io::Result<Success>) -> usize {
        let last = result.as_ref().map_or(0, |success| success.value as usize);
        self.rounds.done() + last
    }

    pub(super) fn done(&self) -> usize {
        self.rounds.done()
    }

    /// Takes what is kept. If that does not fill the buffer, the kernel is asked for the rest.
    pub(super) fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        while let Some(front) = kept.front() {
            let n = fill_from(&mut self.buf, self.rounds.done(), front);
            kept.take(n);
            self.rounds.advance(n);
            if self.is_full() {
                return Some(Ok(Success::of(0)));
            }
        }
        serve_end(kept)
    }
}

/// Reads until a buffer is full, however often the kernel stops short.
///
/// Resolves with an error otherwise: [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the stream ends first. What
/// had come by then is at the front of the buffer; [`Partial::of`](crate::Partial::of) tells how much. A buffer
/// without room is full without any I/O. What a dropped one had read, and still reads, is not lost: see the
/// constructors.
#[derive(Debug)]
pub struct ReadExact<B> {
    all: Exact<B>,
    position: Position,
    alignment: Alignment,
}

impl<B: IoBufMut> ReadExact<B> {
    /// Fills all the room `buf` has, at the descriptor's own position; see [`Read::new`].
    pub fn new(buf: B) -> ReadExact<B> {
        ReadExact {
            all: Exact::new(buf),
            position: Position::Stream,
            alignment: Alignment::NONE,
        }
    }

    /// The same where a file's cursor is; see [`Read::at_cursor`].
    pub fn at_cursor(buf: B) -> ReadExact<B> {
        ReadExact {
            position: Position::CURSOR,
            ..ReadExact::new(buf)
        }
    }

    /// The same from `offset` bytes from the start on; see [`Read::at`].
    pub fn at(buf: B, offset: u64) -> ReadExact<B> {
        ReadExact {
            position: Position::At(offset),
            ..ReadExact::new(buf)
        }
    }
}

// SAFETY: the entry points at that part of `buf`'s room which earlier rounds have not filled; the `IoBufMut`
// contract keeps it in place.
unsafe impl<B: IoBufMut> Operation for ReadExact<B> {
    type Output = BufResult<(), B>;
    const OPCODE: u8 = opcode::Read::CODE;
    const NAME: &'static str = "IORING_OP_READ";
    const FIXED_FILE: bool = true;
    const ROUNDS: bool = true;

    fn lane(&self) -> Option<Lane> {
        self.position.lane(Lane::Read)
    }

    fn on_drop(&self) -> OnDrop {
        self.position.on_drop_of_read()
    }

    fn check(&mut self) -> io::Result<()> {
        self.position.check_aligned(self.alignment)?;
        let (ptr, room) = self.all.room();
        self.alignment.check(self, ptr, room as usize)
    }

    fn has_nothing_to_do(&self) -> bool {
        self.all.is_full()
    }

    fn check_in_chain(&self) -> io::Result<()> {
        self.position.check_in_chain()
    }

    fn seal(&mut self, fd: RawFd, _own: u32) -> io::Result<()> {
        if self.all.done() > 0 {
            return Ok(());
        }
        self.position.begin(fd, Lane::Read, self.alignment)
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (to, len) = self.all.room();
        opcode::Read::new(types::Fd(fd), to, len)
            .offset(self.position.offset(self.all.done()))
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
        let len = kernel_len(self.all.left());
        attempt::of_a_read(self.position, self.alignment, len)
    }

    fn attempt(&mut self, fd: RawFd) -> io::Result<Success> {
        let (done, room) = (self.all.done(), self.all.room());
        // SAFETY: open, as we are counted in; it is that part of the buffer's room which is to be filled; it is ours.
        unsafe { attempt::read_one(fd, room, self.position, done) }
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        self.all.complete(result)
    }

    fn discard(self, result: io::Result<Success>, origin: Origin<'_>) {
        if self.position == Position::Stream {
            self.all.discard(&result, origin);
        }
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        self.all.serve(kept)
    }
}
