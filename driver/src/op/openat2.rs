//! `IORING_OP_OPENAT2`: `openat2(2)`.

use std::ffi::CString;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use io_uring::types::OpenHow;
use io_uring::{opcode, squeue};

use super::accept::adopt;
use super::openat::{c_path, directory};
use super::{Operation, Origin, Success};

/// Opens a file, close-on-exec, with a say in how its path is resolved (`RESOLVE_*`): beneath the directory it is
/// started [on](super::Op::on), through no symbolic links, within one file system.
#[derive(Debug)]
pub struct OpenAt2 {
    path: CString,
    how: OpenHow,
}

impl OpenAt2 {
    /// With the flags (`O_*`), the mode and the `RESOLVE_*` of `openat2(2)`.
    ///
    /// Unlike [`OpenAt`](super::OpenAt) the kernel refuses flags it does not know (`InvalidInput`), and a mode without
    /// `O_CREAT` or `O_TMPFILE`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the path has a NUL byte in it.
    pub fn new(path: &Path, flags: i32, mode: u32, resolve: u64) -> io::Result<OpenAt2> {
        let flags = (flags | libc::O_CLOEXEC).cast_unsigned();
        Ok(OpenAt2 {
            path: c_path(path)?,
            how: OpenHow::new()
                .flags(flags.into())
                .mode(mode.into())
                .resolve(resolve),
        })
    }
}

// SAFETY: the entry points at the path's heap block, which `self` owns and does not change, and at `how` inside
// `self`, which stays where it is.
unsafe impl Operation for OpenAt2 {
    type Output = io::Result<OwnedFd>;
    const OPCODE: u8 = opcode::OpenAt2::CODE;
    const NAME: &'static str = "IORING_OP_OPENAT2";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::OpenAt2::new(directory(fd), self.path.as_ptr(), &raw const self.how).build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        result.map(adopt)
    }

    fn discard(self, result: io::Result<Success>, _origin: Origin<'_>) {
        drop(result.map(adopt));
    }
}
