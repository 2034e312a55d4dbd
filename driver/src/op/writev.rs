//! `IORING_OP_WRITEV`: `pwritev(2)` from several buffers.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::read::{AT_POSITION, check_offset};
use super::{Operation, Success};
use crate::buf::{BufResult, IoVecs, IoVectoredBuf, kernel_count, refuse_empty};
use crate::fd::Lane;

/// Writes the initialised bytes of several buffers, one after the other.
#[derive(Debug)]
pub struct Writev<B> {
    bufs: B,
    vecs: IoVecs,
    offset: Option<u64>,
}

impl<B: IoVectoredBuf> Writev<B> {
    /// Writes at the descriptor's own position.
    pub fn new(bufs: B) -> Writev<B> {
        Writev {
            bufs,
            vecs: IoVecs::new(),
            offset: None,
        }
    }

    /// Writes at `offset` bytes from the start, and moves no position.
    pub fn at(bufs: B, offset: u64) -> Writev<B> {
        Writev {
            offset: Some(offset),
            ..Writev::new(bufs)
        }
    }
}

// SAFETY: the entry points at the vectors inside `self`, and they at the buffers' initialised bytes, which the
// `IoVectoredBuf` contract keeps in place.
unsafe impl<B: IoVectoredBuf> Operation for Writev<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::Writev::CODE;
    const NAME: &'static str = "IORING_OP_WRITEV";
    const SINCE: &'static str = "5.1";

    fn lane(&self) -> Option<Lane> {
        self.offset.is_none().then_some(Lane::Write)
    }

    fn check(&mut self) -> io::Result<()> {
        check_offset(self.offset)?;
        refuse_empty(
            self.bufs.total_init(),
            "there is nothing in the buffers to write",
        )
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (vecs, len) = self.vecs.of(&self.bufs);
        let offset = self.offset.unwrap_or(AT_POSITION);
        opcode::Writev::new(types::Fd(fd), vecs, kernel_count(len))
            .offset(offset)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.bufs)
    }
}
