//! Carrying one entry out: by a call that does not block, or by saying what has to come first.
//!
//! | file | operations |
//! | --- | --- |
//! | `rw` | reads and writes, of whatever a descriptor is |
//! | `message` | sends and receives by a header |
//! | `socket` | what sockets have of their own |
//! | `send_zc` | sends without a copy |
//! | `file` | files and names: all of it may block, so workers do it |
//! | `splice` | from descriptor to descriptor |
//! | `known` | what entries may ask for |
//! | `fields` | what of them has to be empty |
//! | `wait` | times, readiness, processes, words of memory |

mod fields;
mod file;
mod known;
mod message;
mod rw;
mod send_zc;
mod socket;
mod splice;
mod wait;

use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use io_uring::opcode as op;

pub(super) use self::file::is_open;
pub(super) use self::rw::{Kind, kind};
pub(super) use self::send_zc::{notification, notifies};
pub(super) use self::socket::{Undo, accepts_many, is_tcp};
pub(super) use self::splice::{FD_IN_FIXED, names_row_in};
pub(super) use self::wait::{counts, passes, time_of, tries_again};
use super::entry::Entry;
use super::futex::{self, AtWord};
use super::requests::Key;
use super::workers::Work;
use super::{PollRing, files, messages};
use crate::ring::Completion;

/// What came of trying a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is done, with this result.
    Done(i32),
    /// It is done, by the buffer that these flags tell of.
    Picked(i32, u32),
    /// To be tried again when the descriptor is ready for one of these (`POLL*`).
    Wait(RawFd, u32),
    /// To be told each time the descriptor becomes ready for one of these.
    Watch(RawFd, u32),
    /// It may block: a worker is to do it.
    Work(Work),
    /// To be tried again, or to end, at that time.
    Sleep(Instant),
    /// A thread waits at its word, and will report.
    Word(AtWord),
    /// It is complete already.
    Gone,
}

pub(super) const IN: u32 = libc::POLLIN as u32;
pub(super) const OUT: u32 = libc::POLLOUT as u32;

/// What this ring carries out.
pub(super) const OPCODES: &[u8] = &[
    op::Nop::CODE,
    op::Read::CODE,
    op::ReadFixed::CODE,
    op::Readv::CODE,
    op::Write::CODE,
    op::WriteFixed::CODE,
    op::Writev::CODE,
    op::Recv::CODE,
    op::RecvMsg::CODE,
    op::Send::CODE,
    op::SendMsg::CODE,
    op::SendZc::CODE,
    op::SendMsgZc::CODE,
    op::Accept::CODE,
    op::Connect::CODE,
    op::Socket::CODE,
    op::Bind::CODE,
    op::Listen::CODE,
    op::Shutdown::CODE,
    op::Close::CODE,
    op::OpenAt::CODE,
    op::OpenAt2::CODE,
    op::Statx::CODE,
    op::Fsync::CODE,
    op::SyncFileRange::CODE,
    op::Fallocate::CODE,
    op::Fadvise::CODE,
    op::Ftruncate::CODE,
    op::UnlinkAt::CODE,
    op::RenameAt::CODE,
    op::MkDirAt::CODE,
    op::SymlinkAt::CODE,
    op::LinkAt::CODE,
    op::GetXattr::CODE,
    op::SetXattr::CODE,
    op::FGetXattr::CODE,
    op::FSetXattr::CODE,
    op::Splice::CODE,
    op::Tee::CODE,
    op::PollAdd::CODE,
    op::Timeout::CODE,
    op::LinkTimeout::CODE,
    op::TimeoutRemove::CODE,
    op::AsyncCancel::CODE,
    op::MsgRingData::CODE,
    op::EpollCtl::CODE,
    op::EpollWait::CODE,
    op::WaitId::CODE,
    op::FutexWait::CODE,
    op::FutexWake::CODE,
];

/// What of it cannot be had here.
pub(super) fn missing() -> &'static [u8] {
    if futex::exists() {
        &[]
    } else {
        &[op::FutexWait::CODE]
    }
}

