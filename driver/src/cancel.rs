//! Cancelling from outside: a token that ends the operations it was given to.
//!
//! A [`CancelToken`] lists the slots of its operations while they are in flight, and the wakers of those that
//! queue. Cancelling walks both lists once; each operation tells the token how it ended when its last
//! completion comes (a slot holds its token). A cancel can come too late: then the operation has its result.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::driver::Driver;
use crate::guarded::wake_all;
use crate::partial::Partial;
use crate::slots::Key;

/// The error of a cancelled operation.
pub(crate) fn cancelled() -> io::Error {
    io::Error::from_raw_os_error(libc::ECANCELED)
}

/// Whether `error` says that an operation was cancelled: by its token, or because its descriptor was closed.
///
/// # Examples
///
/// ```
/// let error = std::io::Error::from_raw_os_error(125); // ECANCELED
/// assert!(annulet_driver::is_cancelled(&error));
/// ```
pub fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
        || Partial::inside(error).is_some_and(Partial::is_cancelled)
}

/// Ends the operations it was given to ([`Op::cancel_with`](crate::op::Op::cancel_with)).
///
/// Cloning gives another handle to the same token. A token belongs to one thread. Operations first polled
/// after [`cancel`](CancelToken::cancel) resolve as cancelled without any I/O.
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    inner: Rc<TokenInner>,
}

/// What became of a token's operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelReport {
    /// Operations that ended as cancelled.
    pub cancelled: usize,
    /// Operations that had a result all the same: it came first, or the cancel too late.
    pub completed: usize,
}

impl CancelToken {
    /// A token that no operation has yet.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Cancels every operation that has the token, now and in future.
    ///
    /// The future resolves when all of them have ended, and says how; the cancelling itself is done by this
    /// call, so the future may be dropped.
    pub fn cancel(&self) -> Cancelling {
        self.inner.cancel();
        Cancelling {
            inner: self.inner.clone(),
        }
    }

    /// Whether [`cancel`](CancelToken::cancel) has been called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }

    /// Resolves once the token is cancelled: for what is no operation, a loop or a sleep.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled {
            inner: self.inner.clone(),
            seat: None,
        }
    }

    pub(crate) fn inner(&self) -> Rc<TokenInner> {
        self.inner.clone()
    }
}

#[derive(Debug, Default)]
pub(crate) struct TokenInner {
    cancelled: Cell<bool>,
    /// Operations in flight; each slot knows its place here.
    flights: RefCell<Slab<(Driver, Key)>>,
    /// Who queues for a direction, to be woken by a cancel.
    queued: Seats,
    /// Who only wants to know.
    watching: Seats,
    report: Cell<CancelReport>,
    awaiting: RefCell<Vec<Waker>>,
}

/// Wakers, each with a place of its own. None is woken or dropped while they are borrowed.
#[derive(Debug, Default)]
struct Seats(RefCell<Slab<Waker>>);

impl Seats {
    fn wakers(&self) -> Vec<Waker> {
        self.0
            .borrow()
            .iter()
            .map(|(_, waker)| waker.clone())
            .collect()
    }

    fn sit_down(&self, waker: &Waker) -> usize {
        self.0.borrow_mut().insert(waker.clone())
    }

    fn change(&self, seat: usize, waker: &Waker) {
        let mut seats = self.0.borrow_mut();
        let replaced = seats
            .get_mut(seat)
            .map(|seat| std::mem::replace(seat, waker.clone()));
        drop(seats);
        drop(replaced);
    }

    fn stand_up(&self, seat: usize) {
        let waker = self.0.borrow_mut().try_remove(seat);
        drop(waker);
    }
}

impl TokenInner {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    fn cancel(&self) {
        if self.cancelled.replace(true) {
            return;
        }
        let flights: Vec<_> = self
            .flights
            .borrow()
            .iter()
            .map(|(_, flight)| flight.clone())
            .collect();
        for (driver, key) in flights {
            driver.cancel(key);
        }
        let queued = self.queued.wakers();
        self.count(queued.len(), 0);
        wake_all(queued.into_iter().chain(self.watching.wakers()));
    }

    fn count(&self, cancelled: usize, completed: usize) {
        let report = self.report.get();
        self.report.set(CancelReport {
            cancelled: report.cancelled + cancelled,
            completed: report.completed + completed,
        });
    }

    /// An operation is in flight; the slot keeps what this returns for [`ended`](TokenInner::ended).
    pub(crate) fn flies(&self, driver: &Driver, key: Key) -> usize {
        self.flights.borrow_mut().insert((driver.clone(), key))
    }

    /// An operation's last completion has come.
    pub(crate) fn ended(&self, flight: usize, cancelled: bool, wakers: &mut Vec<Waker>) {
        let mut flights = self.flights.borrow_mut();
        let left = flights.try_remove(flight);
        let none = flights.is_empty();
        drop(flights);
        drop(left);
        if self.cancelled.get() {
            self.count(usize::from(cancelled), usize::from(!cancelled));
            if none {
                wakers.append(&mut self.awaiting.borrow_mut());
            }
        }
    }

    pub(crate) fn sit_down(&self, waker: &Waker) -> TokenSeat {
        TokenSeat(self.queued.sit_down(waker) as u32)
    }

    pub(crate) fn change_waker(&self, seat: TokenSeat, waker: &Waker) {
        self.queued.change(seat.0 as usize, waker);
    }

    pub(crate) fn stand_up(&self, seat: TokenSeat) {
        self.queued.stand_up(seat.0 as usize);
    }
}

/// Where a token finds the waker of an operation that queues. Small, as every operation has room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenSeat(u32);

impl TokenSeat {
    /// Nowhere.
    pub(crate) const NONE: TokenSeat = TokenSeat(u32::MAX);
}

/// The future of [`CancelToken::cancel`].
#[derive(Debug)]
pub struct Cancelling {
    inner: Rc<TokenInner>,
}

impl Future for Cancelling {
    type Output = CancelReport;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CancelReport> {
        if self.inner.flights.borrow().is_empty() {
            return Poll::Ready(self.inner.report.get());
        }
        let mut awaiting = self.inner.awaiting.borrow_mut();
        if !awaiting.iter().any(|w| w.will_wake(cx.waker())) {
            awaiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// The future of [`CancelToken::cancelled`].
#[derive(Debug)]
pub struct Cancelled {
    inner: Rc<TokenInner>,
    seat: Option<usize>,
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.inner.is_cancelled() {
            return Poll::Ready(());
        }
        match self.seat {
            Some(seat) => self.inner.watching.change(seat, cx.waker()),
            None => self.seat = Some(self.inner.watching.sit_down(cx.waker())),
        }
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            self.inner.watching.stand_up(seat);
        }
    }
}
