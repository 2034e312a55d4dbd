//! `IORING_OP_GETXATTR`: `getxattr(2)`.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use io_uring::{opcode, squeue};

use super::fgetxattr::{c_name, value_of};
use super::openat::c_path;
use super::{Operation, Success};
use crate::buf::{BufResult, IoBufMut, kernel_len};

/// Reads an extended attribute of the file at a path into a buffer.
///
/// A buffer without room asks for the attribute's length alone.
#[derive(Debug)]
pub struct GetXattr<B> {
    path: CString,
    name: CString,
    value: B,
}

impl<B: IoBufMut> GetXattr<B> {
    /// Of the attribute `name`, e.g. `user.mime_type`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the path or the name has a NUL byte in it.
    pub fn new(path: &Path, name: &OsStr, value: B) -> io::Result<GetXattr<B>> {
        let (path, name) = (c_path(path)?, c_name(name)?);
        Ok(GetXattr { path, name, value })
    }
}

// SAFETY: the entry points at heap blocks of strings that `self` owns and does not change, and at `value`'s memory,
// within its room, which the `IoBufMut` contract keeps in place.
unsafe impl<B: IoBufMut> Operation for GetXattr<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::GetXattr::CODE;
    const NAME: &'static str = "IORING_OP_GETXATTR";
    const SINCE: &'static str = "5.19";

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.value.bytes_total());
        let value = self.value.stable_mut_ptr().cast();
        opcode::GetXattr::new(self.name.as_ptr(), value, self.path.as_ptr(), len).build()
    }

    fn complete(mut self, result: io::Result<Success>) -> Self::Output {
        let result = result.map(|success| value_of(&mut self.value, success));
        (result, self.value)
    }
}
