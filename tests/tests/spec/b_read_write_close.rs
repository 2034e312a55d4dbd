//! Section B: read, write and close.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, ErrorKind, Read as _, Seek, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use annulet_tests::{
    Ring, closed_elsewhere, fds, metrics, pipe, poll_now, skip, socket_pair, spec, submitted,
    until, within_a_turn,
};
use runtime::fs::{PipeReader, PipeWriter};
use runtime::net::{TcpListener, TcpStream, UnixStream};
use runtime::{CancelReport, CancelToken, Fd, Op, Partial, is_cancelled, op};
use rustix::fs::{CWD, Mode, mkfifoat};

spec! {
    async b1_closing_a_pipe_ends_a_blocked_read_within_a_turn;
    async b2_closing_a_pipe_ends_a_blocked_write_within_a_turn;
    async b3_closing_a_socket_ends_both_directions_and_then_resolves;
    alone async b4_a_close_with_nothing_in_flight_closes;
    async b5_of_twenty_closes_one_closes_and_all_resolve;
    b5_so_it_is_with_closes_from_several_threads;
    async b5_a_close_ends_all_that_are_left_in_whatever_order_others_have_ended;
    async b6_an_operation_after_the_close_fails_before_any_io;
    alone async b7_a_close_touches_nothing_of_the_numbers_next_owner;
    alone async b8_dropping_a_handle_ends_what_is_in_flight_and_closes;
    alone async b8_a_stream_with_nothing_in_flight_is_closed_as_it_is_dropped;
    async b8_one_whose_close_may_block_is_left_to_the_ring;
    async b9_data_beside_a_deadline_is_never_lost;
    async b10_a_read_and_a_write_time_out_and_the_bytes_sent_are_told;
    async b11_of_a_deadline_and_a_cancel_one_ends_the_operation_and_says_so;
    async b12_a_read_dropped_a_thousand_times_loses_no_byte;
    async b13_a_closed_peer_is_the_end_for_ever;
    async b13_a_reset_is_told_once;
    async b13_a_reset_that_came_for_a_dropped_read_is_told_once;
    async b14_after_shutdown_the_peer_reads_the_end_and_reading_goes_on;
    alone async b15_cancelling_what_runs_on_a_kernel_worker_says_cancelled on kernel, plain, tiny;
    async b16_a_fifo_opened_at_both_ends_carries_all_and_blocks_nobody;
    async b16_the_blocked_opening_of_a_fifo_can_be_given_up;
    async b17_reads_and_writes_of_a_file_are_preads_and_reads;
    async b17_a_file_reads_and_writes_at_offsets_beside_its_cursor;
    b18_a_close_from_another_thread_ends_the_read_here;
    b18_so_does_one_from_a_thread_with_a_ring_of_its_own;
    b19_a_descriptor_idle_here_works_on_another_threads_ring;
    b19_and_when_the_first_ring_is_gone;
    async b20_a_listener_and_a_stream_become_stds_and_come_back;
    async b20_a_pipe_and_a_file_become_stds_and_come_back;
    async b20_an_open_file_becomes_stds_and_comes_back_with_its_cursor;
    async b0_what_a_pipe_has_ready_is_read_and_written_without_the_ring on kernel, tiny, poll;
    async b0_what_it_has_not_the_ring_waits_for;
    async b0_the_end_and_a_missing_reader_are_told_as_ever;
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await;
    let (server, _) = listener.accept().await.unwrap();
    (client.unwrap(), server)
}

/// A path in the target directory, removed in the end.
struct TargetPath(PathBuf);

