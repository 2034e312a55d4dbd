//! Section H, 4: sends without a copy. The buffer is the kernel's until it says otherwise.
//!
//! On the loopback device the kernel copies in the end, but only what it hands over: what the peer's window has no room
//! for stays in the sender's queue and points at the sender's buffer. So a peer that does not read keeps a notification
//! from coming, and what it reads later is what the buffer holds then. The ring in user space copies what it sends, and
//! says so at once.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use annulet_tests::{Arena, Ring, metrics, pipe, poll_now, socket_pair, spec, submitted, until};
use runtime::net::UdpSocket;
use runtime::op::{Send, SendAll, SendMsgZc, SendZc, Write};
use runtime::{CancelToken, Fd, Op, chain, net};
use socket2::SockRef;

spec! {
    async h4_the_buffer_comes_back_only_after_the_notification on kernel, plain, tiny;
    async h4_a_dropped_one_frees_its_buffer_only_after_the_notification on kernel, plain, tiny;
    async h4_the_next_send_does_not_wait_for_the_buffer on kernel, plain, tiny;
    async h4_a_close_does_not_wait_for_the_buffer on kernel, plain, tiny;
    async h4_what_is_sent_is_neither_cancelled_nor_late on kernel, plain, tiny;
    async h4_a_chain_goes_on_when_it_is_sent on kernel, plain, tiny;
    async h4_one_that_fails_gives_its_buffer_back;
    async h4_a_whole_buffer_goes_in_place_however_full_the_socket_is;
    h4_a_runtime_that_ends_first_leaks_the_buffer on kernel, plain, tiny;
    async h4_the_same_bytes_arrive_with_and_without;
    async h4_a_descriptor_where_it_is_of_no_use_copies_from_then_on;
    async h4_where_it_cannot_be_done_the_kernel_copies;
    h4_the_builder_has_the_sockets_of_a_runtime_do_it;
    async h4_the_write_half_and_a_socket_of_any_kind_do_it_too;
    h4_what_a_socket_becomes_takes_over_what_was_set;
}

/// More than the peer has room for, and less than we have.
const LEN: usize = 96 << 10;

/// Ours, with much room to send, and a peer with little to receive.
fn unequal() -> (Fd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener)
        .set_recv_buffer_size(16 << 10)
        .unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    SockRef::from(&ours).set_send_buffer_size(4 * LEN).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    (Fd::new(ours.into()), theirs)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// Reads what was sent, on a thread of its own.
async fn read(theirs: &TcpStream, len: usize) -> Vec<u8> {
    let mut theirs = theirs.try_clone().unwrap();
    let reading = runtime::task::spawn_blocking(move || {
        let mut got = vec![0; len];
        theirs.read_exact(&mut got).map(|()| got)
    });
    reading.await.unwrap().unwrap()
}

/// Returns when the socket has taken what one operation sends; `before` completions were there.
async fn sent(before: u64) {
    until(|| metrics().completions > before).await;
    // What is to come of it, if more were to, is there.
    submitted().await;
    submitted().await;
}

async fn h4_the_buffer_comes_back_only_after_the_notification(_: Ring) {
    let (ours, theirs) = unequal();
    let before = metrics();
    let mut send = Op::on(&ours, SendZc::new(bytes(LEN)));
    assert!(poll_now(&mut send).await.is_pending());
    sent(before.completions).await;
    assert!(poll_now(&mut send).await.is_pending());
    assert_eq!(metrics().in_flight, before.in_flight + 1);
    assert!(read(&theirs, LEN).await == bytes(LEN));
    let (sent, buf) = send.await;
    assert_eq!((sent.unwrap(), buf), (LEN, bytes(LEN)));
    assert_eq!(metrics().zero_copy, before.zero_copy + 1);
    assert_eq!(metrics().zero_copy_copied, before.zero_copy_copied + 1);
    // Several buffers, the same.
    let parts = [bytes(LEN / 2), bytes(LEN / 2)];
    let mut send = Op::on(&ours, SendMsgZc::new(parts.clone(), None, 0));
    let before = metrics();
    assert!(poll_now(&mut send).await.is_pending());
    sent_and_pending(&mut send, before.completions).await;
    assert!(read(&theirs, LEN).await == parts.concat());
    assert_eq!(send.await.0.unwrap(), LEN);
}

