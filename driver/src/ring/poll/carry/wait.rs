//! Waiting: for times, for readiness, for processes.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::opcode as op;

use super::super::PollRing;
use super::super::entry::Entry;
use super::super::requests::Key;
use super::super::watch::poll_now;
use super::socket::Undo;
use super::{IN, Outcome, answer, uninterrupted};

const ABSOLUTE: u32 = 1;
const BOOTTIME: u32 = 1 << 2;
const REALTIME: u32 = 1 << 3;
const ETIME_SUCCESS: u32 = 1 << 5;
const POLL_MULTI: u32 = 1;
/// How often a process is looked for that has no descriptor to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Reads a timeout's time: after its submission the timespec may be gone.
pub(super) fn prepare(entry: &mut Entry) -> Result<(), i32> {
    let known = ABSOLUTE | BOOTTIME | REALTIME | ETIME_SUCCESS;
    if entry.off != 0 || entry.len != 1 || entry.op_flags & !known != 0 {
        // Not counts of completions, and not several of them: nothing above stages those.
        return Err(-libc::EINVAL);
    }
    // SAFETY: the entry points at a timespec, which lives at least until it was taken over, which is here.
    let time = unsafe { *entry.ptr::<libc::timespec>() };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec)) else {
        return Err(-libc::EINVAL);
    };
    entry.addr = seconds;
    entry.addr3 = nanos;
    Ok(())
}

/// When the timeout `entry`, prepared and started now, passes.
pub(in super::super) fn time_of(entry: &Entry) -> Instant {
    let time = Duration::from_secs(entry.addr).saturating_add(Duration::from_nanos(entry.addr3));
    let left = if entry.op_flags & ABSOLUTE == 0 {
        time
    } else {
        time.saturating_sub(clock(entry.op_flags))
    };
    let now = Instant::now();
    now.checked_add(left)
        .unwrap_or_else(|| now + Duration::from_secs(1 << 32))
}

fn clock(flags: u32) -> Duration {
    let clock = match flags {
        _ if flags & BOOTTIME != 0 => libc::CLOCK_BOOTTIME,
        _ if flags & REALTIME != 0 => libc::CLOCK_REALTIME,
        _ => libc::CLOCK_MONOTONIC,
    };
    // SAFETY: the call fills the timespec in.
    let now = unsafe {
        let mut now: libc::timespec = mem::zeroed();
        libc::clock_gettime(clock, &raw mut now);
        now
    };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Whether a timeout that passes is a success for its chain.
pub(super) fn success_is_etime(entry: &Entry, result: i32) -> bool {
    result == -libc::ETIME && entry.op_flags & ETIME_SUCCESS != 0
}

pub(super) fn timeout(entry: &Entry) -> Outcome {
    Outcome::Sleep(time_of(entry))
}

pub(super) fn poll(entry: &Entry) -> Outcome {
    let events = entry.op_flags;
    match poll_now(entry.fd, events) {
        errno if errno < 0 => Outcome::Done(errno),
        _ if entry.len & POLL_MULTI != 0 => Outcome::Watch(entry.fd, events),
        0 => Outcome::Wait(entry.fd, events),
        ready => Outcome::Done(ready),
    }
}

impl PollRing {
    /// A descriptor that a multishot poll watches became ready, it is said.
    pub(in super::super) fn edge(&mut self, key: Key, events: u32) {
        let Some(request) = self.requests.find(key) else {
            return;
        };
        let ready = poll_now(request.entry.fd, events);
        if ready != 0 {
            self.tell(key, ready);
        }
    }
}

pub(super) fn epoll_ctl(entry: &Entry) -> Outcome {
    let (set, what, fd) = (entry.fd, entry.len.cast_signed(), entry.off as i32);
    // SAFETY: the event, if there is one, is the request's.
    Outcome::Done(answer(
        unsafe { libc::epoll_ctl(set, what, fd, entry.ptr()) }.into(),
    ))
}

pub(super) fn epoll_wait(entry: &Entry) -> Outcome {
    // SAFETY: the room for events is the request's.
    let events = uninterrupted(|| unsafe {
        libc::epoll_wait(entry.fd, entry.ptr(), entry.len.cast_signed(), 0).into()
    });
    match events {
        0 => Outcome::Wait(entry.fd, IN),
        events => Outcome::Done(events),
    }
}

pub(super) fn waitid(entry: &Entry, process: &mut Option<Undo>) -> Outcome {
    let (kind, id) = (entry.len, entry.fd.cast_unsigned());
    let info = entry.ptr2::<libc::siginfo_t>();
    let options = entry.splice_fd_in;
    // SAFETY: all zeros are a `siginfo_t` of no process.
    let mut own: libc::siginfo_t = unsafe { mem::zeroed() };
    // SAFETY: the structure is filled in by the call, and is what its kind says.
    let (result, pid) = unsafe {
        let result = libc::waitid(kind, id, &raw mut own, options | libc::WNOHANG);
        (answer(result.into()), own.si_pid())
    };
    if result != 0 || pid != 0 {
        if result == 0 && !info.is_null() {
            // SAFETY: the room for it is the request's.
            unsafe { info.write(own) };
        }
        return Outcome::Done(result);
    }
    let only_ends = options & (libc::WSTOPPED | libc::WCONTINUED) == 0;
    match (kind, &*process) {
        _ if options & libc::WNOHANG != 0 => Outcome::Done(0),
        (libc::P_PIDFD, _) if only_ends => Outcome::Wait(entry.fd, IN),
        (libc::P_PID, Some(Undo::Close(fd))) if only_ends => Outcome::Wait(fd.as_raw_fd(), IN),
        (libc::P_PID, None) if only_ends => match open_process(id) {
            Some(fd) => {
                let raw = fd.as_raw_fd();
                *process = Some(Undo::Close(fd));
                Outcome::Wait(raw, IN)
            }
            None => Outcome::Sleep(Instant::now() + LOOK_AGAIN),
        },
        _ => Outcome::Sleep(Instant::now() + LOOK_AGAIN),
    }
}

fn open_process(id: u32) -> Option<OwnedFd> {
    // SAFETY: touches no memory; the new descriptor is nobody else's.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, id, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Whether a worker's answer means that the request is to be tried anew.
pub(in super::super) fn tries_again(entry: &Entry, result: i32) -> bool {
    let splices = matches!(entry.opcode, op::Splice::CODE | op::Tee::CODE);
    splices && result == -libc::EAGAIN && entry.op_flags & libc::SPLICE_F_NONBLOCK == 0
}
