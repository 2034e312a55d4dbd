//! Reads and writes tried by a plain call that does not wait, before the ring is asked.
//!
//! Where bytes are there already, or room, a call is all that it takes: no slot, no entry, no enter of its own. Whether
//! they are is a guess from what was seen (`fd/hint.rs`); whether a call pays, the driver's ([`Driver::may_attempt`]).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{ReadWriteFlags, preadv2, pwritev2};

use super::future::{Op, Phase};
use super::{Operation, Success};
use crate::driver::Driver;
use crate::fd::{Advice, Lane};

impl<T: Operation> Op<T> {
    /// Tries the operation, which has its lane and is counted in. `None`: on to the ring.
    #[inline]
    pub(super) fn attempt(
        &mut self,
        driver: &Driver,
        lane: Option<Lane>,
    ) -> Option<io::Result<Success>> {
        let (Phase::Idle(op), Some(fd), Some(lane)) = (&mut self.phase, &self.fd, lane) else {
            return None;
        };
        if !op.attempts() {
            return None;
        }
        let hint = fd.hint(lane);
        let advice = hint.advice();
        if advice == Advice::Ring || !driver.may_attempt() {
            return None;
        }
        if advice == Advice::Ask {
            if !is_a_stream(fd.raw()) {
                hint.never();
                return None;
            }
            hint.fits();
        }
        let result = op.attempt(fd.raw());
        match &result {
            Ok(_) => hint.worked(),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => {
                    hint.blocked();
                    return None;
                }
                Some(libc::EINTR) => return None,
                // Not a call for this kind of file, or not of this kernel's. Or it means the operation, and will be
                // said again.
                Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS) => {
                    hint.never();
                    return None;
                }
                _ => {}
            },
        }
        Some(result)
    }

    /// Ends an operation that an attempt has done: [`end_seated`](Op::end_seated), in short.
    #[inline]
    pub(super) fn end_attempted(
        &mut self,
        lane: Option<Lane>,
        result: io::Result<Success>,
    ) -> Option<T::Output> {
        if T::TWO || self.group.is_some() {
            return self.end_seated(result);
        }
        if let (Some(fd), Some(lane)) = (self.fd.take(), lane) {
            fd.leave_lane(lane);
        }
        self.end(result)
    }
}

/// Whether what is there at once is all that can be had at once. Not of files: there a call that must not wait for the
/// disk stops short.
fn is_a_stream(fd: RawFd) -> bool {
    // SAFETY: a `stat` is plain numbers, for which zero is a value.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` lives through the call.
    let done = unsafe { libc::fstat(fd, &raw mut stat) };
    let kind = stat.st_mode & libc::S_IFMT;
    done == 0 && matches!(kind, libc::S_IFIFO | libc::S_IFSOCK)
}

/// One vector.
pub(super) fn vector(ptr: *const u8, len: u32) -> libc::iovec {
    libc::iovec {
        iov_base: ptr.cast_mut().cast(),
        iov_len: len as usize,
    }
}

/// The kernel's word for "where the stream is".
const HERE: u64 = u64::MAX;

/// Reads what there is, where the stream is.
///
/// # Safety
///
/// `fd` is open; there are `count` vectors, which point at memory that may be written to and need not be initialised.
#[inline]
pub(super) unsafe fn read(
    fd: RawFd,
    vectors: *const libc::iovec,
    count: u32,
) -> io::Result<Success> {
    // SAFETY: the caller's word.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let vectors = vectors.cast_mut().cast::<IoSliceMut<'_>>();
    // SAFETY: an `IoSliceMut` is laid out as an `iovec`. That its bytes are initialised nobody relies on: they are only
    // handed to the kernel, which reads the vectors and writes the bytes.
    let vectors = unsafe { std::slice::from_raw_parts_mut(vectors, count as usize) };
    // Not by the C library: what a processor has learnt of calls and returns is gone after a system call, so that
    // each return from a wrapper costs a third of the call.
    Ok(preadv2(fd, vectors, HERE, ReadWriteFlags::NOWAIT).map(done)?)
}

/// Writes what there is room for, where the stream is.
///
/// # Safety
///
/// `fd` is open; there are `count` vectors, which point at memory that may be read.
#[inline]
pub(super) unsafe fn write(
    fd: RawFd,
    vectors: *const libc::iovec,
    count: u32,
) -> io::Result<Success> {
    // SAFETY: the caller's word.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // SAFETY: an `IoSlice` is laid out as an `iovec`; the vectors are there, by the caller's word.
    let vectors =
        unsafe { std::slice::from_raw_parts(vectors.cast::<IoSlice<'_>>(), count as usize) };
    Ok(pwritev2(fd, vectors, HERE, ReadWriteFlags::NOWAIT).map(done)?)
}

/// The kernel moves less than 2^31 bytes a call.
fn done(n: usize) -> Success {
    Success::of(n as u32)
}
