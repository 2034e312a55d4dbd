//! `splice` and `tee`. A pipe's end, or a socket, is waited for before the call; where the other side is a file a
//! worker makes it.

use std::os::fd::RawFd;

use io_uring::opcode as op;

use super::super::entry::Entry;
use super::super::files::Rows;
use super::super::watch::poll_now;
use super::super::workers::Work;
use super::rw::{Kind, kind_of};
use super::socket::unblocked;
use super::{IN, OUT, Outcome, uninterrupted};

/// The descriptor to take from is a row of the table of files.
pub(in super::super) const FD_IN_FIXED: u32 = 1 << 31;
/// "At the descriptor's own position".
const OWN: u64 = u64::MAX;

/// Whether an entry takes from a row of the table of files.
pub(in super::super) fn names_row_in(entry: &Entry) -> bool {
    matches!(entry.opcode, op::Splice::CODE | op::Tee::CODE) && entry.op_flags & FD_IN_FIXED != 0
}

pub(super) fn splice(entry: &Entry, rows: &Rows) -> Outcome {
    let (from, to) = (entry.splice_fd_in, entry.fd);
    let (row_to, row_from) = (rows[0].as_deref(), rows[1].as_deref());
    let kinds = match (kind_of(from, row_from), kind_of(to, row_to)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(errno), _) | (_, Err(errno)) => return Outcome::Done(errno),
    };
    if let Some(wait) = before(entry, kinds) {
        return wait;
    }
    let own = *entry;
    if kinds.0 == Kind::File || kinds.1 == Kind::File {
        return Outcome::Work(Work::new(move || call(&own)));
    }
    // A socket may have room for a part only of what a pipe holds, or somebody else took what it had; and it pays no
    // heed to `SPLICE_F_NONBLOCK`. One side is a pipe.
    let result = match kinds {
        (_, Kind::Socket) => unblocked(to, || call(entry)),
        (Kind::Socket, _) => unblocked(from, || call(entry)),
        _ => call(entry),
    };
    again(entry, result)
}

pub(super) fn tee(entry: &Entry) -> Outcome {
    // Between pipes only, which do not wait in the call; of others it says so at once.
    again(entry, call(entry))
}

/// What has to be waited for, or is wrong, before the call.
fn before(entry: &Entry, (from, to): (Kind, Kind)) -> Option<Outcome> {
    if entry.len == 0 || entry.op_flags & libc::SPLICE_F_NONBLOCK != 0 {
        return None;
    }
    let waits = |kind, fd: RawFd, events| {
        (kind != Kind::File && poll_now(fd, events) == 0).then_some(Outcome::Wait(fd, events))
    };
    waits(from, entry.splice_fd_in, IN).or_else(|| waits(to, entry.fd, OUT))
}

/// Somebody else was faster: wait anew. At least one side is not ready then.
fn again(entry: &Entry, result: i32) -> Outcome {
    let asked = entry.op_flags & libc::SPLICE_F_NONBLOCK != 0;
    if result != -libc::EAGAIN || asked {
        return Outcome::Done(result);
    }
    let wait = before(entry, (Kind::Other, Kind::Other));
    wait.unwrap_or(Outcome::Wait(entry.fd, OUT))
}

fn call(entry: &Entry) -> i32 {
    let (from, to) = (entry.splice_fd_in, entry.fd);
    let flags = entry.op_flags | libc::SPLICE_F_NONBLOCK;
    let mut at = [entry.addr, entry.off];
    // SAFETY: the offsets live across the calls; nothing else is pointed at.
    uninterrupted(|| unsafe {
        if entry.opcode == op::Tee::CODE {
            return libc::tee(from, to, entry.len(), flags) as libc::c_long;
        }
        let [from_at, to_at] = at.each_mut().map(|at| match *at {
            OWN => std::ptr::null_mut(),
            _ => std::ptr::from_mut(at).cast::<libc::loff_t>(),
        });
        libc::splice(from, from_at, to, to_at, entry.len(), flags) as libc::c_long
    })
}
