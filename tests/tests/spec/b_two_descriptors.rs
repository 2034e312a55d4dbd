//! Section B for operations with two descriptors (splice, tee): each of the two is as safe as the one of a read.

use std::io::{ErrorKind, Write as _};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use annulet_tests::{
    Ring, closed_elsewhere, metrics, pipe, poll_now, socket_pair, spec, submitted, until,
    within_a_turn,
};
use runtime::{CancelToken, Fd, Op, is_cancelled, op};

spec! {
    async b1_closing_the_input_ends_a_blocked_splice;
    async b2_closing_the_output_ends_a_blocked_splice;
    async b5_closing_both_ends_a_blocked_splice_once;
    async b6_a_splice_after_the_close_of_either_fails_before_any_io;
    alone async b7_the_input_of_a_splice_keeps_its_number_until_the_last_completion;
    alone async b8_dropping_the_handles_ends_an_orphaned_splice_and_closes_both;
    async b10_a_blocked_splice_times_out;
    async b10_the_deadline_of_a_splice_that_is_over_is_taken_back;
    async b11_a_blocked_splice_is_cancelled_by_its_token;
    async b14_a_splice_moves_bytes_and_tells_the_end;
    async b14_a_tee_leaves_the_bytes_where_they_were;
    b18_a_close_of_the_input_from_another_thread_ends_a_splice;
    async contending_splices_all_get_their_turn;
    async a_splice_keeps_its_place_among_reads_and_writes;
    async a_queued_splice_ends_when_the_descriptor_it_does_not_queue_at_is_closed;
    async a_dropped_queued_splice_gives_its_lanes_back;
    async a_splice_dropped_with_one_lane_of_two_gives_it_back;
    async a_splice_past_kept_bytes_is_refused;
    async a_splice_is_a_member_of_a_chain;
}

/// A splice that blocks: there is nothing in the input.
async fn blocked(input: &Fd, output: &Fd) -> Op<op::Splice> {
    let mut splice = Op::on(output, op::Splice::new(input, 64));
    assert!(poll_now(&mut splice).await.is_pending());
    submitted().await;
    splice
}

async fn b1_closing_the_input_ends_a_blocked_splice(_: Ring) {
    let (input, _feed) = pipe();
    let (_drain, output) = pipe();
    let splice = blocked(&input, &output).await;
    let closed = closed_elsewhere(move || input.close()).await;
    assert!(is_cancelled(&splice.await.unwrap_err()));
    closed.await.unwrap().unwrap();
    // The other goes on.
    assert_eq!(Op::on(&output, op::Write::new(*b"on")).await.0.unwrap(), 2);
}

async fn b2_closing_the_output_ends_a_blocked_splice(_: Ring) {
    let (input, feed) = pipe();
    let (_drain, output) = pipe();
    let splice = blocked(&input, &output).await;
    let closed = closed_elsewhere(move || output.close()).await;
    assert!(is_cancelled(&splice.await.unwrap_err()));
    closed.await.unwrap().unwrap();
    Op::on(&feed, op::WriteAll::new(*b"on")).await.0.unwrap();
    assert_eq!(Op::on(&input, op::Read::new([0; 4])).await.0.unwrap(), 2);
}

async fn b5_closing_both_ends_a_blocked_splice_once(_: Ring) {
    let (input, _feed) = pipe();
    let (_drain, output) = pipe();
    let splice = blocked(&input, &output).await;
    let (one, other) = (output.close(), input.close());
    assert!(is_cancelled(&splice.await.unwrap_err()));
    one.await.unwrap();
    other.await.unwrap();
}

async fn b6_a_splice_after_the_close_of_either_fails_before_any_io(_: Ring) {
    for closes_input in [true, false] {
        let (input, _feed) = pipe();
        let (_drain, output) = pipe();
        let close = if closes_input { &input } else { &output };
        close.close().await.unwrap();
        let staged = metrics().staged;
        let splice = Op::on(&output, op::Splice::new(&input, 64));
        let error = within_a_turn(splice).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(9), "EBADF, not {error}");
        assert_eq!(metrics().staged, staged);
        // What it took of the other is given back.
        let other = if closes_input { output } else { input };
        within_a_turn(other.close()).await.unwrap();
    }
}

