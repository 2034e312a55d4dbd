//! A forked child, for what must be shown to work there; and a thread that handles signals.
#![allow(
    unsafe_code,
    reason = "fork(2), sigwait(3) and pthread_kill(3) have no safe face"
)]

use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::thread::JoinHandleExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, WaitOptions, set_parent_process_death_signal, waitpid};

/// Runs `child` in a fork of this process and says how that ended: `None` if it was killed.
///
/// Only for tests that are `alone`: of all threads only this one goes on in the child. What the child has inherited
/// is not dropped there, unless `child` does it.
///
/// # Panics
///
/// If the process cannot be forked. A panic of `child`'s is the exit code 101.
pub fn in_fork(child: impl FnOnce()) -> Option<i32> {
    beside_fork(child, || ())
}

/// As [`in_fork`], and runs `parent` here meanwhile: the child ends after that.
///
/// # Panics
///
/// As [`in_fork`].
pub fn beside_fork(child: impl FnOnce(), parent: impl FnOnce()) -> Option<i32> {
    let (mut over, running) = std::io::pipe().expect("descriptors are left");
    // SAFETY: this test is alone in its process, so no other thread holds a lock the child will want (the watchdog
    // sleeps; the C library looks after its own allocator), and the child leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // A hung child goes with its parent, which is watched.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        let ended = catch_unwind(AssertUnwindSafe(child));
        drop(running);
        let _ = over.read(&mut [0]);
        // SAFETY: ends the process at once; nothing of the parent's is torn down twice.
        unsafe { libc::_exit(if ended.is_ok() { 0 } else { 101 }) }
    }
    let pid = Pid::from_raw(pid).expect("fork(2) works");
    parent();
    drop(running);
    let (_, status) = waitpid(Some(pid), WaitOptions::empty())
        .expect("it is our child")
        .expect("it has ended");
    status.exit_status()
}

/// Keeps SIGUSR1 from this thread and those it starts, so that it waits for [`wait_for_usr1`].
///
/// # Panics
///
/// Never: there is such a signal.
pub fn block_usr1() {
    let set = usr1();
    // SAFETY: a valid set, and nowhere to write the old one to.
    let errno =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    assert_eq!(errno, 0);
}

/// Sleeps until SIGUSR1 comes, and takes it.
///
/// # Panics
///
/// Never: there is such a signal.
pub fn wait_for_usr1() {
    let (set, mut signal) = (usr1(), 0);
    // SAFETY: a valid set and a number to write to.
    let errno = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
    assert_eq!(errno, 0);
}

/// Sends SIGUSR1 to a thread.
///
/// # Panics
///
/// Never: the thread is there until it is joined.
pub fn send_usr1<T>(thread: &JoinHandle<T>) {
    // SAFETY: not joined, and so not gone.
    let errno = unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
    assert_eq!(errno, 0);
}

fn usr1() -> libc::sigset_t {
    // SAFETY: a set of signals is plain bits, and `sigemptyset` makes it an empty one whatever they were.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        set
    }
}

/// A descriptor that takes SIGUSR1 for this thread, where it is blocked from here on.
///
/// # Panics
///
/// If there are no descriptors left.
pub fn usr1_fd() -> OwnedFd {
    block_usr1();
    let set = usr1();
    // SAFETY: a valid set; the descriptor that comes back is nobody else's.
    unsafe {
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    }
}

/// Sends SIGUSR1 to this thread.
///
/// # Panics
///
/// Never: there is such a thread.
pub fn raise_usr1() {
    // SAFETY: this thread lives.
    assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
}
