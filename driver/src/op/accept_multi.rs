//! `IORING_OP_ACCEPT` with `IORING_ACCEPT_MULTISHOT`: one entry, a connection a completion.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use io_uring::{opcode, squeue, types};

use super::accept::adopt;
use super::multi::Multishot;
use super::{Operation, Origin, Success};
use crate::driver::Driver;
use crate::fd::Lane;
use crate::kept::Kept;

/// Accepts connections until it is dropped; see [`Multi`](super::Multi).
///
/// It ends, and is to be asked anew, when 64 connections wait to be taken (`ECANCELED`): more of them are the listener's
/// queue's, which is as long as the program has said, and its descriptors are left for others.
///
/// Linux 5.19. The kernel gives no peer addresses with it.
#[derive(Debug, Default)]
pub struct AcceptMulti {
    _private: (),
}

impl AcceptMulti {
    /// A multishot accept.
    pub fn new() -> AcceptMulti {
        AcceptMulti::default()
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for AcceptMulti {
    type Output = io::Result<OwnedFd>;
    const OPCODE: u8 = opcode::AcceptMulti::CODE;
    const NAME: &'static str = "IORING_OP_ACCEPT (multishot)";
    const SINCE: &'static str = "5.19";
    const UNTAKEN: usize = 64;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Read)
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::AcceptMulti::new(types::Fd(fd))
            .flags(libc::SOCK_CLOEXEC)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        result.map(adopt)
    }

    fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
        match result {
            Ok(success) => self.discard_more(success, origin),
            Err(error) => origin.keep_error(&error),
        }
    }

    fn discard_more(&mut self, success: Success, origin: Origin<'_>) {
        origin.keep_socket(adopt(success), None);
    }

    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        let Some((socket, _)) = kept.take_socket() else {
            return kept
                .take_error()
                .map(|errno| Err(io::Error::from_raw_os_error(errno)));
        };
        // `complete` takes the number over at once.
        Some(Ok(Success::of(socket.into_raw_fd().cast_unsigned())))
    }
}

impl Multishot for AcceptMulti {
    fn again() -> AcceptMulti {
        AcceptMulti::new()
    }

    fn item(success: Success, _: &Driver) -> Self::Output {
        Ok(adopt(success))
    }
}
