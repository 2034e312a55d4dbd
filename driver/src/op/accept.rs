//! `IORING_OP_ACCEPT`: `accept4(2)`.

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};

use io_uring::{opcode, squeue, types};
use socket2::{SockAddr, SockAddrStorage};

use super::{OnDrop, Operation, Origin, Success};
use crate::fd::Lane;
use crate::kept::Kept;

/// Accepts a connection, close-on-exec.
///
/// Accepts on one listener follow one another; a connection that a dropped one brings is kept for the next.
/// The peer's address is missing for a connection that a multishot accept brought.
#[derive(Debug)]
pub struct Accept {
    storage: SockAddrStorage,
    len: libc::socklen_t,
}

impl Accept {
    /// An accept.
    pub fn new() -> Accept {
        Accept {
            storage: SockAddrStorage::zeroed(),
            len: 0,
        }
    }

    fn peer(self) -> Option<SockAddr> {
        let len = self.len.min(self.storage.size_of());
        // SAFETY: the kernel has filled in `len` bytes of the storage it was given.
        (len > 0).then(|| unsafe { SockAddr::new(self.storage, len) })
    }
}

impl Default for Accept {
    fn default() -> Accept {
        Accept::new()
    }
}

/// Takes over the descriptor that a successful completion brought.
pub(super) fn adopt(success: Success) -> OwnedFd {
    // SAFETY: called once for each successful completion of an operation that makes descriptors; nobody else
    // knows the number yet.
    unsafe { OwnedFd::from_raw_fd(success.value.cast_signed()) }
}

// SAFETY: the entry points at the storage and its length inside `self`, which stays where it is.
unsafe impl Operation for Accept {
    type Output = io::Result<(OwnedFd, Option<SockAddr>)>;
    const OPCODE: u8 = opcode::Accept::CODE;
    const NAME: &'static str = "IORING_OP_ACCEPT";
    const SINCE: &'static str = "5.5";

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Read)
    }

    fn on_drop(&self) -> OnDrop {
        OnDrop::Keep
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        self.len = self.storage.size_of();
        opcode::Accept::new(
            types::Fd(fd),
            (&raw mut self.storage).cast(),
            &raw mut self.len,
        )
        .flags(libc::SOCK_CLOEXEC)
        .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        result.map(|success| (adopt(success), self.peer()))
    }

    fn discard(self, result: io::Result<Success>, origin: Origin<'_>) {
        match result {
            Ok(success) => origin.keep_socket(adopt(success), self.peer()),
            Err(error) => origin.keep_error(&error),
        }
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        let Some((socket, peer)) = kept.take_socket() else {
            return kept
                .take_error()
                .map(|errno| Err(io::Error::from_raw_os_error(errno)));
        };
        self.len = peer.as_ref().map_or(0, SockAddr::len);
        if let Some(peer) = peer {
            self.storage = peer.as_storage();
        }
        // `complete` takes the number over at once.
        Some(Ok(Success::of(socket.into_raw_fd().cast_unsigned())))
    }
}
