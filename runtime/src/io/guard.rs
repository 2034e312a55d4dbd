//! What came of waiting for readiness.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use annulet_driver::{Ready, Told, Trigger};

use super::async_fd::{AsyncFd, would_block};

/// A descriptor that was found ready; the result of [`AsyncFd::ready`].
///
/// Let it know how the attempt went, by [`try_io`](ReadyGuard::try_io) best. A guard that is dropped without a word
/// costs a level-triggered watch its trust: from then on it asks `poll(2)` before it tells anybody.
#[must_use = "it is there to be tried"]
pub struct ReadyGuard<'a, T: AsFd> {
    fd: &'a AsyncFd<T>,
    told: Told,
    heard: bool,
}

impl<'a, T: AsFd> ReadyGuard<'a, T> {
    pub(super) fn new(fd: &'a AsyncFd<T>, told: Told) -> ReadyGuard<'a, T> {
        ReadyGuard {
            fd,
            told,
            heard: false,
        }
    }

    /// What it is ready for, of what was asked.
    pub fn ready(&self) -> Ready {
        self.told.ready
    }

    /// The watch.
    pub fn async_fd(&self) -> &'a AsyncFd<T> {
        self.fd
    }

    /// What is watched.
    pub fn inner(&self) -> &'a T {
        self.fd.inner()
    }

    /// Calls `io`; if that fails with `WouldBlock`, the descriptor is not ready any more, and is not said to be before it
    /// becomes so again.
    ///
    /// # Errors
    ///
    /// `TryIoError` in place of `WouldBlock`: wait again. Inside, what `io` fails with otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::io::AsyncFd;
    /// use std::io::{Read, Write};
    ///
    /// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// ours.set_nonblocking(true)?;
    /// let ours = AsyncFd::new(ours);
    /// theirs.write_all(b"x")?;
    /// let read = loop {
    ///     let mut guard = ours.readable().await?;
    ///     match guard.try_io(|ours| ours.inner().read(&mut [0; 8])) {
    ///         Ok(result) => break result?,
    ///         Err(_would_block) => {}
    ///     }
    /// };
    /// assert_eq!(read, 1);
    /// # Ok(()) }) }
    /// ```
    #[inline]
    pub fn try_io<R>(
        &mut self,
        io: impl FnOnce(&AsyncFd<T>) -> io::Result<R>,
    ) -> Result<io::Result<R>, TryIoError> {
        let result = io(self.fd);
        self.heard = true;
        let blocked = would_block(&result);
        self.fd.watch().attempt(&self.told, blocked);
        if blocked {
            return Err(TryIoError(()));
        }
        Ok(result)
    }

    /// An attempt would have blocked: the descriptor is not ready any more, unless it became so again since this guard
    /// was made.
    ///
    /// Said wrongly, a level-triggered watch tells of what is there only with the next change.
    pub fn clear_ready(&mut self) {
        self.heard = true;
        self.fd.watch().clear(&self.told);
    }

    /// The descriptor is still ready, as far as is known.
    pub fn retain_ready(&mut self) {
        self.heard = true;
    }
}

impl<T: AsFd> Drop for ReadyGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if !self.heard && self.fd.trigger() == Trigger::Level {
            self.fd.watch().untold();
        }
    }
}

impl<T: AsFd> fmt::Debug for ReadyGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyGuard")
            .field("ready", &self.told.ready)
            .finish_non_exhaustive()
    }
}

/// The attempt would have blocked; from [`ReadyGuard::try_io`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryIoError(());

impl fmt::Display for TryIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the descriptor is not ready any more")
    }
}

impl std::error::Error for TryIoError {}

impl From<TryIoError> for io::Error {
    fn from(error: TryIoError) -> io::Error {
        io::Error::new(io::ErrorKind::WouldBlock, error)
    }
}