/// Whether the entry's descriptor is what it works on, and not the directory it begins at, a set, a process or flags.
pub(super) fn works_on_fd(entry: &Entry) -> bool {
    !matches!(
        entry.opcode,
        op::Nop::CODE
            | op::Socket::CODE
            | op::Close::CODE
            | op::OpenAt::CODE
            | op::OpenAt2::CODE
            | op::Statx::CODE
            | op::UnlinkAt::CODE
            | op::RenameAt::CODE
            | op::MkDirAt::CODE
            | op::SymlinkAt::CODE
            | op::LinkAt::CODE
            | op::GetXattr::CODE
            | op::SetXattr::CODE
            | op::Timeout::CODE
            | op::LinkTimeout::CODE
            | op::TimeoutRemove::CODE
            | op::AsyncCancel::CODE
            | op::EpollCtl::CODE
            | op::WaitId::CODE
            | op::FutexWait::CODE
            | op::FutexWake::CODE
    )
}

/// Takes over what an entry points at only until it is submitted, and finds what is wrong with it before anything of its
/// chain has begun.
pub(super) fn prepare(entry: &mut Entry) -> Result<(), i32> {
    fields::check(entry)?;
    known::check(entry)?;
    if entry.opcode == op::OpenAt2::CODE {
        file::prepare_open2(entry)?;
    }
    files::prepare(entry)?;
    file::prepare_names(entry)?;
    match entry.opcode {
        op::Recv::CODE => socket::prepare_recv(entry),
        op::SendZc::CODE | op::SendMsgZc::CODE => send_zc::prepare(entry),
        op::Timeout::CODE | op::LinkTimeout::CODE => wait::prepare(entry),
        op::TimeoutRemove::CODE => wait::prepare_removal(entry),
        op::FutexWait::CODE | op::FutexWake::CODE => wait::prepare_futex(entry),
        op::AsyncCancel::CODE => super::cancel::prepare(entry),
        _ => Ok(()),
    }
}

/// Tries the request `key`.
pub(super) fn carry(ring: &mut PollRing, key: Key) -> Outcome {
    let Some(request) = ring.requests.find(key) else {
        return Outcome::Gone;
    };
    if let Err(errno) = ring.files.resolve(request) {
        return Outcome::Done(errno);
    }
    let entry = request.entry;
    let known = request.rows[0].as_deref();
    match entry.opcode {
        op::Nop::CODE => Outcome::Done(0),
        op::Read::CODE | op::Readv::CODE => rw::read(&entry, known),
        op::Write::CODE | op::Writev::CODE => rw::write(&entry, known),
        op::ReadFixed::CODE | op::WriteFixed::CODE => {
            rw::fixed(&entry, known, &ring.regions, &mut request.looked)
        }
        op::Recv::CODE if entry.selects() => socket::recv_picked(ring, key, &entry),
        op::Recv::CODE => {
            if socket::is_plain(&entry) && ring.watch.is_drained(entry.fd, entry.identity) {
                return Outcome::Wait(entry.fd, IN);
            }
            let outcome = socket::recv(&entry, &mut request.progress);
            if socket::is_short(&entry, &outcome) {
                ring.watch.drained(entry.fd, entry.identity);
            }
            outcome
        }
        op::Send::CODE => socket::send(&entry, &mut request.progress),
        op::RecvMsg::CODE => message::recvmsg(&entry, &mut request.progress),
        op::SendMsg::CODE => message::sendmsg(&entry, &mut request.progress),
        op::SendZc::CODE | op::SendMsgZc::CODE => send_zc::carry(&entry, &mut request.progress),
        op::Accept::CODE if accepts_many(&entry) => socket::accept_many(ring, key, &entry),
        op::Accept::CODE => socket::accept(&entry),
        op::Connect::CODE => socket::connect(&entry, &mut request.undo),
        op::Socket::CODE => socket::socket(&entry),
        op::Bind::CODE => socket::bind(&entry),
        op::Listen::CODE => socket::listen(&entry),
        op::Shutdown::CODE => socket::shutdown(&entry),
        op::Close::CODE => close(ring, &entry),
        op::Splice::CODE => splice::splice(&entry, &request.rows),
        op::Tee::CODE => splice::tee(&entry),
        op::PollAdd::CODE => wait::poll(&entry),
        op::Timeout::CODE => wait::timeout(ring, key, &entry),
        op::TimeoutRemove::CODE => Outcome::Done(ring.remove_timeout(&entry)),
        op::AsyncCancel::CODE => Outcome::Done(ring.cancel_by(key, &entry)),
        op::MsgRingData::CODE => Outcome::Done(message(&entry)),
        op::EpollCtl::CODE => wait::epoll_ctl(&entry),
        op::EpollWait::CODE => wait::epoll_wait(&entry),
        op::WaitId::CODE => wait::waitid(&entry, &mut request.undo),
        op::FutexWait::CODE => wait::futex(ring, key, &entry),
        op::FutexWake::CODE => wait::futex_wake(&entry),
        _ => file::carry(&entry),
    }
}

