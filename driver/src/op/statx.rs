//! `IORING_OP_STATX`: `statx(2)`.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::path::Path;

use io_uring::{opcode, squeue, types};
use rustix::fs::Statx as Status;

use super::openat::{c_path, directory};
use super::{Operation, Success};

/// Asks for a file's metadata.
#[derive(Debug)]
pub struct Statx {
    path: CString,
    flags: i32,
    mask: u32,
    status: MaybeUninit<Status>,
}

impl Statx {
    /// Of the file at `path`; `flags` are `AT_*` of `statx(2)`. Relative to the directory the operation is started
    /// [on](super::Op::on), or to the working directory if started on none.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the path has a NUL byte in it.
    pub fn path(path: &Path, flags: i32) -> io::Result<Statx> {
        Ok(Statx {
            path: c_path(path)?,
            flags,
            mask: BASIC,
            status: MaybeUninit::zeroed(),
        })
    }

    /// Of the open file the operation is started [on](super::Op::on).
    pub fn open_file() -> Statx {
        Statx {
            path: CString::default(),
            flags: libc::AT_EMPTY_PATH,
            mask: BASIC,
            status: MaybeUninit::zeroed(),
        }
    }

    /// Asks for what `mask` (`STATX_*`) names, besides the basic things and the time of birth.
    ///
    /// The answer's own mask tells what the kernel and the file system know.
    pub fn also(mut self, mask: u32) -> Statx {
        self.mask |= mask;
        self
    }
}

/// What is always asked for.
const BASIC: u32 = libc::STATX_BASIC_STATS | libc::STATX_BTIME;

// SAFETY: the entry points at the path's heap block and at `status` inside `self`, which stays where it is.
unsafe impl Operation for Statx {
    type Output = io::Result<Status>;
    const OPCODE: u8 = opcode::Statx::CODE;
    const NAME: &'static str = "IORING_OP_STATX";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let status: *mut types::statx = self.status.as_mut_ptr().cast();
        opcode::Statx::new(directory(fd), self.path.as_ptr(), status)
            .flags(self.flags)
            .mask(self.mask)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        // SAFETY: all zeros to begin with, which is a valid `Statx` (integers only); the kernel has filled it.
        result.map(|_| unsafe { self.status.assume_init() })
    }
}
