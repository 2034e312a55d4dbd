//! Section B: sends that are made by a call, before the ring is asked, and those that are not. On `plain` none is.

use std::io::ErrorKind;
use std::rc::Rc;

use annulet_tests::{Ring, metrics, poll_now, socket_pair, spec, submitted};
use futures_lite::future::zip;
use runtime::net::UnixStream;
use runtime::op::{RecvExact, Send, SendAll};
use runtime::{Fd, Op};
use socket2::SockRef;

spec! {
    async a_send_that_there_is_room_for_is_done_by_a_call;
    async a_full_socket_is_left_to_the_ring_and_every_byte_arrives_once;
    async one_that_wants_all_sent_is_not_cut_short;
    async a_call_fails_as_the_ring_does;
    async of_many_sends_a_turn_most_are_handed_over_together on kernel, poll;
    async a_closed_descriptor_sends_nothing;
    async a_send_waits_for_the_one_before_it;
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// Whether this ring's runtimes make calls first.
fn tries(ring: Ring) -> bool {
    ring.name != "plain"
}

async fn a_send_that_there_is_room_for_is_done_by_a_call(ring: Ring) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    for n in 0..50u8 {
        let before = metrics();
        let (wrote, _) = ours.write([n; 100]).await;
        assert_eq!(wrote.unwrap(), 100);
        ours.write_all([n; 100]).await.0.unwrap();
        let (staged, tried) = if tries(ring) { (0, 2) } else { (2, 0) };
        let after = metrics();
        assert_eq!(after.staged - before.staged, staged);
        assert_eq!(after.attempts - before.attempts, tried);
        let (read, got) = theirs.read_exact(vec![0; 200]).await;
        read.unwrap();
        assert_eq!(got, [n; 200]);
    }
    // Large ones are the ring's.
    let before = metrics().attempts;
    let large = theirs.read_exact(vec![0; 20_000]);
    let sent = ours.write_all(bytes(20_000));
    let ((sent, _), (read, got)) = zip(sent, large).await;
    sent.unwrap();
    read.unwrap();
    assert!(got == bytes(20_000));
    assert_eq!(metrics().attempts, before);
}

async fn a_full_socket_is_left_to_the_ring_and_every_byte_arrives_once(_: Ring) {
    const LEN: usize = 10_007;
    const COUNT: usize = 300;
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sending = runtime::spawn(async move {
        for n in 0..COUNT {
            let whole = bytes(LEN + n);
            // Now and then by parts: what a call could not place is what the next one begins with.
            let mut done = 0;
            while n % 2 == 0 && done < whole.len() {
                done += ours.write(whole[done..].to_vec()).await.0.unwrap();
            }
            if done == 0 {
                ours.write_all(whole).await.0.unwrap();
            }
        }
    });
    for n in 0..COUNT {
        let (read, got) = theirs.read_exact(vec![0; LEN + n]).await;
        read.unwrap();
        assert!(got == bytes(LEN + n), "in message {n}");
    }
    sending.await.unwrap();
}

/// Fills the socket until a byte more has to wait.
fn fill(ours: &Fd) -> usize {
    use rustix::net::{SendFlags, send};
    let mut sent = 0;
    for len in [4096, 1] {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while let Ok(n) = send(ours, &vec![0; len], flags) {
            sent += n;
        }
    }
    sent
}

async fn one_that_wants_all_sent_is_not_cut_short(_: Ring) {
    let (ours, theirs) = socket_pair();
    // Room for a part of it, as a call without it would find.
    SockRef::from(&ours).set_send_buffer_size(4096).unwrap();
    let send = |flags| Op::on(&ours, Send::with_flags(bytes(12_000), flags));
    let part = send(0).await.0.unwrap();
    assert!(part < 12_000);
    let (read, _) = Op::on(&theirs, RecvExact::new(vec![0; part])).await;
    read.unwrap();
    let all = Op::on(&theirs, RecvExact::new(vec![0; 12_000]));
    let ((sent, _), (read, got)) = zip(send(libc::MSG_WAITALL), all).await;
    assert_eq!(sent.unwrap(), 12_000);
    read.unwrap();
    assert!(got == bytes(12_000));
}

async fn a_call_fails_as_the_ring_does(_: Ring) {
    let (ours, theirs) = socket_pair();
    theirs.close().await.unwrap();
    for _ in 0..2 {
        let (sent, buf) = Op::on(&ours, Send::new(bytes(9))).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(buf, bytes(9));
        let (sent, buf) = Op::on(&ours, SendAll::new(bytes(9))).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(buf, bytes(9));
    }
    let (reader, _writer) = annulet_tests::pipe();
    let (sent, _) = Op::on(&reader, Send::new(bytes(9))).await;
    assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
}

async fn of_many_sends_a_turn_most_are_handed_over_together(_: Ring) {
    const COUNT: usize = 64;
    const FEW: u64 = 8;
    let pairs: Rc<Vec<_>> = Rc::new((0..COUNT).map(|_| UnixStream::pair().unwrap()).collect());
    // Each of the tasks sends in each round, all in one turn.
    for round in 0..3u8 {
        submitted().await;
        let before = metrics();
        let tasks: Vec<_> = (0..COUNT)
            .map(|n| {
                let pairs = pairs.clone();
                runtime::spawn(async move { pairs[n].0.write([round; 10]).await.0.unwrap() })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 10);
        }
        let tried = metrics().attempts - before.attempts;
        assert!(tried <= FEW, "{tried} in round {round}");
    }
    for (_, theirs) in pairs.iter() {
        let (read, got) = theirs.read_exact([9; 30]).await;
        read.unwrap();
        assert_eq!(
            got.chunks(10).map(|part| part[0]).collect::<Vec<_>>(),
            [0, 1, 2]
        );
    }
}

async fn a_closed_descriptor_sends_nothing(_: Ring) {
    let (ours, theirs) = socket_pair();
    ours.close().await.unwrap();
    let (sent, _) = Op::on(&ours, Send::new("x")).await;
    assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EBADF));
    let (read, _) = Op::on(&theirs, runtime::op::Recv::new([0; 8])).await;
    assert_eq!(read.unwrap(), 0);
}

async fn a_send_waits_for_the_one_before_it(_: Ring) {
    let (ours, theirs) = socket_pair();
    let full = fill(&ours);
    let mut first = Op::on(&ours, SendAll::new("first"));
    assert!(poll_now(&mut first).await.is_pending());
    submitted().await;
    let mut second = Op::on(&ours, SendAll::new("second"));
    assert!(poll_now(&mut second).await.is_pending());
    let (read, _) = Op::on(&theirs, RecvExact::new(vec![0; full])).await;
    read.unwrap();
    let (two, one) = zip(&mut second, &mut first).await;
    one.0.unwrap();
    two.0.unwrap();
    let (read, got) = Op::on(&theirs, RecvExact::new([0; 11])).await;
    read.unwrap();
    assert_eq!(&got, b"firstsecond");
}
