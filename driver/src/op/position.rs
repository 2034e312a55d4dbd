//! Where on a descriptor a read or a write takes place, and what follows from it for those beside it.

use std::io;

use super::OnDrop;
use crate::buf::Alignment;
use crate::fd::Lane;

/// Where a read or a write takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Where the stream is. Reading and writing are two directions; what a dropped read brings is kept.
    Stream,
    /// Where the file's cursor is. Reading and writing move it both, so they follow one another; a dropped read
    /// moves it back.
    Cursor,
    /// So many bytes from the start. It concerns nobody else.
    At(u64),
    /// So many bytes from the start of what has none.
    Nowhere,
}

/// The kernel's word for "at the descriptor's own position".
const OWN: u64 = u64::MAX;

impl Position {
    /// What an operation in `direction` has to itself while in flight.
    pub(super) fn lane(self, direction: Lane) -> Option<Lane> {
        match self {
            Position::Stream => Some(direction),
            Position::Cursor => Some(Lane::Read),
            Position::At(_) | Position::Nowhere => None,
        }
    }

    /// What becomes of a read whose future is dropped.
    pub(super) fn on_drop_of_read(self) -> OnDrop {
        match self {
            Position::Stream | Position::Cursor => OnDrop::Keep,
            Position::At(_) | Position::Nowhere => OnDrop::Cancel,
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

    /// As [`check`](Position::check), also for what `O_DIRECT` asks of offsets. Where the cursor is, the kernel sees.
    pub(super) fn check_aligned(self, alignment: Alignment) -> io::Result<()> {
        self.check()?;
        match self {
            Position::At(offset) => alignment.check_offset(offset),
            Position::Stream | Position::Cursor | Position::Nowhere => Ok(()),
        }
    }

    /// As the entry has it, `done` bytes further on.
    pub(super) fn offset(self, done: usize) -> u64 {
        match self {
            Position::Stream | Position::Cursor | Position::Nowhere => OWN,
            // Both are below 2^63: neither overflows nor means the descriptor's own position.
            Position::At(offset) => offset + done as u64,
        }
    }
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
            lanes(Position::Cursor),
            (Some(Lane::Read), Some(Lane::Read))
        );
        assert_eq!(
            lanes(Position::Stream),
            (Some(Lane::Read), Some(Lane::Write))
        );
        assert_eq!(lanes(Position::At(0)), (None, None));
    }
}