async fn sent_and_pending<F: Future + Unpin>(send: &mut F, before: u64) {
    sent(before).await;
    assert!(poll_now(send).await.is_pending());
}

async fn h4_a_dropped_one_frees_its_buffer_only_after_the_notification(_: Ring) {
    let arena = Arena::new(2, LEN);
    // When it is staged, when the kernel has it, and when it is sent.
    for turns in 0..3 {
        let (ours, theirs) = unequal();
        let before = metrics();
        let mut buf = arena.take();
        buf.copy_from_slice(&bytes(LEN));
        let mut send = Op::on(&ours, SendZc::new(buf));
        assert!(poll_now(&mut send).await.is_pending());
        if turns > 0 {
            submitted().await;
        }
        if turns > 1 {
            sent(before.completions).await;
        }
        drop(send);
        sent(before.completions).await;
        assert_eq!(arena.freed(), 1, "the kernel reads it still");
        assert!(read(&theirs, LEN).await == bytes(LEN));
        until(|| arena.freed() == 2).await;
        // One that is sent was not cancelled.
        assert!(turns < 2 || metrics().cancels == before.cancels);
    }
}

async fn h4_the_next_send_does_not_wait_for_the_buffer(_: Ring) {
    let (ours, theirs) = unequal();
    let before = metrics();
    let mut first = Op::on(&ours, SendZc::new(bytes(LEN)));
    assert!(poll_now(&mut first).await.is_pending());
    // It queues for the direction, and has it when the first is sent.
    let (second, _) = Op::on(&ours, Send::new("the end")).await;
    assert_eq!(second.unwrap(), 7);
    sent_and_pending(&mut first, before.completions).await;
    let got = read(&theirs, LEN + 7).await;
    assert!(got[..LEN] == bytes(LEN));
    assert_eq!(&got[LEN..], b"the end");
    assert_eq!(first.await.0.unwrap(), LEN);
}

async fn h4_a_close_does_not_wait_for_the_buffer(_: Ring) {
    let (ours, mut theirs) = unequal();
    let before = metrics();
    let mut send = Op::on(&ours, SendZc::new(bytes(LEN)));
    assert!(poll_now(&mut send).await.is_pending());
    sent_and_pending(&mut send, before.completions).await;
    ours.close().await.unwrap();
    assert!(poll_now(&mut send).await.is_pending());
    assert_eq!(metrics().cancels, before.cancels);
    // All of it arrives, and then the end.
    assert!(read(&theirs, LEN).await == bytes(LEN));
    let end = runtime::task::spawn_blocking(move || theirs.read(&mut [0; 1]).unwrap());
    assert_eq!(end.await.unwrap(), 0);
    assert_eq!(send.await.0.unwrap(), LEN);
}

async fn h4_what_is_sent_is_neither_cancelled_nor_late(_: Ring) {
    let (ours, theirs) = unequal();
    let before = metrics();
    let token = CancelToken::new();
    let send = Op::on(&ours, SendZc::new(bytes(LEN)));
    let mut send = send.cancel_with(&token).timeout(Duration::from_secs(60));
    assert!(poll_now(&mut send).await.is_pending());
    sent_and_pending(&mut send, before.completions + 1).await;
    // Nothing in flight has the token any more; and nobody asks the kernel again and again.
    token.cancel().await;
    sent(metrics().completions - 1).await;
    assert_eq!(metrics().cancels, before.cancels);
    assert!(poll_now(&mut send).await.is_pending());
    assert!(read(&theirs, LEN).await == bytes(LEN));
    assert_eq!(send.await.0.unwrap(), LEN);
}

async fn h4_a_chain_goes_on_when_it_is_sent(_: Ring) {
    let (ours, theirs) = unequal();
    let (reader, writer) = pipe();
    let mut both = chain((
        Op::on(&ours, SendZc::new(bytes(LEN))),
        Op::on(&writer, Write::new("on")),
    ));
    assert!(poll_now(&mut both).await.is_pending());
    let (on, _) = Op::on(&reader, runtime::op::Read::new([0; 2])).await;
    assert_eq!(on.unwrap(), 2);
    assert!(poll_now(&mut both).await.is_pending());
    assert!(read(&theirs, LEN).await == bytes(LEN));
    let ((sent, _), (wrote, _)) = both.await;
    assert_eq!((sent.unwrap(), wrote.unwrap()), (LEN, 2));
}

