//! Waiting: for times, for readiness, for processes, at words of memory.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::opcode as op;

use super::super::PollRing;
use super::super::entry::Entry;
use super::super::futex::{SIZE_U32, Word};
use super::super::requests::{Key, State};
use super::super::watch::poll_now;
use super::socket::Undo;
use super::{IN, Outcome, answer, uninterrupted};

const ABSOLUTE: u32 = 1;
const BOOTTIME: u32 = 1 << 2;
const REALTIME: u32 = 1 << 3;
const UPDATE: u32 = 1 << 1;
const LINK_UPDATE: u32 = 1 << 4;
const ETIME_SUCCESS: u32 = 1 << 5;
const MULTISHOT: u32 = 1 << 6;
const CLOCKS: u32 = BOOTTIME | REALTIME;
const POLL_MULTI: u32 = 1;
/// How often a process is looked for that has no descriptor to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Reads a timeout's time: after its submission the timespec may be gone.
pub(super) fn prepare(entry: &mut Entry) -> Result<(), i32> {
    let flags = entry.op_flags;
    let known = ABSOLUTE | CLOCKS | ETIME_SUCCESS | MULTISHOT;
    // What passes more than once does so after a time, not at one.
    let both = ABSOLUTE | MULTISHOT;
    let counts = entry.off != 0 && entry.opcode == op::LinkTimeout::CODE;
    if entry.len != 1 || flags & !known != 0 || flags & both == both || counts || two_clocks(flags)
    {
        return Err(-libc::EINVAL);
    }
    (entry.addr, entry.addr3) = read_time(entry.ptr())?;
    Ok(())
}

/// As above for what removes a timeout, or changes its time.
pub(super) fn prepare_removal(entry: &mut Entry) -> Result<(), i32> {
    let flags = entry.op_flags;
    if flags & (UPDATE | LINK_UPDATE) == 0 {
        return if flags == 0 {
            Ok(())
        } else {
            Err(-libc::EINVAL)
        };
    }
    if flags & !(UPDATE | LINK_UPDATE | ABSOLUTE | CLOCKS) != 0 || two_clocks(flags) {
        return Err(-libc::EINVAL);
    }
    (entry.off, entry.addr3) = read_time(entry.ptr2())?;
    Ok(())
}

fn two_clocks(flags: u32) -> bool {
    flags & CLOCKS == CLOCKS
}

/// Seconds and nanoseconds.
fn read_time(time: *const libc::timespec) -> Result<(u64, u64), i32> {
    // SAFETY: the entry points at a timespec, which lives at least until it was taken over, which is when this is called.
    let time = unsafe { *time };
    match (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(nanos)) => Ok((seconds, nanos)),
        _ => Err(-libc::EINVAL),
    }
}

/// When the timeout `entry`, prepared and started now, passes.
pub(in super::super) fn time_of(entry: &Entry) -> Instant {
    from_now(entry.addr, entry.addr3, entry.op_flags)
}

