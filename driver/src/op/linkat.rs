//! `IORING_OP_LINKAT`: `linkat(2)`.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use io_uring::{opcode, squeue, types};

use super::openat::{c_path, directory};
use super::{Operation, Second, Success};
use crate::fd::Fd;

/// Gives a file a further name (a hard link).
///
/// Both paths are relative to the directory it is started [on](super::Op::on), or to the working directory if started
/// on none; [`to_dir`](LinkAt::to_dir) makes the second one relative to another.
#[derive(Debug)]
pub struct LinkAt {
    /// None: the open file.
    from: Option<CString>,
    to: CString,
    flags: i32,
    to_dir: Option<Second>,
}

impl LinkAt {
    /// With the flags of `linkat(2)`: `AT_SYMLINK_FOLLOW` or 0.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if one of the paths has a NUL byte in it.
    pub fn new(from: &Path, to: &Path, flags: i32) -> io::Result<LinkAt> {
        let (from, to) = (Some(c_path(from)?), c_path(to)?);
        Ok(LinkAt {
            from,
            to,
            flags,
            to_dir: None,
        })
    }

    /// Gives the open file that it is started [on](super::Op::on), and that may have no name yet (`O_TMPFILE`), a name:
    /// relative to the working directory or, by [`to_dir`](LinkAt::to_dir), to another.
    ///
    /// It goes by way of `/proc/self/fd`, which must be there: the other way, `AT_EMPTY_PATH`, asks for a capability
    /// before Linux 6.10.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the path has a NUL byte in it.
    pub fn open_file(to: &Path) -> io::Result<LinkAt> {
        Ok(LinkAt {
            from: None,
            to: c_path(to)?,
            flags: libc::AT_SYMLINK_FOLLOW,
            to_dir: None,
        })
    }

    /// The new name is relative to the directory `dir`.
    pub fn to_dir(mut self, dir: &Fd) -> LinkAt {
        self.to_dir = Some(Second::of(dir, None));
        self
    }
}

fn open_file(fd: RawFd) -> CString {
    // A path of digits and slashes has no NUL byte in it.
    CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default()
}

// SAFETY: the entry points at the paths' heap blocks, which `self` owns and does not change.
unsafe impl Operation for LinkAt {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::LinkAt::CODE;
    const NAME: &'static str = "IORING_OP_LINKAT";
    const SINCE: &'static str = "5.15";
    const TWO: bool = true;

    fn second(&self) -> Option<&Second> {
        self.to_dir.as_ref()
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        // The number is the file's own as long as this is in flight on it.
        let (at, from) = match &mut self.from {
            Some(from) => (directory(fd), from),
            none => (types::Fd(libc::AT_FDCWD), none.insert(open_file(fd))),
        };
        let to_at = match &self.to_dir {
            Some(to_dir) => types::Fd(to_dir.raw()),
            None => at,
        };
        opcode::LinkAt::new(at, from.as_ptr(), to_at, self.to.as_ptr())
            .flags(self.flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
