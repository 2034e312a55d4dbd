use std::cell::RefCell;
use std::future::Future;
use std::time::Instant;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, RuntimeBuilder};

use crate::Executor;

/// On its ring, with timers, and with the feature `sync` by which other threads wake its tasks; [`tuned`] or with its
/// defaults.
#[allow(missing_debug_implementations, reason = "its runtime has none")]
pub struct Monoio<const TUNED: bool>(RefCell<monoio::Runtime<TimeDriver<IoUringDriver>>>);

/// With the flags that suit one thread best, which monoio leaves to its users.
pub fn tuned() -> RuntimeBuilder<IoUringDriver> {
    let mut ring = io_uring_06::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    RuntimeBuilder::new().uring_builder(ring)
}

impl<const TUNED: bool> Executor for Monoio<TUNED> {
    const NAME: &'static str = if TUNED { "monoio-tuned" } else { "monoio" };

    fn new() -> Self {
        let builder = if TUNED {
            tuned()
        } else {
            RuntimeBuilder::new()
        };
        let built = builder.enable_timer().build();
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
