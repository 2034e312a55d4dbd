//! `IORING_OP_MSG_RING`: a message from this thread's ring to another's.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use io_uring::{opcode, squeue, types};

use super::{Operation, Success};
use crate::driver::WAKE;
use crate::unpark::Unparker;

/// Ends the sleep of another thread's driver, by way of the kernel's rings.
///
/// Linux 5.18. Unlike [`Unparker::unpark`] it costs no system call of its own: it goes with the next submission.
#[derive(Debug)]
pub struct MsgRing {
    /// Held so that the number stays the ring's until the kernel has used it.
    ring: Option<Arc<OwnedFd>>,
}

impl MsgRing {
    /// To the driver that `unparker` belongs to.
    pub fn wake(unparker: &Unparker) -> MsgRing {
        MsgRing {
            ring: unparker.0.ring_for_messages(),
        }
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for MsgRing {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::MsgRingData::CODE;
    const NAME: &'static str = "IORING_OP_MSG_RING";
    const SINCE: &'static str = "5.18";

    fn check(&mut self) -> io::Result<()> {
        match self.ring {
            Some(_) => Ok(()),
            None => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the other driver has shut down",
            )),
        }
    }

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        let ring = self.ring.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        opcode::MsgRingData::new(types::Fd(ring), 0, WAKE, None).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
