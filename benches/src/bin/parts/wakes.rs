//! A number sent through a channel to another task, and back: on one thread, and between two that share a core.

use std::future::poll_fn;
use std::pin::Pin;
use std::thread;
use std::time::Duration;

use annulet_benches::{Executor, cpu_time, process_cpu_time};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_core::Stream;

use crate::per_op;

pub(crate) fn same_thread<E: Executor>() {
    let executor = E::new();
    per_op(1, |rounds| {
        executor.block_on(async {
            let (near, far) = channel();
            let echo = E::spawn(echo(far));
            let (near, used) = E::spawn(there_and_back(near, rounds, cpu_time)).await;
            drop(near);
            echo.await;
            used
        })
    });
}

/// Both sleep while they wait. The cost is that of both.
pub(crate) fn other_thread<E: Executor>() {
    let (near, far) = channel();
    // On the same core: that is inherited.
    let other = thread::spawn(|| E::new().block_on(async { E::spawn(echo(far)).await }));
    let executor = E::new();
    let mut near = Some(near);
    per_op(1, |rounds| {
        executor.block_on(async {
            let ends = near.take().expect("it was put back");
            let (ends, used) = E::spawn(there_and_back(ends, rounds, process_cpu_time)).await;
            near = Some(ends);
            used
        })
    });
    drop(near);
    other.join().expect("it does not panic");
}

type Ends = (UnboundedSender<u64>, UnboundedReceiver<u64>);

fn channel() -> (Ends, Ends) {
    let (to_far, from_near) = unbounded();
    let (to_near, from_far) = unbounded();
    ((to_far, from_far), (to_near, from_near))
}

async fn next(from: &mut UnboundedReceiver<u64>) -> Option<u64> {
    poll_fn(|cx| Pin::new(&mut *from).poll_next(cx)).await
}

async fn there_and_back(mut ends: Ends, rounds: u64, clock: fn() -> Duration) -> (Ends, Duration) {
    let before = clock();
    for round in 0..rounds {
        ends.0
            .unbounded_send(round)
            .expect("the other side listens");
        assert_eq!(next(&mut ends.1).await, Some(round));
    }
    (ends, clock() - before)
}

/// Until the other side hangs up.
async fn echo((to, mut from): Ends) {
    while let Some(message) = next(&mut from).await {
        if to.unbounded_send(message).is_err() {
            return;
        }
    }
}
