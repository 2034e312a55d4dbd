//! What the benches share: how long criterion measures, and the runtimes it measures.
//!
//! A bench in `benches/` is one question, written once over [`Executor`] and asked of each; so all do the same work.
//! Whole servers are compared by the binary `versus`, which shares [`cores`] only.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "no library: only the benches see it")]

pub mod cores;

use std::future::Future;
use std::time::{Duration, Instant};

use criterion::Criterion;

/// A dozen figures in a few seconds each: the lot takes two minutes.
pub fn quick() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

/// A runtime on one thread.
pub trait Executor {
    const NAME: &'static str;
    type Sleep: Future<Output = ()>;
    type Handle: Send + Clone + 'static;

    fn new() -> Self;
    fn block_on<F: Future>(&self, future: F) -> F::Output;
    fn handle(&self) -> Self::Handle;

    fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send> + Send + 'static;

    /// Spawns on the thread of another.
    fn spawn_on<F>(handle: &Self::Handle, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send> + Send + 'static;

    fn yield_now() -> impl Future<Output = ()> + Send;
    fn sleep_until(deadline: Instant) -> Self::Sleep;
}

#[derive(Debug)]
pub struct Annulet(runtime::Runtime);

impl Executor for Annulet {
    const NAME: &'static str = "annulet";
    type Sleep = runtime::time::Sleep;
    type Handle = runtime::Handle;

    fn new() -> Annulet {
        Annulet(runtime::Runtime::new().expect("io_uring is to be had"))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    fn handle(&self) -> runtime::Handle {
        self.0.handle()
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let task = runtime::spawn(future);
        async { task.await.expect("the task does not panic") }
    }

    fn spawn_on<F>(handle: &runtime::Handle, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let task = handle.spawn(future);
        async { task.await.expect("the task does not panic") }
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        runtime::yield_now()
    }

    fn sleep_until(deadline: Instant) -> runtime::time::Sleep {
        runtime::time::sleep_until(deadline)
    }
}

/// Its current-thread runtime.
#[derive(Debug)]
pub struct Tokio(tokio::runtime::Runtime);

impl Executor for Tokio {
    const NAME: &'static str = "tokio";
    type Sleep = tokio::time::Sleep;
    type Handle = tokio::runtime::Handle;

    fn new() -> Tokio {
        let built = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Tokio(built.expect("epoll is to be had"))
    }

    /// Unconstrained, for else Tokio's timers, polled a thousand times in one go, are not armed but put off.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(tokio::task::unconstrained(future))
    }

    fn handle(&self) -> tokio::runtime::Handle {
        self.0.handle().clone()
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let task = tokio::spawn(future);
        async { task.await.expect("the task does not panic") }
    }

    fn spawn_on<F>(handle: &tokio::runtime::Handle, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let task = handle.spawn(future);
        async { task.await.expect("the task does not panic") }
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    fn sleep_until(deadline: Instant) -> tokio::time::Sleep {
        tokio::time::sleep_until(deadline.into())
    }
}
