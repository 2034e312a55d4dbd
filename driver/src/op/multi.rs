//! Operations that complete more than once.
//!
//! The slot queues the completions; [`Multi`] hands them out one by one and starts the operation anew when the
//! kernel ended it (a full completion queue does that, an error too). Dropped, it is cancelled, and what had
//! come goes to [`Operation::discard_more`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Op, Operation, Success};
use crate::driver::Driver;
use crate::fd::{Fd, FdRef};

/// An operation with many completions.
pub trait Multishot: Operation {
    /// The operation anew.
    #[doc(hidden)]
    fn again() -> Self;

    /// What a completion that is not the last brings, on `driver`.
    #[doc(hidden)]
    fn item(success: Success, driver: &Driver) -> Self::Output;
}

/// The stream of a multishot operation's results. It has no end: ask as long as you like.
///
/// # Cancel safety
///
/// Dropping it cancels the operation; what had arrived is kept on the descriptor for the next one.
#[derive(Debug)]
pub struct Multi<T: Multishot> {
    fd: FdRef,
    op: Option<Op<T>>,
}

impl<T: Multishot> Multi<T> {
    /// A multishot operation on `fd`; it starts when first polled.
    pub fn on(fd: &Fd) -> Multi<T> {
        Multi {
            fd: fd.shared().clone(),
            op: None,
        }
    }

    /// The next result.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        let op = self
            .op
            .get_or_insert_with(|| Op::on_shared(self.fd.clone(), T::again()));
        if let Some((driver, key)) = op.flight() {
            let more = driver.core().slots.take_more(key);
            if let Some(success) = more {
                return Poll::Ready(T::item(success, driver));
            }
        }
        let polled = Pin::new(&mut *op).poll(cx);
        if polled.is_ready() {
            self.op = None;
        }
        polled
    }

    /// The next result, as a future.
    pub async fn next(&mut self) -> T::Output {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}
