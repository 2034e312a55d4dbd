//! `IORING_OP_READV`: `preadv(2)` into several buffers.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::position::{Position, placed};
use super::read::serve_end;
use super::{OnDrop, Operation, Origin, Success, attempt};
use crate::buf::{Alignment, BufResult, IoVecs, IoVectoredBufMut, kernel_count, refuse_empty};
use crate::fd::{Lane, Tried};
use crate::kept::Kept;

placed!(Readv);

/// Reads into several buffers, filling one after the other.
#[derive(Debug)]
pub struct Readv<B> {
    bufs: B,
    vecs: IoVecs,
    position: Position,
    flags: i32,
    alignment: Alignment,
}

impl<B: IoVectoredBufMut> Readv<B> {
    /// Reads at the descriptor's own position.
    pub fn new(bufs: B) -> Readv<B> {
        Readv {
            bufs,
            vecs: IoVecs::new(),
            position: Position::Stream,
            flags: 0,
            alignment: Alignment::NONE,
        }
    }

    /// Reads where a file's cursor is; see [`Read::at_cursor`](super::Read::at_cursor).
    pub fn at_cursor(bufs: B) -> Readv<B> {
        Readv {
            position: Position::CURSOR,
            ..Readv::new(bufs)
        }
    }

    /// Reads at `offset` bytes from the start, and moves no position.
    pub fn at(bufs: B, offset: u64) -> Readv<B> {
        Readv {
            position: Position::At(offset),
            ..Readv::new(bufs)
        }
    }

    /// With flags (`RWF_*`) of `preadv2(2)`.
    pub fn flags(mut self, flags: i32) -> Readv<B> {
        self.flags = flags;
        self
    }
}

/// Tells the buffers what the kernel has filled.
pub(super) fn filled_total<B: IoVectoredBufMut>(bufs: &mut B, n: usize) {
    // SAFETY: the kernel has filled the vectors, which are the buffers' room in order, with `n` bytes.
    unsafe { bufs.set_init_total(n) };
}

/// The first `n` bytes of the buffers' room, piece by piece.
pub(super) fn pieces<B: IoVectoredBufMut>(bufs: &mut B, mut n: usize, put: &mut dyn FnMut(&[u8])) {
    filled_total(bufs, n);
    bufs.each(&mut |ptr, len| {
        let len = len.min(n);
        // SAFETY: `each` reports initialised bytes that the buffers own; they are borrowed here.
        put(unsafe { std::slice::from_raw_parts(ptr, len) });
        n -= len;
    });
}

/// Copies from `from` what fits into the buffers, in order, and returns how much that was.
pub(super) fn fill_pieces<B: IoVectoredBufMut>(bufs: &mut B, from: &[u8]) -> usize {
    let mut n = 0;
    bufs.each_mut(&mut |ptr, room| {
        let from = &from[n..];
        let len = from.len().min(room);
        // SAFETY: `each_mut` reports room that the buffers own alone; `from` is the descriptor's.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), ptr, len) };
        n += len;
    });
    filled_total(bufs, n);
    n
}

// SAFETY: the entry points at the vectors inside `self`, and they at the buffers' room, which the
// `IoVectoredBufMut` contract keeps in place.
unsafe impl<B: IoVectoredBufMut> Operation for Readv<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::Readv::CODE;
    const NAME: &'static str = "IORING_OP_READV";
    const FIXED_FILE: bool = true;
    const SINCE: &'static str = "5.1";

    fn lane(&self) -> Option<Lane> {
        self.position.lane(Lane::Read)
    }

    fn on_drop(&self) -> OnDrop {
        self.position.on_drop_of_read()
    }

    fn check(&mut self) -> io::Result<()> {
        self.position.check_aligned(self.alignment)?;
        let room = self.bufs.total_room();
        self.alignment.check_vectored(self, &self.bufs, room)?;
        refuse_empty(
            self.bufs.total_room(),
            "there is no room in the buffers to read into",
        )
    }

    fn check_in_chain(&self) -> io::Result<()> {
        self.position.check_in_chain()
    }

    fn seal(&mut self, fd: RawFd, _own: u32) -> io::Result<()> {
        self.position.begin(fd, Lane::Read, self.alignment)
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (vecs, len) = self.vecs.of_mut(&mut self.bufs);
        opcode::Readv::new(types::Fd(fd), vecs, kernel_count(len))
            .offset(self.position.offset(0))
            .rw_flags(self.flags)
            .build()
    }

    fn landed(&mut self, result: &io::Result<Success>, origin: Origin<'_>) {
        self.position
            .land(result.as_ref().map_or(0, |s| s.value as usize), origin);
    }

    fn attempts(&self) -> Option<Tried> {
        (self.position == Position::Stream && self.flags == 0).then_some(Tried::Read)
    }

    fn attempt(&mut self, fd: RawFd) -> io::Result<Success> {
        let (vecs, len) = self.vecs.of_mut(&mut self.bufs);
        // SAFETY: open, as we are counted in; the vectors, no more than there are, are the buffers' room, which is ours.
        unsafe { attempt::read(fd, vecs, kernel_count(len)) }
    }

    fn complete(mut self, result: io::Result<Success>) -> Self::Output {
        let result = result.map(|s| s.value as usize);
        if let Ok(n) = result {
            filled_total(&mut self.bufs, n);
        }
        (result, self.bufs)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        if self.position == Position::Stream {
            origin.keep_read(&result, |kept, n| {
                pieces(&mut self.bufs, n, &mut |piece| kept.put_piece(piece));
                kept.end_pieces(n);
            });
        }
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        let Some(front) = kept.front() else {
            return serve_end(kept);
        };
        let n = fill_pieces(&mut self.bufs, front);
        kept.take(n);
        Some(Ok(Success::of(n as u32)))
    }
}