impl TargetPath {
    fn new(ring: Ring, name: &str) -> TargetPath {
        let name = format!("{name}-{}-{}", ring.name, std::process::id());
        TargetPath(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for TargetPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn b1_closing_a_pipe_ends_a_blocked_read_within_a_turn(_: Ring) {
    let (reader, _writer) = runtime::fs::pipe().unwrap();
    let mut read = reader.read(vec![0; 8]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    let closed = closed_elsewhere(move || reader.close()).await;
    let error = within_a_turn(read).await.0.unwrap_err();
    assert!(is_cancelled(&error), "{error}");
    closed.await.unwrap().unwrap();
}

async fn b2_closing_a_pipe_ends_a_blocked_write_within_a_turn(_: Ring) {
    let (reader, writer) = runtime::fs::pipe().unwrap();
    let filled = writer.write(vec![1; 1 << 20]).await.0.unwrap();
    let mut write = writer.write(vec![2; 1 << 20]);
    assert!(poll_now(&mut write).await.is_pending());
    submitted().await;
    let closed = closed_elsewhere(move || writer.close()).await;
    let error = within_a_turn(write).await.0.unwrap_err();
    assert!(is_cancelled(&error), "{error}");
    closed.await.unwrap().unwrap();
    let (read, bytes) = reader.read_exact(vec![0; filled]).await;
    read.unwrap();
    assert!(bytes.iter().all(|byte| *byte == 1));
    assert_eq!(reader.read([0; 8]).await.0.unwrap(), 0);
}

async fn b3_closing_a_socket_ends_both_directions_and_then_resolves(_: Ring) {
    let (ours, _theirs) = socket_pair();
    let ours = Rc::new(ours);
    let full = Op::on(&ours, op::SendAll::new(vec![0; 8 << 20])).timeout(Duration::from_millis(1));
    assert_eq!(full.await.0.unwrap_err().kind(), ErrorKind::TimedOut);
    let ended = Rc::new(RefCell::new(Vec::new()));
    let waiting = metrics().in_flight;
    let recv = runtime::spawn({
        let (ours, ended) = (ours.clone(), ended.clone());
        async move {
            let error = Op::on(&ours, op::Recv::new([0; 8])).await.0.unwrap_err();
            ended.borrow_mut().push("recv");
            error
        }
    });
    let send = runtime::spawn({
        let (ours, ended) = (ours.clone(), ended.clone());
        async move {
            let error = Op::on(&ours, op::Send::new([0; 8])).await.0.unwrap_err();
            ended.borrow_mut().push("send");
            error
        }
    });
    until(|| metrics().in_flight == waiting + 2).await;
    submitted().await;
    let closed = {
        let (ours, ended) = (ours.clone(), ended.clone());
        closed_elsewhere(move || {
            let close = ours.close();
            async move {
                close.await.unwrap();
                ended.borrow_mut().push("close");
            }
        })
    };
    closed.await.await.unwrap();
    for error in [recv.await.unwrap(), send.await.unwrap()] {
        assert!(is_cancelled(&error), "{error}");
    }
    let ended = ended.borrow();
    assert_eq!((ended.len(), ended[2]), (3, "close"), "{ended:?}");
}

async fn b4_a_close_with_nothing_in_flight_closes(_: Ring) {
    let before = fds();
    for round in 0..10 {
        let (ours, theirs) = socket_pair();
        if round % 2 == 0 {
            // Used, and idle again.
            assert_eq!(Op::on(&theirs, op::Send::new([1; 2])).await.0.unwrap(), 2);
            assert_eq!(Op::on(&ours, op::Recv::new([0; 8])).await.0.unwrap(), 2);
        }
        ours.close().await.unwrap();
        let read = within_a_turn(Op::on(&theirs, op::Recv::new([0; 8]))).await;
        assert_eq!(read.0.unwrap(), 0);
        theirs.close().await.unwrap();
        assert_eq!(fds(), before);
    }
}

async fn b5_of_twenty_closes_one_closes_and_all_resolve(_: Ring) {
    let (ours, theirs) = socket_pair();
    let ours = Rc::new(ours);
    let mut recv = Op::on(&ours, op::Recv::new([0; 8]));
    assert!(poll_now(&mut recv).await.is_pending());
    submitted().await;
    let before = metrics();
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let ours = ours.clone();
            runtime::spawn(async move {
                ours.close().await.unwrap();
                ours.close().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let after = metrics();
    assert_eq!(
        (after.cancels - before.cancels, after.staged - before.staged),
        (1, 2),
        "one cancel and one close, and nothing else"
    );
    assert!(is_cancelled(&recv.await.0.unwrap_err()));
    assert_eq!(Op::on(&theirs, op::Recv::new([0; 8])).await.0.unwrap(), 0);
    // All of them dropped but the first call.
    let closes: Vec<_> = (0..20).map(|_| theirs.close()).collect();
    drop(closes);
    theirs.close().await.unwrap();
}

fn b5_so_it_is_with_closes_from_several_threads(ring: Ring) {
    for _ in 0..20 {
        let (ours, theirs) = socket_pair();
        let ours = Arc::new(ours);
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let ours = ours.clone();
                thread::spawn(move || {
                    ring.runtime().block_on(async {
                        let mut recv = Op::on(&ours, op::Recv::new([0; 8]));
                        if n % 2 == 0 {
                            // Closed by another already, or ended by it, or by us.
                            let _ = poll_now(&mut recv).await;
                        }
                        ours.close().await.unwrap();
                        ours.close().await.unwrap();
                    });
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        // Waits: the fork by which another test starts its process holds a copy for a moment.
        let end = rustix::net::recv(&theirs, &mut [0; 8], rustix::net::RecvFlags::empty());
        assert_eq!(end.unwrap().0, 0);
    }
}

async fn b5_a_close_ends_all_that_are_left_in_whatever_order_others_have_ended(_: Ring) {
    /// Four that wait for what does not come.
    async fn waits(fd: &Fd) -> Vec<(Op<op::PollAdd>, CancelToken)> {
        let mut waits = Vec::new();
        for _ in 0..4 {
            let token = CancelToken::new();
            let mut wait = Op::on(fd, op::PollAdd::new(op::Events::READ)).cancel_with(&token);
            assert!(poll_now(&mut wait).await.is_pending());
            waits.push((wait, token));
        }
        submitted().await;
        waits
    }
    for (first, second) in (0..4).flat_map(|a| (0..3).map(move |b| (a, b))) {
        let ((ours, _theirs), (other, _peer)) = (socket_pair(), socket_pair());
        let mut left = waits(&ours).await;
        for ends in [first, second] {
            let (wait, token) = left.remove(ends);
            token.cancel();
            assert!(is_cancelled(&wait.await.unwrap_err()));
        }
        // These come to be where those were.
        let mut others = waits(&other).await;
        let close = ours.close();
        for (wait, _) in left {
            assert!(is_cancelled(&within_a_turn(wait).await.unwrap_err()));
        }
        close.await.unwrap();
        for (wait, _) in &mut others {
            assert!(poll_now(wait).await.is_pending(), "it was not to end");
        }
        let close = other.close();
        for (wait, _) in others {
            assert!(is_cancelled(&wait.await.unwrap_err()));
        }
        close.await.unwrap();
    }
}

async fn b6_an_operation_after_the_close_fails_before_any_io(_: Ring) {
    let (ours, _theirs) = socket_pair();
    let closing = ours.close();
    let before = metrics().staged;
    let mut errors = vec![
        within_a_turn(Op::on(&ours, op::Recv::new([0; 8])))
            .await
            .0
            .unwrap_err(),
    ];
    assert_eq!(metrics().staged, before, "while it closes");
    closing.await.unwrap();
    let before = metrics().staged;
    errors.push(Op::on(&ours, op::Send::new([0; 8])).await.0.unwrap_err());
    errors.push(Op::on(&ours, op::Read::at([0; 8], 0)).await.0.unwrap_err());
    errors.push(Op::on(&ours, op::SendAll::new([0; 8])).await.0.unwrap_err());
    errors.push(Op::on(&ours, op::Accept::new()).await.unwrap_err());
    errors.push(
        Op::on(&ours, op::SendAll::new(Vec::new()))
            .await
            .0
            .unwrap_err(),
    );
    let chained = runtime::chain((
        Op::new(op::Nop::new()),
        Op::on(&ours, op::Send::new([0; 8])),
    ));
    let (nop, send) = chained.await;
    assert!(is_cancelled(&nop.unwrap_err()));
    errors.push(send.0.unwrap_err());
    assert_eq!(metrics().staged, before);
    for error in errors {
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
    }
}

async fn b7_a_close_touches_nothing_of_the_numbers_next_owner(_: Ring) {
    let (mut old, mut old_writer) = pipe();
    let number = old.as_raw_fd();
    for round in 0..50u8 {
        let mut read = Op::on(&old, op::Read::new([0; 8]));
        assert!(poll_now(&mut read).await.is_pending());
        if round % 2 == 0 {
            submitted().await;
        }
        let closing = old.close();
        assert!(is_cancelled(&read.await.0.unwrap_err()));
        closing.await.unwrap();
        let (reader, writer) = pipe();
        assert_eq!(reader.as_raw_fd(), number, "the number is not used again");
        let mut read = Op::on(&reader, op::Read::new([0; 8]));
        assert!(poll_now(&mut read).await.is_pending());
        // The old handle does nothing to it either.
        old.close().await.unwrap();
        drop(old);
        for _ in 0..3 {
            submitted().await;
            assert!(poll_now(&mut read).await.is_pending());
        }
        assert_eq!(
            Op::on(&writer, op::Write::new([round; 3])).await.0.unwrap(),
            3
        );
        let (got, bytes) = read.await;
        assert_eq!((got.unwrap(), bytes[2]), (3, round));
        old_writer.close().await.unwrap();
        (old, old_writer) = (reader, writer);
    }
}

async fn b8_dropping_a_handle_ends_what_is_in_flight_and_closes(_: Ring) {
    let before = fds();
    let (ours, theirs) = socket_pair();
    let mut recv = Op::on(&ours, op::Recv::new([0; 8]));
    let mut second = Op::on(&ours, op::Recv::new([0; 8]));
    assert!(poll_now(&mut recv).await.is_pending());
    assert!(poll_now(&mut second).await.is_pending());
    submitted().await;
    drop(ours);
    assert!(is_cancelled(&within_a_turn(recv).await.0.unwrap_err()));
    assert!(is_cancelled(&second.await.0.unwrap_err()));
    let end = Op::on(&theirs, op::Recv::new([0; 8])).await.0.unwrap();
    assert_eq!(end, 0);
    theirs.close().await.unwrap();

    let (client, server) = tcp_pair().await;
    let mut read = client.read([0; 8]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    // The future goes first: its read would run on, for the handle.
    drop(read);
    drop(client);
    assert_eq!(server.read([0; 8]).await.0.unwrap(), 0);
    server.close().await.unwrap();
    // The listener that `tcp_pair` dropped.
    until(|| metrics().in_flight == 0).await;
    assert_eq!(fds(), before);
}

async fn b8_a_stream_with_nothing_in_flight_is_closed_as_it_is_dropped(_: Ring) {
    let before = fds();
    let (client, server) = tcp_pair().await;
    // The listener that `tcp_pair` dropped.
    until(|| metrics().in_flight == 0).await;
    server.write_all([7; 8]).await.0.unwrap();
    client.read_exact([0; 8]).await.0.unwrap();
    let (one, two) = UnixStream::pair().unwrap();
    let staged = metrics().staged;
    drop(client);
    drop(server);
    drop((one, two));
    assert_eq!(fds(), before);
    assert_eq!(metrics().staged, staged);
}

async fn b8_one_whose_close_may_block_is_left_to_the_ring(_: Ring) {
    let (client, server) = tcp_pair().await;
    until(|| metrics().in_flight == 0).await;
    let staged = metrics().staged;
    server.set_linger(Some(Duration::from_secs(1))).unwrap();
    let mut close = server.close();
    assert!(poll_now(&mut close).await.is_pending());
    assert_eq!(metrics().staged, staged + 1);
    close.await.unwrap();
    assert_eq!(client.read([0; 8]).await.0.unwrap(), 0);
}

async fn b9_data_beside_a_deadline_is_never_lost(_: Ring) {
    let (ours, theirs) = socket_pair();
    for n in 0..2000u32 {
        let sent = Op::on(&theirs, op::SendAll::new(n.to_ne_bytes())).await;
        sent.0.unwrap();
        let limit = Duration::from_nanos(100);
        let bytes = if n % 2 == 0 {
            let (got, bytes) = Op::on(&ours, op::Recv::new([0; 4])).timeout(limit).await;
            got.map(|count| (count, bytes))
        } else {
            let (got, bytes) = Op::on(&ours, op::RecvExact::new([0; 4]))
                .timeout(limit)
                .await;
            got.map(|()| (4, bytes))
        };
        let (count, bytes) = match bytes {
            Ok(all) => all,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert_eq!(Partial::of(&error), 0);
                let (got, bytes) = within_a_turn(Op::on(&ours, op::Recv::new([0; 4]))).await;
                (got.unwrap(), bytes)
            }
        };
        assert_eq!((count, u32::from_ne_bytes(bytes)), (4, n));
    }
}

async fn b10_a_read_and_a_write_time_out_and_the_bytes_sent_are_told(_: Ring) {
    let limit = Duration::from_millis(5);
    let (ours, theirs) = socket_pair();
    let begun = Instant::now();
    let (got, _) = Op::on(&ours, op::Recv::new([0; 8])).timeout(limit).await;
    assert_eq!(got.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(begun.elapsed() >= limit, "early");
    let all = Op::on(&ours, op::SendAll::new(vec![7; 8 << 20])).timeout(limit);
    let error = all.await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let mut sent = Partial::of(&error);
    assert!(sent > 0 && sent < 8 << 20);
    // The socket is full: none goes, and that is told, too.
    let none = Op::on(&ours, op::SendAll::new(vec![7; 8])).timeout(limit);
    let error = none.await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    sent += Partial::of(&error);
    let plain = Op::on(&ours, op::Send::new(vec![7; 8 << 20])).timeout(limit);
    match plain.await.0 {
        Ok(more) => sent += more,
        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
    }
    ours.close().await.unwrap();
    let mut received = 0;
    loop {
        let (got, bytes) = Op::on(&theirs, op::Recv::new(vec![0; 1 << 20])).await;
        assert!(bytes.iter().all(|byte| *byte == 7));
        match got.unwrap() {
            0 => break,
            count => received += count,
        }
    }
    assert_eq!(received, sent);
}

async fn b11_of_a_deadline_and_a_cancel_one_ends_the_operation_and_says_so(_: Ring) {
    let (ours, _theirs) = socket_pair();
    let (mut timed_out, mut cancelled) = (0, 0);
    for n in 0..1000u64 {
        let limit = match n % 10 {
            0 => Duration::ZERO,
            1 => Duration::from_secs(3600),
            _ => Duration::from_micros(n % 97),
        };
        let token = CancelToken::new();
        let recv = Op::on(&ours, op::Recv::new([0; 8]));
        let mut recv = recv.timeout(limit).cancel_with(&token);
        let begun = Instant::now();
        assert!(poll_now(&mut recv).await.is_pending());
        for _ in 0..n % 4 {
            submitted().await;
        }
        let report = token.cancel().await;
        let Poll::Ready((got, _)) = poll_now(&mut recv).await else {
            panic!("the token has said that it ended")
        };
        let error = got.unwrap_err();
        if is_cancelled(&error) {
            assert_ne!(n % 10 + n % 4, 0, "its time was over before");
            assert_eq!(
                report,
                CancelReport {
                    cancelled: 1,
                    ..report
                }
            );
            assert_eq!(report.completed, 0);
            cancelled += 1;
        } else {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_ne!(n % 10, 1, "an hour is not over");
            assert!(begun.elapsed() >= limit, "early");
            assert_eq!(report.cancelled, 0, "it timed out");
            timed_out += 1;
        }
        until(|| metrics().in_flight == 0).await;
        assert_eq!(metrics().live, 0);
    }
    assert!(timed_out > 0 && cancelled > 0, "{timed_out}, {cancelled}");
}

/// Polls `read` a few times, with other tasks' turns in between, then drops it, as `select!` does.
async fn or_give_up<T>(read: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut read = pin!(read);
    for poll in 0..polls {
        if let Poll::Ready(done) = poll_now(&mut read).await {
            return Some(done);
        }
        if poll % 2 == 0 {
            runtime::yield_now().await;
        } else {
            submitted().await;
        }
    }
    None
}

async fn b12_a_read_dropped_a_thousand_times_loses_no_byte(_: Ring) {
    const DROPS: usize = 1000;
    let (ours, theirs) = tcp_pair().await;
    let drops = Rc::new(Cell::new(0));
    let dropped = drops.clone();
    let sender = runtime::spawn(async move {
        let mut next = 0u8;
        for chunk in 0..DROPS {
            // As slow as the reader is impatient.
            until(|| dropped.get() >= chunk).await;
            let bytes: Vec<u8> = (0..chunk % 7 + 1)
                .map(|n| next.wrapping_add(n as u8))
                .collect();
            next = next.wrapping_add(bytes.len() as u8);
            theirs.write_all(bytes).await.0.unwrap();
        }
        until(|| dropped.get() >= DROPS).await;
    });
    let mut next = 0u8;
    let mut check = |bytes: &[u8]| {
        for byte in bytes {
            assert_eq!(*byte, next);
            next = next.wrapping_add(1);
        }
    };
    let mut total = 0;
    for round in 0usize.. {
        let polls = round % 4 + 1;
        // Read, and `None` if it was given up.
        let read = match round % 3 {
            0 => {
                let read = or_give_up(ours.read(vec![0; round % 5 + 1]), polls).await;
                read.map(|(got, bytes)| got.map(|n| bytes[..n].to_vec()))
            }
            1 => {
                let vecs = (vec![0; 2], vec![0; 3]);
                let read = or_give_up(ours.read_vectored(vecs), polls).await;
                read.map(|(got, (one, two))| got.map(|n| [one, two].concat()[..n].to_vec()))
            }
            _ => {
                let read = or_give_up(ours.read_exact(vec![0; 4]), polls).await;
                read.map(|(got, bytes)| match got {
                    Ok(()) => Ok(bytes),
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        Ok(bytes[..Partial::of(&error)].to_vec())
                    }
                    Err(error) => Err(error),
                })
            }
        };
        match read {
            None => drops.set(drops.get() + 1),
            Some(bytes) => {
                let bytes = bytes.unwrap();
                check(&bytes);
                total += bytes.len();
                if bytes.is_empty() {
                    break;
                }
            }
        }
    }
    sender.await.unwrap();
    assert_eq!(total, (0..DROPS).map(|chunk| chunk % 7 + 1).sum::<usize>());
}

async fn b13_a_closed_peer_is_the_end_for_ever(_: Ring) {
    let (client, server) = tcp_pair().await;
    let (reader, writer) = runtime::fs::pipe().unwrap();
    server.write_all(b"last").await.0.unwrap();
    writer.write_all(b"last").await.0.unwrap();
    let (mut read, mut piped) = (client.read([0; 8]), reader.read([0; 8]));
    // One whose future is gone when the end comes.
    assert!(poll_now(&mut read).await.is_pending());
    assert!(poll_now(&mut piped).await.is_pending());
    server.close().await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(read.await.0.unwrap(), 4);
    assert_eq!(piped.await.0.unwrap(), 4);
    for round in 0..5 {
        if round == 2 {
            let mut read = client.read([0; 8]);
            assert!(poll_now(&mut read).await.is_pending());
            submitted().await;
            drop(read);
        }
        assert_eq!(client.read([0; 8]).await.0.unwrap(), 0);
        assert_eq!(reader.read([0; 8]).await.0.unwrap(), 0);
        let (got, _) = client.read_exact([0; 8]).await;
        assert_eq!(got.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(client.read_vectored([[0; 4]; 2]).await.0.unwrap(), 0);
    }
}

async fn reset(stream: TcpStream) {
    stream.set_linger(Some(Duration::ZERO)).unwrap();
    stream.close().await.unwrap();
}

async fn b13_a_reset_is_told_once(_: Ring) {
    let (client, server) = tcp_pair().await;
    let mut read = client.read([0; 8]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    reset(server).await;
    assert_eq!(read.await.0.unwrap_err().kind(), ErrorKind::ConnectionReset);
    for _ in 0..3 {
        assert_eq!(client.read([0; 8]).await.0.unwrap(), 0);
    }
    let error = client.write([0; 8]).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

async fn b13_a_reset_that_came_for_a_dropped_read_is_told_once(_: Ring) {
    let (client, server) = tcp_pair().await;
    let mut read = client.read([0; 8]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    drop(read);
    reset(server).await;
    let error = client.read([0; 8]).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    for _ in 0..3 {
        assert_eq!(client.read([0; 8]).await.0.unwrap(), 0);
    }
}

async fn b14_after_shutdown_the_peer_reads_the_end_and_reading_goes_on(_: Ring) {
    let (client, server) = tcp_pair().await;
    let mut read = client.read([0; 8]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    client.write_all(b"request").await.0.unwrap();
    client.shutdown(Shutdown::Write).await.unwrap();
    server.read_exact([0; 7]).await.0.unwrap();
    assert_eq!(server.read([0; 8]).await.0.unwrap(), 0);
    assert!(poll_now(&mut read).await.is_pending());
    server.write_all(b"answer").await.0.unwrap();
    assert_eq!(read.await.0.unwrap(), 6);
    server.write_all(b"more").await.0.unwrap();
    assert_eq!(client.read([0; 8]).await.0.unwrap(), 4);
    let error = client.write([0; 8]).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn fifo(ring: Ring, name: &str) -> TargetPath {
    let path = TargetPath::new(ring, name);
    mkfifoat(CWD, &path.0, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

/// The opening of one end of a FIFO, which waits for the other.
fn open(path: &Path, flags: i32) -> Op<op::OpenAt> {
    Op::new(op::OpenAt::new(path, flags, 0).unwrap().may_block())
}

/// Whether a worker of the kernel's waits in this process for the other end of a FIFO; `None` where none can be seen.
fn worker_waits() -> Option<bool> {
    let mut waits = false;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let path = task.ok()?.path();
        // One that has just ended has neither file any more.
        let read = |name| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        if read("comm").starts_with("iou-wrk") {
            let place = read("wchan");
            waits |= place.contains("wait_for_partner");
            // A kernel that does not tell has no name for any place.
            if place == "0" && read("stat").contains(") S ") {
                return None;
            }
        }
    }
    Some(waits)
}

async fn b15_cancelling_what_runs_on_a_kernel_worker_says_cancelled(ring: Ring) {
    let path = fifo(ring, "b15");
    for flags in [libc::O_RDONLY, libc::O_WRONLY] {
        // Before the kernel has it, before the worker has it, and when that waits.
        for stage in 0..3 {
            let token = CancelToken::new();
            let mut open = open(&path.0, flags).cancel_with(&token);
            assert!(poll_now(&mut open).await.is_pending());
            if stage > 0 {
                submitted().await;
            }
            if stage > 1 {
                until(|| worker_waits() != Some(false)).await;
                if worker_waits().is_none() {
                    return skip("this kernel does not tell where its workers wait");
                }
            }
            let report = token.cancel().await;
            assert_eq!((report.cancelled, report.completed), (1, 0));
            let error = open.await.unwrap_err();
            assert!(is_cancelled(&error), "{error}");
        }
    }
    let limit = Duration::from_millis(5);
    let opening = open(&path.0, libc::O_RDONLY);
    assert!(runtime::time::timeout(limit, opening).await.is_err());
    until(|| metrics().in_flight == 0).await;
}

async fn b16_a_fifo_opened_at_both_ends_carries_all_and_blocks_nobody(ring: Ring) {
    const SIZE: usize = 5 * 1024;
    let path = fifo(ring, "b16");
    let mut reading = open(&path.0, libc::O_RDONLY);
    assert!(poll_now(&mut reading).await.is_pending());
    // The thread goes on meanwhile, with I/O of its own.
    for _ in 0..10 {
        submitted().await;
        assert!(poll_now(&mut reading).await.is_pending());
    }
    let writing = open(&path.0, libc::O_WRONLY);
    let (writer, reader) = (writing.await.unwrap(), reading.await.unwrap());
    let (writer, reader) = (Fd::new(writer), Fd::new(reader));
    let written = runtime::spawn(async move {
        for n in 0..64u8 {
            let all = op::WriteAll::new(vec![n; SIZE]);
            Op::on(&writer, all).await.0.unwrap();
        }
    });
    for n in 0..64 {
        let (got, bytes) = Op::on(&reader, op::ReadExact::new(vec![0; SIZE])).await;
        got.unwrap();
        assert!(bytes.iter().all(|byte| *byte == n));
    }
    written.await.unwrap();
    let end = Op::on(&reader, op::Read::new([0; 8])).await.0.unwrap();
    assert_eq!(end, 0);
}

async fn b16_the_blocked_opening_of_a_fifo_can_be_given_up(ring: Ring) {
    let path = fifo(ring, "b16-dropped");
    for _ in 0..10 {
        let mut reading = open(&path.0, libc::O_RDONLY);
        assert!(poll_now(&mut reading).await.is_pending());
        submitted().await;
        drop(reading);
        until(|| metrics().in_flight == 0).await;
        assert_eq!(metrics().live, 0);
    }
    // Nobody is there to read, once the last worker has come back.
    let flags = libc::O_WRONLY | libc::O_NONBLOCK;
    loop {
        match open(&path.0, flags).await {
            Ok(at_a_worker) => drop(at_a_worker),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
                break;
            }
        }
    }
}

async fn b17_reads_and_writes_of_a_file_are_preads_and_reads(ring: Ring) {
    let path = TargetPath::new(ring, "b17");
    let content: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&path.0, &content).unwrap();
    let open = op::OpenAt::new(&path.0, libc::O_RDWR, 0).unwrap();
    let file = Fd::new(Op::new(open).await.unwrap());
    let mut std = std::fs::File::open(&path.0).unwrap();
    let (mut ours, mut theirs) = (Vec::new(), vec![0; 3000]);
    for offset in [0, 1, 4095, 19_990, 19_999, 20_000, 1 << 40] {
        let (got, bytes) = Op::on(&file, op::Read::at(vec![0; 3000], offset)).await;
        let expected = std.read_at(&mut theirs, offset).unwrap();
        assert_eq!((got.unwrap(), &bytes[..]), (expected, &theirs[..expected]));
    }
    // At the position, which reads at offsets have not moved; to the end, and no further.
    for size in [1, 4096, 7, 0x4000, 100, 100] {
        let (got, bytes) = Op::on(&file, op::Read::new(vec![0; size])).await;
        theirs.resize(size, 0);
        let expected = std.read(&mut theirs).unwrap();
        assert_eq!((got.unwrap(), &bytes[..]), (expected, &theirs[..expected]));
        ours.extend(bytes);
    }
    assert_eq!(ours, content);
    let (wrote, _) = Op::on(&file, op::Write::new(b"the end")).await;
    assert_eq!(wrote.unwrap(), 7);
    let (wrote, _) = Op::on(&file, op::Write::at(b"in the middle", 5000)).await;
    assert_eq!(wrote.unwrap(), 13);
    let (wrote, _) = Op::on(&file, op::WriteAll::new(b" of it")).await;
    wrote.unwrap();
    std.rewind().unwrap();
    let mut now = Vec::new();
    std.read_to_end(&mut now).unwrap();
    let mut expected = content;
    expected.extend(b"the end of it");
    expected[5000..5013].copy_from_slice(b"in the middle");
    assert_eq!(now, expected);
}

async fn b17_a_file_reads_and_writes_at_offsets_beside_its_cursor(ring: Ring) {
    let path = TargetPath::new(ring, "b17-file");
    let content: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&path.0, &content).unwrap();
    let file = runtime::fs::File::open(&path.0).await.unwrap();
    let (mut at_cursor, mut position) = (Vec::new(), 0);
    for (turn, size) in [1, 4096, 7, 0x4000, 100].into_iter().enumerate() {
        // Beside it, in any order, and dropped in between.
        let elsewhere = file.read_at(vec![0; size], 20_000 - size as u64);
        let mut dropped = file.read(vec![0; size]);
        assert!(poll_now(&mut dropped).await.is_pending());
        if turn % 2 == 0 {
            submitted().await;
        }
        drop(dropped);
        let (got, bytes) = elsewhere.await;
        assert_eq!(got.unwrap(), size);
        assert!(bytes == content[20_000 - size..]);
        let (got, bytes) = file.read(vec![0; size]).await;
        position += got.unwrap() as u64;
        assert_eq!(file.stream_position().await.unwrap(), position);
        at_cursor.extend(bytes);
    }
    assert!(at_cursor == content);
}

/// A read blocked here that `close`, elsewhere, ends.
fn ended_from_elsewhere(ring: Ring, close: fn(Ring, Arc<Fd>)) {
    ring.runtime().block_on(async {
        for round in 0..20 {
            let (ours, theirs) = socket_pair();
            let ours = Arc::new(ours);
            let mut recv = Op::on(&ours, op::Recv::new([0; 8]));
            assert!(poll_now(&mut recv).await.is_pending());
            if round % 2 == 0 {
                submitted().await;
            }
            let shared = ours.clone();
            let closer = thread::spawn(move || close(ring, shared));
            let error = recv.await.0.unwrap_err();
            assert!(is_cancelled(&error), "{error}");
            // Its close is done by the last one out: by us.
            until(|| closer.is_finished()).await;
            closer.join().unwrap();
            let end = Op::on(&theirs, op::Recv::new([0; 8])).await.0.unwrap();
            assert_eq!(end, 0);
        }
    });
}

fn b18_a_close_from_another_thread_ends_the_read_here(ring: Ring) {
    ended_from_elsewhere(ring, |_, fd| drop(fd.close()));
    // The handle's last holder, who has no ring.
    ring.runtime().block_on(async {
        let (ours, theirs) = socket_pair();
        let mut recv = Op::on(&ours, op::Recv::new([0; 8]));
        assert!(poll_now(&mut recv).await.is_pending());
        submitted().await;
        let dropper = thread::spawn(move || drop(ours));
        assert!(is_cancelled(&recv.await.0.unwrap_err()));
        dropper.join().unwrap();
        let end = Op::on(&theirs, op::Recv::new([0; 8])).await.0.unwrap();
        assert_eq!(end, 0);
    });
}

fn b18_so_does_one_from_a_thread_with_a_ring_of_its_own(ring: Ring) {
    ended_from_elsewhere(ring, |ring, fd| {
        ring.runtime().block_on(async {
            // In flight here, too, beside the one there.
            let mut poll = Op::on(&fd, op::PollAdd::new(op::Events::READ));
            assert!(poll_now(&mut poll).await.is_pending());
            submitted().await;
            let closing = fd.close();
            assert!(is_cancelled(&poll.await.unwrap_err()));
            closing.await.unwrap();
        });
    });
}

/// Sends from `theirs` and receives on `ours`, with a receive that has to wait.
async fn exchange(ours: &Fd, theirs: &Fd) {
    let mut recv = Op::on(ours, op::Recv::new([0; 8]));
    assert!(poll_now(&mut recv).await.is_pending());
    submitted().await;
    let sent = Op::on(theirs, op::Send::new(b"hello")).await.0.unwrap();
    assert_eq!(sent, 5);
    let (got, bytes) = recv.await;
    assert_eq!((got.unwrap(), &bytes[..5]), (5, &b"hello"[..]));
}

fn b19_a_descriptor_idle_here_works_on_another_threads_ring(ring: Ring) {
    let (ours, theirs) = socket_pair();
    let here = ring.runtime();
    for _ in 0..5 {
        here.block_on(exchange(&ours, &theirs));
        thread::scope(|scope| {
            scope.spawn(|| ring.runtime().block_on(exchange(&ours, &theirs)));
        });
    }
    // What a receive dropped there brings is for the next one, here.
    thread::scope(|scope| {
        scope.spawn(|| {
            ring.runtime().block_on(async {
                let mut recv = Op::on(&ours, op::Recv::new([0; 8]));
                assert!(poll_now(&mut recv).await.is_pending());
                drop(recv);
                let sent = Op::on(&theirs, op::Send::new(b"left")).await.0.unwrap();
                assert_eq!(sent, 4);
                until(|| metrics().in_flight == 0).await;
            });
        });
    });
    here.block_on(async {
        let (got, bytes) = Op::on(&ours, op::Recv::new([0; 8])).await;
        assert_eq!((got.unwrap(), &bytes[..4]), (4, &b"left"[..]));
        let closing = ours.close();
        closing.await.unwrap();
    });
}

fn b19_and_when_the_first_ring_is_gone(ring: Ring) {
    let (ours, theirs) = socket_pair();
    for _ in 0..5 {
        let runtime = ring.runtime();
        runtime.block_on(exchange(&ours, &theirs));
        // One in flight at its end.
        runtime.block_on(async {
            let mut recv = Op::on(&ours, op::Recv::new([0; 8]));
            assert!(poll_now(&mut recv).await.is_pending());
            submitted().await;
        });
        drop(runtime);
    }
    ring.runtime().block_on(async {
        exchange(&ours, &theirs).await;
        let mut recv = Op::on(&ours, op::Recv::new([0; 8]));
        assert!(poll_now(&mut recv).await.is_pending());
        submitted().await;
        let closing = ours.close();
        assert!(is_cancelled(&within_a_turn(recv).await.0.unwrap_err()));
        closing.await.unwrap();
    });
}

async fn b20_a_listener_and_a_stream_become_stds_and_come_back(_: Ring) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut blocked = listener.accept();
    assert!(poll_now(&mut blocked).await.is_pending());
    submitted().await;
    let listener = listener.into_std().await.unwrap();
    assert!(is_cancelled(&blocked.await.unwrap_err()));
    // Blocking calls, on a thread where they may block.
    let accepted = thread::spawn(move || (listener.accept().unwrap().0, listener));
    let client = TcpStream::connect(addr).await.unwrap();
    until(|| accepted.is_finished()).await;
    let (server, listener) = accepted.join().unwrap();

    let mut blocked = client.read([0; 8]);
    assert!(poll_now(&mut blocked).await.is_pending());
    submitted().await;
    let mut client = client.into_std().await.unwrap();
    assert!(is_cancelled(&blocked.await.0.unwrap_err()));
    let server = TcpStream::from_std(server).unwrap();
    let read = thread::spawn(move || {
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes).unwrap();
        client.write_all(b"thanks").unwrap();
        (client, bytes)
    });
    server.write_all(b"hello").await.0.unwrap();
    let (got, answer) = server.read_exact([0; 6]).await;
    got.unwrap();
    assert_eq!(&answer, b"thanks");
    let (client, bytes) = read.join().unwrap();
    assert_eq!(&bytes, b"hello");

    let listener = TcpListener::from_std(listener).unwrap();
    let second = TcpStream::connect(addr).await.unwrap();
    let (_server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, second.local_addr().unwrap());
    let client = TcpStream::from_std(client).unwrap();
    client.write_all(b"back").await.0.unwrap();
    assert_eq!(server.read([0; 8]).await.0.unwrap(), 4);
}

async fn b20_a_pipe_and_a_file_become_stds_and_come_back(ring: Ring) {
    let (reader, writer) = runtime::fs::pipe().unwrap();
    let mut blocked = reader.read([0; 8]);
    assert!(poll_now(&mut blocked).await.is_pending());
    submitted().await;
    let mut reader = reader.into_std().await.unwrap();
    assert!(is_cancelled(&blocked.await.0.unwrap_err()));
    let read = thread::spawn(move || {
        let mut bytes = [0; 5];
        reader.read_exact(&mut bytes).unwrap();
        (reader, bytes)
    });
    let mut writer = writer.into_std().await.unwrap();
    writer.write_all(b"hello").unwrap();
    let (reader, bytes) = read.join().unwrap();
    assert_eq!(&bytes, b"hello");
    let (reader, writer) = (
        PipeReader::from_std(reader).unwrap(),
        PipeWriter::from_std(writer).unwrap(),
    );
    writer.write_all(b"back").await.0.unwrap();
    assert_eq!(reader.read([0; 8]).await.0.unwrap(), 4);

    let path = TargetPath::new(ring, "b20");
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    let open = op::OpenAt::new(&path.0, flags, 0o600).unwrap();
    let file = Fd::new(Op::new(open).await.unwrap());
    Op::on(&file, op::WriteAll::new(b"ring")).await.0.unwrap();
    let (file, kept) = file.reclaim().await.unwrap();
    assert!(kept.is_empty());
    let mut file = std::fs::File::from(file);
    file.write_all(b" and std").unwrap();
    file.rewind().unwrap();
    let file = Fd::new(OwnedFd::from(file));
    let (got, bytes) = Op::on(&file, op::ReadExact::new([0; 12])).await;
    got.unwrap();
    assert_eq!(&bytes, b"ring and std");
    let gone = file.close().await;
    gone.unwrap();
    let again: io::Result<_> = file.reclaim().await;
    assert_eq!(again.unwrap_err().raw_os_error(), Some(libc::EBADF));
}

async fn b20_an_open_file_becomes_stds_and_comes_back_with_its_cursor(ring: Ring) {
    let path = TargetPath::new(ring, "b20-file");
    std::fs::write(&path.0, "0123456789").unwrap();
    let mut options = runtime::fs::File::options();
    let file = options.read(true).write(true).open(&path.0).await.unwrap();
    assert_eq!(file.read([0; 2]).await.1, *b"01");
    for submit in [false, true] {
        let mut dropped = file.read([0; 8]);
        assert!(poll_now(&mut dropped).await.is_pending());
        if submit {
            submitted().await;
        }
        drop(dropped);
    }
    let mut std = file.into_std().await.unwrap();
    let mut three = [0; 3];
    std.read_exact(&mut three).unwrap();
    assert_eq!(&three, b"234");
    std.write_all(b"std").unwrap();
    let file = runtime::fs::File::from_std(std).unwrap();
    assert_eq!(file.read([0; 8]).await.1[..2], *b"89");
    assert_eq!(std::fs::read(&path.0).unwrap(), b"01234std89");
}

/// A pipe that was seen ready at both ends: reads and writes are tried at once.
async fn seen_ready() -> (PipeReader, PipeWriter) {
    let (reader, writer) = runtime::fs::pipe().unwrap();
    writer.write_all([1; 4]).await.0.unwrap();
    reader.read_exact([0; 4]).await.0.unwrap();
    (reader, writer)
}

async fn b0_what_a_pipe_has_ready_is_read_and_written_without_the_ring(_: Ring) {
    let (reader, writer) = seen_ready().await;
    submitted().await;
    let before = metrics();
    for n in 1..20_u8 {
        let (wrote, _) = writer.write([n; 8]).await;
        assert_eq!(wrote.unwrap(), 8);
        let (read, buf) = reader.read(Vec::with_capacity(100)).await;
        assert_eq!((read.unwrap(), buf), (8, vec![n; 8]));
        writer.write_all(vec![n; 5000]).await.0.unwrap();
        let (read, buf) = reader.read_exact(vec![0; 5000]).await;
        read.unwrap();
        assert_eq!(buf, vec![n; 5000]);
        let bufs = [vec![n; 3], vec![n + 1; 3]];
        assert_eq!(writer.write_vectored(bufs).await.0.unwrap(), 6);
        let bufs = [Vec::with_capacity(2), Vec::with_capacity(10)];
        let (read, bufs) = reader.read_vectored(bufs).await;
        assert_eq!(read.unwrap(), 6);
        assert_eq!(bufs, [vec![n; 2], vec![n, n + 1, n + 1, n + 1]]);
    }
    let after = metrics();
    assert!(after.attempts >= before.attempts + 100, "{after:?}");
    assert!(after.staged <= before.staged + 10, "{after:?}");
}

async fn b0_what_it_has_not_the_ring_waits_for(_: Ring) {
    let (reader, writer) = seen_ready().await;
    let mut read = reader.read_exact(vec![0; 300_000]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    // More than fits: an attempt takes what does, the ring the rest.
    let sent: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let wanted = sent.clone();
    let write = runtime::spawn(async move { writer.write_all(sent).await.0 });
    let (done, bytes) = read.await;
    done.unwrap();
    assert!(bytes == wanted);
    write.await.unwrap().unwrap();
}

async fn b0_the_end_and_a_missing_reader_are_told_as_ever(_: Ring) {
    let (reader, writer) = seen_ready().await;
    writer.close().await.unwrap();
    assert_eq!(reader.read([0; 8]).await.0.unwrap(), 0);
    let (reader, writer) = seen_ready().await;
    reader.close().await.unwrap();
    let error = writer.write([0; 8]).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    writer.close().await.unwrap();
    let error = writer.write([0; 8]).await.0.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}
