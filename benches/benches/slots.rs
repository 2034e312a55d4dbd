//! Does an operation's way into its slot and out again cost more where many others are in flight? Nops, 32 at once, beside
//! so many polls that nothing ends.
#![allow(missing_docs, reason = "criterion makes the functions")]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use annulet_benches::{Annulet, Executor, cpu_time, quick};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use runtime::op::{Events, Nop, PollAdd};
use runtime::{Fd, Op};

const OTHERS: [usize; 4] = [0, 100, 1000, 10_000];
const BATCH: u64 = 32;

fn slots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slots");
    for others in OTHERS {
        group.throughput(Throughput::Elements(BATCH));
        group.bench_function(BenchmarkId::new("nops beside", others), |bencher| {
            let executor = Annulet::new();
            let (reader, _writer) = std::io::pipe().expect("a pipe");
            let quiet = Fd::new(reader.into());
            let waiting = executor.block_on(polls(&quiet, others));
            bencher.iter_custom(|rounds| executor.block_on(nops(rounds)));
            drop(waiting);
        });
    }
}

async fn polls(quiet: &Fd, count: usize) -> Vec<Op<PollAdd>> {
    let mut polls = Vec::with_capacity(count);
    for _ in 0..count {
        let mut op = Op::on(quiet, PollAdd::new(Events::READ));
        let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut op).poll(cx).is_pending())).await;
        assert!(pending, "nothing happens in the pipe");
        polls.push(op);
    }
    polls
}

/// Each of its tasks has one slot at a time, any of those that are free.
async fn nops(rounds: u64) -> Duration {
    let start = cpu_time();
    let tasks: Vec<_> = (0..BATCH)
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

criterion_group! { name = benches; config = quick(); targets = slots }
criterion_main!(benches);
