//! Timers: given up, as most time limits are; fired together and apart; slept for.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use annulet_benches::{Executor, cpu_time, turns};

use crate::per_op;

const MS: Duration = Duration::from_millis(1);

/// Timers that stand while others come and go.
pub(crate) fn dropped<E: Executor>(standing: u64) {
    let executor = E::new();
    per_op(1, |rounds| {
        executor.block_on(poll_fn(|cx| {
            let now = Instant::now();
            let standing: Vec<_> = (1..=standing)
                .map(|n| armed::<E>(now + Duration::from_secs(3600) + MS * n as u32, cx))
                .collect();
            let before = cpu_time();
            for round in 0..rounds {
                drop(armed::<E>(now + MS * (5_000 + round as u32 % 10_000), cx));
            }
            let used = cpu_time() - before;
            drop(standing);
            Poll::Ready(used)
        }))
    });
}

/// All within a millisecond.
pub(crate) fn fired<E: Executor>(count: u64) {
    let executor = E::new();
    // Late enough for all to be armed by then.
    let first = MS * (10 + count as u32 / 1_000);
    executor.block_on(arm_and_fire::<E>(count, first, MS, 1));
    let rounds = (4_000 / count).max(1);
    turns::answer(|| {
        let used = executor.block_on(arm_and_fire::<E>(count, first, MS, rounds));
        used.as_nanos() as f64 / (count * rounds) as f64
    });
}

/// Whoever fires each at its own moment sleeps and wakes that often.
pub(crate) fn apart<E: Executor>() {
    let executor = E::new();
    executor.block_on(arm_and_fire::<E>(1_000, MS * 10, MS * 10, 1));
    turns::answer(|| {
        let used = executor.block_on(arm_and_fire::<E>(1_000, MS * 10, MS * 100, 1));
        used.as_nanos() as f64 / 1_000.0
    });
}

/// The timers' moments are spread over `within`, in no order.
async fn arm_and_fire<E: Executor>(
    count: u64,
    first: Duration,
    within: Duration,
    rounds: u64,
) -> Duration {
    let before = cpu_time();
    for _ in 0..rounds {
        let first = Instant::now() + first;
        let spread =
            |n: u64| within.mul_f64((n.wrapping_mul(7_919_773) % count) as f64 / count as f64);
        let mut timers = Vec::with_capacity(count as usize);
        poll_fn(|cx| {
            timers.extend((0..count).map(|n| armed::<E>(first + spread(n), cx)));
            Poll::Ready(())
        })
        .await;
        E::sleep_until(first + within + MS).await;
        let mut cx = Context::from_waker(Waker::noop());
        for timer in &mut timers {
            assert!(timer.as_mut().poll(&mut cx).is_ready(), "its time has come");
        }
    }
    cpu_time() - before
}

/// How long a sleep of a millisecond takes by the clock, in microseconds, if nothing else goes on.
pub(crate) fn sleep_alone<E: Executor>(percentile: f64) {
    const SLEEPS: usize = 100;
    let executor = E::new();
    turns::answer(|| {
        let mut took = executor.block_on(async {
            let mut took = Vec::with_capacity(SLEEPS);
            for _ in 0..SLEEPS {
                let start = Instant::now();
                E::sleep_until(start + MS).await;
                let elapsed = start.elapsed();
                assert!(elapsed >= MS, "a sleep was early");
                took.push(elapsed);
            }
            took
        });
        took.sort();
        let index = (SLEEPS as f64 * percentile) as usize;
        took[index.min(SLEEPS - 1)].as_nanos() as f64 / 1e3
    });
}

/// What a sleep of a millisecond costs, with a thousand tasks at it, each for itself.
pub(crate) fn sleep_crowd<E: Executor>() {
    const SLEEPERS: u64 = 1_000;
    const SLEEPS: u64 = 100;
    let executor = E::new();
    turns::answer(|| {
        let used = executor.block_on(async {
            let before = cpu_time();
            let tasks: Vec<_> = (0..SLEEPERS)
                .map(|_| {
                    E::spawn(async {
                        for _ in 0..SLEEPS {
                            E::sleep_until(Instant::now() + MS).await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            cpu_time() - before
        });
        used.as_nanos() as f64 / (SLEEPERS * SLEEPS) as f64
    });
}

fn armed<E: Executor>(
    deadline: Instant,
    cx: &mut Context<'_>,
) -> Pin<Box<impl Future<Output = ()> + use<E>>> {
    let mut timer = Box::pin(E::sleep_until(deadline));
    assert!(
        timer.as_mut().poll(cx).is_pending(),
        "its time has not come"
    );
    timer
}
