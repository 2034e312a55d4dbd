//! `IORING_OP_FADVISE`: `posix_fadvise(2)`.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::position::Position;
use super::{Operation, Success};

/// Tells how a part of a file will be used.
#[derive(Debug)]
pub struct Fadvise {
    advice: i32,
    part: Part,
}

impl Fadvise {
    /// For `len` bytes from `offset` on, all of the rest if `len` is 0; `advice` is one of `POSIX_FADV_*`.
    pub fn new(advice: i32, offset: u64, len: u64) -> Fadvise {
        Fadvise {
            advice,
            part: Part::new(offset, len),
        }
    }
}

/// A part of a file whose length has 32 bits in the entry, where 0 means "to the end": what is longer takes rounds.
#[derive(Debug)]
pub(super) struct Part {
    offset: u64,
    /// `None`: to the end.
    left: Option<u64>,
}

/// The most of a round: pages, so that no round ends within one.
const ROUND: u32 = 1 << 31;

impl Part {
    pub(super) fn new(offset: u64, len: u64) -> Part {
        Part {
            offset,
            left: Some(len).filter(|len| *len > 0),
        }
    }

    pub(super) fn check(&self) -> io::Result<()> {
        Position::At(self.offset).check()?;
        let end = self.offset.checked_add(self.left.unwrap_or(0));
        Position::At(end.unwrap_or(u64::MAX)).check()
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of this round.
    pub(super) fn len(&self) -> u32 {
        let left = self.left.unwrap_or(0);
        u32::try_from(left).unwrap_or(ROUND).min(ROUND)
    }

    pub(super) fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        let len = u64::from(self.len());
        match self.left {
            Some(left) if left > len && result.is_ok() => {
                *self = Part {
                    offset: self.offset + len,
                    left: Some(left - len),
                };
                true
            }
            _ => false,
        }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for Fadvise {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Fadvise::CODE;
    const NAME: &'static str = "IORING_OP_FADVISE";
    const ROUNDS: bool = true;

    fn check(&mut self) -> io::Result<()> {
        self.part.check()
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::Fadvise::new(types::Fd(fd), self.part.len().into(), self.advice)
            .offset(self.part.offset())
            .build()
    }

    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        self.part.goes_on(result)
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_any_length_is_covered_once_over_its_rounds() {
        for (offset, len) in [
            (0, 1),
            (7, 1 << 31),
            (7, (1 << 31) + 1),
            (4096, 5 << 31),
            (3, 10 << 30),
        ] {
            let mut part = Part::new(offset, len);
            let mut at = offset;
            loop {
                assert_eq!(part.offset(), at);
                assert_ne!(part.len(), 0, "that would mean all the rest");
                at += u64::from(part.len());
                if !part.goes_on(&Ok(Success::of(0))) {
                    break;
                }
            }
            assert_eq!(at, offset + len);
        }
    }

    #[test]
    fn the_rest_is_one_round_and_an_error_is_the_last() {
        let mut rest = Part::new(5, 0);
        assert_eq!((rest.offset(), rest.len()), (5, 0));
        assert!(!rest.goes_on(&Ok(Success::of(0))));
        let mut long = Part::new(0, 1 << 40);
        assert!(!long.goes_on(&Err(io::ErrorKind::InvalidInput.into())));
    }

    #[test]
    fn a_part_that_ends_beyond_all_offsets_is_refused() {
        assert!(Part::new(1, i64::MAX as u64).check().is_err());
        assert!(Part::new(1, u64::MAX).check().is_err());
        Part::new(0, i64::MAX as u64).check().unwrap();
    }
}
