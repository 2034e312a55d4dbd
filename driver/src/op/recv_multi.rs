//! `IORING_OP_RECV` with `IORING_RECV_MULTISHOT`: one entry, a buffer full a completion.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use io_uring::{opcode, squeue, types};

use super::multi::Multishot;
use super::recv_chunk::{found_none, received, serve_chunk};
use super::{Operation, Origin, Success};
use crate::buf::{Chunk, GROUP, Pool};
use crate::driver::Driver;
use crate::fd::Lane;
use crate::kept::Kept;

/// Receives into buffers of the driver's pool until it is dropped; see [`Multi`](super::Multi).
///
/// It ends, and is to be asked anew, as the kernel ends it: when there is no buffer left to pick (`ENOBUFS`: receive once by
/// [`RecvChunk`](super::RecvChunk) then), or when 64 chunks wait to be taken (`ECANCELED`).
///
/// Linux 6.0, and the ring in user space. `Unsupported` where the ring has no buffers to pick from; `InvalidInput` from
/// older kernels.
#[derive(Debug, Default)]
pub struct RecvMulti {
    pool: Option<Rc<Pool>>,
    /// What it was served with from what was kept. Seldom, and each stream has room for one of these.
    served: Option<Box<Chunk>>,
}

impl RecvMulti {
    /// A multishot receive.
    pub fn new() -> RecvMulti {
        RecvMulti::default()
    }

    fn keep(&self, success: Success, origin: Origin<'_>) {
        match received(self.pool.clone(), success) {
            Ok(chunk) => origin.keep_read(&Ok(success), |kept, _| kept.put_bytes(&chunk)),
            Err(error) => origin.keep_error(&error),
        }
    }
}

// SAFETY: the entry has no pointers. The buffers that the kernel picks are those that the pool published, so nobody
// else's; `pool` keeps them alive.
unsafe impl Operation for RecvMulti {
    type Output = io::Result<Chunk>;
    const OPCODE: u8 = opcode::RecvMulti::CODE;
    const NAME: &'static str = "IORING_OP_RECV (multishot)";
    const SINCE: &'static str = "6.0";
    const UNTAKEN: usize = 64;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Read)
    }

    fn prepare(&mut self, driver: &Driver) -> io::Result<()> {
        let pool = driver.pool().clone();
        if !pool.is_shared() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this ring has no buffers to pick from",
            ));
        }
        self.pool = Some(pool);
        Ok(())
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::RecvMulti::new(types::Fd(fd), GROUP).build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        if found_none(&result)
            && let Some(pool) = &self.pool
        {
            pool.ran_dry();
        }
        match self.served {
            Some(chunk) => Ok(*chunk),
            None => received(self.pool, result?),
        }
    }

    fn discard(self, result: io::Result<Success>, origin: Origin<'_>) {
        match result {
            Ok(success) => self.keep(success, origin),
            Err(_) if found_none(&result) => {}
            Err(error) => origin.keep_error(&error),
        }
    }

    fn discard_more(&mut self, success: Success, origin: Origin<'_>) {
        self.keep(success, origin);
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        let mut room = None;
        let served = serve_chunk(kept, &mut room);
        self.served = room.map(Box::new);
        served
    }
}

impl Multishot for RecvMulti {
    fn again() -> RecvMulti {
        RecvMulti::new()
    }

    #[inline]
    fn item(success: Success, driver: &Driver) -> Self::Output {
        received(Some(driver.pool().clone()), success)
    }
}
