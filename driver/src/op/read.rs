//! `IORING_OP_READ`: `pread(2)`, or `read(2)` at the descriptor's own position.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::{OnDrop, Operation, Origin, Success};
use crate::buf::{BufResult, IoBufMut, bytes, fill, filled, kernel_len, refuse_empty};
use crate::fd::Lane;
use crate::kept::Kept;

/// Reads into a buffer.
#[derive(Debug)]
pub struct Read<B> {
    buf: B,
    offset: Option<u64>,
}

impl<B: IoBufMut> Read<B> {
    /// Reads at the descriptor's own position: pipes, terminals, files as streams.
    ///
    /// Such reads follow one another; what a dropped one brings is kept for the next.
    pub fn new(buf: B) -> Read<B> {
        Read { buf, offset: None }
    }

    /// Reads at `offset` bytes from the start, and moves no position. Such reads may overlap.
    pub fn at(buf: B, offset: u64) -> Read<B> {
        Read {
            buf,
            offset: Some(offset),
        }
    }
}

/// The kernel's word for "at the descriptor's own position".
pub(super) const AT_POSITION: u64 = u64::MAX;

/// Offsets are signed in the kernel, and -1 means something else.
pub(super) fn check_offset(offset: Option<u64>) -> io::Result<()> {
    if offset.is_some_and(|offset| i64::try_from(offset).is_err()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the offset is beyond 2^63 - 1",
        ));
    }
    Ok(())
}

// SAFETY: the entry points at `buf`'s memory, within its room, which the `IoBufMut` contract keeps in place.
unsafe impl<B: IoBufMut> Operation for Read<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::Read::CODE;
    const NAME: &'static str = "IORING_OP_READ";

    fn lane(&self) -> Option<Lane> {
        self.offset.is_none().then_some(Lane::Read)
    }

    fn on_drop(&self) -> OnDrop {
        if self.offset.is_none() {
            OnDrop::Keep
        } else {
            OnDrop::Cancel
        }
    }

    fn check(&mut self) -> io::Result<()> {
        check_offset(self.offset)?;
        refuse_empty(
            self.buf.bytes_total(),
            "there is no room in the buffer to read into",
        )
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.buf.bytes_total());
        let offset = self.offset.unwrap_or(AT_POSITION);
        opcode::Read::new(types::Fd(fd), self.buf.stable_mut_ptr(), len)
            .offset(offset)
            .build()
    }

    fn complete(mut self, result: io::Result<Success>) -> Self::Output {
        let result = result.map(|s| filled(&mut self.buf, s.value as usize).len());
        (result, self.buf)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        if self.offset.is_none() {
            origin.keep_read(&result, |kept, n| kept.put_bytes(filled(&mut self.buf, n)));
        }
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        serve_bytes(&mut self.buf, kept)
    }
}

/// Serves a read from kept bytes, then from the error or the end that followed them.
pub(super) fn serve_bytes<B: IoBufMut>(
    buf: &mut B,
    kept: &mut Kept,
) -> Option<io::Result<Success>> {
    let n = fill(buf, kept.bytes());
    if n > 0 {
        kept.consume(n);
    } else if let Some(errno) = kept.take_error() {
        return Some(Err(io::Error::from_raw_os_error(errno)));
    } else if !kept.take_end() {
        return None;
    }
    debug_assert!(n <= bytes(buf).len());
    Some(Ok(Success::of(n as u32)))
}
