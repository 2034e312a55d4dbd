//! What does it cost that of several tasks' operations one at a time runs? By a serial group, and by an async mutex held
//! over each; and beside them without any of it.
#![allow(missing_docs, reason = "criterion makes the functions")]

use std::rc::Rc;
use std::time::Duration;

use annulet_benches::{Annulet, Executor, cpu_time, quick};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use runtime::op::Nop;
use runtime::{Op, SerialGroup};
use tokio::sync::Mutex;

/// Tasks that want to.
const TASKS: [u64; 2] = [1, 8];

fn serial(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("serial");
    for tasks in TASKS {
        group.throughput(Throughput::Elements(tasks));
        group.bench_function(BenchmarkId::new("group", tasks), |bencher| {
            let executor = Annulet::new();
            let serial = SerialGroup::new();
            bencher.iter_custom(|rounds| {
                executor.block_on(by_tasks(tasks, rounds, || {
                    let serial = serial.clone();
                    async move || Op::new(Nop::new()).in_group(&serial).await
                }))
            });
        });
        group.bench_function(BenchmarkId::new("mutex", tasks), |bencher| {
            let executor = Annulet::new();
            let mutex = Rc::new(Mutex::new(()));
            bencher.iter_custom(|rounds| {
                executor.block_on(by_tasks(tasks, rounds, || {
                    let mutex = mutex.clone();
                    async move || {
                        let _held = mutex.lock().await;
                        Op::new(Nop::new()).await
                    }
                }))
            });
        });
        group.bench_function(BenchmarkId::new("neither", tasks), |bencher| {
            let executor = Annulet::new();
            bencher.iter_custom(|rounds| {
                executor.block_on(by_tasks(tasks, rounds, || {
                    async || Op::new(Nop::new()).await
                }))
            });
        });
    }
}

async fn by_tasks<F>(tasks: u64, rounds: u64, make: impl Fn() -> F) -> Duration
where
    F: AsyncFn() -> std::io::Result<()> + 'static,
{
    let start = cpu_time();
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let operation = make();
            runtime::spawn(async move {
                for _ in 0..rounds {
                    operation().await.expect("a nop does not fail");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task does not panic");
    }
    cpu_time() - start
}

criterion_group! { name = benches; config = quick(); targets = serial }
criterion_main!(benches);
