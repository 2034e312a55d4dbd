//! What a user may choose about a ring, with its defaults.

use std::io;
use std::time::Duration;

/// The options of a ring.
///
/// # Examples
///
/// ```
/// let setup = annulet_driver::Setup { entries: 64, ..Default::default() };
/// let driver = annulet_driver::Driver::new(&setup)?;
/// assert!(driver.ring_flags().contains("SUBMIT_ALL"));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Setup {
    /// Submission queue entries; rounded up to a power of two, at least 4. Default: 256.
    ///
    /// It bounds the longest chain, not the number of operations in flight.
    pub entries: u32,
    /// Completion queue entries; rounded up to a power of two, at least twice `entries`.
    /// Default: 4096. More completions than that are kept by the kernel and cost time, never lost.
    pub completions: u32,
    /// Lets a kernel thread take the submissions (`IORING_SETUP_SQPOLL`); it falls asleep after this
    /// long without work. Default: off. It costs a core.
    pub sqpoll: Option<Duration>,
    /// Opcodes (`IORING_OP_*` numbers) to treat as missing, so that their fallbacks can be tested and
    /// priced. Default: none.
    pub without: Vec<u8>,
    /// Leaves out the newer set-up flags, as on a 5.19 kernel (`COOP_TASKRUN` instead of
    /// `DEFER_TASKRUN`). Default: `false`.
    pub plain: bool,
    /// Leaves `DEFER_TASKRUN` out, so that [`Driver::wait_fd`](crate::Driver::wait_fd) can be had. Default: `false`.
    pub embedded: bool,
    /// Tries reads and writes of pipes, and small reads of files at offsets, by a plain call that does not wait, before
    /// the ring, where the last one there did not have to wait and little else is handed over; and sends of up to 16 KiB,
    /// where few are made in a turn. Default: `true`.
    pub attempts: bool,
    /// Bytes of a buffer that a receive is lent (see [`Chunk`](crate::buf::Chunk)): the most that one brings. Rounded up to
    /// a multiple of 64. Default: 16,384.
    pub chunk_size: usize,
    /// The most of these buffers that are kept for reuse; receives that find all of them lent take memory of their own.
    /// Rounded down to a multiple of 32, at most 65,536. Default: 4096. They are made as they are needed.
    pub chunk_limit: usize,
    /// Lets the kernel pick these buffers when data arrives (`IORING_REGISTER_PBUF_RING`, Linux 5.19), so that a receive
    /// that waits holds none. Default: `true`.
    pub provided_buffers: bool,
    /// Has the kernel fill such a buffer by and by, one receive behind the other (`IOU_PBUF_RING_INC`, Linux 6.12; and
    /// the ring in user space), if `chunk_size` is 65,536 or less; of these at most 4096 are kept. One is used again
    /// when all its parts have come back. Messages longer than what is left of one are cut. Not for kernels whose
    /// completions may change places (some before 6.15). Default: `false`, one receive each.
    pub incremental: bool,
    /// From how many bytes on TCP and UDP sockets made on the ring send without a copy; see
    /// [`Fd::set_zero_copy`](crate::Fd::set_zero_copy). Default: `None`, they copy.
    pub zero_copy: Option<usize>,
    /// Lets memory be registered with the ring; see [`Arena`](crate::buf::Arena). Default: `true`.
    pub fixed_buffers: bool,
    /// Lets files be registered with the ring; see [`Fd::register`](crate::Fd::register). Default: `true`.
    pub fixed_files: bool,
    /// Which ring. Default: [`DriverKind::Auto`].
    pub driver: DriverKind,
}

