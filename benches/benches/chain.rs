//! What does it save to link four operations instead of awaiting one after another? Of operations that do nothing, and of
//! a message that goes twice through a pipe; and the first by hand.
#![allow(missing_docs, reason = "criterion makes the functions")]
#![allow(unsafe_code, reason = "the ring by hand takes entries unchecked")]

use std::time::Duration;

use annulet_benches::{Annulet, Executor, cpu_time, quick, ring};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use io_uring::{IoUring, opcode, squeue};
use runtime::op::{Nop, Read, Write};
use runtime::{Builder, Fd, Op, chain};

const LINKS: u64 = 4;
const BYTES: [u8; 64] = [7; 64];

fn of_nops(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain of nops");
    group.throughput(Throughput::Elements(LINKS));
    group.bench_function(BenchmarkId::new("annulet", "linked"), |bencher| {
        let executor = Annulet::new();
        bencher.iter_custom(|rounds| {
            executor.block_on(timed(rounds, async || {
                let nops = || Op::new(Nop::new());
                let (one, two, three, four) = chain((nops(), nops(), nops(), nops())).await;
                for nop in [one, two, three, four] {
                    nop.expect("a nop does not fail");
                }
            }))
        });
    });
    group.bench_function(BenchmarkId::new("annulet", "awaited"), |bencher| {
        let executor = Annulet::new();
        bencher.iter_custom(|rounds| {
            executor.block_on(timed(rounds, async || {
                for _ in 0..LINKS {
                    Op::new(Nop::new()).await.expect("a nop does not fail");
                }
            }))
        });
    });
    for (name, at_once) in [("linked", LINKS), ("awaited", 1)] {
        group.bench_function(BenchmarkId::new("ring", name), |bencher| {
            let mut ring = ring(256);
            bencher.iter_custom(|rounds| by_hand(&mut ring, at_once, rounds));
        });
    }
}

async fn timed(rounds: u64, mut round: impl AsyncFnMut()) -> Duration {
    let start = cpu_time();
    for _ in 0..rounds {
        round().await;
    }
    cpu_time() - start
}

/// So many linked in each submission.
fn by_hand(ring: &mut IoUring, at_once: u64, rounds: u64) -> Duration {
    let last = opcode::Nop::new().build();
    let linked = opcode::Nop::new().build().flags(squeue::Flags::IO_LINK);
    let start = cpu_time();
    for _ in 0..rounds * LINKS / at_once {
        for at in 1..=at_once {
            let entry = if at < at_once { &linked } else { &last };
            // SAFETY: it points at nothing.
            unsafe { ring.submission().push(entry) }.expect("there is room");
        }
        ring.submit_and_wait(at_once as usize)
            .expect("our own ring");
        assert_eq!(ring.completion().count() as u64, at_once);
    }
    cpu_time() - start
}

/// Without attempts, which would do what is awaited by plain calls: the question is of the ring.
fn through_a_pipe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain through a pipe");
    group.throughput(Throughput::Elements(LINKS));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let (reader, writer) = (Fd::new(reader.into()), Fd::new(writer.into()));
    let write = || Op::on(&writer, Write::new(BYTES));
    let read = || Op::on(&reader, Read::new([0; BYTES.len()]));
    for (name, attempts) in [
        ("awaited", false),
        ("awaited, attempts", true),
        ("linked", false),
    ] {
        let builder = Builder::new().attempts(attempts);
        let runtime = builder.build().expect("io_uring is to be had");
        group.bench_function(BenchmarkId::new("annulet", name), |bencher| {
            bencher.iter_custom(|rounds| {
                runtime.block_on(timed(rounds, async || {
                    let bytes = if name == "linked" {
                        let (_, (one, _), _, (two, _)) =
                            chain((write(), read(), write(), read())).await;
                        one.expect("there are bytes") + two.expect("there are bytes")
                    } else {
                        let mut bytes = 0;
                        for _ in 0..LINKS / 2 {
                            write().await.0.expect("there is room");
                            bytes += read().await.0.expect("there are bytes");
                        }
                        bytes
                    };
                    assert_eq!(bytes, 2 * BYTES.len());
                }))
            });
        });
    }
}

criterion_group! { name = benches; config = quick(); targets = of_nops, through_a_pipe }
criterion_main!(benches);
