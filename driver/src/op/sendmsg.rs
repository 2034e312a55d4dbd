//! `IORING_OP_SENDMSG`: `sendmsg(2)`, to an address or a connected peer.

use std::io;
use std::mem;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::send::send_flags;
use super::{Operation, Success};
use crate::buf::{BufResult, IoVecs, IoVectoredBuf};
use crate::fd::Lane;

/// Sends the initialised bytes of several buffers, as one message. Never raises `SIGPIPE`.
pub struct SendMsg<B> {
    bufs: B,
    vecs: IoVecs,
    peer: Option<SockAddr>,
    header: libc::msghdr,
    flags: i32,
}

impl<B: IoVectoredBuf> SendMsg<B> {
    /// To `peer`, or to whom the socket is connected; with `MSG_*` flags, as `sendmsg(2)` has them.
    pub fn new(bufs: B, peer: Option<SockAddr>, flags: i32) -> SendMsg<B> {
        // SAFETY: a `msghdr` of zeros is valid: null pointers, zero lengths.
        let header = unsafe { mem::zeroed() };
        SendMsg {
            bufs,
            vecs: IoVecs::new(),
            peer,
            header,
            flags: send_flags(flags),
        }
    }
}

impl<B> std::fmt::Debug for SendMsg<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendMsg")
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

// SAFETY: the entry points at the header inside `self`, and it at the address and the vectors inside `self` and
// at the buffers' initialised bytes; all of it stays where it is.
unsafe impl<B: IoVectoredBuf> Operation for SendMsg<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::SendMsg::CODE;
    const NAME: &'static str = "IORING_OP_SENDMSG";
    const SINCE: &'static str = "5.3";

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Write)
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (vecs, len) = self.vecs.of(&self.bufs);
        self.header.msg_iov = vecs;
        self.header.msg_iovlen = len;
        if let Some(peer) = &self.peer {
            self.header.msg_name = peer.as_ptr().cast_mut().cast();
            self.header.msg_namelen = peer.len();
        }
        let flags = self.flags.cast_unsigned();
        opcode::SendMsg::new(types::Fd(fd), &raw const self.header)
            .flags(flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.bufs)
    }
}
