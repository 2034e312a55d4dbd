//! What does a turn through the run queue cost? One task yielding to itself, and a thousand to each other.
#![allow(missing_docs, reason = "criterion makes the functions")]

use std::time::Duration;

use annulet_benches::{Annulet, Executor, Tokio, cpu_time, quick};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const CROWDS: [u64; 2] = [1, 1000];

fn yield_now<E: Executor>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("yield");
    for crowd in CROWDS {
        group.throughput(Throughput::Elements(crowd));
        group.bench_function(BenchmarkId::new(E::NAME, crowd), |bencher| {
            let executor = E::new();
            bencher.iter_custom(|rounds| executor.block_on(yield_in_turn::<E>(crowd, rounds)));
        });
    }
}

async fn yield_in_turn<E: Executor>(crowd: u64, rounds: u64) -> Duration {
    let start = cpu_time();
    let one = || async move {
        for _ in 0..rounds {
            E::yield_now().await;
        }
    };
    let tasks: Vec<_> = (0..crowd).map(|_| E::spawn(one())).collect();
    for task in tasks {
        task.await;
    }
    cpu_time() - start
}

criterion_group! { name = benches; config = quick(); targets = yield_now::<Annulet>, yield_now::<Tokio> }
criterion_main!(benches);
