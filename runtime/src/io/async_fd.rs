//! The readiness of a descriptor that the runtime does not own.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use annulet_driver::{Interest, Seat, Told, Trigger, Watch};

use super::guard::ReadyGuard;
use crate::task::{self, yield_now};

/// Tells when a descriptor is ready to be read from or written to; the I/O is whoever's holds it.
///
/// For what the ring has no operation for: descriptors of C libraries, `inotify(7)`, `timerfd`, `signalfd`, a device's.
/// For sockets, pipes and files the types of [`net`](crate::net) and [`fs`](crate::fs) are cheaper and lose nothing.
///
/// Any number of tasks may wait on one `AsyncFd`, and there may be any number on one descriptor, on as many threads'
/// runtimes: all are told. On one thread, one multishot poll of the kernel's stands behind each
/// (`IORING_OP_POLL_ADD`, Linux 5.13), whatever is waited for.
///
/// # Level or edge
///
/// [`AsyncFd::new`] is **level-triggered**, as `poll(2)` is: [`readable`](AsyncFd::readable) resolves for as long as
/// there is something to read. It is true when told, even where nobody lets the guard know of their reads: `poll(2)`
/// is then asked first. Attempts by [`try_io`](ReadyGuard::try_io) or [`async_io`](AsyncFd::async_io) save that system
/// call; there, the descriptor must be non-blocking (`O_NONBLOCK`), as others may have come first.
///
/// [`AsyncFd::edge_triggered`] tells each *change* once, as `epoll(7)` with `EPOLLET`: go on until an attempt would
/// block, or the rest may wait for the next change.
///
/// # Fairness
///
/// A descriptor that stays ready does not keep its readers from giving way: each time, they let all other tasks run once
/// first, if there are any. Nine that wait on one descriptor are served once a round each; one alone lets timers and
/// completions have their turn once a slice (256 events unless [configured](crate::Builder::budget)).
///
/// # Closing
///
/// The kernel's poll holds the file. Dropping this, or [`into_inner`](AsyncFd::into_inner), ends the poll before it
/// returns, so that a close thereafter is the last one and the other side hears of it. A descriptor that is closed
/// *behind* it is silent: nothing is told, and the other side does not hear of the close before this is dropped.
///
/// # Examples
///
/// A timer of the kernel's:
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::io::AsyncFd;
/// use rustix::time::{
///     Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
/// };
///
/// let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
/// let every = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// let times = Itimerspec { it_interval: every, it_value: every };
/// timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
///
/// let timer = AsyncFd::new(timer);
/// let mut count = [0; 8];
/// timer.async_io(runtime::io::Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut count)?)).await?;
/// assert!(u64::from_ne_bytes(count) >= 1);
/// # Ok(()) }) }
/// ```
///
/// A directory watched by `inotify(7)`:
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::io::AsyncFd;
/// use rustix::fs::inotify;
///
/// # let dir = std::env::temp_dir().join(format!("annulet-inotify-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
/// inotify::add_watch(&watch, &dir, inotify::WatchFlags::CREATE)?;
/// let watch = AsyncFd::new(watch);
///
/// std::fs::write(dir.join("new"), "")?;
/// let guard = watch.readable().await?;
/// let mut buf = [std::mem::MaybeUninit::uninit(); 512];
/// let mut events = inotify::Reader::new(guard.inner(), &mut buf);
/// assert_eq!(events.next()?.file_name().unwrap().to_bytes(), b"new");
/// # drop(events); drop(guard);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }) }
/// ```
pub struct AsyncFd<T: AsFd> {
    // Before the descriptor: the kernel's poll is to end before that is closed.
    watch: Watch,
    inner: T,
}

impl<T: AsFd> AsyncFd<T> {
    /// Watches `inner`'s descriptor, level-triggered.
    ///
    /// Nothing happens before somebody waits.
    pub fn new(inner: T) -> AsyncFd<T> {
        AsyncFd::with_trigger(inner, Trigger::Level)
    }

    /// Watches `inner`'s descriptor, edge-triggered: each change is told once.
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
    /// let ours = AsyncFd::edge_triggered(ours);
    /// theirs.write_all(b"several bytes")?;
    /// ours.readable().await?;
    /// let mut bytes = Vec::new();
    /// let end = ours.inner().read_to_end(&mut bytes).unwrap_err();
    /// assert_eq!(end.kind(), std::io::ErrorKind::WouldBlock); // all of it; the next change will be told
    /// assert_eq!(bytes, b"several bytes");
    /// # Ok(()) }) }
    /// ```
    pub fn edge_triggered(inner: T) -> AsyncFd<T> {
        AsyncFd::with_trigger(inner, Trigger::Edge)
    }

    /// Watches `inner`'s descriptor.
    pub fn with_trigger(inner: T, trigger: Trigger) -> AsyncFd<T> {
        AsyncFd {
            watch: Watch::new(trigger),
            inner,
        }
    }

    /// What is watched.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// When it tells readiness.
    pub fn trigger(&self) -> Trigger {
        self.watch.trigger()
    }

    /// Ends the watch and gives back what was watched. The kernel holds the file no longer when this returns.
    pub fn into_inner(self) -> T {
        let AsyncFd { watch, inner } = self;
        drop(watch);
        inner
    }

