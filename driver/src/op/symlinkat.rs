//! `IORING_OP_SYMLINKAT`: `symlinkat(2)`.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use io_uring::{opcode, squeue};

use super::openat::{c_path, directory};
use super::{Operation, Success};

/// Creates a symbolic link.
///
/// The link's own path is relative to the directory it is started [on](super::Op::on), or to the working directory if
/// started on none. What it points at is text, looked at when the link is followed.
#[derive(Debug)]
pub struct SymlinkAt {
    target: CString,
    path: CString,
}

impl SymlinkAt {
    /// A link at `path` that points at `target`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if one of the paths has a NUL byte in it.
    pub fn new(target: &Path, path: &Path) -> io::Result<SymlinkAt> {
        let (target, path) = (c_path(target)?, c_path(path)?);
        Ok(SymlinkAt { target, path })
    }
}

// SAFETY: the entry points at the paths' heap blocks, which `self` owns and does not change.
unsafe impl Operation for SymlinkAt {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::SymlinkAt::CODE;
    const NAME: &'static str = "IORING_OP_SYMLINKAT";
    const SINCE: &'static str = "5.15";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (target, path) = (self.target.as_ptr(), self.path.as_ptr());
        opcode::SymlinkAt::new(directory(fd), target, path).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
