//! `IORING_OP_SPLICE`: `splice(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::position::Position;
use super::{Operation, Second, Success};
use crate::buf::{kernel_len, refuse_empty};
use crate::fd::{Fd, Lane};

/// Moves bytes from one descriptor to another inside the kernel; one of the two must be a pipe.
///
/// `Op::on(&output, Splice::new(&input, len))` resolves to how many bytes went, 0 at the end of the input. It has the
/// reading direction of the input and the writing direction of the output to itself while in flight.
///
/// The kernel runs it on a worker thread of its own, which it holds up for as long as there is nothing to move, or
/// no room. So wait for that first, by a [`PollAdd`](super::PollAdd) linked before it, where it may take long.
///
/// # Cancel safety
///
/// If the future is dropped, any part of `len` may have gone. Nothing is lost by that: what did not go is still in
/// the input. But at a file's cursor it may have moved that.
#[derive(Debug)]
pub struct Splice {
    input: Second,
    from: Position,
    to: Position,
    len: usize,
    flags: u32,
}

impl Splice {
    /// Moves at most `len` bytes from `input`, both ends being streams: pipes, sockets, terminals.
    pub fn new(input: &Fd, len: usize) -> Splice {
        Splice {
            input: Second::of(input, Some(Lane::Read)),
            from: Position::Stream,
            to: Position::Stream,
            len,
            flags: 0,
        }
    }

    /// Reads the input, a file, at `offset`, and moves no position there.
    pub fn from(mut self, offset: u64) -> Splice {
        self.from = Position::At(offset);
        self.input.lane = None;
        self
    }

    /// Writes the output, a file, at `offset`, and moves no position there.
    pub fn to(mut self, offset: u64) -> Splice {
        self.to = Position::At(offset);
        self
    }

    /// Reads the input, a file, where its cursor is, in turn with all that is done there.
    pub fn from_cursor(mut self) -> Splice {
        self.from = Position::Own;
        self
    }

    /// Writes the output, a file, where its cursor is, in turn with all that is done there.
    pub fn to_cursor(mut self) -> Splice {
        self.to = Position::Own;
        self
    }

    /// With the flags (`SPLICE_F_*`) of `splice(2)`.
    pub fn with_flags(mut self, flags: u32) -> Splice {
        self.flags = flags & !FD_IN_FIXED;
        self
    }
}

/// `SPLICE_F_FD_IN_FIXED`: the input would be an index of the ring's instead of a descriptor.
pub(super) const FD_IN_FIXED: u32 = 1 << 31;

// SAFETY: the entry has no pointers.
unsafe impl Operation for Splice {
    type Output = io::Result<usize>;
    const OPCODE: u8 = opcode::Splice::CODE;
    const NAME: &'static str = "IORING_OP_SPLICE";
    const SINCE: &'static str = "5.7";
    const TWO: bool = true;

    fn lane(&self) -> Option<Lane> {
        self.to.lane(Lane::Write)
    }

    fn on_worker(&self) -> bool {
        true
    }

    fn second(&self) -> Option<&Second> {
        Some(&self.input)
    }

    fn check(&mut self) -> io::Result<()> {
        self.from.check()?;
        self.to.check()?;
        refuse_empty(self.len, "no bytes to splice")
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let input = types::Fd(self.input.raw());
        let (from, to) = (self.from.offset(0), self.to.offset(0));
        let (from, to) = (from.cast_signed(), to.cast_signed());
        opcode::Splice::new(input, from, types::Fd(fd), to, kernel_len(self.len))
            .flags(self.flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        result.map(|success| success.value as usize)
    }
}
