//! What a user may choose about a ring, with its defaults.

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
        }
    }
}
