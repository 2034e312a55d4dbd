//! `IORING_OP_RENAMEAT`: `renameat2(2)`.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use io_uring::{opcode, squeue};

use super::openat::{c_path, directory};
use super::{Operation, Second, Success};
use crate::fd::Fd;

/// Gives a file another name, in place of the file that had it.
///
/// Both paths are relative to the directory it is started [on](super::Op::on), or to the working directory if started
/// on none; [`to_dir`](RenameAt::to_dir) makes the second one relative to another.
#[derive(Debug)]
pub struct RenameAt {
    from: CString,
    to: CString,
    flags: u32,
    to_dir: Option<Second>,
}

impl RenameAt {
    /// With the flags (`RENAME_*`) of `renameat2(2)`; 0 for none.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if one of the paths has a NUL byte in it.
    pub fn new(from: &Path, to: &Path, flags: u32) -> io::Result<RenameAt> {
        let (from, to) = (c_path(from)?, c_path(to)?);
        Ok(RenameAt {
            from,
            to,
            flags,
            to_dir: None,
        })
    }

    /// The new name is relative to the directory `dir`.
    pub fn to_dir(mut self, dir: &Fd) -> RenameAt {
        self.to_dir = Some(Second::of(dir, None));
        self
    }
}

// SAFETY: the entry points at the paths' heap blocks, which `self` owns and does not change.
unsafe impl Operation for RenameAt {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::RenameAt::CODE;
    const NAME: &'static str = "IORING_OP_RENAMEAT";
    const SINCE: &'static str = "5.11";
    const TWO: bool = true;

    fn second(&self) -> Option<&Second> {
        self.to_dir.as_ref()
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let at = directory(fd);
        let to_at = directory(self.to_dir.as_ref().map_or(fd, Second::raw));
        opcode::RenameAt::new(at, self.from.as_ptr(), to_at, self.to.as_ptr())
            .flags(self.flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
