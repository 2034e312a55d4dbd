//! The readiness of a descriptor that somebody else owns.
//!
//! One multishot poll ([`PollMulti`]) stands behind a [`Watch`], however many wait on it. It tells once what the descriptor
//! is ready for, then of changes only; so what it told is noted ([`Notes`]) and holds until an attempt says otherwise.
//!
//! **Level-triggered** is that cache, and a look at the truth before it is believed: where nobody tells how their
//! attempts went, `poll(2)` is asked first. Who lets [`Watch::attempt`] know is spared that: an attempt that would have
//! blocked is itself the correction.
//!
//! **Edge-triggered** is the count of changes: each is told once.
//!
//! The kernel's poll holds the file. So a watch that is dropped has it ended before it returns; whoever closes the
//! descriptor next closes it for good.
//!
//! What lives here: [`Watch`] (`mod.rs`), its cache and its waiters (`notes.rs`), what one can ask and hear (`interest.rs`).
//! The future and the types users hold are in `runtime::io`.

mod interest;
mod notes;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

pub use self::interest::{Interest, Ready};
pub(crate) use self::notes::Notes;
pub use self::notes::Told;
use crate::current;
use crate::driver::Driver;
use crate::op::{Op, PollMulti};

/// When readiness is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trigger {
    /// For as long as it lasts, as `poll(2)` does.
    #[default]
    Level,
    /// Each time it begins, as `epoll(7)` does with `EPOLLET`.
    Edge,
}

/// How those who wait use what they are told; level-triggered only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Unknown,
    /// They let us know how their attempts went.
    Known,
    /// At least one did not.
    Untold,
}

/// A place among those who wait on a [`Watch`]; given up by [`Watch::leave`].
#[derive(Debug, Default)]
pub struct Seat(Option<u64>);

/// The watch on one descriptor, for one thread.
///
/// It starts when somebody first waits, on the driver of the runtime they wait in. It ends when it is dropped.
pub struct Watch {
    notes: Rc<Notes>,
    poll: RefCell<Option<Armed>>,
    used: Cell<Use>,
}

/// The poll in flight, if it still is, and whose driver has it.
struct Armed {
    op: Op<PollMulti>,
    driver: Driver,
}

impl Watch {
    /// A watch that has not started.
    pub fn new(trigger: Trigger) -> Watch {
        Watch {
            notes: Rc::new(Notes::new(trigger)),
            poll: RefCell::default(),
            used: Cell::new(Use::Unknown),
        }
    }

    /// When it tells readiness.
    pub fn trigger(&self) -> Trigger {
        self.notes.trigger
    }

    /// What of `interest` the descriptor is ready for, as far as is known, without a look at the kernel.
    #[inline]
    pub fn look(&self, interest: Interest) -> Option<Told> {
        self.notes.look(interest)
    }

    /// Tells what of `interest` the descriptor is ready for, or has the context's waker woken when it is.
    ///
    /// `fd` must be the watched descriptor each time.
    ///
    /// # Errors
    ///
    /// What the kernel says to a poll: `EBADF` for a descriptor that was closed. `Unsupported` without
    /// `IORING_OP_POLL_ADD`.
    ///
    /// # Panics
    ///
    /// Outside a runtime, if it has to wait.
    pub fn poll_ready(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        seat: &mut Seat,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Told>> {
        match self.take(fd, interest) {
            Ok(Some(told)) => return Poll::Ready(Ok(told)),
            Ok(None) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        if let Some(errno) = self.notes.take_error() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
        }
        if let Err(error) = self.arm(fd, interest) {
            return Poll::Ready(Err(error));
        }
        // Dropped here, with nothing borrowed: that may run anything.
        drop(self.notes.sit(&mut seat.0, interest, cx.waker().clone()));
        Poll::Pending
    }

    /// What may be told now.
    #[inline]
    fn take(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Option<Told>> {
        let Some(told) = self.notes.look(interest) else {
            return Ok(None);
        };
        if self.notes.trigger == Trigger::Edge {
            self.notes.consume(&told);
        } else if self.used.get() != Use::Known {
            // It may have been used up meanwhile.
            self.notes.correct(interest, ask(fd, interest)?);
            return Ok(self.notes.look(interest));
        }
        Ok(Some(told))
    }

    /// Sees that a poll is in flight for at least `interest`, on this thread's driver.
    fn arm(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        let driver = current::driver("readiness");
        let wanted = interest.mask();
        // Errors alone are asked for by asking for nothing, which is armed for something all the same.
        let armed = self.notes.armed();
        let mut poll = self.poll.borrow_mut();
        let here = poll.as_ref().is_some_and(|p| p.driver.id() == driver.id());
        if here && armed != 0 && wanted & !armed == 0 {
            return Ok(());
        }
        let mask = wanted | interest::END | if here { armed } else { 0 };
        self.notes.arm(mask);
        // The one before is cancelled, and no longer heard; this one begins with what is the case.
        let notes = self.notes.clone();
        let mut op = Op::new(PollMulti::new(fd.as_raw_fd(), mask, notes));
        let started = Pin::new(&mut op).poll(&mut Context::from_waker(Waker::noop()));
        *poll = Some(Armed { op, driver });
        match started {
            Poll::Pending => Ok(()),
            Poll::Ready(result) => {
                self.notes.arm(0);
                *poll = None;
                result
            }
        }
    }

    /// What was told is used up: not told again before it is the case again.
    #[inline]
    pub fn clear(&self, told: &Told) {
        self.notes.clear(told);
    }

    /// How an attempt went that was made because of `told`. `blocked`: it would have had to wait.
    #[inline]
    pub fn attempt(&self, told: &Told, blocked: bool) {
        if self.used.get() == Use::Unknown {
            self.used.set(Use::Known);
        }
        if blocked {
            self.notes.clear(told);
        }
    }

    /// Nobody will say what became of what was told: from here on `poll(2)` is asked each time.
    pub fn untold(&self) {
        self.used.set(Use::Untold);
    }

    /// Gives a place up, woken or not.
    pub fn leave(&self, seat: &mut Seat) {
        drop(self.notes.leave(seat.0.take()));
    }
}

impl Drop for Watch {
    /// Ends the poll, and has the kernel let go of the file.
    fn drop(&mut self) {
        if let Some(Armed { op, driver }) = self.poll.get_mut().take() {
            let in_flight = self.notes.armed() != 0;
            drop(op);
            if in_flight {
                driver.hand_over();
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("trigger", &self.notes.trigger)
            .field("armed", &(self.notes.armed() != 0))
            .finish_non_exhaustive()
    }
}

/// What `poll(2)` says now.
fn ask(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<u32> {
    let flags = PollFlags::from_bits_retain(interest.mask() as u16);
    let mut asked = [PollFd::from_borrowed_fd(fd, flags)];
    loop {
        match poll(&mut asked, Some(&Timespec::default())) {
            Ok(_) => return Ok(u32::from(asked[0].revents().bits())),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
