//! Section C, continued: code of the user's that runs where the driver would rather not have any.

use std::cell::Cell;
use std::future::Future;
use std::io::Write;
use std::os::unix::net;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use annulet_tests::{
    Dropping, Ring, beside_fork, metrics, poll_now, poll_once, socket_pair, spec, submitted, until,
};
use runtime::buf::Arena;
use runtime::fs::File;
use runtime::net::UnixStream;
use runtime::{CancelToken, Op, op};

spec! {
    async a_panic_whose_payload_panics_too_leaves_the_direction_free;
    async a_waker_that_panics_keeps_nobody_asleep;
    async a_waker_that_panics_as_it_is_handed_a_direction_leaves_it_to_the_next;
    async a_waker_that_panics_keeps_no_other_from_hearing_of_a_close_or_a_cancel;
    a_round_within_a_round_is_refused_and_bytes_stay_in_order on kernel, plain, tiny, poll, incremental, poll_incremental;
    alone what_a_child_of_a_fork_writes_reaches_no_buffer_of_its_parents on kernel, plain, poll, incremental;
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload's own destructor");
    }
}

async fn a_panic_whose_payload_panics_too_leaves_the_direction_free(_: Ring) {
    for completes in [false, true] {
        let (ours, theirs) = socket_pair();
        let buf = Dropping::new(8, || panic_any(Bomb));
        let mut receive = Op::on(&ours, op::RecvExact::new(buf));
        assert!(poll_now(&mut receive).await.is_pending());
        submitted().await;
        if completes {
            let sent = Op::on(&theirs, op::SendAll::new(vec![7; 8])).await;
            sent.0.unwrap();
            submitted().await;
        }
        let before = metrics().panics;
        drop(receive);
        until(|| metrics().panics > before).await;
        let sent = Op::on(&theirs, op::SendAll::new(vec![7; 8])).await;
        sent.0.unwrap();
        let (received, buf) = Op::on(&ours, op::RecvExact::new(vec![0; 8])).await;
        received.unwrap();
        assert_eq!(buf, [7; 8]);
        ours.close().await.unwrap();
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker");
    }
}

fn poll_by_one_that_panics<F: Future + Unpin>(future: &mut F) {
    let waker = Waker::from(Arc::new(Panics));
    let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

async fn a_waker_that_panics_keeps_nobody_asleep(_: Ring) {
    let mut nops: Vec<_> = (0..3).map(|_| Op::new(op::Nop::new())).collect();
    let done = Rc::new(Cell::new(0));
    for nop in &mut nops {
        // All complete in one turn, in this order.
        poll_by_one_that_panics(nop);
        let done = done.clone();
        let mut other = Op::new(op::Nop::new());
        assert!(poll_once(&mut other).is_pending());
        drop(runtime::spawn(async move {
            other.await.unwrap();
            done.set(done.get() + 1);
        }));
    }
    until(|| done.get() == 3).await;
    assert_eq!(metrics().panics, 3);
}

async fn a_waker_that_panics_as_it_is_handed_a_direction_leaves_it_to_the_next(_: Ring) {
    let (ours, theirs) = socket_pair();
    let mut first = Op::on(&ours, op::Recv::new(vec![0; 1]));
    assert!(poll_now(&mut first).await.is_pending());
    let mut queued = Op::on(&ours, op::Recv::new(vec![0; 1]));
    poll_by_one_that_panics(&mut queued);
    submitted().await;
    // It is handed on as what this brings is discarded.
    drop(first);
    for byte in [1, 2] {
        let sent = Op::on(&theirs, op::SendAll::new([byte])).await;
        sent.0.unwrap();
    }
    submitted().await;
    submitted().await;
    assert_eq!(queued.await.1, [1]);
    assert_eq!(Op::on(&ours, op::Recv::new([0])).await.1, [2]);
    ours.close().await.unwrap();
}

async fn a_waker_that_panics_keeps_no_other_from_hearing_of_a_close_or_a_cancel(_: Ring) {
    let (ours, _theirs) = socket_pair();
    let (mut first, second) = (ours.close(), ours.close());
    poll_by_one_that_panics(&mut first);
    second.await.unwrap();
    first.await.unwrap();
    let token = CancelToken::new();
    let mut first = token.cancelled();
    poll_by_one_that_panics(&mut first);
    let second = runtime::spawn({
        let token = token.clone();
        async move { token.cancelled().await }
    });
    runtime::yield_now().await;
    token.cancel().await;
    second.await.unwrap();
}

fn a_round_within_a_round_is_refused_and_bytes_stay_in_order(ring: Ring) {
    let runtime = Rc::new(ring.runtime());
    let inner = runtime.clone();
    runtime.block_on(async {
        let (theirs, peer) = net::UnixStream::pair().unwrap();
        let stream = UnixStream::from_std(theirs).unwrap();
        let mut chunks = stream.chunks();
        assert!(poll_now(&mut Box::pin(chunks.next())).await.is_pending());
        submitted().await;
        let (ours, _theirs) = socket_pair();
        let peer = Rc::new(peer);
        let also = peer.clone();
        let refused = Rc::new(Cell::new(false));
        let told = refused.clone();
        let buf = Dropping::new(8, move || {
            (&*also).write_all(b"2").unwrap();
            let round = catch_unwind(AssertUnwindSafe(|| inner.run_once()));
            told.set(round.is_err());
        });
        let mut receive = Op::on(&ours, op::RecvExact::new(buf));
        assert!(poll_now(&mut receive).await.is_pending());
        submitted().await;
        // Its end, in which the buffer is dropped, and the first byte come in one turn.
        drop(receive);
        (&*peer).write_all(b"1").unwrap();
        until(|| refused.get()).await;
        (&*peer).write_all(b"3").unwrap();
        let mut got = Vec::new();
        while got.len() < 3 {
            got.extend_from_slice(&chunks.next().await.unwrap().unwrap());
        }
        assert_eq!(got, b"123");
    });
}

fn what_a_child_of_a_fork_writes_reaches_no_buffer_of_its_parents(ring: Ring) {
    let runtime = ring.runtime();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut chunks = ours.chunks();
    let (arena, file, held) = runtime.block_on(async {
        theirs.write_all([1; 8]).await.0.unwrap();
        let held = chunks.next().await.unwrap().unwrap();
        assert!(poll_now(&mut Box::pin(chunks.next())).await.is_pending());
        submitted().await;
        let file = File::open("/proc/self/exe").await.unwrap();
        (Arena::new(1, 4096), file, Cell::new(Some(held)))
    });
    let write_all = || {
        held.take().unwrap().fill(9);
        let mut buf = arena.buffer().unwrap();
        buf.set_len(4096);
        buf.fill(9);
    };
    let receive_and_read = || {
        runtime.block_on(async {
            for n in 0..100 {
                theirs.write_all([n; 8]).await.0.unwrap();
                assert_eq!(chunks.next().await.unwrap().unwrap()[..], [n; 8]);
                let (read, buf) = file.read_at(arena.buffer().unwrap(), 0).await;
                assert_eq!((read.unwrap(), &buf[..4]), (4096, &b"\x7fELF"[..]));
            }
            assert_eq!(held.take().unwrap()[..], [1; 8]);
        });
    };
    assert_eq!(beside_fork(write_all, receive_and_read), Some(0));
}
