//! `IORING_OP_FGETXATTR`: `fgetxattr(2)`.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

use io_uring::{opcode, squeue, types};

use super::{Operation, Success};
use crate::buf::{BufResult, IoBufMut, filled, kernel_len};

/// Reads an extended attribute of an open file into a buffer.
///
/// A buffer without room asks for the attribute's length alone.
#[derive(Debug)]
pub struct FgetXattr<B> {
    name: CString,
    value: B,
}

impl<B: IoBufMut> FgetXattr<B> {
    /// Of the attribute `name`, e.g. `user.mime_type`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the name has a NUL byte in it.
    pub fn new(name: &OsStr, value: B) -> io::Result<FgetXattr<B>> {
        let name = c_name(name)?;
        Ok(FgetXattr { name, value })
    }
}

/// An attribute's name as the kernel takes it.
pub(super) fn c_name(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the name has a NUL byte in it"))
}

/// The value's length, with its bytes in the buffer.
pub(super) fn value_of(value: &mut impl IoBufMut, success: Success) -> usize {
    let len = success.value as usize;
    // With no room for anything the kernel only tells the length.
    if value.bytes_total() > 0 {
        filled(value, len);
    }
    len
}

// SAFETY: the entry points at heap blocks of strings that `self` owns and does not change, and at `value`'s memory,
// within its room, which the `IoBufMut` contract keeps in place.
unsafe impl<B: IoBufMut> Operation for FgetXattr<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::FGetXattr::CODE;
    const NAME: &'static str = "IORING_OP_FGETXATTR";
    const SINCE: &'static str = "5.19";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.value.bytes_total());
        let value = self.value.stable_mut_ptr().cast();
        opcode::FGetXattr::new(types::Fd(fd), self.name.as_ptr(), value, len).build()
    }

    fn complete(mut self, result: io::Result<Success>) -> Self::Output {
        let result = result.map(|success| value_of(&mut self.value, success));
        (result, self.value)
    }
}
