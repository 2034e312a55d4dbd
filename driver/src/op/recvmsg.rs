//! `IORING_OP_RECVMSG`: `recvmsg(2)`, with the sender's address.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::ptr;

use io_uring::{opcode, squeue, types};
use socket2::{SockAddr, SockAddrStorage};

use super::readv::{filled_total, serve_pieces};
use super::recv::zero_if_truncating;
use super::{Operation, Success};
use crate::buf::{IoVecs, IoVectoredBufMut};
use crate::fd::Lane;
use crate::kept::Kept;

/// Receives into several buffers and tells who sent it.
///
/// A dropped one may lose a datagram that had arrived.
pub struct RecvMsg<B> {
    bufs: B,
    vecs: IoVecs,
    name: SockAddrStorage,
    header: libc::msghdr,
    flags: i32,
}

/// What a [`RecvMsg`] received.
#[derive(Clone, Debug)]
pub struct Message {
    /// Bytes received into the buffers.
    pub len: usize,
    /// The sender; `None` on a connected stream.
    pub peer: Option<SockAddr>,
    /// `MSG_*` flags of the message, e.g. `MSG_TRUNC`.
    pub flags: i32,
}

impl<B: IoVectoredBufMut> RecvMsg<B> {
    /// With `MSG_*` flags, as `recvmsg(2)` has them.
    pub fn new(bufs: B, flags: i32) -> RecvMsg<B> {
        // SAFETY: a `msghdr` of zeros is valid: null pointers, zero lengths.
        let header = unsafe { mem::zeroed() };
        RecvMsg {
            bufs,
            vecs: IoVecs::new(),
            name: SockAddrStorage::zeroed(),
            header,
            flags,
        }
    }
}

impl<B> std::fmt::Debug for RecvMsg<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvMsg")
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

// SAFETY: the entry points at the header inside `self`, and it at the address and the vectors inside `self` and
// at the buffers' room; all of it stays where it is.
unsafe impl<B: IoVectoredBufMut> Operation for RecvMsg<B> {
    type Output = (io::Result<Message>, B);
    const OPCODE: u8 = opcode::RecvMsg::CODE;
    const NAME: &'static str = "IORING_OP_RECVMSG";
    const SINCE: &'static str = "5.3";

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Read)
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let flags = self.flags;
        self.bufs
            .each_mut(&mut |room, len| zero_if_truncating(flags, room, len));
        let (vecs, len) = self.vecs.of_mut(&mut self.bufs);
        self.header.msg_iov = vecs;
        self.header.msg_iovlen = len;
        self.header.msg_name = (&raw mut self.name).cast();
        self.header.msg_namelen = self.name.size_of();
        self.header.msg_control = ptr::null_mut();
        self.header.msg_controllen = 0;
        let flags = self.flags.cast_unsigned();
        opcode::RecvMsg::new(types::Fd(fd), &raw mut self.header)
            .flags(flags)
            .build()
    }

    fn complete(mut self, result: io::Result<Success>) -> Self::Output {
        let result = result.map(|success| {
            let len = success.value as usize;
            let room = self.bufs.total_room();
            filled_total(&mut self.bufs, len.min(room));
            let named = self.header.msg_namelen.min(self.name.size_of());
            // SAFETY: the kernel has filled in `named` bytes of the storage it was given.
            let peer = (named > 0).then(|| unsafe { SockAddr::new(self.name, named) });
            Message {
                len,
                peer,
                flags: self.header.msg_flags,
            }
        });
        (result, self.bufs)
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        let peeks = self.flags & libc::MSG_PEEK != 0;
        serve_pieces(&mut self.bufs, kept, peeks)
    }
}
