//! What sockets have of their own.
//!
//! `MSG_DONTWAIT` makes sends and receives come back at once. `accept` and `connect` have no such flag: for the
//! moment of the call the socket itself is made non-blocking, for a connect until it ends. The flag is the socket's,
//! whichever thread and whichever of its descriptors look at it. So it is looked at and changed under one lock: of two
//! rings that accept from one listener neither takes the other's flag for the user's, or puts it back under its call.

use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::PollRing;
use super::super::entry::Entry;
use super::super::files::cloexec;
use super::super::requests::{Key, Progress};
use super::super::watch::poll_now;
use super::rw::is_nonblocking;
use super::{IN, OUT, Outcome, answer, message, uninterrupted};
use crate::ring::{BUFFER_MORE, PICKED};

pub(super) const ACCEPT_MULTISHOT: u16 = 1;
/// Waits for data before it looks for a buffer.
pub(super) const POLL_FIRST: u16 = 1;
pub(super) const RECV_MULTISHOT: u16 = 1 << 1;
/// How many buffers one look fills for one request, so that others get their turn; as the kernel has it.
const RECEIVES: usize = 32;
/// How many connections one look accepts, so that others get their turn.
const ACCEPTS: usize = 64;
/// How soon a full backlog of a Unix listener is tried again: it tells nobody when it has room.
const AGAIN: Duration = Duration::from_millis(1);

/// What is put back when a request ends.
#[derive(Debug)]
pub(in super::super) enum Undo {
    /// Nothing.
    Nothing,
    /// The socket was made non-blocking.
    Block(RawFd),
    /// A descriptor was opened for the time of the request.
    Close(OwnedFd),
}

impl Undo {
    pub(in super::super) fn undo(self) {
        match self {
            Undo::Nothing => {}
            Undo::Block(fd) => {
                let _mine = flags_lock();
                set_nonblocking(fd, false);
            }
            Undo::Close(fd) => drop(fd),
        }
    }
}

fn flags_lock() -> MutexGuard<'static, ()> {
    static FLAGS: Mutex<()> = Mutex::new(());
    FLAGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a call that must not wait on a socket that may be a blocking one.
pub(super) fn unblocked<R>(fd: RawFd, call: impl FnOnce() -> R) -> R {
    let _mine = flags_lock();
    let blocks = !is_nonblocking(fd);
    if blocks {
        set_nonblocking(fd, true);
    }
    let result = call();
    if blocks {
        set_nonblocking(fd, false);
    }
    result
}

fn set_nonblocking(fd: RawFd, on: bool) {
    // SAFETY: `fcntl` with these commands touches no memory. A socket that is gone has no flags to put back.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if flags >= 0 {
            let rest = flags & !libc::O_NONBLOCK;
            libc::fcntl(
                fd,
                libc::F_SETFL,
                if on { rest | libc::O_NONBLOCK } else { rest },
            );
        }
    }
}

/// Whether the flags of a send or receive ask for all of it.
pub(super) fn wants_all(entry: &Entry) -> bool {
    entry.op_flags & libc::MSG_WAITALL as u32 != 0
}

/// A receive that asks for nothing particular, but for something: one of no bytes does not wait.
pub(super) fn is_plain(entry: &Entry) -> bool {
    entry.len > 0 && entry.op_flags & !(libc::MSG_NOSIGNAL as u32) == 0
}

/// A plain receive that got something, but less than it had room for.
pub(super) fn is_short(entry: &Entry, outcome: &Outcome) -> bool {
    let got = |result: &i32| *result > 0 && result.cast_unsigned() < entry.len;
    is_plain(entry) && matches!(outcome, Outcome::Done(result) if got(result))
}

pub(super) fn flags(entry: &Entry) -> i32 {
    entry.op_flags.cast_signed() | libc::MSG_DONTWAIT
}

/// What is left to do: the answer `EAGAIN` means to wait, unless the caller said that it will not.
pub(super) fn or_wait(entry: &Entry, events: u32, result: i32) -> Outcome {
    let asked = entry.op_flags.cast_signed() & libc::MSG_DONTWAIT != 0;
    if result == -libc::EAGAIN && !asked {
        Outcome::Wait(entry.fd, events)
    } else {
        Outcome::Done(result)
    }
}

pub(super) fn recv(entry: &Entry, progress: &mut Progress) -> Outcome {
    if wants_all(entry) {
        return message::recv_all(entry, progress);
    }
    // SAFETY: the room is the request's.
    let result = uninterrupted(|| unsafe {
        libc::recv(entry.fd, entry.ptr(), entry.len(), flags(entry)) as libc::c_long
    });
    or_wait(entry, IN, result)
}

