//! `IORING_OP_WRITE`: `pwrite(2)`, or `write(2)` at the descriptor's own position.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::read::{AT_POSITION, check_offset};
use super::{Operation, Success};
use crate::buf::{BufResult, IoBuf, kernel_len, refuse_empty};
use crate::fd::Lane;

/// Writes a buffer's initialised bytes.
#[derive(Debug)]
pub struct Write<B> {
    buf: B,
    offset: Option<u64>,
}

impl<B: IoBuf> Write<B> {
    /// Writes at the descriptor's own position (pipes, terminals, files as streams). Such writes follow one
    /// another.
    pub fn new(buf: B) -> Write<B> {
        Write { buf, offset: None }
    }

    /// Writes at `offset` bytes from the start, and moves no position. Such writes may overlap.
    pub fn at(buf: B, offset: u64) -> Write<B> {
        Write {
            buf,
            offset: Some(offset),
        }
    }
}

// SAFETY: the entry points at `buf`'s initialised bytes, which the `IoBuf` contract keeps in place.
unsafe impl<B: IoBuf> Operation for Write<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::Write::CODE;
    const NAME: &'static str = "IORING_OP_WRITE";

    fn lane(&self) -> Option<Lane> {
        self.offset.is_none().then_some(Lane::Write)
    }

    fn check(&mut self) -> io::Result<()> {
        check_offset(self.offset)?;
        refuse_empty(
            self.buf.bytes_init(),
            "there is nothing in the buffer to write",
        )
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.buf.bytes_init());
        let offset = self.offset.unwrap_or(AT_POSITION);
        opcode::Write::new(types::Fd(fd), self.buf.stable_ptr(), len)
            .offset(offset)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.buf)
    }
}
