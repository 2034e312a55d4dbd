//! What is UDP's own. What every descriptor does is the spec suite's.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use annulet_driver::op::{Control, Nop};
use annulet_driver::{Op, is_cancelled};

use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime::Runtime::new().unwrap().block_on(future)
}

async fn poll_now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Returns when the kernel has all that was staged before.
async fn submitted() {
    Op::new(Nop::new()).await.unwrap();
}

async fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<UdpSocket>();
    shared::<Batch>();
}

#[test]
fn a_datagram_has_its_bounds_and_its_sender_and_may_be_empty() {
    block_on(async {
        let ((one, one_addr), (two, two_addr)) = (socket().await, socket().await);
        for datagram in ["first", "", "third"] {
            assert_eq!(
                two.send_to(datagram, one_addr).await.0.unwrap(),
                datagram.len()
            );
        }
        for datagram in ["first", "", "third"] {
            let (result, buf) = one.recv_from(Vec::with_capacity(64)).await;
            assert_eq!(result.unwrap(), (datagram.len(), two_addr));
            assert_eq!(buf, datagram.as_bytes());
        }
    });
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    block_on(async {
        let ((one, one_addr), (two, two_addr), (other, _)) =
            (socket().await, socket().await, socket().await);
        one.connect(two_addr).await.unwrap();
        assert_eq!(one.peer_addr().unwrap(), two_addr);
        other
            .send_to("not from the peer", one_addr)
            .await
            .0
            .unwrap();
        two.send_to("from the peer", one_addr).await.0.unwrap();
        one.send("to the peer").await.0.unwrap();
        let (result, buf) = one.recv(Vec::with_capacity(64)).await;
        assert_eq!((result.unwrap(), &buf[..]), (13, &b"from the peer"[..]));
        let (result, _) = two.recv_from([0; 64]).await;
        assert_eq!(result.unwrap(), (11, one_addr));
        assert_eq!(kind(other.peer_addr()), io::ErrorKind::NotConnected);
    });
}

#[test]
fn a_datagram_that_found_nobody_is_told_to_the_connected_sender() {
    block_on(async {
        let (one, _) = socket().await;
        let (gone, gone_addr) = socket().await;
        gone.close().await.unwrap();
        one.connect(gone_addr).await.unwrap();
        one.send("anybody there?").await.0.unwrap();
        assert_eq!(
            kind(one.recv([0; 8]).await.0),
            io::ErrorKind::ConnectionRefused
        );
        // Once only.
        let again = one.recv([0; 8]).timeout(Duration::from_millis(1)).await.0;
        assert_eq!(kind(again), io::ErrorKind::TimedOut);
    });
}

