use std::future::Future;
use std::time::Instant;

use crate::{Executor, Reached};

#[derive(Debug)]
pub struct Annulet(runtime::Runtime);

impl Executor for Annulet {
    const NAME: &'static str = "annulet";

    fn new() -> Annulet {
        Annulet(runtime::Runtime::new().expect("io_uring is to be had"))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future + 'static,
    {
        let task = runtime::spawn(future);
        async { task.await.expect("the task does not panic") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        runtime::yield_now()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        runtime::time::sleep_until(deadline)
    }
}

impl Reached for Annulet {
    type Handle = runtime::Handle;

    fn handle(&self) -> runtime::Handle {
        self.0.handle()
    }

    fn spawn_on<F>(handle: &runtime::Handle, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let task = handle.spawn(future);
        async { task.await.expect("the task does not panic") }
    }
}
