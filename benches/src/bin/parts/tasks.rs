//! Tasks: spawned, yielding, at a no-op.

use std::future::Future;
use std::time::Duration;

use annulet_benches::{Annulet, Executor, cpu_time};
use runtime::Op;
use runtime::op::Nop;

use crate::per_op;

pub(crate) fn spawn<E: Executor>(at_once: u64) {
    let executor = E::new();
    per_op(at_once, |rounds| {
        executor.block_on(spawn_and_join::<E>(at_once, rounds))
    });
}

async fn spawn_and_join<E: Executor>(at_once: u64, rounds: u64) -> Duration {
    let mut tasks = Vec::with_capacity(at_once as usize);
    let before = cpu_time();
    for _ in 0..rounds {
        tasks.extend((0..at_once).map(|n| E::spawn(async move { n })));
        for (n, task) in tasks.drain(..).enumerate() {
            assert_eq!(task.await, n as u64);
        }
    }
    cpu_time() - before
}

pub(crate) fn yield_now<E: Executor>(tasks: u64) {
    let executor = E::new();
    per_op(tasks, |rounds| {
        executor.block_on(all_of::<E, _>(tasks, || async move {
            for _ in 0..rounds {
                E::yield_now().await;
            }
        }))
    });
}

pub(crate) fn nop(at_once: u64) {
    let executor = Annulet::new();
    per_op(at_once, |rounds| {
        executor.block_on(all_of::<Annulet, _>(at_once, || async move {
            for _ in 0..rounds {
                Op::new(Nop::new()).await.expect("a nop does not fail");
            }
        }))
    });
}

/// What so many of one kind of task use up together.
async fn all_of<E: Executor, F: Future<Output = ()> + 'static>(
    count: u64,
    task: impl Fn() -> F,
) -> Duration {
    let before = cpu_time();
    let tasks: Vec<_> = (0..count).map(|_| E::spawn(task())).collect();
    for task in tasks {
        task.await;
    }
    cpu_time() - before
}
