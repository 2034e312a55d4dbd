//! `IORING_OP_SETXATTR`: `setxattr(2)`.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use io_uring::{opcode, squeue};

use super::fgetxattr::c_name;
use super::openat::c_path;
use super::{Operation, Success};
use crate::buf::{BufResult, IoBuf, kernel_len};

/// Sets an extended attribute of the file at a path to a buffer's initialised bytes, of which there may be none.
#[derive(Debug)]
pub struct SetXattr<B> {
    path: CString,
    name: CString,
    value: B,
    flags: i32,
}

impl<B: IoBuf> SetXattr<B> {
    /// The attribute `name`, e.g. `user.mime_type`, with the flags of `setxattr(2)`: `XATTR_CREATE`, `XATTR_REPLACE`
    /// or 0.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the path or the name has a NUL byte in it.
    pub fn new(path: &Path, name: &OsStr, value: B, flags: i32) -> io::Result<SetXattr<B>> {
        let (path, name) = (c_path(path)?, c_name(name)?);
        Ok(SetXattr {
            path,
            name,
            value,
            flags,
        })
    }
}

// SAFETY: the entry points at heap blocks of strings that `self` owns and does not change, and at `value`'s
// initialised bytes, which the `IoBuf` contract keeps in place.
unsafe impl<B: IoBuf> Operation for SetXattr<B> {
    type Output = BufResult<(), B>;
    const OPCODE: u8 = opcode::SetXattr::CODE;
    const NAME: &'static str = "IORING_OP_SETXATTR";
    const SINCE: &'static str = "5.19";

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.value.bytes_init());
        let value = self.value.stable_ptr().cast();
        opcode::SetXattr::new(self.name.as_ptr(), value, self.path.as_ptr(), len)
            .flags(self.flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(drop), self.value)
    }
}
