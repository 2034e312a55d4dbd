//! `IORING_OP_WRITEV`: `pwritev(2)` from several buffers.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::position::{Position, placed};
use super::send_zc::Way;
use super::{Operation, Origin, Success, attempt};
use crate::buf::{Alignment, BufResult, IoVecs, IoVectoredBuf, kernel_count, refuse_empty};
use crate::driver::Driver;
use crate::fd::{Lane, Tried};
use crate::ring::REPORT_USAGE;

placed!(Writev);

/// Writes the initialised bytes of several buffers, one after the other.
#[derive(Debug)]
pub struct Writev<B> {
    bufs: B,
    vecs: IoVecs,
    position: Position,
    flags: i32,
    alignment: Alignment,
    way: Way,
    /// Of one that goes to a socket without a copy; written when it does.
    header: MaybeUninit<libc::msghdr>,
}

impl<B: IoVectoredBuf> Writev<B> {
    /// Writes at the descriptor's own position.
    pub fn new(bufs: B) -> Writev<B> {
        Writev {
            bufs,
            vecs: IoVecs::new(),
            position: Position::Stream,
            flags: 0,
            alignment: Alignment::NONE,
            way: Way::default(),
            header: MaybeUninit::uninit(),
        }
    }

    /// Writes where a file's cursor is; see [`Write::at_cursor`](super::Write::at_cursor).
    pub fn at_cursor(bufs: B) -> Writev<B> {
        Writev {
            position: Position::CURSOR,
            ..Writev::new(bufs)
        }
    }

    /// Writes at `offset` bytes from the start, and moves no position.
    pub fn at(bufs: B, offset: u64) -> Writev<B> {
        Writev {
            position: Position::At(offset),
            ..Writev::new(bufs)
        }
    }

    /// With flags (`RWF_*`) of `pwritev2(2)`.
    pub fn flags(mut self, flags: i32) -> Writev<B> {
        self.flags = flags;
        self
    }
}

// SAFETY: the entry points at the vectors inside `self`, and they at the buffers' initialised bytes, which the
// `IoVectoredBuf` contract keeps in place.
unsafe impl<B: IoVectoredBuf> Operation for Writev<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::Writev::CODE;
    const NAME: &'static str = "IORING_OP_WRITEV";
    const FIXED_FILE: bool = true;
    const SINCE: &'static str = "5.1";
    const ROUNDS: bool = true;
    const NOTIFIED: bool = true;

    fn lane(&self) -> Option<Lane> {
        self.position.lane(Lane::Write)
    }

    fn check(&mut self) -> io::Result<()> {
        self.position.check_aligned(self.alignment)?;
        let len = self.bufs.total_init();
        self.alignment.check_vectored(self, &self.bufs, len)?;
        refuse_empty(
            self.bufs.total_init(),
            "there is nothing in the buffers to write",
        )
    }

    fn check_in_chain(&self) -> io::Result<()> {
        self.position.check_in_chain()
    }

    fn seal(&mut self, fd: RawFd, _own: u32) -> io::Result<()> {
        self.position.begin(fd, Lane::Write, self.alignment)
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (vecs, len) = self.vecs.of(&self.bufs);
        if self.way.is_in_place() {
            // SAFETY: a `msghdr` of zeros is valid: null pointers, zero lengths.
            let header = self.header.write(unsafe { std::mem::zeroed() });
            header.msg_iov = vecs;
            header.msg_iovlen = kernel_count(len) as _;
            return opcode::SendMsgZc::new(types::Fd(fd), &raw const *header)
                .ioprio(REPORT_USAGE)
                .flags(libc::MSG_NOSIGNAL.cast_unsigned())
                .build();
        }
        opcode::Writev::new(types::Fd(fd), vecs, kernel_count(len))
            .offset(self.position.offset(0))
            .rw_flags(self.flags)
            .build()
    }

    fn choose_way(&mut self, least: usize, driver: &Driver) {
        if least < usize::MAX && self.position == Position::Stream && self.flags == 0 {
            let len = self.bufs.total_init();
            self.way.choose(len, least, driver, opcode::SendMsgZc::CODE);
        }
    }

    fn will_go_on(&self, result: &io::Result<Success>) -> bool {
        self.way.is_refused(result)
    }

    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.way.refused(result)
    }

    fn landed(&mut self, result: &io::Result<Success>, origin: Origin<'_>) {
        self.way.landed(result, origin);
        self.position
            .land(result.as_ref().map_or(0, |s| s.value as usize), origin);
    }

    fn attempts(&self) -> Option<Tried> {
        let stream = self.position == Position::Stream && self.flags == 0;
        (stream && !self.way.is_in_place()).then_some(Tried::Write)
    }

    fn attempt(&mut self, fd: RawFd) -> io::Result<Success> {
        let (vecs, len) = self.vecs.of(&self.bufs);
        // SAFETY: open, as we are counted in; the vectors, no more than there are, are the buffers' initialised bytes.
        unsafe { attempt::write(fd, vecs, kernel_count(len)) }
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.bufs)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        // What was written was: the cursor follows, as for one that is not dropped.
        self.landed(&result, origin);
    }
}
