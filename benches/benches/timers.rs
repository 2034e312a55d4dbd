//! What does a timer cost? One that is given up, as most time limits are, while others stand; and many that fire.
//!
//! What fires has to be waited for, so the thread's CPU time is measured.
#![allow(missing_docs, reason = "criterion makes the functions")]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use annulet_benches::{Annulet, Executor, Tokio, cpu_time, quick};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Timers that fire each by itself.
const APART: u64 = 1000;
/// Given up one after another, so that those that stand, which are made anew each time, do not leave time for a few only.
const EACH: u64 = 1000;
/// Late enough that none of those that stand has its time come.
const LATE: Duration = Duration::from_secs(3600);
/// Timers that stand while others come and go.
const STANDING: [u64; 5] = FIRING;
const FIRING: [u64; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

fn given_up<E: Executor>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers/given_up");
    for count in STANDING {
        group.bench_function(BenchmarkId::new(E::NAME, count), |bencher| {
            let executor = E::new();
            bencher.iter_custom(|rounds| executor.block_on(arm_and_drop::<E>(count, rounds)));
        });
    }
}

async fn arm_and_drop<E: Executor>(count: u64, rounds: u64) -> Duration {
    poll_fn(|cx| {
        let now = Instant::now();
        let apart = Duration::from_secs(100).div_f64(count as f64);
        let standing: Vec<_> = (1..=count)
            .map(|n| armed::<E>(now + LATE + apart.mul_f64(n as f64), cx))
            .collect();
        let start = cpu_time();
        for round in 0..rounds * EACH {
            drop(armed::<E>(
                now + Duration::from_millis(5_000 + round % 10_000),
                cx,
            ));
        }
        let elapsed = (cpu_time() - start).div_f64(EACH as f64);
        drop(standing);
        Poll::Ready(elapsed)
    })
    .await
}

/// For so many to be armed by then.
fn late_enough(count: u64) -> Duration {
    Duration::from_millis(30) + Duration::from_micros(2 * count)
}

fn firing_together<E: Executor>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers/fired_together");
    group.sample_size(10);
    for count in FIRING {
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new(E::NAME, count), |bencher| {
            let executor = E::new();
            bencher.iter_custom(|rounds| {
                executor.block_on(arm_and_fire::<E>(count, Duration::from_millis(1), rounds))
            });
        });
    }
}

/// Whoever fires each at its own moment sleeps and wakes that often.
fn firing_apart<E: Executor>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers/fired_apart");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(APART));
    group.bench_function(BenchmarkId::new(E::NAME, APART), |bencher| {
        let executor = E::new();
        bencher.iter_custom(|rounds| {
            executor.block_on(arm_and_fire::<E>(APART, Duration::from_millis(100), rounds))
        });
    });
}

/// The timers' moments are spread over `within`, in no order.
async fn arm_and_fire<E: Executor>(count: u64, within: Duration, rounds: u64) -> Duration {
    let before = cpu_time();
    for _ in 0..rounds {
        let first = Instant::now() + late_enough(count);
        let spread =
            |n: u64| within.mul_f64((n.wrapping_mul(7_919_773) % count) as f64 / count as f64);
        let mut timers = Vec::with_capacity(count as usize);
        poll_fn(|cx| {
            timers.extend((0..count).map(|n| armed::<E>(first + spread(n), cx)));
            Poll::Ready(())
        })
        .await;
        E::sleep_until(first + within + Duration::from_millis(1)).await;
        let mut cx = Context::from_waker(Waker::noop());
        for timer in &mut timers {
            assert!(timer.as_mut().poll(&mut cx).is_ready(), "its time has come");
        }
    }
    cpu_time() - before
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

criterion_group! {
    name = benches;
    config = quick();
    targets = given_up::<Annulet>, given_up::<Tokio>, firing_together::<Annulet>, firing_together::<Tokio>,
        firing_apart::<Annulet>, firing_apart::<Tokio>
}
criterion_main!(benches);
