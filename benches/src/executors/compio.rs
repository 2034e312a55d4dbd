use std::future::Future;
use std::time::Instant;

use crate::Executor;

/// With its defaults, on its ring.
#[derive(Debug)]
pub struct Compio(compio::runtime::Runtime);

impl Executor for Compio {
    const NAME: &'static str = "compio";

    fn new() -> Compio {
        Compio(compio::runtime::Runtime::new().expect("io_uring is to be had"))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future + 'static,
    {
        let task = compio::runtime::spawn(future);
        async { task.await.expect("the task does not panic") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        super::wake_oneself()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        compio::time::sleep_until(deadline)
    }
}
