//! What does an operation cost that does nothing? Its way through task, slot, ring and back; and the same by hand.
#![allow(missing_docs, reason = "criterion makes the functions")]
#![allow(unsafe_code, reason = "the ring by hand takes entries unchecked")]

use std::time::Duration;

use annulet_benches::{Annulet, Executor, cpu_time, quick, ring};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use io_uring::{IoUring, opcode};
use runtime::Op;
use runtime::op::Nop;

/// So many at once: one waits for nothing but itself, the others share each system call.
const BATCHES: [u64; 3] = [1, 32, 1024];

fn nop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nop");
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(BenchmarkId::new("annulet", batch), |bencher| {
            let executor = Annulet::new();
            bencher.iter_custom(|rounds| executor.block_on(by_tasks(batch, rounds)));
        });
        group.bench_function(BenchmarkId::new("ring", batch), |bencher| {
            let mut ring = ring(1024);
            bencher.iter_custom(|rounds| by_hand(&mut ring, batch, rounds));
        });
    }
}

async fn by_tasks(batch: u64, rounds: u64) -> Duration {
    let start = cpu_time();
    let tasks: Vec<_> = (0..batch)
        .map(|_| {
            runtime::spawn(async move {
                for _ in 0..rounds {
                    Op::new(Nop::new()).await.expect("a nop does not fail");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task does not panic");
    }
    cpu_time() - start
}

fn by_hand(ring: &mut IoUring, batch: u64, rounds: u64) -> Duration {
    let (mut submitter, mut queue, mut completions) = ring.split();
    submitter
        .register_ring_fd()
        .expect("a thread registers a few rings");
    let entry = opcode::Nop::new().build();
    let start = cpu_time();
    for _ in 0..rounds {
        for _ in 0..batch {
            // SAFETY: it points at nothing.
            unsafe { queue.push(&entry) }.expect("a batch fits the queue");
        }
        queue.sync();
        submitter
            .submit_and_wait(batch as usize)
            .expect("our own ring");
        completions.sync();
        assert_eq!(completions.by_ref().count() as u64, batch);
        queue.sync();
    }
    let elapsed = cpu_time() - start;
    submitter.unregister_ring_fd().expect("registered above");
    elapsed
}

criterion_group! { name = benches; config = quick(); targets = nop }
criterion_main!(benches);