async fn h4_one_that_fails_gives_its_buffer_back(_: Ring) {
    let (ours, theirs) = unequal();
    SockRef::from(&theirs)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(theirs);
    // The first may have been under way before the reset.
    let (_, buf) = Op::on(&ours, SendZc::new(bytes(9))).await;
    let (result, buf) = Op::on(&ours, SendZc::new(buf)).await;
    assert!(result.is_err());
    assert_eq!(buf, bytes(9));
    let (unix, _other) = socket_pair();
    let (result, buf) = Op::on(&unix, SendZc::new(buf)).await;
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    assert_eq!(buf, bytes(9));
}

/// It waits for room in the middle, and then goes on.
async fn h4_a_whole_buffer_goes_in_place_however_full_the_socket_is(_: Ring) {
    const MUCH: usize = 16 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, (theirs, _)) = (Fd::new(ours.into()), listener.accept().unwrap());
    ours.set_zero_copy(Some(1));
    let before = metrics();
    let mut send = Op::on(&ours, SendAll::new(bytes(MUCH)));
    assert!(poll_now(&mut send).await.is_pending());
    submitted().await;
    let got = runtime::spawn(async move { read(&theirs, MUCH).await });
    let (sent, buf) = send.await;
    sent.unwrap();
    assert!(buf == bytes(MUCH));
    assert!(got.await.unwrap() == buf);
    let in_place = metrics().zero_copy - before.zero_copy;
    assert_eq!(in_place, 1);
}

fn h4_a_runtime_that_ends_first_leaks_the_buffer(ring: Ring) {
    let arena = Arena::new(1, LEN);
    let builder = ring.builder().shutdown_timeout(Duration::from_millis(20));
    let runtime = builder.build().unwrap();
    let theirs = runtime.block_on(async {
        let (ours, theirs) = unequal();
        let mut buf = arena.take();
        buf.copy_from_slice(&bytes(LEN));
        let before = metrics().completions;
        let mut send = Op::on(&ours, SendZc::new(buf));
        assert!(poll_now(&mut send).await.is_pending());
        sent(before).await;
        drop(send);
        theirs
    });
    drop(runtime);
    assert_eq!(arena.freed(), 0);
    // The kernel reads from it after all that.
    let mut got = vec![0; LEN];
    (&theirs).read_exact(&mut got).unwrap();
    assert!(got == bytes(LEN));
}

/// A stream of ours, and its peer.
async fn streams() -> (net::TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = net::TcpStream::connect(listener.local_addr().unwrap()).await;
    (ours.unwrap(), listener.accept().await.unwrap().0)
}

async fn h4_the_same_bytes_arrive_with_and_without(_: Ring) {
    for least in [None, Some(1), Some(1000), Some(usize::MAX)] {
        let (ours, theirs) = streams().await;
        let theirs = Rc::new(theirs);
        let before = metrics();
        let mut rounds = 0;
        for len in [1, 999, 1000, 60_000] {
            let whole = bytes(len);
            let half = len.div_ceil(2);
            // The buffers come back only if somebody reads.
            let reading = theirs.clone();
            let read = runtime::spawn(async move { reading.read_exact(vec![0; 3 * len]).await });
            ours.set_zero_copy(least);
            assert_eq!(ours.write(whole.clone()).await.0.unwrap(), len);
            ours.set_zero_copy(least);
            let parts = [whole[..half].to_vec(), whole[half..].to_vec()];
            assert_eq!(ours.write_vectored(parts).await.0.unwrap(), len);
            ours.set_zero_copy(least);
            ours.write_all(whole.clone()).await.0.unwrap();
            let (read, got) = read.await.unwrap();
            read.unwrap();
            assert!(got == whole.repeat(3), "{least:?}, {len}");
            rounds += 3 * u64::from(least.is_some_and(|least| len >= least));
        }
        assert_eq!(metrics().zero_copy - before.zero_copy, rounds);
    }
    let (ours, theirs) = (datagrams().await, datagrams().await);
    let peer = theirs.local_addr().unwrap();
    for least in [None, Some(1)] {
        ours.set_zero_copy(least);
        assert_eq!(ours.send_to(bytes(9000), peer).await.0.unwrap(), 9000);
        let (read, got) = theirs.recv(vec![0; 10_000]).await;
        assert_eq!(read.unwrap(), 9000);
        assert!(got[..9000] == bytes(9000));
    }
}

