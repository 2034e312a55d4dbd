use std::future::Future;
use std::time::Instant;

use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use crate::Executor;

/// Not pinned by itself: whoever measures has pinned the thread.
#[derive(Debug)]
pub struct Glommio(LocalExecutor);

impl Executor for Glommio {
    const NAME: &'static str = "glommio";

    fn new() -> Glommio {
        let made = LocalExecutorBuilder::new(Placement::Unbound).make();
        Glommio(made.expect("io_uring is to be had"))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.run(future)
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future + 'static,
    {
        glommio::spawn_local(future)
    }

    fn yield_now() -> impl Future<Output = ()> {
        super::wake_oneself()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        let mut timer = Timer::new(deadline.saturating_duration_since(Instant::now()));
        async move {
            (&mut timer).await;
        }
    }
}
