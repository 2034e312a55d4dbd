use std::future::Future;
use std::time::Instant;

use compio::driver::ProactorBuilder;
use compio::runtime::{Runtime, RuntimeBuilder};

use crate::Executor;

/// On its ring, [`tuned`] or with its defaults.
#[derive(Debug)]
pub struct Compio<const TUNED: bool>(Runtime);

/// With those of its options that suit one thread best.
pub fn tuned() -> ProactorBuilder {
    let mut builder = ProactorBuilder::new();
    builder
        .single_issuer(true)
        .defer_taskrun(true)
        .taskrun_flag(true);
    builder
}

impl<const TUNED: bool> Executor for Compio<TUNED> {
    const NAME: &'static str = if TUNED { "compio-tuned" } else { "compio" };

    fn new() -> Self {
        let proactor = if TUNED {
            tuned()
        } else {
            ProactorBuilder::new()
        };
        let built = RuntimeBuilder::new().with_proactor(proactor).build();
        Compio(built.expect("io_uring is to be had"))
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