async fn b7_the_input_of_a_splice_keeps_its_number_until_the_last_completion(_: Ring) {
    let (input, _feed) = pipe();
    let (_drain, output) = pipe();
    let number = input.as_raw_fd();
    let splice = blocked(&input, &output).await;
    let close = input.close();
    // The cancel is not submitted yet: whatever is opened now gets another number.
    let next = Fd::new(std::fs::File::open("/dev/null").unwrap().into());
    assert_ne!(next.as_raw_fd(), number);
    assert!(is_cancelled(&splice.await.unwrap_err()));
    close.await.unwrap();
    let next = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(next.as_raw_fd(), number);
}

async fn b8_dropping_the_handles_ends_an_orphaned_splice_and_closes_both(_: Ring) {
    let before = annulet_tests::fds();
    for input_first in [true, false] {
        let (input, feed) = pipe();
        let (drain, output) = pipe();
        drop(blocked(&input, &output).await);
        if input_first {
            drop(input);
            drop(output);
        } else {
            drop(output);
            drop(input);
        }
        drop((feed, drain));
        until(|| annulet_tests::fds() == before).await;
    }
    assert_eq!(metrics().in_flight, 0);
}

async fn b10_a_blocked_splice_times_out(_: Ring) {
    let (input, feed) = pipe();
    let (drain, output) = pipe();
    let splice = Op::on(&output, op::Splice::new(&input, 64)).timeout(Duration::from_millis(1));
    assert_eq!(splice.await.unwrap_err().kind(), ErrorKind::TimedOut);
    // One that queues, too.
    let ahead = blocked(&input, &output).await;
    let queued = Op::on(&output, op::Splice::new(&input, 64)).timeout(Duration::from_millis(1));
    assert_eq!(queued.await.unwrap_err().kind(), ErrorKind::TimedOut);
    Op::on(&feed, op::WriteAll::new(*b"on")).await.0.unwrap();
    assert_eq!(ahead.await.unwrap(), 2);
    assert_eq!(Op::on(&drain, op::Read::new([0; 4])).await.0.unwrap(), 2);
}

async fn b10_the_deadline_of_a_splice_that_is_over_is_taken_back(_: Ring) {
    let (input, feed) = pipe();
    let (_drain, output) = pipe();
    Op::on(&feed, op::WriteAll::new(*b"on")).await.0.unwrap();
    let splice = Op::on(&output, op::Splice::new(&input, 64)).timeout(Duration::from_secs(3600));
    assert_eq!(splice.await.unwrap(), 2);
    until(|| metrics().in_flight == 0).await;
    assert_eq!(metrics().live, 0);
}

async fn b11_a_blocked_splice_is_cancelled_by_its_token(_: Ring) {
    let (input, _feed) = pipe();
    let (_drain, output) = pipe();
    let token = CancelToken::new();
    let splice = || Op::on(&output, op::Splice::new(&input, 64)).cancel_with(&token);
    let (mut flying, mut queued) = (splice(), splice());
    assert!(poll_now(&mut flying).await.is_pending());
    assert!(poll_now(&mut queued).await.is_pending());
    submitted().await;
    let report = token.cancel().await;
    assert_eq!((report.cancelled, report.completed), (2, 0));
    assert!(is_cancelled(&flying.await.unwrap_err()));
    assert!(is_cancelled(&queued.await.unwrap_err()));
}

async fn b14_a_splice_moves_bytes_and_tells_the_end(_: Ring) {
    let mut file = tempfile();
    file.write_all(b"0123456789").unwrap();
    let file = Fd::new(file.into());
    let (drain, output) = pipe();
    let from = |offset, len| Op::on(&output, op::Splice::new(&file, len).from(offset));
    assert_eq!(from(3, 4).await.unwrap(), 4);
    assert_eq!(from(10, 4).await.unwrap(), 0);
    let (read, bytes) = Op::on(&drain, op::Read::new([0; 8])).await;
    assert_eq!(&bytes[..read.unwrap()], b"3456");

    // Into the file at an offset; then the end of a pipe.
    Op::on(&output, op::WriteAll::new(*b"ab")).await.0.unwrap();
    let to = Op::on(&file, op::Splice::new(&drain, 64).to(1));
    assert_eq!(to.await.unwrap(), 2);
    let (_, bytes) = Op::on(&file, op::Read::at([0; 4], 0)).await;
    assert_eq!(&bytes, b"0ab3");
    output.close().await.unwrap();
    let end = Op::on(&file, op::Splice::new(&drain, 64).to(0));
    assert_eq!(end.await.unwrap(), 0);
}

