//! `IORING_OP_TEE`: `tee(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::splice::FD_IN_FIXED;
use super::{Operation, Second, Success};
use crate::buf::{kernel_len, refuse_empty};
use crate::fd::{Fd, Lane};

/// Duplicates what is in one pipe into another, without taking it out of the first.
///
/// `Op::on(&output, Tee::new(&input, len))` resolves to how many bytes were duplicated; 0 if every writing end of the
/// input is closed. Otherwise as [`Splice`](super::Splice), its worker thread included.
///
/// # Cancel safety
///
/// If the future is dropped, any part may have been duplicated.
#[derive(Debug)]
pub struct Tee {
    input: Second,
    len: usize,
    flags: u32,
}

impl Tee {
    /// Duplicates at most `len` bytes of what is in `input`.
    pub fn new(input: &Fd, len: usize) -> Tee {
        Tee {
            input: Second::of(input, Some(Lane::Read)),
            len,
            flags: 0,
        }
    }

    /// With the flags (`SPLICE_F_*`) of `tee(2)`.
    pub fn with_flags(mut self, flags: u32) -> Tee {
        self.flags = flags & !FD_IN_FIXED;
        self
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for Tee {
    type Output = io::Result<usize>;
    const OPCODE: u8 = opcode::Tee::CODE;
    const NAME: &'static str = "IORING_OP_TEE";
    const SINCE: &'static str = "5.8";
    const TWO: bool = true;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Write)
    }

    fn on_worker(&self) -> bool {
        true
    }

    fn second(&self) -> Option<&Second> {
        Some(&self.input)
    }

    fn check(&mut self) -> io::Result<()> {
        refuse_empty(self.len, "no bytes to duplicate")
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let input = types::Fd(self.input.raw());
        opcode::Tee::new(input, types::Fd(fd), kernel_len(self.len))
            .flags(self.flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        result.map(|success| success.value as usize)
    }
}
