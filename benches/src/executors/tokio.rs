use std::future::Future;
use std::time::Instant;

use tokio::runtime::{LocalOptions, LocalRuntime};

use crate::{Executor, Reached};

/// Its runtime for one thread, whose tasks need not be `Send`.
#[derive(Debug)]
pub struct Tokio(LocalRuntime);

impl Executor for Tokio {
    const NAME: &'static str = "tokio";

    fn new() -> Tokio {
        let built = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        Tokio(built.expect("epoll is to be had"))
    }

    /// Unconstrained, for else Tokio's timers, polled a thousand times in one go, are not armed but put off.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(tokio::task::unconstrained(future))
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future + 'static,
    {
        let task = tokio::task::spawn_local(future);
        async { task.await.expect("the task does not panic") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep_until(deadline.into())
    }
}

impl Reached for Tokio {
    type Handle = tokio::runtime::Handle;

    fn handle(&self) -> tokio::runtime::Handle {
        self.0.handle().clone()
    }

    fn spawn_on<F>(handle: &tokio::runtime::Handle, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let task = handle.spawn(future);
        async { task.await.expect("the task does not panic") }
    }
}
