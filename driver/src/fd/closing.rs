//! The close of a descriptor: who cancels, who closes, who is told.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::task::{Context, Poll, Waker};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{DupFlags, dup3};

use super::shared::{BORROWED, CALLED, CLOSED, CLOSING, COUNT, LINGERS, Lane, PROMPT, Shared};
use crate::current;
use crate::driver::Driver;
use crate::guarded::wake_all;
use crate::unpark::Remote;

impl Shared {
    /// Starts to close: no operation begins any more, all in flight are cancelled, the last one out
    /// closes. Does nothing if that is under way already.
    pub(crate) fn close(self: &Arc<Self>) {
        let old = self.state.fetch_or(CLOSING | CALLED, AcqRel);
        if old & CLOSING != 0 {
            return;
        }
        if old & COUNT == 0 {
            self.last_out_here();
        } else {
            self.cancel_everywhere();
        }
    }

    /// [`finish`](Shared::finish) outside a driver's turn: what follows is done here, and who is to be woken woken.
    pub(crate) fn finish_here(self: &Arc<Self>) {
        if self.finish() {
            self.last_out_here();
        }
    }

    pub(super) fn last_out_here(self: &Arc<Self>) {
        let mut wakers = Vec::new();
        self.last_out(&mut wakers);
        wake_all(wakers);
    }

    fn cancel_everywhere(self: &Arc<Self>) {
        let rings: Vec<Remote> = self.slow().rings().cloned().collect();
        let here = current::try_driver();
        for ring in rings {
            match &here {
                Some(driver) if driver.id() == ring.id() => driver.cancel_fd(self),
                _ => ring.cancel_fd(self.clone()),
            }
        }
    }

    /// Nothing is in flight and nothing will be: closes the descriptor, through this thread's ring if
    /// there is one. Those who queued for a lane are put into `wakers`, in order.
    pub(crate) fn last_out(self: &Arc<Self>, wakers: &mut Vec<Waker>) {
        if !self.leave_table() {
            return;
        }
        let mut slow = self.slow();
        for lane in [Lane::Read, Lane::Write] {
            if let Some(rare) = &mut slow.rare {
                wakers.extend(rare.waiting[lane as usize].drain(..).map(|w| w.waker));
            }
            self.state.fetch_and(!lane.queued(), AcqRel);
        }
        if let Some(rare) = &mut slow.rare {
            wakers.extend(rare.elsewhere.drain(..).map(|w| w.waker));
        }
        let Some(owned) = slow.owned.take() else {
            // A chain's own close has done it.
            return;
        };
        if slow.reclaim {
            slow.owned = Some(owned);
            drop(slow);
            return self.closed(None, wakers);
        }
        let owned = if self.state.load(Acquire) & BORROWED == 0 {
            owned
        } else {
            self.mind_linger(&owned);
            match park_number(owned, &mut slow.owned) {
                Ok(owned) => owned,
                Err(error) => {
                    drop(slow);
                    return self.closed(error.raw_os_error(), wakers);
                }
            }
        };
        drop(slow);
        match current::try_driver() {
            Some(driver) if !driver.is_closed() && !self.is_prompt() => {
                driver.close_fd(self.clone(), owned);
            }
            _ => {
                drop(owned);
                self.closed(None, wakers);
            }
        }
    }

    /// Whether a call closes it.
    ///
    /// The ring's close of a socket runs on this thread, too, and saves the call; but it takes an entry, a slot, a
    /// completion, and the file is given up later, as the thread's deferred work: all of which costs more.
    fn is_prompt(&self) -> bool {
        self.state.load(Acquire) & (PROMPT | LINGERS) == PROMPT
    }

    /// Gives up a handle: if that was the last thing that held the closed descriptor's memory, the next one is given it.
    pub(crate) fn give_up(self: Arc<Self>) {
        if self.is_closed()
            && let Some(driver) = current::try_driver()
        {
            driver.recycle_fd(self);
        }
    }

    /// Who borrowed the descriptor may have made it linger without telling. What is no socket does not.
    fn mind_linger(&self, fd: &OwnedFd) {
        let linger = rustix::net::sockopt::socket_linger(fd);
        if linger.is_ok_and(|linger| linger.is_some_and(|duration| !duration.is_zero())) {
            self.state.fetch_or(LINGERS, AcqRel);
        }
    }