/// The [identity](Entry::identity) of `fd`, 0 if `entry` does not say it: `fd` is not what it names, or its waiting
/// does not mean that it has tried all there was.
pub(super) fn says_whose(entry: &Entry, fd: RawFd) -> u64 {
    match entry.opcode {
        op::Recv::CODE
        | op::RecvMsg::CODE
        | op::Send::CODE
        | op::SendMsg::CODE
        | op::SendZc::CODE
        | op::SendMsgZc::CODE
        | op::Read::CODE
        | op::ReadFixed::CODE
        | op::Readv::CODE
        | op::Write::CODE
        | op::WriteFixed::CODE
        | op::Writev::CODE
        | op::PollAdd::CODE
            if entry.fd == fd =>
        {
            entry.identity
        }
        _ => 0,
    }
}

/// The result of a system call, as a completion has it.
pub(super) fn answer(result: libc::c_long) -> i32 {
    if result < 0 {
        -io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO)
    } else {
        i32::try_from(result).unwrap_or(i32::MAX)
    }
}

/// The answer of a call that may have been interrupted.
fn uninterrupted(mut call: impl FnMut() -> libc::c_long) -> i32 {
    loop {
        let result = answer(call());
        if result != -libc::EINTR {
            return result;
        }
    }
}

/// Whether a chain breaks behind `entry`: it failed, or moved less than it was asked to.
pub(super) fn fails(entry: &Entry, result: i32) -> bool {
    if result < 0 {
        let goes_on = match entry.opcode {
            op::Timeout::CODE => wait::success_is_etime(entry, result),
            // It is a failure, but not one to the kernel's chains.
            op::FutexWait::CODE => result == -libc::ECANCELED,
            _ => file::failure_goes_on(entry, result),
        };
        return !goes_on;
    }
    let moved = u64::from(result.cast_unsigned());
    match entry.opcode {
        op::Read::CODE
        | op::ReadFixed::CODE
        | op::Write::CODE
        | op::WriteFixed::CODE
        | op::Splice::CODE
        | op::Tee::CODE => moved < u64::from(entry.len),
        op::Readv::CODE | op::Writev::CODE => moved < rw::total(entry),
        op::Recv::CODE | op::Send::CODE | op::SendZc::CODE if socket::wants_all(entry) => {
            moved < u64::from(entry.len)
        }
        op::RecvMsg::CODE | op::SendMsg::CODE | op::SendMsgZc::CODE if socket::wants_all(entry) => {
            moved < message::total(entry).into()
        }
        _ => false,
    }
}

fn close(ring: &mut PollRing, entry: &Entry) -> Outcome {
    if entry.splice_fd_in != 0 {
        return close_row(ring, entry);
    }
    let fd = entry.fd;
    ring.watch.forget(fd);
    // SAFETY: who stages a close gives the descriptor up.
    let close = move || answer(unsafe { libc::close(fd) }.into());
    if entry.wants_worker() {
        return Outcome::Work(Work::new(close));
    }
    Outcome::Done(close())
}

fn close_row(ring: &mut PollRing, entry: &Entry) -> Outcome {
    let row = entry.splice_fd_in.cast_unsigned() as usize - 1;
    match ring.empty_row(row) {
        // It may be the last that closes the file.
        Ok(file) if entry.wants_worker() => Outcome::Work(Work::new(move || {
            drop(file);
            0
        })),
        Ok(_) => Outcome::Done(0),
        Err(errno) => Outcome::Done(errno),
    }
}

fn message(entry: &Entry) -> i32 {
    if entry.addr != 0 {
        // Rows are not sent.
        return -libc::EINVAL;
    }
    let message = Completion {
        user_data: entry.off,
        result: entry.len.cast_signed(),
        flags: 0,
    };
    messages::send(entry.fd, message)
}
