use std::cell::RefCell;
use std::future::Future;
use std::time::Instant;

use monoio::IoUringDriver;
use monoio::time::TimeDriver;

use crate::Executor;

/// On its ring, with timers, and with the feature `sync` by which other threads wake its tasks.
#[allow(missing_debug_implementations, reason = "its runtime has none")]
pub struct Monoio(RefCell<monoio::Runtime<TimeDriver<IoUringDriver>>>);

impl Executor for Monoio {
    const NAME: &'static str = "monoio";

    fn new() -> Monoio {
        let built = monoio::RuntimeBuilder::<IoUringDriver>::new()
            .enable_timer()
            .build();
        Monoio(RefCell::new(built.expect("io_uring is to be had")))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.borrow_mut().block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future + 'static,
    {
        monoio::spawn(future)
    }

    fn yield_now() -> impl Future<Output = ()> {
        super::wake_oneself()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep_until(deadline.into())
    }
}
