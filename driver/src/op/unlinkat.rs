//! `IORING_OP_UNLINKAT`: `unlinkat(2)`.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use io_uring::{opcode, squeue};

use super::openat::{c_path, directory};
use super::{Operation, Success};

/// Removes a name: a file's, or an empty directory's.
///
/// Relative to the directory it is started [on](super::Op::on), or to the working
/// directory if started on none.
#[derive(Debug)]
pub struct UnlinkAt {
    path: CString,
    flags: i32,
}

impl UnlinkAt {
    /// With the flags of `unlinkat(2)`: 0 for what is no directory, `AT_REMOVEDIR` for a directory.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the path has a NUL byte in it.
    pub fn new(path: &Path, flags: i32) -> io::Result<UnlinkAt> {
        let path = c_path(path)?;
        Ok(UnlinkAt { path, flags })
    }
}

// SAFETY: the entry points at the path's heap block, which `self` owns and does not change.
unsafe impl Operation for UnlinkAt {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::UnlinkAt::CODE;
    const NAME: &'static str = "IORING_OP_UNLINKAT";
    const SINCE: &'static str = "5.11";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::UnlinkAt::new(directory(fd), self.path.as_ptr())
            .flags(self.flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