#[test]
fn the_error_for_a_dropped_receive_is_told_to_the_next() {
    block_on(async {
        let (one, _) = socket().await;
        let (gone, gone_addr) = socket().await;
        gone.close().await.unwrap();
        one.connect(gone_addr).await.unwrap();
        let mut recv = one.recv([0; 8]);
        assert!(poll_now(&mut recv).await.is_pending());
        submitted().await;
        drop(recv);
        one.send("anybody there?").await.0.unwrap();
        assert_eq!(
            kind(one.recv([0; 8]).await.0),
            io::ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn a_receive_of_any_kind_dropped_leaves_datagram_and_sender_to_any_other() {
    block_on(async {
        let ((one, one_addr), (two, two_addr)) = (socket().await, socket().await);
        for dropped in 0..4 {
            for next in 0..3 {
                match dropped {
                    0 => drop_in_flight(one.recv(vec![0; 64])).await,
                    1 => drop_in_flight(one.recv_from(vec![0; 64])).await,
                    2 => drop_in_flight(one.recv_vectored([vec![0; 3], vec![0; 61]])).await,
                    _ => drop_in_flight(one.recv_batch(vec![0; 64])).await,
                }
                two.send_to("kept", one_addr).await.0.unwrap();
                two.send_to("", one_addr).await.0.unwrap();
                two.send_to("after", one_addr).await.0.unwrap();
                submitted().await;
                for expected in ["kept", "", "after"] {
                    let (peer, buf) = match next {
                        0 => {
                            let (result, buf) = one.recv_from(Vec::with_capacity(64)).await;
                            (result.unwrap().1, buf)
                        }
                        1 => {
                            let (result, [buf]) = one.recv_vectored([Vec::with_capacity(64)]).await;
                            (result.unwrap().peer.unwrap().as_socket().unwrap(), buf)
                        }
                        _ => {
                            let (result, buf) = one.recv_batch(Vec::with_capacity(64)).await;
                            (result.unwrap().peer(), buf)
                        }
                    };
                    assert_eq!((peer, &buf[..]), (two_addr, expected.as_bytes()));
                }
            }
        }
    });
}

async fn drop_in_flight<F: Future + Unpin>(mut receive: F) {
    assert!(poll_now(&mut receive).await.is_pending());
    submitted().await;
    drop(receive);
}

#[test]
fn a_sockets_limit_holds_for_every_receive_and_its_own_goes_before() {
    block_on(async {
        let (one, _) = socket().await;
        assert_eq!(
            kind(one.set_read_timeout(Some(Duration::ZERO))),
            io::ErrorKind::InvalidInput
        );
        one.set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        assert_eq!(kind(one.recv([0; 1]).await.0), io::ErrorKind::TimedOut);
        assert_eq!(kind(one.recv_from([0; 1]).await.0), io::ErrorKind::TimedOut);
        assert_eq!(
            kind(one.recv_vectored([[0; 1]]).await.0),
            io::ErrorKind::TimedOut
        );
        assert_eq!(
            kind(one.recv_batch([0; 1]).await.0),
            io::ErrorKind::TimedOut
        );
        assert_eq!(kind(one.peek([0; 1]).await.0), io::ErrorKind::TimedOut);
        assert_eq!(kind(one.peek_from([0; 1]).await.0), io::ErrorKind::TimedOut);
        one.set_read_timeout(Some(Duration::from_secs(3600)))
            .unwrap();
        let recv = one.recv([0; 1]).timeout(Duration::from_millis(1));
        assert_eq!(kind(recv.await.0), io::ErrorKind::TimedOut);
        one.set_write_timeout(Some(Duration::from_secs(7))).unwrap();
        assert_eq!(one.write_timeout().unwrap(), Some(Duration::from_secs(7)));
    });
}

#[test]
fn a_peek_leaves_the_datagram_where_it_is() {
    block_on(async {
        let (one, addr) = socket().await;
        one.send_to("still there", addr).await.0.unwrap();
        assert_eq!(one.peek([0; 5]).await.0.unwrap(), 5);
        assert_eq!(one.peek_from([0; 64]).await.0.unwrap(), (11, addr));
        assert_eq!(one.recv([0; 64]).await.0.unwrap(), 11);
    });
}

#[test]
fn a_batch_is_as_long_as_its_datagrams_are() {
    let batch = |len, segment| Batch {
        len,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        segment,
        cut: false,
    };
    let ranges = |len, segment| -> Vec<_> {
        let ranges = batch(len, segment).ranges();
        ranges.map(|range| (range.start, range.end)).collect()
    };
    assert_eq!(ranges(5, 2), [(0, 2), (2, 4), (4, 5)]);
    assert_eq!(ranges(4, 2), [(0, 2), (2, 4)]);
    assert_eq!(ranges(3, 7), [(0, 3)]);
    assert_eq!(ranges(0, 1), [(0, 0)]);
    assert_eq!(
        batch(5, 2).datagrams(b"aabbc and more").last(),
        Some(&b"c"[..])
    );
}

/// A sender, and a receiver that is given batches.
async fn batches() -> (UdpSocket, UdpSocket, SocketAddr) {
    let ((one, addr), (two, _)) = (socket().await, socket().await);
    one.set_gro(true).unwrap();
    (two, one, addr)
}

#[test]
fn what_is_cut_into_segments_arrives_together_and_comes_apart_as_it_was() {
    block_on(async {
        let (sender, receiver, addr) = batches().await;
        let sent: Vec<u8> = (0..25_000u32).map(|n| (n / 1000) as u8).collect();
        sender
            .send_segments_to(sent.clone(), 1200, addr)
            .await
            .0
            .unwrap();
        let (result, buf) = receiver.recv_batch(Vec::with_capacity(64 << 10)).await;
        let batch = result.unwrap();
        assert_eq!(buf, sent);
        assert_eq!((batch.count(), batch.segment_size()), (21, 1200));
        assert_eq!(batch.peer(), sender.local_addr().unwrap());
        assert!(!batch.is_cut());
        assert!(batch.datagrams(&buf).eq(sent.chunks(1200)));
        // A datagram alone is a batch of one.
        sender.send_to("alone", addr).await.0.unwrap();
        let (result, buf) = receiver.recv_batch(Vec::with_capacity(64 << 10)).await;
        let batch = result.unwrap();
        assert!(batch.datagrams(&buf).eq([&b"alone"[..]]));
    });
}

#[test]
fn a_batch_for_a_dropped_receive_comes_apart_all_the_same() {
    block_on(async {
        let (sender, receiver, addr) = batches().await;
        drop_in_flight(receiver.recv_batch(Vec::with_capacity(64 << 10))).await;
        sender
            .send_segments_to(vec![7; 2500], 1000, addr)
            .await
            .0
            .unwrap();
        submitted().await;
        let (result, _) = receiver.recv_batch(Vec::with_capacity(64 << 10)).await;
        let batch = result.unwrap();
        assert_eq!((batch.count(), batch.len()), (3, 2500));
    });
}

#[test]
fn a_batch_without_room_says_that_it_is_cut() {
    block_on(async {
        let (sender, receiver, addr) = batches().await;
        sender
            .send_segments_to(vec![7; 2500], 1000, addr)
            .await
            .0
            .unwrap();
        let batch = receiver.recv_batch(vec![0; 1500]).await.0.unwrap();
        assert!(batch.is_cut());
        assert_eq!(batch.len(), 1500);
    });
}

#[test]
fn without_being_asked_to_put_together_the_kernel_gives_one_by_one() {
    block_on(async {
        let ((one, addr), (two, _)) = (socket().await, socket().await);
        one.connect(two.local_addr().unwrap()).await.unwrap();
        two.connect(addr).await.unwrap();
        two.send_segments(vec![7; 2500], 1000).await.0.unwrap();
        for len in [1000, 1000, 500] {
            let batch = one
                .recv_batch(Vec::with_capacity(64 << 10))
                .await
                .0
                .unwrap();
            assert_eq!((batch.count(), batch.len()), (1, len));
        }
        // The same by the socket's own setting, until it is taken away.
        two.set_segment_size(Some(1000)).unwrap();
        two.send(vec![7; 1500]).await.0.unwrap();
        assert_eq!(one.recv(vec![0; 4096]).await.0.unwrap(), 1000);
        assert_eq!(one.recv(vec![0; 4096]).await.0.unwrap(), 500);
        two.set_segment_size(None).unwrap();
        two.send(vec![7; 1500]).await.0.unwrap();
        assert_eq!(one.recv(vec![0; 4096]).await.0.unwrap(), 1500);
    });
}

#[test]
fn more_segments_than_the_kernel_takes_are_refused() {
    block_on(async {
        let ((sender, _), (_receiver, addr)) = (socket().await, socket().await);
        let (result, buf) = sender.send_segments_to(vec![0; 2000], 1, addr).await;
        assert_eq!(kind(result), io::ErrorKind::InvalidInput);
        assert_eq!(buf.len(), 2000);
    });
}

#[test]
fn control_data_goes_both_ways() {
    use nix::libc::{IP_TOS, IPPROTO_IP};
    block_on(async {
        let ((one, addr), (two, _)) = (socket().await, socket().await);
        one.set_recv_tos_v4(true).unwrap();
        let tos = Control::new().with_message(IPPROTO_IP, IP_TOS, &0x28_i32.to_ne_bytes());
        two.send_msg(["marked"], Some(addr), tos).await.0.unwrap();
        let (result, _) = one.recv_msg([[0; 16]], Control::room(1)).await;
        let message = result.unwrap();
        let mut marks = message.control.messages();
        let mark = marks.find(|m| (m.level, m.kind) == (IPPROTO_IP, IP_TOS));
        assert_eq!(mark.unwrap().data, [0x28]);
    });
}

#[test]
fn a_group_member_hears_what_is_sent_to_the_group() {
    block_on(async {
        let group = Ipv4Addr::new(239, 77, 12, 3);
        let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let to = SocketAddr::from((group, member.local_addr().unwrap().port()));
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        sender.set_multicast_if_v4(Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(sender.multicast_if_v4().unwrap(), Ipv4Addr::LOCALHOST);
        sender.set_multicast_ttl_v4(1).unwrap();
        assert!(sender.multicast_loop_v4().unwrap());
        member.set_multicast_all_v4(false).unwrap();
        member
            .join_multicast_v4(group, Ipv4Addr::LOCALHOST)
            .unwrap();
        sender.send_to("to all", to).await.0.unwrap();
        assert_eq!(member.recv([0; 16]).await.0.unwrap(), 6);
        member
            .leave_multicast_v4(group, Ipv4Addr::LOCALHOST)
            .unwrap();
        sender.send_to("to nobody", to).await.0.unwrap();
        submitted().await;
        assert!(poll_now(&mut member.recv([0; 16])).await.is_pending());
        let again = member.leave_multicast_v4(group, Ipv4Addr::LOCALHOST);
        assert_eq!(kind(again), io::ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn what_an_option_is_set_to_is_what_it_is() {
    block_on(async {
        let (one, _) = socket().await;
        let everywhere = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        let refused = one.send_to("x", everywhere).await.0;
        assert_eq!(kind(refused), io::ErrorKind::PermissionDenied);
        one.set_broadcast(true).unwrap();
        assert!(one.broadcast().unwrap());
        one.set_ttl(7).unwrap();
        assert_eq!(one.ttl().unwrap(), 7);
        one.set_tos_v4(0x28).unwrap();
        assert_eq!(one.tos_v4().unwrap(), 0x28);
        one.set_recv_buffer_size(8192).unwrap();
        assert!(one.recv_buffer_size().unwrap() >= 8192);
        assert!(one.take_error().unwrap().is_none());
        let six = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        six.set_multicast_hops_v6(3).unwrap();
        assert_eq!(six.multicast_hops_v6().unwrap(), 3);
        six.set_multicast_loop_v6(false).unwrap();
        assert!(!six.multicast_loop_v6().unwrap());
        let group = "ff02::7777".parse().unwrap();
        six.join_multicast_v6(&group, 1).unwrap();
        six.leave_multicast_v6(&group, 1).unwrap();
    });
}

#[test]
fn closing_ends_a_blocked_receive() {
    block_on(async {
        let (one, _) = socket().await;
        let mut recv = one.recv_from([0; 8]);
        assert!(poll_now(&mut recv).await.is_pending());
        one.close().await.unwrap();
        assert!(is_cancelled(&recv.await.0.unwrap_err()));
        assert!(one.recv([0; 8]).await.0.is_err());
        assert!(one.set_gro(true).is_err());
    });
}

#[test]
fn a_socket_becomes_stds_with_the_datagrams_of_dropped_receives_beside_it() {
    block_on(async {
        let (one, addr) = socket().await;
        one.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let one = one.into_std().await.unwrap();
        assert_eq!(one.read_timeout().unwrap(), Some(Duration::from_secs(5)));
        one.set_nonblocking(true).unwrap();
        let one = UdpSocket::from_std(one).unwrap();
        assert_eq!(one.read_timeout().unwrap(), Some(Duration::from_secs(5)));
        drop_in_flight(one.recv([0; 16]).timeout(Duration::from_secs(3600))).await;
        one.send_to("kept", addr).await.0.unwrap();
        one.send_to("there", addr).await.0.unwrap();
        // Queued behind the dropped receive, so this hears of it.
        one.peek([0; 1]).await.0.unwrap();
        let (one, kept) = one.into_std().await.unwrap_err().into_parts().unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].bytes, b"kept");
        assert_eq!(kept[0].peer.as_ref().unwrap().as_socket(), Some(addr));
        let mut buf = [0; 16];
        assert_eq!(one.recv(&mut buf).unwrap(), 5);
    });
}
