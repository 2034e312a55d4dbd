//! What does it cost to wake another task, and be woken by it? On the same thread, from thread to thread, and when the
//! other is spawned there first. Two threads have a core each, or the scheduler's mood would decide.
#![allow(missing_docs, reason = "criterion makes the functions")]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use annulet_benches::{Annulet, Executor, Reached, Tokio, cores, quick};
use criterion::{Criterion, criterion_group, criterion_main};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_channel::oneshot;
use futures_core::Stream;

fn same_thread<E: Executor>(criterion: &mut Criterion) {
    criterion
        .benchmark_group("wake/same_thread")
        .bench_function(E::NAME, |bencher| {
            let executor = E::new();
            bencher.iter_custom(|rounds| {
                executor.block_on(async {
                    let (to, from, far) = channel();
                    let echo = E::spawn(echo(far));
                    let elapsed = E::spawn(there_and_back(to, from, rounds)).await;
                    echo.await;
                    elapsed
                })
            });
        });
}

/// Both sleep while they wait, so most of it is the kernel's.
fn other_thread<E: Reached>(criterion: &mut Criterion) {
    let other = Other::<E>::start();
    criterion
        .benchmark_group("wake/other_thread")
        .bench_function(E::NAME, |bencher| {
            let executor = E::new();
            bencher.iter_custom(|rounds| {
                executor.block_on(async {
                    let (to, from, far) = channel();
                    let echo = E::spawn_on(&other.handle, echo(far));
                    let elapsed = E::spawn(there_and_back(to, from, rounds)).await;
                    echo.await;
                    elapsed
                })
            });
        });
}

fn spawn_there<E: Reached>(criterion: &mut Criterion) {
    let other = Other::<E>::start();
    criterion
        .benchmark_group("wake/spawn_there")
        .bench_function(E::NAME, |bencher| {
            let executor = E::new();
            bencher.iter_custom(|rounds| {
                executor.block_on(async {
                    let start = Instant::now();
                    for round in 0..rounds {
                        assert_eq!(
                            E::spawn_on(&other.handle, async move { round }).await,
                            round
                        );
                    }
                    start.elapsed()
                })
            });
        });
}

/// An executor that runs on a thread of its own until this is dropped.
struct Other<E: Reached> {
    handle: E::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<E: Reached> Other<E> {
    fn start() -> Other<E> {
        let (stop, stopped) = oneshot::channel();
        let (to, from) = std::sync::mpsc::channel();
        let cores = *CORES;
        let thread = thread::spawn(move || {
            cores::pin(cores.0).expect("a core of ours");
            let executor = E::new();
            to.send(executor.handle())
                .expect("the other side waits for it");
            let _ = executor.block_on(stopped);
        });
        let handle = from.recv().expect("it has started");
        cores::pin(cores.1).expect("a core of ours");
        Other {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl<E: Reached> Drop for Other<E> {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}

/// The other thread's and ours. Asked for before either is pinned.
static CORES: LazyLock<(Option<usize>, Option<usize>)> =
    LazyLock::new(|| cores::two().expect("the cores are known").unzip());

type Ends = (UnboundedSender<u64>, UnboundedReceiver<u64>);

fn channel() -> (UnboundedSender<u64>, UnboundedReceiver<u64>, Ends) {
    let (to, far_from) = unbounded();
    let (far_to, from) = unbounded();
    (to, from, (far_to, far_from))
}

async fn next(from: &mut UnboundedReceiver<u64>) -> Option<u64> {
    poll_fn(|cx| Pin::new(&mut *from).poll_next(cx)).await
}

async fn there_and_back(
    to: UnboundedSender<u64>,
    mut from: UnboundedReceiver<u64>,
    rounds: u64,
) -> Duration {
    let start = Instant::now();
    for round in 0..rounds {
        to.unbounded_send(round).expect("the other side listens");
        assert_eq!(next(&mut from).await, Some(round));
    }
    start.elapsed()
}

/// Until the other side hangs up.
async fn echo((to, mut from): Ends) {
    while let Some(message) = next(&mut from).await {
        if to.unbounded_send(message).is_err() {
            return;
        }
    }
}

criterion_group! {
    name = benches;
    config = quick();
    targets = same_thread::<Annulet>, same_thread::<Tokio>, other_thread::<Annulet>, other_thread::<Tokio>,
        spawn_there::<Annulet>, spawn_there::<Tokio>
}
criterion_main!(benches);
