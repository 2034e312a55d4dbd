//! What does it cost to give an operation up that waits? Polls of a pipe in which nothing happens: started, cancelled and
//! ended; one at a time by a token, or 32 dropped at once; with others waiting on the same ring; and by hand.
#![allow(missing_docs, reason = "criterion makes the functions")]
#![allow(unsafe_code, reason = "the ring by hand takes entries unchecked")]

use std::future::poll_fn;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use annulet_benches::{Annulet, Executor, cpu_time, quick, ring};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use io_uring::{IoUring, opcode, types};
use runtime::op::{Events, Nop, PollAdd};
use runtime::{CancelToken, Fd, Op};

/// So many operations of others wait meanwhile.
const OTHERS: [usize; 2] = [0, 1000];
const BATCHES: [u64; 2] = [1, 32];

fn cancel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cancel");
    for others in OTHERS {
        for batch in BATCHES {
            group.throughput(Throughput::Elements(batch));
            let name = format!("{batch} beside {others}");
            group.bench_function(BenchmarkId::new("annulet", &name), |bencher| {
                let executor = Annulet::new();
                let (reader, _writer) = pipe();
                let quiet = Fd::new(reader.into());
                let waiting = executor.block_on(started(&quiet, others));
                bencher.iter_custom(|rounds| executor.block_on(by_us(&quiet, batch, rounds)));
                drop(waiting);
            });
            group.bench_function(BenchmarkId::new("ring", &name), |bencher| {
                let mut ring = ring(4096);
                let (reader, _writer) = pipe();
                let poll = readable(&reader);
                push(
                    &mut ring,
                    std::iter::repeat_n(&poll.clone().user_data(0), others),
                );
                ring.submit().expect("our own ring");
                bencher.iter_custom(|rounds| by_hand(&mut ring, &poll, batch, rounds));
            });
        }
    }
}

fn pipe() -> (PipeReader, PipeWriter) {
    std::io::pipe().expect("a pipe")
}

/// Polls that wait.
async fn started(quiet: &Fd, count: usize) -> Vec<Op<PollAdd>> {
    let mut polls: Vec<_> = (0..count).map(|_| readable_by_us(quiet)).collect();
    for poll in &mut polls {
        start(poll).await;
    }
    polls
}

fn readable_by_us(quiet: &Fd) -> Op<PollAdd> {
    Op::on(quiet, PollAdd::new(Events::READ))
}

async fn start(op: &mut Op<PollAdd>) {
    let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut *op).poll(cx).is_pending())).await;
    assert!(pending, "nothing happens in the pipe");
}

async fn by_us(quiet: &Fd, batch: u64, rounds: u64) -> Duration {
    let begin = cpu_time();
    for _ in 0..rounds {
        if batch == 1 {
            let token = CancelToken::new();
            let mut op = readable_by_us(quiet).cancel_with(&token);
            start(&mut op).await;
            assert_eq!(token.cancel().await.cancelled, 1);
        } else {
            drop(started(quiet, batch as usize).await);
            // Comes back when they have ended: it was asked for last.
            Op::new(Nop::new()).await.expect("a nop does not fail");
        }
    }
    cpu_time() - begin
}

fn readable(reader: &PipeReader) -> io_uring::squeue::Entry {
    opcode::PollAdd::new(types::Fd(reader.as_raw_fd()), libc::POLLIN as u32).build()
}

fn push<'a>(ring: &mut IoUring, entries: impl Iterator<Item = &'a io_uring::squeue::Entry>) {
    for entry in entries {
        // SAFETY: it points at nothing.
        unsafe { ring.submission().push(entry) }.expect("there is room");
    }
}

fn by_hand(
    ring: &mut IoUring,
    poll: &io_uring::squeue::Entry,
    batch: u64,
    rounds: u64,
) -> Duration {
    let polls: Vec<_> = (1..=batch).map(|n| poll.clone().user_data(n)).collect();
    let cancels: Vec<_> = (1..=batch)
        .map(|n| opcode::AsyncCancel::new(n).build())
        .collect();
    let start = cpu_time();
    for _ in 0..rounds {
        push(ring, polls.iter().chain(&cancels));
        let mut left = 2 * batch as usize;
        while left > 0 {
            ring.submit_and_wait(left).expect("our own ring");
            left -= ring.completion().count();
        }
    }
    cpu_time() - start
}

criterion_group! { name = benches; config = quick(); targets = cancel }
criterion_main!(benches);
