//! `IORING_OP_RECV` with `IOSQE_BUFFER_SELECT`: `recv(2)` into a buffer that the kernel picks when data arrives.

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::rc::Rc;

use io_uring::{opcode, squeue, types};

use super::read::serve_end;
use super::{OnDrop, Operation, Origin, Success};
use crate::buf::{Chunk, GROUP, Pool};
use crate::driver::Driver;
use crate::fd::Lane;
use crate::kept::Kept;

/// `IORING_RECVSEND_POLL_FIRST`, Linux 5.19: waits for data before it looks for a buffer.
const POLL_FIRST: u16 = 1;

/// Receives into a buffer of the driver's pool, which the kernel picks when data arrives: one that waits holds none.
///
/// Linux 5.19, and the ring in user space. Without that, or switched off
/// ([`Setup::provided_buffers`](crate::Setup::provided_buffers)), it holds a buffer of the same pool while it waits.
///
/// Receives on one socket follow one another; what a dropped one brings is kept for the next, of whichever kind.
#[derive(Debug, Default)]
pub struct RecvChunk {
    pool: Option<Rc<Pool>>,
    /// What it receives into, or was served with, if the kernel is not to pick.
    room: Option<Chunk>,
    /// How often the kernel found no buffer.
    dry: u8,
}

impl RecvChunk {
    /// Receives what there is, at least one byte and at most a buffer full; none is the end.
    pub fn new() -> RecvChunk {
        RecvChunk::default()
    }

    /// Whether the kernel is to pick the buffer.
    ///
    /// Not if it found none twice: the second time there was data to put into it, so that what is lent instead is not
    /// lent for long.
    #[inline]
    fn selects(&self) -> bool {
        self.dry < 2 && self.pool.as_ref().is_some_and(|pool| pool.is_shared())
    }

    /// Receives into a buffer that it is lent beforehand.
    fn entry_with_room(&mut self, fd: types::Fd) -> squeue::Entry {
        let pool = &self.pool;
        let lend = || pool.as_ref().map_or_else(Chunk::empty, Pool::lend);
        let room = self.room.get_or_insert_with(lend);
        opcode::Recv::new(fd, room.as_mut_ptr(), room.len() as u32).build()
    }
}

/// What a receive was given.
#[inline]
pub(super) fn received(pool: Option<Rc<Pool>>, success: Success) -> io::Result<Chunk> {
    match (success.picked(), pool) {
        (true, Some(pool)) => pool.chunk(success.flags, success.value),
        (false, _) if success.value == 0 => Ok(Chunk::empty()),
        _ => Err(named_none()),
    }
}

#[cold]
fn named_none() -> io::Error {
    io::Error::other("the kernel named no buffer")
}

/// No buffer was left to pick.
#[inline]
pub(super) fn found_none(result: &io::Result<Success>) -> bool {
    let error = result.as_ref().err();
    error.and_then(io::Error::raw_os_error) == Some(libc::ENOBUFS)
}

// SAFETY: the entry points at nothing, or at the room that it holds. A buffer that the kernel picks is one that the pool
// published, so nobody else's; `pool` keeps it alive.
unsafe impl Operation for RecvChunk {
    type Output = io::Result<Chunk>;
    const OPCODE: u8 = opcode::Recv::CODE;
    const NAME: &'static str = "IORING_OP_RECV";
    const ROUNDS: bool = true;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Read)
    }

    fn on_drop(&self) -> OnDrop {
        OnDrop::Keep
    }

    fn check_in_chain(&self) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a receive into a buffer of the runtime's cannot be a member of a chain: receive into one of your own",
        ))
    }

    #[inline]
    fn prepare(&mut self, driver: &Driver) -> io::Result<()> {
        self.pool = Some(driver.pool().clone());
        Ok(())
    }

    #[inline]
    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let fd = types::Fd(fd);
        if self.selects() {
            // It found none: the ring was empty when it looked. There may have been no data yet.
            let how = if self.dry > 0 { POLL_FIRST } else { 0 };
            return opcode::Recv::new(fd, ptr::null_mut(), 0)
                .buf_group(GROUP)
                .ioprio(how)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT);
        }
        self.entry_with_room(fd)
    }

    #[inline]
    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        let again = found_none(result) && self.selects();
        if again {
            self.dry += 1;
            if let Some(pool) = &self.pool {
                pool.ran_dry();
            }
        }
        again
    }

    #[inline]
    fn complete(mut self, result: io::Result<Success>) -> Self::Output {
        let success = result?;
        match self.room.take() {
            Some(mut room) => {
                room.truncate(success.value as usize);
                Ok(room)
            }
            None => received(self.pool, success),
        }
    }

    fn discard(self, result: io::Result<Success>, origin: Origin<'_>) {
        if found_none(&result) {
            // Nothing has happened.
            return;
        }
        let told = result.as_ref().map(|success| *success).map_err(|_| ());
        match (told, self.complete(result)) {
            (Ok(success), Ok(chunk)) => {
                origin.keep_read(&Ok(success), |kept, _| kept.put_bytes(&chunk));
            }
            (_, Err(error)) => origin.keep_error(&error),
            (Err(()), Ok(_)) => {}
        }
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        serve_chunk(kept, &mut self.room)
    }
}

/// Serves a receive with all the bytes, or the message, that are next.
pub(super) fn serve_chunk(
    kept: &mut Kept,
    room: &mut Option<Chunk>,
) -> Option<io::Result<Success>> {
    let Some(front) = kept.front() else {
        return serve_end(kept);
    };
    let len = front.len();
    *room = Some(Chunk::from(front.to_vec()));
    kept.take(len);
    Some(Ok(Success::of(len as u32)))
}