    /// Waits until the descriptor is ready for any part of `interest`; errors and hang-ups count always.
    ///
    /// # Errors
    ///
    /// What the kernel says to a poll: `EBADF` if the number is no open descriptor's. `Unsupported` without
    /// `IORING_OP_POLL_ADD`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what it was to be told, the next one is told.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::io::{AsyncFd, Interest};
    ///
    /// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let ours = AsyncFd::new(ours);
    /// let both = Interest::READABLE | Interest::WRITABLE;
    /// let ready = ours.ready(both).await?.ready();
    /// assert!(ready.is_writable() && !ready.is_readable());
    ///
    /// drop(theirs);
    /// let ready = ours.ready(both).await?.ready();
    /// assert!(ready.is_readable() && ready.is_read_closed() && ready.is_write_closed());
    /// # Ok(()) }) }
    /// ```
    pub fn ready(&self, interest: Interest) -> Readiness<'_, T> {
        Readiness {
            fd: self,
            interest,
            seat: Seat::default(),
            gave_way: false,
        }
    }

    /// Waits until there is something to read, or the end; otherwise as [`ready`](AsyncFd::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::io::AsyncFd;
    /// use rustix::event::{EventfdFlags, eventfd};
    ///
    /// let counter = AsyncFd::new(eventfd(0, EventfdFlags::NONBLOCK)?);
    /// rustix::io::write(counter.inner(), &3u64.to_ne_bytes())?;
    /// let mut count = [0; 8];
    /// let mut guard = counter.readable().await?;
    /// guard.try_io(|fd| Ok(rustix::io::read(fd.inner(), &mut count)?)).unwrap()?;
    /// assert_eq!(u64::from_ne_bytes(count), 3);
    /// # Ok(()) }) }
    /// ```
    pub fn readable(&self) -> Readiness<'_, T> {
        self.ready(Interest::READABLE)
    }

    /// Waits until there is room to write, or nobody to read; otherwise as [`ready`](AsyncFd::ready).
    pub fn writable(&self) -> Readiness<'_, T> {
        self.ready(Interest::WRITABLE)
    }

    /// Calls `io` until it no longer fails with `WouldBlock`, each time when the descriptor is ready for `interest`.
    ///
    /// The descriptor must be non-blocking, or `io` may block the thread.
    ///
    /// # Errors
    ///
    /// What `io` fails with otherwise; those of [`ready`](AsyncFd::ready).
    ///
    /// # Cancel safety
    ///
    /// As that of `io`: it is never interrupted, and when it has succeeded this is ready at once.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::io::{AsyncFd, Interest};
    /// use std::io::{Read, Write};
    ///
    /// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// ours.set_nonblocking(true)?;
    /// let ours = AsyncFd::new(ours);
    /// runtime::spawn(async move { (&theirs).write_all(b"hello") });
    /// let mut buf = [0; 16];
    /// let n = ours.async_io(Interest::READABLE, |mut ours| ours.read(&mut buf)).await?;
    /// assert_eq!(&buf[..n], b"hello");
    /// # Ok(()) }) }
    /// ```
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        mut io: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        if self.trigger() == Trigger::Edge {
            // What there is of an earlier change is not told again.
            yield_now().await;
            match io(&self.inner) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        loop {
            let told = self.told(interest).await?;
            let result = io(&self.inner);
            let blocked = would_block(&result);
            self.watch.attempt(&told, blocked);
            if !blocked {
                return result;
            }
        }
    }

    /// Calls `io` if the descriptor is known to be ready for `interest`; without waiting, and without asking.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it is not known to be ready, or not any more. What `io` fails with.
    pub fn try_io<R>(
        &self,
        interest: Interest,
        io: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let Some(told) = self.watch.look(interest) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let result = io(&self.inner);
        self.watch.attempt(&told, would_block(&result));
        result
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    async fn told(&self, interest: Interest) -> io::Result<Told> {
        let mut readiness = self.ready(interest);
        std::future::poll_fn(|cx| readiness.poll_told(cx)).await
    }
}

pub(super) fn would_block<R>(result: &io::Result<R>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd")
            .field("inner", &self.inner)
            .field("trigger", &self.trigger())
            .finish()
    }
}

/// The future of [`AsyncFd::ready`].
#[must_use = "futures do nothing unless awaited"]
pub struct Readiness<'a, T: AsFd> {
    fd: &'a AsyncFd<T>,
    interest: Interest,
    seat: Seat,
    /// All others have had their turn since this began.
    gave_way: bool,
}

impl<T: AsFd> Readiness<'_, T> {
    #[inline]
    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Told>> {
        if !self.gave_way {
            self.gave_way = true;
            if self.fd.watch.look(self.interest).is_some() && !task::may_go_on() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let fd = self.fd.inner.as_fd();
        self.fd
            .watch
            .poll_ready(fd, self.interest, &mut self.seat, cx)
    }
}

impl<'a, T: AsFd> Future for Readiness<'a, T> {
    type Output = io::Result<ReadyGuard<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let told = ready!(self.poll_told(cx))?;
        Poll::Ready(Ok(ReadyGuard::new(self.fd, told)))
    }
}

impl<T: AsFd> Drop for Readiness<'_, T> {
    fn drop(&mut self) {
        self.fd.watch.leave(&mut self.seat);
    }
}

impl<T: AsFd> fmt::Debug for Readiness<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("interest", &self.interest)
            .finish_non_exhaustive()
    }
}
