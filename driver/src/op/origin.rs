//! What becomes of what a completion brings that nobody waits for.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use socket2::SockAddr;

use super::Success;
use crate::fd::FdRef;
use crate::kept::Kept;

/// Where a completion that nobody waits for came from, and where what it brought can be put.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub(crate) fd: Option<&'a FdRef>,
    /// Whether the operation still counts as in flight, so that the descriptor's number is its own.
    pub(crate) counted: bool,
}

impl Origin<'_> {
    /// Of nothing that could be kept anywhere.
    pub(crate) const NOWHERE: Origin<'static> = Origin {
        fd: None,
        counted: false,
    };

    /// Of one whose future takes its result: it is counted out already.
    pub(crate) fn landing(fd: &FdRef) -> Origin<'_> {
        Origin {
            fd: Some(fd),
            counted: false,
        }
    }

    pub(super) fn keep(self, put: impl FnOnce(&mut Kept)) {
        if let Some(fd) = self.fd {
            fd.keep(put);
        }
    }

    /// Keeps the result of a read for the next one. A cancelled read brought nothing.
    pub(super) fn keep_read(
        self,
        result: &io::Result<Success>,
        put: impl FnOnce(&mut Kept, usize),
    ) {
        match (result, self.fd) {
            (Ok(success), Some(fd)) => fd.keep(|kept| {
                kept.bounded.get_or_insert_with(|| is_bounded(fd.raw()));
                put(kept, success.value as usize);
            }),
            (Ok(_), None) => {}
            (Err(error), _) => self.keep_error(error),
        }
    }

    pub(super) fn keep_error(self, error: &io::Error) {
        match error.raw_os_error() {
            // Cancelled, or told not to wait: nothing happened.
            None | Some(libc::ECANCELED | libc::EAGAIN) => {}
            Some(errno) => self.keep(|kept| kept.put_error(errno)),
        }
    }

    pub(super) fn keep_socket(self, socket: OwnedFd, peer: Option<SockAddr>) {
        self.keep(|kept| kept.put_socket(socket, peer));
    }
}

/// Whether messages have boundaries on a descriptor (datagrams, seqpacket): then they are kept one by one.
///
/// The kernel is asked, once a descriptor and only when something is to be kept: so it is right however the
/// descriptor was made, and costs operations that are awaited nothing. (Should the descriptor be closed already, nobody
/// can ask for what is kept.)
fn is_bounded(raw: RawFd) -> bool {
    let mut kind: libc::c_int = 0;
    let mut len = size_of_val(&kind) as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_TYPE);
    // SAFETY: the kernel writes at most `len` bytes to `kind`.
    let asked =
        unsafe { libc::getsockopt(raw, level, option, (&raw mut kind).cast(), &raw mut len) };
    // It fails on what is no socket: a pipe, a file.
    asked == 0 && kind != libc::SOCK_STREAM
}