pub(super) fn send(entry: &Entry, progress: &mut Progress) -> Outcome {
    in_parts(entry, OUT, entry.len, progress, |done| {
        // SAFETY: the bytes are the request's, of which so many are done; the address, if there is one, is too.
        unsafe {
            let (at, left) = (entry.ptr::<u8>().add(done as usize), entry.len - done);
            let (addr, addr_len) = (entry.ptr2::<libc::sockaddr>(), entry.splice_fd_in as u16);
            let flags = flags(entry) | libc::MSG_NOSIGNAL;
            libc::sendto(
                entry.fd,
                at.cast(),
                left as usize,
                flags,
                addr,
                addr_len.into(),
            )
        }
    })
}

/// A send or receive of `total` bytes: one call, or with `MSG_WAITALL` as many as it takes.
pub(super) fn in_parts(
    entry: &Entry,
    events: u32,
    total: u32,
    progress: &mut Progress,
    mut call: impl FnMut(u32) -> isize,
) -> Outcome {
    let done = &mut progress.done;
    loop {
        let result = uninterrupted(|| call(*done) as libc::c_long);
        if !wants_all(entry) {
            return or_wait(entry, events, result);
        }
        match result {
            1.. => {
                *done += result.cast_unsigned();
                if *done < total && !is_message(entry.fd) {
                    continue;
                }
                return Outcome::Done(done.cast_signed());
            }
            0 => return Outcome::Done(done.cast_signed()),
            errno if errno == -libc::EAGAIN => return or_wait(entry, events, errno),
            _ if *done > 0 => return Outcome::Done(done.cast_signed()),
            errno => return Outcome::Done(errno),
        }
    }
}

/// What is wrong with a receive before it has begun.
pub(super) fn prepare_recv(entry: &Entry) -> Result<(), i32> {
    let many = entry.ioprio & RECV_MULTISHOT != 0;
    // Who asks for all has to bring the room.
    if (many && !entry.selects()) || (entry.selects() && wants_all(entry)) {
        return Err(-libc::EINVAL);
    }
    Ok(())
}

/// Receives into buffers that are picked when there is something to receive: one, or one after another.
pub(super) fn recv_picked(ring: &mut PollRing, key: Key, entry: &Entry) -> Outcome {
    let (fd, many) = (entry.fd, entry.ioprio & RECV_MULTISHOT != 0);
    // From now on it has looked once.
    if let Some(request) = ring.requests.find(key) {
        request.entry.ioprio |= POLL_FIRST;
    }
    for at in 0..RECEIVES {
        let Some(buffer) = ring.groups.first(entry.buf_index) else {
            // At first sight that is told also where nothing has arrived; and of what is no stream the kernel does not
            // know whether there is more, and looks for a buffer to find out.
            let looked = match at {
                0 => entry.ioprio & POLL_FIRST != 0,
                _ => option(fd, libc::SO_TYPE) == libc::SOCK_STREAM,
            };
            if looked && poll_now(fd, IN) == 0 {
                return Outcome::Wait(fd, IN);
            }
            return Outcome::Done(-libc::ENOBUFS);
        };
        let room = match entry.len {
            0 => buffer.len,
            len => len.min(buffer.len),
        };
        let into = Entry {
            addr: buffer.address,
            len: room,
            ..*entry
        };
        if is_plain(&into) && ring.watch.is_drained(fd, entry.identity) {
            return Outcome::Wait(fd, IN);
        }
        let outcome = recv(&into, &mut Progress::default());
        let received = match outcome {
            Outcome::Done(received @ 1..) => received,
            other => return other,
        };
        if is_short(&into, &outcome) {
            ring.watch.drained(fd, entry.identity);
        }
        let leaves = ring.groups.take(entry.buf_index, received.cast_unsigned());
        let left = if leaves { BUFFER_MORE } else { 0 };
        let flags = PICKED | left | u32::from(buffer.number) << 16;
        if !many {
            return Outcome::Picked(received, flags);
        }
        ring.tell(key, received, flags);
    }
    Outcome::Sleep(Instant::now())
}

/// Whether what a socket carries is never joined. Packets in sequence are, as the kernel's ring has it.
fn is_message(fd: RawFd) -> bool {
    let kind = option(fd, libc::SO_TYPE);
    kind != libc::SOCK_STREAM && kind != libc::SOCK_SEQPACKET
}