fn from_now(seconds: u64, nanos: u64, flags: u32) -> Instant {
    let time = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos));
    let left = if flags & ABSOLUTE == 0 {
        time
    } else {
        time.saturating_sub(clock(flags))
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

/// Whether a timeout ends after so many completions of others, too.
pub(in super::super) fn counts(entry: &Entry) -> bool {
    entry.opcode == op::Timeout::CODE && entry.off != 0 && entry.op_flags & MULTISHOT == 0
}

/// Whether a completion is that of a timeout that did what it is for; these are not counted.
pub(in super::super) fn passes(entry: &Entry, result: i32) -> bool {
    entry.opcode == op::Timeout::CODE && matches!(-result, 0 | libc::ETIME)
}

pub(super) fn timeout(ring: &mut PollRing, key: Key, entry: &Entry) -> Outcome {
    if counts(entry)
        && let Some(request) = ring.requests.find(key)
    {
        ring.counts
            .push((request.since.saturating_add(entry.off), key));
    }
    Outcome::Sleep(time_of(entry))
}

impl PollRing {
    /// Ends the timeouts that have counted enough. Whether there were any.
    pub(in super::super) fn count(&mut self) -> bool {
        let mut any = false;
        while let Some((_, key)) = self
            .counts
            .iter()
            .find(|(end, _)| *end <= self.events)
            .copied()
        {
            self.finish(key, 0);
            any = true;
        }
        any
    }

    /// The time of a timeout that is no deadline has come.
    pub(in super::super) fn timeout_passed(&mut self, key: Key) {
        let Some(request) = self.requests.find(key) else {
            return;
        };
        let entry = &mut request.entry;
        let again = entry.op_flags & MULTISHOT != 0 && entry.off != 1;
        if !again {
            return self.finish(key, -libc::ETIME);
        }
        entry.off = entry.off.saturating_sub(1);
        let next = time_of(entry);
        self.tell(key, -libc::ETIME, 0);
        let timer = self.timers.arm(next, key);
        self.set_state(key, State::Sleeping(timer));
    }

    /// Removes a timeout, or gives it another time.
    pub(super) fn remove_timeout(&mut self, entry: &Entry) -> i32 {
        // A time that was over before was first.
        self.fire();
        let limits = entry.op_flags & LINK_UPDATE != 0;
        let mut next = self.requests.with_number(entry.addr);
        while let Some(key) = next {
            next = self.requests.namesake(key);
            let Some(request) = self.requests.find(key) else {
                continue;
            };
            let is_timeout = request.entry.opcode == op::Timeout::CODE;
            let (timer, of) = match request.state {
                State::Sleeping(timer) if is_timeout && !limits => (timer, None),
                State::Limiting(timer, of) if limits => (timer, Some(of)),
                _ => continue,
            };
            if entry.op_flags & (UPDATE | LINK_UPDATE) == 0 {
                self.finish(key, -libc::ECANCELED);
                return 0;
            }
            // It counts no more; one that passes more than once does so for ever, after the new time.
            (request.entry.off, request.entry.addr, request.entry.addr3) =
                (0, entry.off, entry.addr3);
            self.counts.retain(|(_, counting)| *counting != key);
            self.timers.disarm(timer);
            let timer = self
                .timers
                .arm(from_now(entry.off, entry.addr3, entry.op_flags), key);
            let state = of.map_or(State::Sleeping(timer), |of| State::Limiting(timer, of));
            self.set_state(key, state);
            return 0;
        }
        -libc::ENOENT
    }
}

/// `FUTEX_BITSET_MATCH_ANY`.
const ANYBODY: u64 = 0xffff_ffff;

/// Words of another size, or elsewhere, are none; and here a thread that waits is woken by anybody.
pub(super) fn prepare_futex(entry: &mut Entry) -> Result<(), i32> {
    let size = SIZE_U32.cast_signed();
    let known = size | libc::FUTEX_PRIVATE_FLAG;
    let waits = entry.opcode == op::FutexWait::CODE;
    let masks = entry.addr3 != ANYBODY && (waits || entry.addr3 > ANYBODY);
    let wrong = entry.fd & !known != 0 || entry.fd & size == 0 || entry.off > ANYBODY;
    if wrong || masks {
        return Err(-libc::EINVAL);
    }
    Ok(())
}

pub(super) fn futex(ring: &mut PollRing, key: Key, entry: &Entry) -> Outcome {
    let word = Word {
        address: entry.ptr(),
        expected: entry.off as u32,
        private: entry.fd & libc::FUTEX_PRIVATE_FLAG != 0,
    };
    match ring.futexes.wait(key, word) {
        Ok(at) => Outcome::Word(at),
        Err(errno) => Outcome::Done(errno),
    }
}

pub(super) fn futex_wake(entry: &Entry) -> Outcome {
    let (word, at_most, mask) = (entry.ptr::<u32>(), entry.off as u32, entry.addr3 as u32);
    let operation = libc::FUTEX_WAKE_BITSET | entry.fd & libc::FUTEX_PRIVATE_FLAG;
    if at_most == 0 {
        // The system call would wake one.
        return Outcome::Done(0);
    }
    // SAFETY: the kernel does not look at the word, which is the request's.
    Outcome::Done(answer(unsafe {
        let none = std::ptr::null::<u32>();
        libc::syscall(libc::SYS_futex, word, operation, at_most, none, none, mask)
    }))
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
            self.tell(key, ready, 0);
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
