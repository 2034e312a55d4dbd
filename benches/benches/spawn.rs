//! What does a task cost, from its spawn to its join? Alone, and in a crowd.
#![allow(missing_docs, reason = "criterion makes the functions")]

use std::time::Duration;

use annulet_benches::{Annulet, Executor, Tokio, cpu_time, quick};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const CROWDS: [u64; 2] = [1, 1000];

fn spawn<E: Executor>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawn");
    for crowd in CROWDS {
        group.throughput(Throughput::Elements(crowd));
        group.bench_function(BenchmarkId::new(E::NAME, crowd), |bencher| {
            let executor = E::new();
            bencher.iter_custom(|rounds| executor.block_on(spawn_and_join::<E>(crowd, rounds)));
        });
    }
}

async fn spawn_and_join<E: Executor>(crowd: u64, rounds: u64) -> Duration {
    let mut tasks = Vec::with_capacity(crowd as usize);
    let start = cpu_time();
    for _ in 0..rounds {
        tasks.extend((0..crowd).map(|n| E::spawn(async move { n })));
        for (n, task) in tasks.drain(..).enumerate() {
            assert_eq!(task.await, n as u64);
        }
    }
    cpu_time() - start
}

criterion_group! { name = benches; config = quick(); targets = spawn::<Annulet>, spawn::<Tokio> }
criterion_main!(benches);
