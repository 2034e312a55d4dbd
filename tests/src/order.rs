//! Ordering by events. All of it is for use inside a runtime, but for [`poll_once`].

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use runtime::{Driver, DriverMetrics, JoinHandle, Op, op};

/// The driver of the runtime this is called in.
///
/// # Panics
///
/// Outside a runtime.
pub fn driver() -> Driver {
    Driver::try_current().expect("inside a runtime")
}

/// Its counters.
///
/// # Panics
///
/// Outside a runtime.
pub fn metrics() -> DriverMetrics {
    driver().metrics()
}

/// Polls once, with a waker that does nothing.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls once, with this task's waker. An operation is then staged (or waits for its turn on the descriptor).
pub async fn poll_now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Returns when the kernel has all that was staged before: entries go to it in order, and this awaits one of its own.
///
/// # Panics
///
/// If the ring cannot do nothing.
pub async fn submitted() {
    Op::new(op::Nop::new()).await.expect("a NOP succeeds");
}

/// Calls `close` in a task of its own, and returns once it has: what it awaits then is the task's to await.
pub async fn closed_elsewhere<F, C>(close: F) -> JoinHandle<C::Output>
where
    F: FnOnce() -> C + 'static,
    C: Future + 'static,
{
    let begun = Rc::new(Cell::new(false));
    let task = runtime::spawn({
        let begun = begun.clone();
        async move {
            let close = close();
            begun.set(true);
            close.await
        }
    });
    until(|| begun.get()).await;
    task
}

/// Yields until `happened`; other tasks and completions have their turns meanwhile.
pub async fn until(mut happened: impl FnMut() -> bool) {
    while !happened() {
        runtime::yield_now().await;
    }
}

/// Asserts that `future` is ready after no more than one look at the ring: the entries staged so far are handed over,
/// what they bring to an end has ended.
///
/// # Panics
///
/// If it takes longer.
pub async fn within_a_turn<F: Future + Unpin>(mut future: F) -> F::Output {
    if let Poll::Ready(output) = poll_now(&mut future).await {
        return output;
    }
    submitted().await;
    match poll_now(&mut future).await {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready within a turn"),
    }
}