/// The rings there are, of which a program may choose one.
///
/// # What is the same
///
/// Every operation is written once, above the rings, and every test of the project runs on both: results, errors, order,
/// what a dropped future loses, cancels, deadlines, chains, what a close ends. A program need not know which it has.
///
/// # What differs on the ring in user space
///
/// * **Speed.** An operation is a system call or more of its own; with the kernel's ring, a call starts and reaps many.
/// * **Threads.** What may block (files, names in directories, closes that linger) is done by workers: the threads of
///   the [`blocking`] crate's pool, at most 500 (`BLOCKING_MAX_THREADS`), which end when there is nothing to do. With
///   the kernel's ring such threads are the kernel's. Each futex that is waited for has a thread, at most 512 in a
///   process (`OutOfMemory` beyond), which stays for the next for a second; the first may take a moment to start, which
///   the submission waits for. That takes Linux 5.16.
/// * **Allocations.** Watching a descriptor that is new to it may be one; opening a file takes memory for its name; a
///   job for a worker does if none has waited for one within the last tenth of a second. Else there are none, as ever.
/// * **Descriptors.** A driver holds an epoll set and an eventfd instead of a ring, and one more of each file that is
///   [registered](crate::Fd::register).
/// * **Memory that is registered** ([`Arena`](crate::buf::Arena)) is not pinned: it does not count against
///   `RLIMIT_MEMLOCK`, and is reached by its address.
/// * **Opening a FIFO** without its other end keeps a worker. An open that was cancelled, or dropped, ends for the
///   program at once; its worker is got out of the call by `SIGURG`, for which a handler that does nothing is
///   installed, once, if the program has none and such an open was given up. Where the program handles `SIGURG` itself
///   its handler stays, is called, and must not mind; if it was installed with `SA_RESTART`, that worker stays until
///   the other end comes. A worker does not hold up the end of a runtime, nor that of the process.
/// * **What a worker has begun** on the operation's own buffer (a read of a file) ends by itself, as with the kernel's
///   workers. On a file system that does not answer, the end of a runtime waits for it no longer than its
///   `shutdown_timeout`; the buffer is leaked then.
/// * **Submissions by a kernel thread** ([`Setup::sqpoll`]) and [`Setup::plain`] mean nothing there.
///
/// # Examples
///
/// ```
/// use annulet_driver::{Driver, DriverKind, Setup};
///
/// let setup = Setup { driver: DriverKind::Poll, ..Default::default() };
/// assert_eq!(Driver::new(&setup)?.kind(), DriverKind::Poll);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverKind {
    /// The kernel's where it can be had, otherwise the one in user space.
    ///
    /// It cannot be had where `io_uring_setup(2)` answers `ENOSYS` (a kernel without io_uring), `EPERM` or `EACCES`
    /// (a seccomp profile, such as Docker's, or the sysctl `kernel.io_uring_disabled`), `ENOMEM` (`RLIMIT_MEMLOCK`, for
    /// whoever has not `CAP_IPC_LOCK`), or `EINVAL` for a set-up within the limits (a kernel before 5.19). A `tracing`
    /// warning, one a process, then names cause and remedy; [`Driver::refused`](crate::Driver::refused) has the same.
    /// Other refusals (no descriptor left, a set-up beyond the limits) are errors: they would be the other ring's, too.
    ///
    /// The environment variable `ANNULET_DRIVER` (`auto`, `kernel` or `poll`) decides for programs that leave it at
    /// this; anything else in it is `InvalidInput`.
    #[default]
    Auto,
    /// The kernel's, io_uring; an error that names cause and remedy where it is refused.
    Kernel,
    /// The one in user space: the same operations by non-blocking calls, epoll and a thread pool.
    Poll,
}

/// Decides for programs that do not.
pub(crate) const VARIABLE: &str = "ANNULET_DRIVER";

impl DriverKind {
    /// What the environment makes of it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the variable says something else.
    pub(super) fn resolved(self) -> io::Result<DriverKind> {
        if self != DriverKind::Auto {
            return Ok(self);
        }
        let Some(said) = std::env::var_os(VARIABLE) else {
            return Ok(self);
        };
        match said.to_str() {
            Some("" | "auto") => Ok(DriverKind::Auto),
            Some("kernel") => Ok(DriverKind::Kernel),
            Some("poll") => Ok(DriverKind::Poll),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{VARIABLE} is {said:?}: it can be `auto`, `kernel` or `poll`"),
            )),
        }
    }
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            entries: 256,
            completions: 4096,
            sqpoll: None,
            without: Vec::new(),
            plain: false,
            embedded: false,
            attempts: true,
            chunk_size: 16 * 1024,
            chunk_limit: 4096,
            provided_buffers: true,
            incremental: false,
            zero_copy: None,
            fixed_buffers: true,
            fixed_files: true,
            driver: DriverKind::Auto,
        }
    }
}

impl Setup {
    /// Whether the kernel's ring was refused for what the kernel is or forbids here, not for what was asked of it.
    pub(super) fn is_the_kernels_fault(&self, refused: &io::Error) -> bool {
        match refused.raw_os_error() {
            Some(libc::ENOSYS | libc::EPERM | libc::EACCES | libc::ENOMEM) => true,
            Some(libc::EINVAL) => self.entries <= 32768 && self.completions <= 65536,
            _ => false,
        }
    }
}
