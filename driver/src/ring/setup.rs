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
    /// Which ring. Default: [`DriverKind::Auto`].
    pub driver: DriverKind,
}

/// The rings there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverKind {
    /// The kernel's where it can be had, otherwise the one in user space, with a warning that says why.
    ///
    /// The environment variable `ANNULET_DRIVER` (`auto`, `kernel` or `poll`) decides for programs that leave it at
    /// this.
    #[default]
    Auto,
    /// The kernel's, io_uring; an error where it is refused.
    Kernel,
    /// The one in user space: the same operations by non-blocking calls, epoll and a thread pool.
    Poll,
}

/// Decides for programs that do not.
const VARIABLE: &str = "ANNULET_DRIVER";

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
