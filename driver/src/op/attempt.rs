//! Reads and writes tried by a plain call that does not wait, before the ring is asked.
//!
//! Where bytes are there already, or room, a call is all that it takes: no slot, no entry, no enter of its own. Whether
//! they are is a guess from what was seen (`fd/hint.rs`); whether a call pays, the driver's ([`Driver::may_attempt`]).
//!
//! A send goes by `send(2)` with `MSG_DONTWAIT`, and is tried before anything was seen: there mostly is room.
//!
//! Of a file, what is in memory is there: a call that must not wait for the disk stops short where that ends. Who asked
//! would take a short read for the end of the file, so only a whole one counts; otherwise the ring reads it all.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{ReadWriteFlags, preadv2, pwritev2};
use rustix::net::SendFlags;

use super::future::{Op, Phase};
use super::position::Position;
use super::{Operation, Success};
use crate::buf::Alignment;
use crate::driver::Driver;
use crate::fd::{Advice, Lane, Tried};

impl<T: Operation> Op<T> {
    /// Tries the operation, which has its lane and is counted in. `None`: on to the ring.
    #[inline]
    pub(super) fn attempt(&mut self, driver: &Driver) -> Option<io::Result<Success>> {
        let (Phase::Idle(op), Some(fd)) = (&mut *self.phase, &*self.fd) else {
            return None;
        };
        let tried = op.attempts()?;
        let hint = fd.hint(tried);
        let advice = hint.advice();
        let worth = advice != Advice::Ring;
        let may = match tried {
            Tried::Send => driver.may_attempt_send(worth),
            _ => worth && driver.may_attempt(),
        };
        if !may {
            return None;
        }
        if advice == Advice::Ask {
            if !is_fit(fd.raw(), tried) {
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
                Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::ENOTSOCK) => {
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
        if T::TWO || self.extras.group().is_some() {
            return self.end_seated(result);
        }
        match (self.fd.take(), lane) {
            (Some(fd), Some(lane)) => fd.leave_lane(lane),
            (Some(fd), None) => fd.finish_here(),
            (None, _) => {}
        }
        self.end(result)
    }
}

/// Whether the descriptor is of a kind that can be tried so: a stream, where what is there at once is all that can be
/// had; or a file that is read by way of memory. With `O_DIRECT` the call would wait for the disk all the same.
#[cold]
fn is_fit(fd: RawFd, tried: Tried) -> bool {
    // SAFETY: a `stat` is plain numbers, for which zero is a value.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` lives through the call.
    let done = unsafe { libc::fstat(fd, &raw mut stat) };
    let kind = stat.st_mode & libc::S_IFMT;
    match tried {
        _ if done != 0 => false,
        Tried::Read | Tried::Write => matches!(kind, libc::S_IFIFO | libc::S_IFSOCK),
        Tried::Send => true,
        Tried::ReadAt => {
            // SAFETY: F_GETFL takes no pointers.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
            kind == libc::S_IFREG && flags & libc::O_DIRECT == 0
        }
    }
}

/// Reads of a file up to so many bytes are tried: of larger ones, what a call saves is too small a part.
const SMALL_BYTES: u32 = 16 * 1024;

/// As what a read of `len` bytes is tried.
#[inline]
pub(super) fn of_a_read(position: Position, alignment: Alignment, len: u32) -> Option<Tried> {
    match position {
        Position::Stream => Some(Tried::Read),
        Position::At(_) if len <= SMALL_BYTES && alignment == Alignment::NONE => {
            Some(Tried::ReadAt)
        }
        _ => None,
    }
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

/// Reads all of `room`, from `offset` bytes from the start on, or nothing that counts (`EAGAIN`).
///
/// # Safety
///
/// `fd` is open; the memory may be written to, and need not be initialised.
#[inline]
unsafe fn read_at(fd: RawFd, room: &libc::iovec, offset: u64) -> io::Result<Success> {
    // SAFETY: the caller's word.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let room = std::ptr::from_ref(room).cast_mut().cast::<IoSliceMut<'_>>();
    // SAFETY: as in `read`.
    let room = unsafe { std::slice::from_raw_parts_mut(room, 1) };
    match preadv2(fd, room, offset, ReadWriteFlags::NOWAIT)? {
        n if n == room[0].len() => Ok(done(n)),
        _ => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
    }
}

/// Reads what there is into one buffer, where `position` says.
///
/// # Safety
///
/// As for [`read`].
#[inline]
pub(super) unsafe fn read_one(
    fd: RawFd,
    (to, len): (*mut u8, u32),
    position: Position,
    done: usize,
) -> io::Result<Success> {
    let room = vector(to, len);
    match position {
        // SAFETY: the caller's word.
        Position::At(_) => unsafe { read_at(fd, &room, position.offset(done)) },
        // SAFETY: the caller's word.
        _ => unsafe { read(fd, &raw const room, 1) },
    }
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

/// As what a send of `len` bytes is tried. Of larger ones a call saves too small a part, and one that has to wait for room
/// has begun twice.
#[inline]
pub(super) fn of_a_send(len: usize) -> Option<Tried> {
    (len <= SMALL_BYTES as usize).then_some(Tried::Send)
}

/// Sends what there is room for.
///
/// # Safety
///
/// `fd` is open; there are `len` bytes at `from`, which may be read.
#[inline]
pub(super) unsafe fn send(
    fd: RawFd,
    (from, len): (*const u8, u32),
    flags: i32,
) -> io::Result<Success> {
    // SAFETY: the caller's word.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // SAFETY: the caller's word.
    let bytes = unsafe { std::slice::from_raw_parts(from, len as usize) };
    let flags = SendFlags::from_bits_retain(flags.cast_unsigned()) | SendFlags::DONTWAIT;
    Ok(rustix::net::send(fd, bytes, flags).map(done)?)
}

/// The kernel moves less than 2^31 bytes a call.
fn done(n: usize) -> Success {
    Success::of(n as u32)
}