/// Whether it is a TCP socket. Others' short receives may end at a boundary, or where passed descriptors begin.
pub(in super::super) fn is_tcp(fd: RawFd) -> bool {
    option(fd, libc::SO_PROTOCOL) == libc::IPPROTO_TCP
        && option(fd, libc::SO_TYPE) == libc::SOCK_STREAM
        && matches!(option(fd, libc::SO_DOMAIN), libc::AF_INET | libc::AF_INET6)
}

/// What the socket says of itself, or the error.
pub(super) fn option(fd: RawFd, name: i32) -> i32 {
    let mut value = 0i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` has room for `len` bytes, and both outlive the call.
    let result = unsafe {
        let value = (&raw mut value).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, name, value, &raw mut len)
    };
    if result == 0 { value } else { answer(-1) }
}

pub(in super::super) fn accepts_many(entry: &Entry) -> bool {
    entry.ioprio & ACCEPT_MULTISHOT != 0
}

/// One connection, `EAGAIN` if there is none.
fn accept_now(entry: &Entry) -> i32 {
    let ready = poll_now(entry.fd, IN);
    if ready <= 0 {
        return if ready == 0 { -libc::EAGAIN } else { ready };
    }
    // Somebody else may be faster.
    unblocked(entry.fd, || {
        // SAFETY: the address and its length, if there are any, are the request's.
        uninterrupted(|| unsafe {
            let (addr, len) = (entry.ptr(), entry.ptr2());
            let flags = entry.op_flags.cast_signed() | cloexec(entry);
            libc::accept4(entry.fd, addr, len, flags).into()
        })
    })
}

pub(super) fn accept(entry: &Entry) -> Outcome {
    match accept_now(entry) {
        errno if errno == -libc::EAGAIN => Outcome::Wait(entry.fd, IN),
        result => Outcome::Done(result),
    }
}

pub(super) fn accept_many(ring: &mut PollRing, key: Key, entry: &Entry) -> Outcome {
    for _ in 0..ACCEPTS {
        match accept_now(entry) {
            errno if errno == -libc::EAGAIN => break,
            errno if errno < 0 => return Outcome::Done(errno),
            socket => match ring.bring(entry, socket) {
                errno if errno < 0 => return Outcome::Done(errno),
                told => ring.tell(key, told, 0),
            },
        }
    }
    Outcome::Wait(entry.fd, IN)
}

pub(super) fn connect(entry: &Entry, undo: &mut Option<Undo>) -> Outcome {
    let fd = entry.fd;
    let begun = undo.is_some();
    if !begun {
        let _mine = flags_lock();
        *undo = Some(if is_nonblocking(fd) {
            Undo::Nothing
        } else {
            set_nonblocking(fd, true);
            Undo::Block(fd)
        });
    }
    // Once begun, the same call tells how it went.
    // SAFETY: the address is the request's, as long as it says.
    let result = uninterrupted(|| unsafe {
        libc::connect(fd, entry.ptr(), entry.off as libc::socklen_t).into()
    });
    match -result {
        libc::EINPROGRESS => Outcome::Wait(fd, OUT),
        libc::EALREADY if begun => Outcome::Wait(fd, OUT),
        // A Unix listener's backlog is full.
        libc::EAGAIN => Outcome::Sleep(Instant::now() + AGAIN),
        _ => Outcome::Done(result),
    }
}

pub(super) fn socket(entry: &Entry) -> Outcome {
    let (domain, protocol) = (entry.fd, entry.len.cast_signed());
    let kind = entry.off as i32 | cloexec(entry);
    // SAFETY: touches no memory.
    Outcome::Done(answer(
        unsafe { libc::socket(domain, kind, protocol) }.into(),
    ))
}

pub(super) fn bind(entry: &Entry) -> Outcome {
    // SAFETY: the address is the request's, as long as it says.
    let result = unsafe { libc::bind(entry.fd, entry.ptr(), entry.off as libc::socklen_t) };
    Outcome::Done(answer(result.into()))
}

pub(super) fn listen(entry: &Entry) -> Outcome {
    // SAFETY: touches no memory.
    Outcome::Done(answer(
        unsafe { libc::listen(entry.fd, entry.len.cast_signed()) }.into(),
    ))
}

pub(super) fn shutdown(entry: &Entry) -> Outcome {
    // SAFETY: touches no memory.
    Outcome::Done(answer(
        unsafe { libc::shutdown(entry.fd, entry.len.cast_signed()) }.into(),
    ))
}
