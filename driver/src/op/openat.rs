//! `IORING_OP_OPENAT`: `openat(2)`.

use std::ffi::CString;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use io_uring::{opcode, squeue, types};

use super::accept::adopt;
use super::{Operation, Origin, Success};

/// Opens a file, close-on-exec. Relative to the directory it is started [on](super::Op::on), or to the working
/// directory if started on none.
#[derive(Debug)]
pub struct OpenAt {
    path: CString,
    flags: i32,
    mode: u32,
    may_block: bool,
}

impl OpenAt {
    /// With the flags (`O_*`) and the mode of `openat(2)`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the path has a NUL byte in it.
    pub fn new(path: &Path, flags: i32, mode: u32) -> io::Result<OpenAt> {
        Ok(OpenAt {
            path: c_path(path)?,
            flags: flags | libc::O_CLOEXEC,
            mode,
            may_block: false,
        })
    }

    /// Leaves the opening to a worker of the kernel's, which can wait as `openat(2)` does: a FIFO opens when its other
    /// end is opened.
    ///
    /// Without it the kernel first tries what can be had without waiting: of a FIFO the reading end opens with nobody at
    /// the other, and the writing end answers `ENXIO`.
    ///
    /// Such an opening can be cancelled, dropped and given a deadline as any other; but not a deadline in a chain: Linux
    /// 6.18 starts the clock of a linked timeout only when a worker's operation is past blocking.
    pub fn may_block(mut self) -> OpenAt {
        self.may_block = true;
        self
    }
}

/// A path as the kernel takes it.
pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the path has a NUL byte in it"))
}

/// The directory that a path is relative to: the descriptor the operation was started on, if it was on one.
pub(super) fn directory(fd: RawFd) -> types::Fd {
    types::Fd(if fd < 0 { libc::AT_FDCWD } else { fd })
}

// SAFETY: the entry points at the path's heap block, which `self` owns and does not change.
unsafe impl Operation for OpenAt {
    type Output = io::Result<OwnedFd>;
    const OPCODE: u8 = opcode::OpenAt::CODE;
    const NAME: &'static str = "IORING_OP_OPENAT";

    fn on_worker(&self) -> bool {
        self.may_block
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let entry = opcode::OpenAt::new(directory(fd), self.path.as_ptr())
            .flags(self.flags)
            .mode(self.mode)
            .build();
        if self.may_block {
            entry.flags(squeue::Flags::ASYNC)
        } else {
            entry
        }
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        result.map(adopt)
    }

    fn discard(self, result: io::Result<Success>, _origin: Origin<'_>) {
        drop(result.map(adopt));
    }
}
