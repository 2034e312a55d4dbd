//! The real ring, through the `io-uring` crate.
//!
//! The crate owns the mappings and the layout. Entering is done here, by the system call itself: the
//! crate's `Submitter` cannot keep a registered ring descriptor beside the ring that owns it, and
//! does not know `IORING_ENTER_NO_IOWAIT`.

mod registered;

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use io_uring::{EnterFlags, IoUring, Probe};
use rustix::io::Errno;
use rustix::io_uring::{
    IoringEnterFlags, io_uring_enter, io_uring_enter_arg, io_uring_getevents_arg, io_uring_ptr,
};
use rustix::time::Timespec;

use super::fork::Owner;
use super::registered::{Free, Tables};
use super::{Completion, Setup, Sqe, Support, Wait};

/// `IORING_ENTER_REGISTERED_RING`, Linux 5.18: the descriptor is an index of this thread's table.
const ENTER_REGISTERED_RING: u32 = 1 << 4;
/// `IORING_ENTER_NO_IOWAIT`, Linux 6.15: a sleeping ring is idle, not waiting for a disk.
const ENTER_NO_IOWAIT: u32 = 1 << 7;
const REGISTER_RING_FDS: libc::c_uint = 20;
const UNREGISTER_RING_FDS: libc::c_uint = 21;

pub(crate) struct KernelRing {
    ring: ManuallyDrop<IoUring>,
    /// In any other process, a fork's child, the ring's memory is not to be touched.
    owner: Owner,
    support: Support,
    flags: String,
    /// What every enter passes as descriptor, and the flags that go with it.
    enter_fd: RawFd,
    enter_flags: u32,
    /// Index in this thread's table of registered rings, if it got one.
    registered: Option<u32>,
    /// Of its tables of memory and files.
    free: Free,
}

impl fmt::Debug for KernelRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelRing")
            .field("fd", &self.raw_fd())
            .field("flags", &self.flags)
            .finish()
    }
}

/// The layout of `struct io_uring_rsrc_update`, used to register a ring descriptor.
#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    resv: u32,
    data: u64,
}

/// One combination of set-up flags to try.
struct Attempt {
    names: &'static str,
    apply: fn(&mut io_uring::Builder),
}

/// Best first; the kernel refuses what it does not know with `EINVAL`, then the next one is tried.
/// Versions: SUBMIT_ALL 5.18, COOP_TASKRUN and TASKRUN_FLAG 5.19, SINGLE_ISSUER 6.0,
/// DEFER_TASKRUN 6.1, NO_SQARRAY 6.6.
const ATTEMPTS: [Attempt; 3] = [
    Attempt {
        names: "SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG | SUBMIT_ALL | NO_SQARRAY | CQSIZE",
        apply: |b| {
            b.setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag();
            b.setup_submit_all().setup_no_sqarray();
        },
    },
    Attempt {
        names: "SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG | SUBMIT_ALL | CQSIZE",
        apply: |b| {
            b.setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag();
            b.setup_submit_all();
        },
    },
    PLAIN,
];

/// What a 5.19 kernel has.
const PLAIN: Attempt = Attempt {
    names: "COOP_TASKRUN | TASKRUN_FLAG | SUBMIT_ALL | CQSIZE",
    apply: |b| {
        b.setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all();
    },
};

/// As the best, but what completes is put into the queue while the thread sleeps anywhere in the kernel, not only when it
/// enters the ring: so the ring's descriptor can be waited for.
const EMBEDDED: [Attempt; 2] = [
    Attempt {
        names: "SINGLE_ISSUER | COOP_TASKRUN | TASKRUN_FLAG | SUBMIT_ALL | NO_SQARRAY | CQSIZE",
        apply: |b| {
            b.setup_single_issuer()
                .setup_coop_taskrun()
                .setup_taskrun_flag();
            b.setup_submit_all().setup_no_sqarray();
        },
    },
    PLAIN,
];

/// A submission thread excludes both kinds of cooperative task work (`EINVAL`).
const SQPOLL: Attempt = Attempt {
    names: "SQPOLL | SUBMIT_ALL | CQSIZE",
    apply: |b| {
        b.setup_submit_all();
    },
};

