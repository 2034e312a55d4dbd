//! Where on a descriptor a read or a write takes place, and what follows from it for those beside it.
//!
//! **At the cursor** the kernel is asked for an offset, and the cursor is moved when the result is handed over. For the
//! ring's own way, an offset of -1, moves no cursor where the operation ends after its submission, as with `O_DIRECT`
//! (seen on Linux 6.18), and moves it for a read whose future is gone. So: one operation at a time (the lane); where the
//! cursor is when it begins (`begin`); how far it gets when it has ended (`land`). Both are `lseek(2)`, which does not
//! block.

use std::io;
use std::os::fd::RawFd;

use super::lseek::lseek;
use super::{OnDrop, Origin};
use crate::buf::Alignment;
use crate::fd::{Begin, Lane};

/// Where a read or a write takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Where the stream is. Reading and writing are two directions; what a dropped read brings is kept.
    Stream,
    /// Where the file's cursor is: here, once the operation has begun. Reading and writing move it both, so they
    /// follow one another; a dropped read does not.
    Cursor(u64),
    /// The same, but the kernel itself moves it: `splice(2)`, which ends within its worker's call.
    Own,
    /// At the file's end; the cursor, which is here, follows.
    Append(u64),
    /// So many bytes from the start. It concerns nobody else.
    At(u64),
    /// So many bytes from the start of what has none.
    Nowhere,
}

/// The kernel's word for "at the descriptor's own position", and for the end of a file opened to append.
const OWN: u64 = u64::MAX;

impl Position {
    /// Where the cursor is, which is not known yet.
    pub(super) const CURSOR: Position = Position::Cursor(0);

    /// What an operation in `direction` has to itself while in flight.
    pub(super) fn lane(self, direction: Lane) -> Option<Lane> {
        match self {
            Position::Stream => Some(direction),
            Position::Cursor(_) | Position::Own | Position::Append(_) => Some(Lane::Read),
            Position::At(_) | Position::Nowhere => None,
        }
    }

    /// Whether it is one of a file's, rather than wherever a stream is.
    #[inline]
    pub(super) fn is_in_a_file(self) -> bool {
        !matches!(self, Position::Stream | Position::Nowhere)
    }

    /// What becomes of a read whose future is dropped.
    pub(super) fn on_drop_of_read(self) -> OnDrop {
        match self {
            Position::Stream => OnDrop::Keep,
            _ => OnDrop::Cancel,
        }
    }

    /// Offsets are signed in the kernel, and -1 means something else.
    pub(super) fn check(self) -> io::Result<()> {
        match self {
            Position::At(offset) if i64::try_from(offset).is_err() => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the offset is beyond 2^63 - 1",
            )),
            Position::Nowhere => Err(io::Error::from_raw_os_error(libc::ESPIPE)),
            _ => Ok(()),
        }
    }

    /// As [`check`](Position::check), also for what `O_DIRECT` asks of offsets.
    pub(super) fn check_aligned(self, alignment: Alignment) -> io::Result<()> {
        self.check()?;
        match self {
            Position::At(offset) => alignment.check_offset(offset),
            _ => Ok(()),
        }
    }

    /// The members of a chain are staged before the first of them has moved the cursor.
    pub(super) fn check_in_chain(self) -> io::Result<()> {
        match self {
            Position::Cursor(_) | Position::Append(_) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "what is done at a file's cursor cannot be a member of a chain: give it an offset",
            )),
            _ => Ok(()),
        }
    }

    /// The operation in `direction` begins, in its turn: sees where the cursor is.
    pub(super) fn begin(
        &mut self,
        fd: RawFd,
        direction: Lane,
        alignment: Alignment,
    ) -> io::Result<()> {
        if !matches!(self, Position::Cursor(_)) {
            return Ok(());
        }
        let cursor = lseek(fd, 0, libc::SEEK_CUR)?;
        *self = if direction == Lane::Write && appends(fd) {
            Position::Append(cursor)
        } else {
            alignment.check_offset(cursor)?;
            Position::Cursor(cursor)
        };
        Ok(())
    }

    /// As the entry has it, `done` bytes further on.
    pub(super) fn offset(self, done: usize) -> u64 {
        match self {
            Position::Stream | Position::Own | Position::Append(_) | Position::Nowhere => OWN,
            // Both are below 2^63: neither overflows nor means the descriptor's own position.
            Position::Cursor(offset) | Position::At(offset) => offset + done as u64,
        }
    }

    /// The operation has done `n` bytes and holds its lane still: moves the cursor behind them.
    pub(super) fn land(self, n: usize, origin: Origin<'_>) {
        if !matches!(self, Position::Cursor(_) | Position::Append(_)) || n == 0 {
            return;
        }
        let Some(fd) = origin.fd else { return };
        // Once closed the number may be another file's.
        if !origin.counted && fd.begin(None) == Begin::Closed {
            return;
        }
        let raw = fd.raw();
        // The kernel sees to the cursor of a file it appends to, if that ended within its submission. It fails only
        // where another handle has put the cursor where it cannot be: then there it is.
        let _ = match self {
            Position::Cursor(from) => lseek(raw, (from + n as u64).cast_signed(), libc::SEEK_SET),
            _ => lseek(raw, 0, libc::SEEK_CUR).and_then(|now| match self {
                Position::Append(before) if now == before => lseek(raw, 0, libc::SEEK_END),
                _ => Ok(now),
            }),
        };
        if !origin.counted {
            fd.finish_here();
        }
    }
}

/// Whether the file was opened to append.
fn appends(fd: RawFd) -> bool {
    // SAFETY: F_GETFL takes no pointers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_APPEND != 0
}

/// What all reads and writes that have a position can be told of the file.
macro_rules! placed {
    ($($op:ident),*) => {$(
        impl<B> $op<B> {
            /// For a file opened with `O_DIRECT`: refuses what is not aligned so (`InvalidInput`), before the kernel
            /// does.
            pub fn direct(mut self, alignment: Alignment) -> $op<B> {
                self.alignment = alignment;
                self
            }

            /// For what cannot seek: an offset is refused (`NotSeekable`), as `pread(2)` and `pwrite(2)` do. The ring
            /// would pay no heed to it.
            pub fn unseekable(mut self) -> $op<B> {
                if let Position::At(_) = self.position {
                    self.position = Position::Nowhere;
                }
                self
            }
        }
    )*};
}
pub(super) use placed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_offset_however_far_on_is_taken_for_the_descriptors_own_position() {
        let last = Position::At(i64::MAX as u64);
        last.check().unwrap();
        assert_ne!(last.offset(isize::MAX as usize), OWN);
        assert!(Position::At(1 << 63).check().is_err());
    }

    #[test]
    fn reads_and_writes_at_the_cursor_share_a_lane_and_those_of_a_stream_do_not() {
        let lanes = |position: Position| (position.lane(Lane::Read), position.lane(Lane::Write));
        assert_eq!(
            lanes(Position::CURSOR),
            (Some(Lane::Read), Some(Lane::Read))
        );
        assert_eq!(
            lanes(Position::Stream),
            (Some(Lane::Read), Some(Lane::Write))
        );
        assert_eq!(lanes(Position::At(0)), (None, None));
    }
}
