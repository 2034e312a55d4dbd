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

    pub(crate) fn inner(&self) -> Rc<TokenInner> {
        self.inner.clone()
    }
}

#[derive(Debug, Default)]
pub(crate) struct TokenInner {
    cancelled: Cell<bool>,
    flights: RefCell<Vec<(Driver, Key)>>,
    queued: RefCell<Slab<Waker>>,
    report: Cell<CancelReport>,
    awaiting: RefCell<Vec<Waker>>,
}

impl TokenInner {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    fn cancel(&self) {
        if self.cancelled.replace(true) {
            return;
        }
        let flights: Vec<_> = self.flights.borrow().clone();
        for (driver, key) in flights {
            driver.cancel(key);
        }
        let queued: Vec<Waker> = self
            .queued
            .borrow()
            .iter()
            .map(|(_, w)| w.clone())
            .collect();
        self.count(queued.len(), 0);
        queued.into_iter().for_each(Waker::wake);
    }

    fn count(&self, cancelled: usize, completed: usize) {
        let report = self.report.get();
        self.report.set(CancelReport {
            cancelled: report.cancelled + cancelled,
            completed: report.completed + completed,
        });
    }

    pub(crate) fn flies(&self, driver: &Driver, key: Key) {
        self.flights.borrow_mut().push((driver.clone(), key));
    }

    /// An operation's last completion has come.
    pub(crate) fn ended(
        &self,
        driver: &Driver,
        key: Key,
        cancelled: bool,
        wakers: &mut Vec<Waker>,
    ) {
        let mut flights = self.flights.borrow_mut();
        let left = flights
            .iter()
            .position(|(d, k)| *k == key && d.id() == driver.id())
            .map(|at| flights.swap_remove(at));
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

    pub(crate) fn sit_down(&self, waker: &Waker) -> usize {
        self.queued.borrow_mut().insert(waker.clone())
    }

    pub(crate) fn change_waker(&self, seat: usize, waker: &Waker) {
        let mut queued = self.queued.borrow_mut();
        let replaced = queued
            .get_mut(seat)
            .map(|seat| std::mem::replace(seat, waker.clone()));
        drop(queued);
        drop(replaced);
    }

    pub(crate) fn stand_up(&self, seat: usize) {
        let waker = self.queued.borrow_mut().try_remove(seat);
        drop(waker);
    }
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
