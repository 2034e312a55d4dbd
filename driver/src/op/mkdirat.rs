//! `IORING_OP_MKDIRAT`: `mkdirat(2)`.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use io_uring::{opcode, squeue};

use super::openat::{c_path, directory};
use super::{Operation, Success};

/// Creates a directory.
///
/// Relative to the directory it is started [on](super::Op::on), or to the working
/// directory if started on none.
#[derive(Debug)]
pub struct MkdirAt {
    path: CString,
    mode: u32,
}

impl MkdirAt {
    /// With the mode of `mkdirat(2)`, from which the process's umask is taken off.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the path has a NUL byte in it.
    pub fn new(path: &Path, mode: u32) -> io::Result<MkdirAt> {
        let path = c_path(path)?;
        Ok(MkdirAt { path, mode })
    }
}

// SAFETY: the entry points at the path's heap block, which `self` owns and does not change.
unsafe impl Operation for MkdirAt {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::MkDirAt::CODE;
    const NAME: &'static str = "IORING_OP_MKDIRAT";
    const SINCE: &'static str = "5.15";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        opcode::MkDirAt::new(directory(fd), self.path.as_ptr())
            .mode(self.mode)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
