//! A runtime inside a loop that is not its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::run::Runtime;

/// What a [round](Runtime::run_once) has left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says when the next round is due"]
pub struct Round {
    /// There is more to run at once.
    pub more: bool,
    /// When the next timer is due, if one is armed.
    pub next_timer: Option<Instant>,
}

impl Round {
    /// How long to wait for [the descriptor](Runtime::wait_fd) before the next round, at most; `None`: until it is
    /// readable.
    pub fn timeout(&self) -> Option<Duration> {
        if self.more {
            return Some(Duration::ZERO);
        }
        self.next_timer
            .map(|due| due.saturating_duration_since(Instant::now()))
    }
}

impl Runtime {
    /// Does what there is to do, once, without sleeping, and returns: for callers with a loop of their own.
    ///
    /// One round is: what other threads have woken; the timers that are due; what the kernel has completed; then a slice
    /// of tasks, as many polls as [`Builder::budget`](crate::Builder::budget) says at most; last, what they submit goes
    /// to the kernel.
    ///
    /// # Order
    ///
    /// All that is ready at one time is run in this order, by this and by [`block_on`](Runtime::block_on): tasks that were
    /// runnable, first woken first run; what other threads woke; timers, by their deadlines; descriptors, signals and
    /// children, in the order in which the kernel completed them. Each runs once before any runs again.
    ///
    /// # A foreign loop
    ///
    /// Call it when [`wait_fd`](Runtime::wait_fd) is readable, when [`Round::timeout`] has passed, and once to begin
    /// with. Between rounds tasks may be spawned and woken, on this thread, too: that makes the descriptor readable. What
    /// else is done to operations outside (a future is dropped, a token cancelled) reaches the kernel with the next round.
    ///
    /// # Errors
    ///
    /// If the ring can no longer be used: in the child of a fork.
    ///
    /// # Panics
    ///
    /// From inside one of its own tasks, and of whatever else it calls (a waker, a buffer's destructor). Tasks of *other*
    /// runtimes may call it: the loop around it may be one of those.
    ///
    /// # Examples
    ///
    /// Inside a plain epoll loop:
    ///
    /// ```
    /// use rustix::event::{Timespec, epoll};
    /// use std::time::Duration;
    ///
    /// let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    /// let runtime = runtime::Builder::new().embedded(true).build()?;
    /// epoll::add(&epoll, runtime.wait_fd()?, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    /// // ... and everything else that the loop waits for.
    ///
    /// let (reader, writer) = runtime::fs::pipe()?;
    /// let task = runtime.spawn(async move {
    ///     runtime::time::sleep(Duration::from_millis(1)).await;
    ///     writer.write_all("a message").await.0?;
    ///     reader.read([0; 16]).await.0
    /// });
    ///
    /// loop {
    ///     let round = runtime.run_once()?;
    ///     if task.is_finished() {
    ///         break;
    ///     }
    ///     let timeout = round.timeout().map(|t| Timespec::try_from(t).expect("not for ages"));
    ///     let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 16];
    ///     match epoll::wait(&epoll, &mut events, timeout.as_ref()) {
    ///         Ok(_n) => {} // the others among them would be served here
    ///         Err(rustix::io::Errno::INTR) => {}
    ///         Err(errno) => return Err(errno.into()),
    ///     }
    /// }
    /// assert_eq!(runtime.block_on(task).unwrap()?, 9);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn run_once(&self) -> io::Result<Round> {
        let _entered = self.driver.enter();
        let more = self.core.run_once()?;
        let until = self.core.until_next_timer();
        Ok(Round {
            more,
            next_timer: until.and_then(|until| Instant::now().checked_add(until)),
        })
    }

    /// A descriptor that is readable when a [round](Runtime::run_once) is due, for any loop that waits for descriptors:
    /// `poll(2)`, `epoll(7)`, GLib's, another runtime's.
    ///
    /// It is the ring's, and readable until a round has taken what there is. Timers do not show in it: their next is in
    /// what `run_once` returned. A wait for it may be interrupted (`EINTR`), as the kernel does the ring's work meanwhile.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the runtime was not built with [`Builder::embedded`](crate::Builder::embedded).
    pub fn wait_fd(&self) -> io::Result<BorrowedFd<'_>> {
        if self.wait_fd.get().is_none() {
            let ring = self.driver.wait_fd()?;
            let _ = self.wait_fd.set(ring);
        }
        let ring = self.wait_fd.get().expect("it was just set");
        Ok(ring.as_fd())
    }
}