fn tempfile() -> std::fs::File {
    let name = format!("two-{:?}", thread::current().id());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path);
    std::fs::remove_file(path).unwrap();
    file.unwrap()
}

async fn b14_a_tee_leaves_the_bytes_where_they_were(_: Ring) {
    let (input, feed) = pipe();
    let (drain, output) = pipe();
    Op::on(&feed, op::WriteAll::new(*b"twice")).await.0.unwrap();
    let tee = Op::on(&output, op::Tee::new(&input, 64));
    assert_eq!(tee.await.unwrap(), 5);
    for end in [input, drain] {
        let (read, bytes) = Op::on(&end, op::Read::new([0; 8])).await;
        assert_eq!(&bytes[..read.unwrap()], b"twice");
    }
}

fn b18_a_close_of_the_input_from_another_thread_ends_a_splice(ring: Ring) {
    let (input, _feed) = pipe();
    let (_drain, output) = pipe();
    let input = std::sync::Arc::new(input);
    let (begin, begun) = mpsc::channel();
    let closer = thread::spawn({
        let input = input.clone();
        move || {
            begun.recv().unwrap();
            drop(input.close());
        }
    });
    ring.runtime().block_on(async {
        let splice = blocked(&input, &output).await;
        begin.send(()).unwrap();
        assert!(is_cancelled(&splice.await.unwrap_err()));
        input.close().await.unwrap();
    });
    closer.join().unwrap();
}

async fn contending_splices_all_get_their_turn(_: Ring) {
    let (a, a_peer) = socket_pair();
    let (b, b_peer) = socket_pair();
    let (drain, feed) = pipe();
    for round in 0..20 {
        // Both lanes of the pipe and one of a socket each, all contended.
        let mut ops: Vec<Op<op::Splice>> = Vec::new();
        for n in 0..4 {
            ops.push(if (n + round) % 2 == 0 {
                Op::on(&feed, op::Splice::new(&a, 1))
            } else {
                Op::on(&b, op::Splice::new(&drain, 1))
            });
        }
        let tasks: Vec<_> = ops.into_iter().map(runtime::spawn).collect();
        let (sent, _) = Op::on(&a_peer, op::SendAll::new(*b"xy")).await;
        sent.unwrap();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), 1);
        }
        let (got, bytes) = Op::on(&b_peer, op::RecvExact::new([0; 2])).await;
        got.unwrap();
        assert_eq!(&bytes, b"xy");
    }
}

async fn a_splice_keeps_its_place_among_reads_and_writes(_: Ring) {
    let (input, feed) = pipe();
    let (drain, output) = pipe();
    let mut first = Op::on(&input, op::Read::new([0; 1]));
    assert!(poll_now(&mut first).await.is_pending());
    let mut splice = Op::on(&output, op::Splice::new(&input, 1));
    assert!(poll_now(&mut splice).await.is_pending());
    let mut third = Op::on(&input, op::Read::new([0; 1]));
    assert!(poll_now(&mut third).await.is_pending());
    Op::on(&feed, op::WriteAll::new(*b"123")).await.0.unwrap();
    assert_eq!(first.await.1, *b"1");
    assert_eq!(splice.await.unwrap(), 1);
    assert_eq!(third.await.1, *b"3");
    assert_eq!(Op::on(&drain, op::Read::new([0; 1])).await.1, *b"2");
}

async fn a_queued_splice_ends_when_the_descriptor_it_does_not_queue_at_is_closed(_: Ring) {
    // Whichever of the two comes first in the order of descriptors.
    for busy_input in [true, false] {
        let (input, _feed) = pipe();
        let (_drain, output) = pipe();
        let busy = if busy_input {
            let mut read = Op::on(&input, op::Read::new([0; 1]));
            assert!(poll_now(&mut read).await.is_pending());
            runtime::spawn(async move { drop(read.await) })
        } else {
            let mut write = Op::on(&output, op::WriteAll::new(vec![0; 1 << 20]));
            assert!(poll_now(&mut write).await.is_pending());
            runtime::spawn(async move { drop(write.await) })
        };
        let splice = runtime::spawn(Op::on(&output, op::Splice::new(&input, 64)));
        runtime::yield_now().await;
        let other = if busy_input { &output } else { &input };
        other.close().await.unwrap();
        let error = within_a_turn(splice).await.unwrap().unwrap_err();
        assert!(is_cancelled(&error), "{error}");
        drop((input, output));
        busy.await.unwrap();
    }
}

