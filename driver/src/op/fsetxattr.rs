//! `IORING_OP_FSETXATTR`: `fsetxattr(2)`.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::fgetxattr::c_name;
use super::{Operation, Success};
use crate::buf::{BufResult, IoBuf, kernel_len};

/// Sets an extended attribute of an open file to a buffer's initialised bytes, of which there may be none.
#[derive(Debug)]
pub struct FsetXattr<B> {
    name: CString,
    value: B,
    flags: i32,
}

impl<B: IoBuf> FsetXattr<B> {
    /// The attribute `name`, e.g. `user.mime_type`, with the flags of `setxattr(2)`: `XATTR_CREATE`, `XATTR_REPLACE`
    /// or 0.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the name has a NUL byte in it.
    pub fn new(name: &OsStr, value: B, flags: i32) -> io::Result<FsetXattr<B>> {
        let name = c_name(name)?;
        Ok(FsetXattr { name, value, flags })
    }
}

// SAFETY: the entry points at heap blocks of strings that `self` owns and does not change, and at `value`'s
// initialised bytes, which the `IoBuf` contract keeps in place.
unsafe impl<B: IoBuf> Operation for FsetXattr<B> {
    type Output = BufResult<(), B>;
    const OPCODE: u8 = opcode::FSetXattr::CODE;
    const NAME: &'static str = "IORING_OP_FSETXATTR";
    const SINCE: &'static str = "5.19";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.value.bytes_init());
        let value = self.value.stable_ptr().cast();
        opcode::FSetXattr::new(types::Fd(fd), self.name.as_ptr(), value, len)
            .flags(self.flags)
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(drop), self.value)
    }
}