impl KernelRing {
    pub(crate) fn new(setup: &Setup) -> io::Result<KernelRing> {
        // What is beyond all powers of two is beyond the kernel's limits, too: it refuses that.
        let round = |count: u32| count.checked_next_power_of_two().unwrap_or(u32::MAX);
        let entries = round(setup.entries.max(4));
        let completions = round(setup.completions.max(entries.saturating_mul(2)));
        let attempts: &[Attempt] = match (setup.sqpoll, setup.plain) {
            (Some(_), _) => &[SQPOLL],
            (None, true) => &[PLAIN],
            (None, false) if setup.embedded => &EMBEDDED,
            (None, false) => &ATTEMPTS,
        };
        let mut last = io::Error::from_raw_os_error(libc::EINVAL);
        for attempt in attempts {
            let mut builder = IoUring::builder();
            builder.dontfork().setup_cqsize(completions);
            if let Some(idle) = setup.sqpoll {
                builder.setup_sqpoll(u32::try_from(idle.as_millis()).unwrap_or(u32::MAX));
            }
            (attempt.apply)(&mut builder);
            match builder.build(entries) {
                Ok(ring) => return KernelRing::ready(ring, setup, attempt.names),
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }

    fn ready(ring: IoUring, setup: &Setup, names: &str) -> io::Result<KernelRing> {
        let params = ring.params();
        if !params.is_feature_nodrop() || !params.is_feature_ext_arg() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let mut enter_flags = 0;
        if params.is_feature_no_iowait() {
            enter_flags |= ENTER_NO_IOWAIT;
        }
        let mut enter_fd = ring.as_raw_fd();
        let registered = register_ring_fd(enter_fd);
        if let Some(index) = registered {
            enter_fd = index as RawFd;
            enter_flags |= ENTER_REGISTERED_RING;
        }
        Ok(KernelRing {
            support: Support::from_probe(&probe, &setup.without),
            flags: names.to_owned(),
            enter_fd,
            enter_flags,
            registered,
            free: Free::default(),
            owner: Owner::this(),
            ring: ManuallyDrop::new(ring),
        })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring.params().sq_entries() as usize
    }

    #[inline]
    pub(crate) fn stage(&mut self, group: &[Sqe]) -> bool {
        if !self.owner.is_this() {
            return false;
        }
        let mut queue = self.ring.submission();
        if queue.capacity() - queue.len() < group.len() {
            return false;
        }
        for sqe in group {
            // SAFETY: an `Sqe` vouches for its memory (see its constructor); there is room, so no
            // push fails and the group is not cut. The queue's one tail store is its drop.
            let _ = unsafe { queue.push(&sqe.entry) };
        }
        true
    }

    pub(crate) fn wants_enter(&mut self) -> bool {
        if !self.owner.is_this() {
            // To hear the error.
            return true;
        }
        let sqpoll = self.ring.params().is_setup_sqpoll();
        let queue = self.ring.submission();
        let staged = !queue.is_empty() && (!sqpoll || queue.need_wakeup());
        staged || queue.taskrun() || queue.cq_overflow()
    }

    #[inline]
    pub(crate) fn has_deferred(&mut self) -> bool {
        self.owner.is_this() && self.ring.submission().taskrun()
    }

    pub(crate) fn has_completions(&mut self) -> bool {
        self.owner.is_this() && !self.ring.completion().is_empty()
    }

    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if !self.owner.is_this() {
            return Err(io::Error::other(
                "the ring is that of the process this one was forked from: build another here",
            ));
        }
        let sqpoll = self.ring.params().is_setup_sqpoll();
        let (staged, getevents, wakeup) = {
            let queue = self.ring.submission();
            let wakeup = sqpoll && queue.need_wakeup();
            (
                queue.len() as u32,
                queue.taskrun() || queue.cq_overflow(),
                wakeup,
            )
        };
        let mut flags = EnterFlags::empty();
        if getevents || wait != Wait::No {
            flags |= EnterFlags::GETEVENTS;
        }
        if wakeup {
            flags |= EnterFlags::SQ_WAKEUP;
        }
        let result = match wait {
            Wait::No => self.enter_raw(staged, 0, flags, None),
            Wait::AtMost(None) => self.enter_raw(staged, 1, flags, None),
            Wait::AtMost(Some(limit)) => {
                let ts = Timespec {
                    tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: i64::from(limit.subsec_nanos()),
                };
                self.enter_raw(staged, 1, flags, Some(&ts))
            }
        };
        match result {
            // EINTR: a signal; ETIME: the wait ended; EBUSY: completions must be reaped first;
            // EAGAIN: no memory for a request just now. Nothing is lost: unconsumed entries stay.
            Ok(()) | Err(Errno::INTR | Errno::TIME | Errno::BUSY | Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The call itself is made inline: what a processor has learnt of calls and returns is gone after a system call, so
    /// that a return from the C library's wrapper is mispredicted each time.
    fn enter_raw(
        &self,
        staged: u32,
        want: u32,
        flags: EnterFlags,
        limit: Option<&Timespec>,
    ) -> Result<(), Errno> {
        let flags = IoringEnterFlags::from_bits_retain(flags.bits() | self.enter_flags);
        // SAFETY: io_uring_enter(2) on our own ring, by its descriptor or by its index in this thread's table, which the
        // flags tell apart. `arg` and `limit` outlive the call, which is all the kernel asks; the entries it consumes
        // are `Sqe`s and vouch for their own memory.
        let entered = unsafe {
            let fd = BorrowedFd::borrow_raw(self.enter_fd);
            match limit {
                None => io_uring_enter(fd, staged, want, flags),
                Some(limit) => {
                    let arg = io_uring_getevents_arg {
                        ts: io_uring_ptr::new(ptr::from_ref(limit).cast_mut().cast()),
                        ..Default::default()
                    };
                    let flags = flags | IoringEnterFlags::EXT_ARG;
                    io_uring_enter_arg(fd, staged, want, flags, Some(&arg))
                }
            }
        };
        entered.map(drop)
    }

    pub(crate) fn reap(&mut self, batch: &mut Vec<Completion>) {
        if !self.owner.is_this() {
            return;
        }
        let mut queue = self.ring.completion();
        if queue.is_empty() {
            return;
        }
        batch.reserve(queue.len());
        // Not `extend`: the queue's iterator does not say how long it is, so each push would look for room.
        for cqe in &mut queue {
            batch.push(Completion {
                user_data: cqe.user_data(),
                result: cqe.result(),
                flags: cqe.flags(),
            });
        }
    }

    /// # Safety
    ///
    /// As for [`Ring::register_buffers`](super::Ring::register_buffers).
    pub(crate) unsafe fn register_buffers(
        &mut self,
        memory: u64,
        entries: u16,
        group: u16,
        flags: u16,
    ) -> io::Result<()> {
        let submitter = self.ring.submitter();
        // SAFETY: the caller's.
        unsafe { submitter.register_buf_ring_with_flags(memory, entries, group, flags) }
    }

    /// Ends what [`register_buffers`](KernelRing::register_buffers) began.
    pub(crate) fn unregister_buffers(&mut self, group: u16) -> io::Result<()> {
        if !self.owner.is_this() {
            return Ok(());
        }
        self.ring.submitter().unregister_buf_ring(group)
    }

    pub(super) fn support(&self) -> &Support {
        &self.support
    }

    pub(crate) fn flags(&self) -> &str {
        &self.flags
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns the descriptor and is borrowed as long as the result.
        unsafe { BorrowedFd::borrow_raw(self.raw_fd()) }
    }
}

impl Drop for KernelRing {
    fn drop(&mut self) {
        if !self.owner.is_this() {
            // SAFETY: this process's copy of the descriptor. The crate's value, which owns it, is never dropped: it
            // would unmap addresses that are no longer the ring's.
            drop(unsafe { OwnedFd::from_raw_fd(self.raw_fd()) });
            return;
        }
        self.forget_files();
        if let Some(index) = self.registered {
            let mut update = RsrcUpdate {
                offset: index,
                resv: 0,
                data: 0,
            };
            // SAFETY: one update structure of the kernel's layout, living across the call. A failure
            // (the thread is another one after a fork) leaves an entry that thread exit clears.
            unsafe {
                libc::syscall(
                    libc::SYS_io_uring_register,
                    self.raw_fd(),
                    UNREGISTER_RING_FDS,
                    &raw mut update,
                    1,
                );
            }
        }
        // SAFETY: dropped once, here, and not used after.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
    }
}

/// Registers the ring's descriptor with this thread: saves a descriptor look-up on every enter.
/// Linux 5.18; without it the plain descriptor is used.
fn register_ring_fd(fd: RawFd) -> Option<u32> {
    let mut update = RsrcUpdate {
        offset: u32::MAX,
        resv: 0,
        data: fd as u64,
    };
    // SAFETY: one update structure of the kernel's layout, living across the call.
    let n = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            fd,
            REGISTER_RING_FDS,
            &raw mut update,
            1,
        )
    };
    (n == 1).then_some(update.offset)
}

/// Says what refused the ring and what to do.
pub(crate) fn refusal(error: &io::Error) -> io::Error {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring: Linux 5.19 or newer with CONFIG_IO_URING is needed"
        }
        Some(libc::EPERM) => {
            "io_uring is forbidden here: set the sysctl kernel.io_uring_disabled to 0, or let the \
             container's seccomp profile pass io_uring_setup, io_uring_enter and io_uring_register"
        }
        Some(libc::ENOMEM) => {
            "the memory limit is reached: raise RLIMIT_MEMLOCK (ulimit -l) or choose fewer entries"
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "no descriptor is left for the ring: raise RLIMIT_NOFILE (ulimit -n)"
        }
        Some(libc::EINVAL) => {
            "this kernel refuses the ring's set-up: Linux 5.19 or newer is needed, at most 32768 \
             entries and 65536 completions"
        }
        _ => "io_uring_setup failed",
    };
    io::Error::new(error.kind(), format!("{remedy} ({error})"))
}
