//! What the benches share: how long criterion measures, and the runtimes it measures.
//!
//! A bench in `benches/` is one question, written once over [`Executor`] and asked of each; so all do the same work. The
//! binary `parts` asks the same of all runtimes in turns. Whole servers are compared by the binary `versus`.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "no library: only the benches see it")]

pub mod cores;
pub mod executors;
pub mod process;
pub mod turns;

use std::future::Future;
use std::time::{Duration, Instant};

use criterion::Criterion;
use io_uring::IoUring;
use rustix::time::{ClockId, clock_gettime};

pub use self::executors::{Annulet, Tokio};
#[cfg(feature = "peers")]
pub use self::executors::{Compio, Glommio, Monoio};

/// A dozen figures in a few seconds each: the lot takes two minutes.
pub fn quick() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

/// A ring to use by hand, with the flags that Annulet has.
pub fn ring(entries: u32) -> IoUring {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag();
    builder.setup_submit_all().setup_no_sqarray();
    builder.build(entries).expect("io_uring is to be had")
}

/// What this thread has used of its core.
pub fn cpu_time() -> Duration {
    cpu_clock(ClockId::ThreadCPUTime)
}

/// What all threads of this process have used.
pub fn process_cpu_time() -> Duration {
    cpu_clock(ClockId::ProcessCPUTime)
}

fn cpu_clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A runtime on one thread.
pub trait Executor: 'static {
    const NAME: &'static str;

    fn new() -> Self;
    fn block_on<F: Future>(&self, future: F) -> F::Output;

    fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future + 'static;

    /// The runtime's own way, or if it has none, the one that needs none: a wake of oneself.
    fn yield_now() -> impl Future<Output = ()>;
    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static;
}

/// One that other threads spawn onto.
pub trait Reached: Executor {
    type Handle: Send + Clone + 'static;

    fn handle(&self) -> Self::Handle;

    /// Spawns on the thread of another.
    fn spawn_on<F>(handle: &Self::Handle, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send> + Send + 'static;
}