    /// The kernel has let go of the descriptor: whoever awaits the close hears so.
    pub(crate) fn closed(&self, error: Option<i32>, wakers: &mut Vec<Waker>) {
        let mut slow = self.slow();
        self.state.fetch_or(CLOSING | CLOSED, AcqRel);
        slow.close_error = error;
        let mut unheard = true;
        if let Some(rare) = &mut slow.rare {
            unheard = rare.closers.is_empty();
            wakers.append(&mut rare.closers);
        }
        // What is kept nobody can ask for any more; connections among it are closed, not forgotten.
        let kept = (!slow.reclaim && slow.rare.is_some()).then(|| slow.take_kept());
        drop(slow);
        drop(kept);
        if let Some(errno) = error.filter(|_| unheard) {
            let error = io::Error::from_raw_os_error(errno);
            tracing::warn!(fd = self.raw, %error, "closing in the background failed");
        }
    }

    /// A chain is about to close the descriptor by its own entry: nothing else begins.
    ///
    /// What has only the number, not the file, would meet the number's next owner. So all there is on the
    /// descriptor must be the chain's `own` operations before the close, and what `driver`'s ring has started.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is closing already; `ResourceBusy` if the number is in use otherwise.
    pub(crate) fn begin_chained_close(
        self: &Arc<Self>,
        driver: &Driver,
        own: u32,
    ) -> io::Result<()> {
        let home = self.is_home(driver.id());
        let started = driver.core().slots.started_on(self, home);
        let mut state = self.state.load(Relaxed);
        loop {
            if state & CLOSING != 0 {
                return Err(closed_error());
            }
            if state & BORROWED != 0 || started.map(|n| n + own) != Some(state & COUNT) {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "the descriptor is lent out, or in use by another chain or thread: \
                     close it with close() instead of in a chain",
                ));
            }
            match self
                .state
                .compare_exchange_weak(state, (state + 1) | CLOSING, AcqRel, Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(seen) => state = seen,
            }
        }
    }

    /// The close entry of a chain has completed. `ran`: it reached the descriptor.
    pub(crate) fn end_chained_close(self: &Arc<Self>, ran: bool, error: Option<i32>) {
        if ran {
            if let Some(owned) = self.slow().owned.take() {
                // The entry has closed the number; it must not be closed again.
                let _ = owned.into_raw_fd();
            }
            self.leave_table_late();
            let mut wakers = Vec::new();
            self.closed(error, &mut wakers);
            wake_all(wakers);
            self.cancel_everywhere();
        } else if !self.reopen() {
            // Somebody called close() meanwhile: now it is theirs to do.
            self.cancel_everywhere();
        }
    }

    /// Lets operations begin again, unless somebody has called `close()`.
    fn reopen(&self) -> bool {
        let mut state = self.state.load(Relaxed);
        while state & CALLED == 0 {
            match self
                .state
                .compare_exchange_weak(state, state & !CLOSING, AcqRel, Relaxed)
            {
                Ok(_) => return true,
                Err(seen) => state = seen,
            }
        }
        false
    }

    pub(super) fn poll_closed(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut slow = self.slow();
        if self.is_closed() {
            return Poll::Ready(match slow.close_error.take() {
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                None => Ok(()),
            });
        }
        let closers = &mut slow.rare().closers;
        if !closers.iter().any(|w| w.will_wake(cx.waker())) {
            closers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Moves the file to another number, to be closed there, and keeps its own taken for those who borrowed it: a
/// handle to nothing takes its place until `keep` is dropped.
///
/// # Errors
///
/// No descriptor is left for that. The file then stays open until `keep` is dropped.
fn park_number(mut owned: OwnedFd, keep: &mut Option<OwnedFd>) -> io::Result<OwnedFd> {
    let moved = owned.try_clone().and_then(|moved| {
        let nothing = eventfd(0, EventfdFlags::CLOEXEC)?;
        dup3(&nothing, &mut owned, DupFlags::CLOEXEC)?;
        Ok(moved)
    });
    *keep = Some(owned);
    moved
}

/// What an operation on a closed descriptor answers.
pub(crate) fn closed_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}
