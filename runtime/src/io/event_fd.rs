//! [`EventFd`]: a counter in the kernel, to wait for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use annulet_driver::op::{Read, Write};
use annulet_driver::{Close, Fd, Op};
use rustix::event::{EventfdFlags, eventfd};

/// A counter in the kernel (`eventfd(2)`): adding to it wakes who waits for it to be more than 0.
///
/// Any thread or process that has the descriptor can add to it, with or without a runtime, by writing eight bytes: C
/// libraries, devices, virtual machines. Between tasks a channel is cheaper.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::io::EventFd;
/// use std::sync::Arc;
///
/// let done = Arc::new(EventFd::new(0)?);
/// let count = runtime::spawn({
///     let done = done.clone();
///     async move { done.read().await }
/// });
/// done.write(3).await?;
/// assert_eq!(count.await.unwrap()?, 3);
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
pub struct EventFd {
    fd: Fd,
}

impl EventFd {
    /// A counter that starts at `count`; a read takes all of it. Close-on-exec.
    ///
    /// # Errors
    ///
    /// What `eventfd(2)` reports: `EMFILE` when out of descriptors.
    pub fn new(count: u32) -> io::Result<EventFd> {
        EventFd::with_flags(count, EventfdFlags::CLOEXEC)
    }

    /// A counter that starts at `count`; a read takes 1 of it (`EFD_SEMAPHORE`). Close-on-exec.
    ///
    /// # Errors
    ///
    /// As [`new`](EventFd::new).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// let permits = runtime::io::EventFd::semaphore(2)?;
    /// assert_eq!(permits.read().await?, 1);
    /// assert_eq!(permits.read().await?, 1);
    /// permits.write(1).await?;
    /// assert_eq!(permits.read().await?, 1);
    /// # Ok(()) }) }
    /// ```
    pub fn semaphore(count: u32) -> io::Result<EventFd> {
        EventFd::with_flags(count, EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE)
    }

    fn with_flags(count: u32, flags: EventfdFlags) -> io::Result<EventFd> {
        let fd = Fd::new(eventfd(count, flags)?);
        Ok(EventFd { fd })
    }

    /// Waits until the counter is more than 0, sets it to 0 and tells what it was; of a
    /// [semaphore](EventFd::semaphore), takes 1 off and tells 1.
    ///
    /// Reads follow one another in the order they were called.
    ///
    /// Goes through the ring: `IORING_OP_READ`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// [Cancelled](crate::is_cancelled) if the counter is closed meanwhile, `EBADF` if it was before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what it takes off the counter goes to the next read here. But others who
    /// read the descriptor do not get it.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn read(&self) -> io::Result<u64> {
        let (result, count) = Op::on(&self.fd, Read::new([0; COUNT])).await;
        result.map(|_| u64::from_ne_bytes(count))
    }

    /// Adds `n` to the counter; waits if that would take it beyond `u64::MAX - 1`.
    ///
    /// Goes through the ring: `IORING_OP_WRITE`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for `u64::MAX`. [Cancelled](crate::is_cancelled) if the counter is closed meanwhile, `EBADF` if it
    /// was before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `n` may have been added or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn write(&self, n: u64) -> io::Result<()> {
        let (result, _) = Op::on(&self.fd, Write::new(n.to_ne_bytes())).await;
        result.map(drop)
    }

    /// Ends every read and write in flight, then closes the counter.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports; it is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// The close begins with the call. A dropped future leaves it to finish in the background.
    pub fn close(&self) -> Close {
        self.fd.close()
    }
}

/// The counter's size in bytes.
const COUNT: usize = size_of::<u64>();

impl AsRawFd for EventFd {
    /// The number. It may belong to another file once the counter is closed.
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for EventFd {
    /// Borrows the descriptor; its number stays taken until the handle is dropped.
    ///
    /// # Panics
    ///
    /// If the counter is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
