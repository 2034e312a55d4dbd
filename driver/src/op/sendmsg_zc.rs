//! `IORING_OP_SENDMSG_ZC`: `sendmsg(2)` that does not copy the bytes; see [`super::send_zc`].

use std::fmt;
use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue};
use socket2::SockAddr;

use super::sendmsg::Transmit;
use super::{Control, Operation, Success};
use crate::buf::{BufResult, IoVectoredBuf};
use crate::fd::Lane;

/// Sends the initialised bytes of several buffers, as one message, without copying them. Never raises `SIGPIPE`.
///
/// When it resolves, what ends it and what does not, which sockets and kernels have it: all as
/// [`SendZc`](super::SendZc).
pub struct SendMsgZc<B> {
    all: Transmit<B>,
}

impl<B: IoVectoredBuf> SendMsgZc<B> {
    /// As [`SendMsg::new`](super::SendMsg::new).
    pub fn new(bufs: B, peer: Option<SockAddr>, flags: i32) -> SendMsgZc<B> {
        SendMsgZc {
            all: Transmit::new(bufs, peer, flags),
        }
    }

    /// As [`SendMsg::with_control`](super::SendMsg::with_control).
    pub fn with_control(mut self, control: Control) -> SendMsgZc<B> {
        self.all.control = control;
        self
    }
}

// SAFETY: as for `SendMsg`; the kernel reads the header and what it points at at the start, and the buffers' bytes until
// the notification.
unsafe impl<B: IoVectoredBuf> Operation for SendMsgZc<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::SendMsgZc::CODE;
    const NAME: &'static str = "IORING_OP_SENDMSG_ZC";
    const SINCE: &'static str = "6.2";
    const NOTIFIED: bool = true;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Write)
    }

    fn check(&mut self) -> io::Result<()> {
        self.all.control.check()
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        self.all.entry_in_place(fd)
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.all.bufs)
    }
}

impl<B> fmt::Debug for SendMsgZc<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMsgZc")
            .field("flags", &self.all.flags)
            .finish_non_exhaustive()
    }
}