async fn datagrams() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

async fn h4_a_descriptor_where_it_is_of_no_use_copies_from_then_on(_: Ring) {
    let (ours, theirs) = streams().await;
    ours.set_zero_copy(Some(1000));
    let before = metrics();
    for _ in 0..3 {
        ours.write_all(bytes(2000)).await.0.unwrap();
        theirs.read_exact(vec![0; 2000]).await.0.unwrap();
    }
    assert_eq!(metrics().zero_copy - before.zero_copy, 1);
    assert_eq!(metrics().zero_copy_copied - before.zero_copy_copied, 1);
    assert_eq!(ours.zero_copy(), None);
    // A dropped one tells, too.
    ours.set_zero_copy(Some(1000));
    let mut write = ours.write_all(bytes(2000));
    assert!(poll_now(&mut write).await.is_pending());
    submitted().await;
    drop(write);
    until(|| metrics().in_flight <= before.in_flight).await;
    assert_eq!(ours.zero_copy(), None);
}

async fn h4_where_it_cannot_be_done_the_kernel_copies(_: Ring) {
    let (ours, theirs) = socket_pair();
    for _ in 0..2 {
        ours.set_zero_copy(Some(1));
        let (sent, _) = Op::on(&ours, Send::new("hello")).await;
        assert_eq!(sent.unwrap(), 5);
        ours.set_zero_copy(Some(1));
        let (sent, _) = Op::on(&ours, SendAll::new("hello")).await;
        sent.unwrap();
        ours.set_zero_copy(Some(1));
        // In a chain nobody could start another round: it copies at once.
        let send = || Op::on(&ours, Send::new("hello"));
        let ((one, _), (two, _)) = chain((send(), send())).await;
        assert_eq!((one.unwrap(), two.unwrap()), (5, 5));
        let (read, got) = Op::on(&theirs, runtime::op::RecvExact::new([0; 20])).await;
        read.unwrap();
        assert_eq!(&got, b"hellohellohellohello");
    }
}

fn h4_the_builder_has_the_sockets_of_a_runtime_do_it(ring: Ring) {
    for least in [None, Some(1000)] {
        let runtime = ring.builder().zero_copy(least).build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = streams().await;
            assert_eq!((ours.zero_copy(), theirs.zero_copy()), (least, least));
            assert_eq!(datagrams().await.zero_copy(), least);
        });
    }
}

/// Sends twice as much as it takes to go without a copy, through whatever `send` is.
async fn goes_without_a_copy<F: Future>(theirs: &net::TcpStream, send: F) {
    let before = metrics().zero_copy;
    let received = theirs.read_exact(vec![0; 2000]);
    let (_, (read, got)) = futures_lite::future::zip(send, received).await;
    read.unwrap();
    assert!(got == bytes(2000));
    assert_eq!(metrics().zero_copy - before, 1);
}

async fn h4_the_write_half_and_a_socket_of_any_kind_do_it_too(_: Ring) {
    let (ours, theirs) = streams().await;
    let (_reader, writer) = ours.into_split();
    writer.set_zero_copy(Some(1000));
    goes_without_a_copy(&theirs, writer.write_all(bytes(2000))).await;
    let (ours, theirs) = streams().await;
    let ours = net::Socket::from(std::os::fd::OwnedFd::from(ours.into_std().await.unwrap()));
    assert_eq!(ours.zero_copy(), None);
    ours.set_zero_copy(Some(1000));
    goes_without_a_copy(&theirs, ours.send(bytes(2000))).await;
}

fn h4_what_a_socket_becomes_takes_over_what_was_set(ring: Ring) {
    for of_the_runtime in [None, Some(500)] {
        let runtime = ring.builder().zero_copy(of_the_runtime).build().unwrap();
        runtime.block_on(async {
            for own in [None, Some(1000)] {
                let kind = net::Type::DGRAM;
                let socket = net::Socket::new(net::Domain::IPV4, kind, None)
                    .await
                    .unwrap();
                socket.set_zero_copy(own);
                assert_eq!(socket.zero_copy(), own);
                let socket = socket.into_udp_socket().unwrap();
                assert_eq!(socket.zero_copy(), own.or(of_the_runtime));
            }
        });
    }
}