async fn a_dropped_queued_splice_gives_its_lanes_back(_: Ring) {
    for busy_input in [true, false] {
        let (input, feed) = pipe();
        let (drain, output) = pipe();
        let ahead = blocked(&input, &output).await;
        let mut queued = Op::on(&output, op::Splice::new(&input, 64));
        assert!(poll_now(&mut queued).await.is_pending());
        Op::on(&feed, op::WriteAll::new(*b"x")).await.0.unwrap();
        assert_eq!(ahead.await.unwrap(), 1);
        // Handed a lane at the latest now, perhaps with the other still to take.
        drop(queued);
        if busy_input {
            Op::on(&feed, op::WriteAll::new(*b"y")).await.0.unwrap();
            assert_eq!(Op::on(&input, op::Read::new([0; 4])).await.0.unwrap(), 1);
        } else {
            let (written, _) = Op::on(&output, op::Write::new(*b"y")).await;
            assert_eq!(written.unwrap(), 1);
            assert_eq!(Op::on(&drain, op::Read::new([0; 4])).await.0.unwrap(), 2);
        }
    }
}

async fn a_splice_dropped_with_one_lane_of_two_gives_it_back(_: Ring) {
    let (input, _feed) = pipe();
    let (drain, output) = pipe();
    let mut read = Op::on(&input, op::Read::new([0; 1]));
    assert!(poll_now(&mut read).await.is_pending());
    // It has the output's lane, and queues for the input's.
    let mut splice = Op::on(&output, op::Splice::new(&input, 64));
    assert!(poll_now(&mut splice).await.is_pending());
    let write = runtime::spawn(Op::on(&output, op::Write::new(*b"y")));
    runtime::yield_now().await;
    assert!(!write.is_finished());
    drop(splice);
    assert_eq!(write.await.unwrap().0.unwrap(), 1);
    assert_eq!(Op::on(&drain, op::Read::new([0; 4])).await.0.unwrap(), 1);
}

async fn a_splice_past_kept_bytes_is_refused(_: Ring) {
    let (input, feed) = pipe();
    let (_drain, output) = pipe();
    let mut dropped = Op::on(&input, op::Read::new([0; 4]));
    assert!(poll_now(&mut dropped).await.is_pending());
    submitted().await;
    drop(dropped);
    Op::on(&feed, op::WriteAll::new(*b"kept")).await.0.unwrap();
    until(|| input.has_kept()).await;
    let error = Op::on(&output, op::Splice::new(&input, 64))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(Op::on(&input, op::Read::new([0; 4])).await.1, *b"kept");
    assert!(!input.has_kept());
    Op::on(&feed, op::WriteAll::new(*b"more")).await.0.unwrap();
    assert_eq!(
        Op::on(&output, op::Splice::new(&input, 64)).await.unwrap(),
        4
    );
}

async fn a_splice_is_a_member_of_a_chain(_: Ring) {
    let (input, feed) = pipe();
    let (drain, output) = pipe();
    let splice = |len| Op::on(&output, op::Splice::new(&input, len));
    let chained = runtime::chain((
        Op::on(&input, op::PollAdd::new(op::Events::READ)),
        splice(64),
    ));
    let task = runtime::spawn(chained);
    Op::on(&feed, op::WriteAll::new(*b"linked"))
        .await
        .0
        .unwrap();
    let (ready, moved) = task.await.unwrap();
    assert!(ready.unwrap().contains(op::Events::READ));
    assert_eq!(moved.unwrap(), 6);
    // Two members share both lanes; a third closes the output after them.
    Op::on(&feed, op::WriteAll::new(*b"ab")).await.0.unwrap();
    let chained = runtime::chain((splice(1), splice(1), op::CloseFd::of(&output)));
    let (a, b, close) = chained.await;
    assert_eq!((a.unwrap(), b.unwrap()), (1, 1));
    close.unwrap();
    assert!(output.is_closed());
    let (read, bytes) = Op::on(&drain, op::Read::new([0; 16])).await;
    assert_eq!(&bytes[..read.unwrap()], b"linkedab");
}
