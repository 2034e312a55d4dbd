//! Sends and receives by a header (`struct msghdr`).

use std::mem;

use super::super::entry::Entry;
use super::super::requests::Progress;
use super::socket::{flags, in_parts, wants_all};
use super::{IN, OUT, Outcome};

/// What did not fit.
const CUT: i32 = libc::MSG_TRUNC | libc::MSG_CTRUNC;

pub(super) fn recvmsg(entry: &Entry, progress: &mut Progress) -> Outcome {
    let header = entry.ptr::<libc::msghdr>();
    let mut told = 0;
    let outcome = in_parts(entry, IN, total(entry), progress, |done| {
        // SAFETY: the header and all it points at are the request's. Lengths in it are what the caller put there: a call
        // that has nothing to receive leaves them so.
        unsafe {
            let received = in_header(header, done, |header| {
                libc::recvmsg(entry.fd, header, flags(entry))
            });
            told = received.1;
            received.0
        }
    });
    progress.cut |= wants_all(entry) && told & CUT != 0;
    outcome
}

pub(super) fn sendmsg(entry: &Entry, progress: &mut Progress) -> Outcome {
    let header = entry.ptr::<libc::msghdr>();
    in_parts(entry, OUT, total(entry), progress, |done| {
        let flags = flags(entry) | libc::MSG_NOSIGNAL;
        // SAFETY: the header and all it points at are the request's.
        unsafe {
            in_header(header, done, |header| {
                libc::sendmsg(entry.fd, header, flags)
            })
            .0
        }
    })
}

/// A receive of all of it: of what was cut only a header tells.
pub(super) fn recv_all(entry: &Entry, progress: &mut Progress) -> Outcome {
    let mut told = 0;
    let outcome = in_parts(entry, IN, entry.len, progress, |done| {
        let mut room = libc::iovec {
            // SAFETY: so much of it is done.
            iov_base: unsafe { entry.ptr::<u8>().add(done as usize) }.cast(),
            iov_len: (entry.len - done) as usize,
        };
        let mut header = header_of(std::slice::from_mut(&mut room));
        // SAFETY: the header lives across the call, and points at the request's room.
        let received = unsafe { libc::recvmsg(entry.fd, &raw mut header, flags(entry)) };
        told = header.msg_flags;
        received
    });
    progress.cut |= told & CUT != 0;
    outcome
}

fn header_of(vectors: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: all zeros are a header that says nothing.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = vectors.as_mut_ptr();
    header.msg_iovlen = vectors.len();
    header
}

/// Makes a call by a header, or, where so much of it is done, by one of the rest; what came of it, and the flags that the
/// header has then. As the kernel has it, control data goes with the first bytes only.
///
/// # Safety
///
/// `header`, and what it points at, is there.
unsafe fn in_header(
    header: *mut libc::msghdr,
    done: u32,
    call: impl FnOnce(*mut libc::msghdr) -> isize,
) -> (isize, i32) {
    if done == 0 {
        let moved = call(header);
        // SAFETY: the caller's.
        return (moved, unsafe { (*header).msg_flags });
    }
    let mut done = done as usize;
    // SAFETY: the caller's: it has as many vectors as it says.
    let mut rest = unsafe { vectors(header) }.to_vec();
    for vector in &mut rest {
        let skipped = done.min(vector.iov_len);
        // SAFETY: within the vector.
        vector.iov_base = unsafe { vector.iov_base.byte_add(skipped) };
        vector.iov_len -= skipped;
        done -= skipped;
    }
    let mut header = header_of(&mut rest);
    (call(&raw mut header), header.msg_flags)
}

/// # Safety
///
/// As for [`in_header`].
unsafe fn vectors<'a>(header: *const libc::msghdr) -> &'a [libc::iovec] {
    // SAFETY: the caller's.
    unsafe {
        match (*header).msg_iovlen {
            0 => &[],
            count => std::slice::from_raw_parts((*header).msg_iov, count),
        }
    }
}

/// How much a send or receive by a header is about.
pub(super) fn total(entry: &Entry) -> u32 {
    // SAFETY: the entry's header is the request's, and has as many vectors as it says.
    let vectors = unsafe { vectors(entry.ptr()) };
    let total = vectors.iter().map(|vector| vector.iov_len as u64).sum();
    // No call moves more.
    u64::min(total, i32::MAX as u64) as u32
}
