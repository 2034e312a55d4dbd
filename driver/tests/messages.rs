//! Messages: control data and the descriptors in it, boundaries, what is kept of them.
//!
//! That nobody holds a descriptor any more is seen without counting: the writing end of a pipe is passed, and its
//! reading end reads the end.

mod support;

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use annulet_driver::op::{
    Connect, Control, Credentials, Message, Read, Recv, RecvExact, RecvFrom, RecvMsg, Send,
    SendMsg, SendTo,
};
use annulet_driver::{CancelToken, Driver, Fd, Op, Wait, is_cancelled};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use socket2::{Domain, SockAddr, Type};

use support::{LONG, poll_once, run, socket_pair};

type From<B> = RecvFrom<B, Message>;

fn pair(kind: SocketType) -> (Fd, Fd) {
    let (a, b) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    (Fd::new(a), Fd::new(b))
}

fn bounded() -> [SocketType; 2] {
    [SocketType::DGRAM, SocketType::SEQPACKET]
}

fn all_kinds() -> [SocketType; 3] {
    [SocketType::DGRAM, SocketType::SEQPACKET, SocketType::STREAM]
}

/// The reading end of a pipe, and its writing end, to be passed.
fn pipe() -> (Fd, OwnedFd) {
    let (reader, writer) = io::pipe().unwrap();
    (Fd::new(reader.into()), writer.into())
}

/// Asserts that nobody holds the pipe's writing end any more.
async fn assert_closed(reader: &Fd) {
    let (result, _) = Op::on(reader, Read::new([0; 1])).timeout(LONG).await;
    assert_eq!(result.unwrap(), 0);
}

/// Asserts that somebody does.
async fn assert_open(reader: &Fd) {
    let read = Op::on(reader, Read::new([0; 1])).timeout(Duration::from_millis(1));
    assert_eq!(read.await.0.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

async fn send(to: &Fd, bytes: &'static str, fds: Vec<OwnedFd>) -> io::Result<usize> {
    let send = SendTo::new(bytes, None, 0).with_control(Control::new().with_fds(fds));
    Op::on(to, send).await.0
}

fn receive(on: &Fd, room: usize, fds: usize) -> Op<From<Vec<u8>>> {
    let receive = From::new(Vec::with_capacity(room), 0);
    Op::on(on, receive.with_control(Control::room_for_fds(fds)))
}

/// Leaves a receive in flight and drops it.
fn drop_in_flight<T: annulet_driver::op::Operation>(driver: &Driver, mut op: Op<T>) {
    assert!(poll_once(&mut op).is_pending());
    driver.turn(Wait::No).unwrap();
    drop(op);
}

fn settle(driver: &Driver) {
    while driver.metrics().in_flight > 0 {
        driver.turn(Wait::AtMost(Some(LONG))).unwrap();
    }
}

#[test]
fn descriptors_arrive_close_on_exec_with_the_bytes_they_were_sent_with() {
    run(|_| async {
        for kind in all_kinds() {
            let (a, b) = pair(kind);
            let (reader, writer) = pipe();
            let second = writer.try_clone().unwrap();
            assert_eq!(send(&a, "two", vec![writer, second]).await.unwrap(), 3);
            let (message, buf) = receive(&b, 8, 2).await;
            let mut message = message.unwrap();
            assert_eq!((message.len, &buf[..], message.flags), (3, &b"two"[..], 0));
            let fds: Vec<OwnedFd> = message.control.take_fds().collect();
            assert_eq!(fds.len(), 2);
            for fd in &fds {
                assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
                rustix::io::write(fd, b"x").unwrap();
            }
            drop(fds);
            let (result, _) = Op::on(&reader, Read::new([0; 8])).await;
            assert_eq!(result.unwrap(), 2);
            assert_closed(&reader).await;
        }
    });
}

#[test]
fn a_receive_dropped_anywhere_leaves_its_descriptors_to_the_next_one() {
    run(|driver| async move {
        for kind in all_kinds() {
            for round in 0..4 {
                let (a, b) = pair(kind);
                let (reader, writer) = pipe();
                let mut first = receive(&b, 8, 3);
                assert!(poll_once(&mut first).is_pending());
                if round > 0 {
                    driver.turn(Wait::No).unwrap();
                }
                match round {
                    // Before the kernel has it; before anything has come; as it lands; when its result is there.
                    0 | 1 => drop(first),
                    2 => {
                        send(&a, "fd", vec![writer.try_clone().unwrap()])
                            .await
                            .unwrap();
                        drop(first);
                    }
                    _ => {
                        send(&a, "fd", vec![writer.try_clone().unwrap()])
                            .await
                            .unwrap();
                        settle(&driver);
                        drop(first);
                    }
                }
                if round < 2 {
                    send(&a, "fd", vec![writer.try_clone().unwrap()])
                        .await
                        .unwrap();
                }
                drop(writer);
                settle(&driver);
                assert_open(&reader).await;
                let (message, buf) = receive(&b, 8, 1).await;
                let mut message = message.unwrap();
                assert_eq!((message.len, &buf[..]), (2, &b"fd"[..]));
                assert_eq!(message.control.take_fds().count(), 1, "{kind:?} {round}");
                assert_closed(&reader).await;
            }
        }
    });
}

#[test]
fn kept_descriptors_are_closed_with_their_socket() {
    run(|driver| async move {
        for kind in all_kinds() {
            let (a, b) = pair(kind);
            let (reader, writer) = pipe();
            drop_in_flight(&driver, receive(&b, 8, 1));
            send(&a, "fd", vec![writer]).await.unwrap();
            settle(&driver);
            assert_open(&reader).await;
            b.close().await.unwrap();
            assert_closed(&reader).await;
        }
    });
}

#[test]
fn a_dropped_result_and_a_peek_leave_no_descriptor_open() {
    run(|driver| async move {
        for kind in all_kinds() {
            let (a, b) = pair(kind);
            let (reader, writer) = pipe();
            send(&a, "fd", vec![writer]).await.unwrap();
            for _ in 0..3 {
                let peek = From::new([0; 8], libc::MSG_PEEK).with_control(64);
                let (message, _) = Op::on(&b, peek).await;
                assert_eq!(message.unwrap().control.fds().count(), 1);
                let peek = From::new([0; 8], libc::MSG_PEEK).with_control(64);
                let mut peek = Op::on(&b, peek);
                assert!(poll_once(&mut peek).is_pending());
                driver.turn(Wait::No).unwrap();
                drop(peek);
            }
            let (message, _) = receive(&b, 8, 1).await;
            assert_open(&reader).await;
            drop(message);
            assert_closed(&reader).await;
        }
    });
}

#[test]
fn a_peek_at_what_is_kept_shows_it_and_leaves_it() {
    run(|driver| async move {
        for kind in all_kinds() {
            let (a, b) = pair(kind);
            let (reader, writer) = pipe();
            drop_in_flight(&driver, receive(&b, 8, 1));
            send(&a, "kept", vec![writer]).await.unwrap();
            settle(&driver);
            for room in [2, 8] {
                let peek = RecvMsg::new([vec![0; room]], libc::MSG_PEEK).with_control(64);
                let (message, [buf]) = Op::on(&b, peek).await;
                let message = message.unwrap();
                assert_eq!(message.len, room.min(4));
                assert_eq!(buf[..message.len], b"kept"[..message.len]);
                assert_eq!(message.control.fds().count(), 1);
                let (peeked, _) = Op::on(&b, Recv::with_flags([0; 8], libc::MSG_PEEK)).await;
                assert_eq!(peeked.unwrap(), 4);
            }
            let (message, _) = receive(&b, 8, 1).await;
            assert_eq!(message.unwrap().control.fds().count(), 1);
            assert_closed(&reader).await;
        }
    });
}

#[test]
fn what_has_no_room_is_told_and_closed_whether_it_was_kept_or_not() {
    run(|driver| async move {
        for kind in all_kinds() {
            for kept in [false, true] {
                for room in 0..4 {
                    let (a, b) = pair(kind);
                    let ends: Vec<_> = (0..3).map(|_| pipe()).collect();
                    let (readers, writers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
                    if kept {
                        drop_in_flight(&driver, receive(&b, 8, 3));
                    }
                    send(&a, "fds", writers).await.unwrap();
                    if kept {
                        settle(&driver);
                    }
                    let bytes = match room {
                        0 => 0,
                        // As many as CMSG_LEN has: the kernel does not mind the padding.
                        room => Control::room(0) + room * 4,
                    };
                    let receive = From::new([0; 8], 0).with_control(bytes);
                    let (message, _) = Op::on(&b, receive).await;
                    let message = message.unwrap();
                    assert_eq!(message.control.fds().count(), room, "{kind:?} {kept}");
                    let truncated = message.flags & libc::MSG_CTRUNC != 0;
                    assert_eq!(truncated, room < 3, "{kind:?} {kept} {room}");
                    for reader in &readers[room..] {
                        assert_closed(reader).await;
                    }
                    for reader in &readers[..room] {
                        assert_open(reader).await;
                    }
                }
            }
        }
    });
}

#[test]
fn a_plain_receive_closes_the_descriptors_that_came_with_its_bytes() {
    run(|driver| async move {
        for kind in all_kinds() {
            for kept in [false, true] {
                let (a, b) = pair(kind);
                let (reader, writer) = pipe();
                if kept {
                    drop_in_flight(&driver, receive(&b, 8, 1));
                }
                send(&a, "fd", vec![writer]).await.unwrap();
                settle(&driver);
                let (result, _) = Op::on(&b, Recv::new([0; 1])).await;
                assert_eq!(result.unwrap(), 1);
                assert_closed(&reader).await;
            }
        }
    });
}

#[test]
fn no_more_than_the_kernels_limit_goes_with_a_message_and_none_is_left_open() {
    run(|_| async {
        const SCM_MAX_FD: usize = 253;
        let (a, b) = pair(SocketType::DGRAM);
        let (reader, writer) = pipe();
        let many = |count| (0..count).map(|_| writer.try_clone().unwrap()).collect();
        let error = send(&a, "x", many(SCM_MAX_FD + 1)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        send(&a, "x", many(SCM_MAX_FD)).await.unwrap();
        let (message, _) = receive(&b, 1, SCM_MAX_FD).await;
        assert_eq!(message.unwrap().control.take_fds().count(), SCM_MAX_FD);
        drop(writer);
        assert_closed(&reader).await;
    });
}

#[test]
fn a_socket_passed_through_itself_is_collected() {
    run(|_| async {
        let (a, b) = UnixStream::pair().unwrap();
        let (reader, writer) = pipe();
        let fds = vec![
            a.try_clone().unwrap().into(),
            b.try_clone().unwrap().into(),
            writer,
        ];
        let (a, b) = (Fd::new(a.into()), Fd::new(b.into()));
        send(&a, "cycle", fds).await.unwrap();
        assert_open(&reader).await;
        a.close().await.unwrap();
        b.close().await.unwrap();
        // The kernel looks for cycles when something passes, or a socket that passed is closed.
        let (c, d) = pair(SocketType::STREAM);
        send(&c, "x", vec![d.as_fd().try_clone_to_owned().unwrap()])
            .await
            .unwrap();
        c.close().await.unwrap();
        d.close().await.unwrap();
        assert_closed(&reader).await;
    });
}

#[test]
fn what_a_send_was_to_pass_is_closed_when_it_is_cancelled_dropped_or_fails() {
    run(|driver| async move {
        let full = vec![0u8; 1 << 20];
        let (a, b) = socket_pair();
        let filling =
            Op::on(&a, annulet_driver::op::SendAll::new(full)).timeout(Duration::from_millis(5));
        assert!(filling.await.0.is_err());
        let (reader, writer) = pipe();
        let pass = |fd: &OwnedFd| {
            let control = Control::new().with_fd(fd.try_clone().unwrap());
            Op::on(&a, SendMsg::new(["x"], None, 0).with_control(control))
        };
        let limited = pass(&writer).timeout(Duration::from_millis(1)).await;
        assert_eq!(limited.0.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop_in_flight(&driver, pass(&writer));
        // One that queues, and one that was never polled.
        let mut first = pass(&writer);
        let mut second = pass(&writer);
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        drop((second, pass(&writer)));
        let close = a.close();
        assert!(is_cancelled(&first.await.0.unwrap_err()));
        close.await.unwrap();
        assert_eq!(
            pass(&writer).await.0.unwrap_err().raw_os_error(),
            Some(libc::EBADF)
        );
        drop(writer);
        assert_closed(&reader).await;
        drop(b);
    });
}

#[test]
fn control_data_that_names_what_it_does_not_own_is_not_sent() {
    run(|driver| async move {
        let (a, _b) = socket_pair();
        let control = Control::new().with_message(libc::SOL_SOCKET, libc::SCM_RIGHTS, &[0; 4]);
        let before = driver.metrics().staged;
        let (result, _) = Op::on(&a, SendTo::new("x", None, 0).with_control(control)).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(driver.metrics().staged, before);
    });
}

#[test]
fn the_senders_process_is_told_as_the_kernel_vouches_for_it() {
    run(|_| async {
        let (a, b) = pair(SocketType::DGRAM);
        rustix::net::sockopt::set_socket_passcred(&b, true).unwrap();
        let own = Credentials {
            pid: rustix::process::getpid().as_raw_pid(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        };
        send(&a, "x", Vec::new()).await.unwrap();
        let control = Control::new().with_credentials(own);
        Op::on(&a, SendTo::new("x", None, 0).with_control(control))
            .await
            .0
            .unwrap();
        for _ in 0..2 {
            let receive = From::new([0; 1], 0).with_control(Control::room(12));
            let (message, _) = Op::on(&b, receive).await;
            assert_eq!(message.unwrap().control.credentials(), Some(own));
        }
    });
}

/// Every plain way to receive into a buffer of that size.
async fn receive_by(way: usize, on: &Fd, room: usize) -> Vec<u8> {
    let (result, mut buf) = match way {
        0 => Op::on(on, Recv::new(vec![0; room])).await,
        1 => Op::on(on, Read::new(vec![0; room])).await,
        2 => Op::on(on, RecvFrom::new(vec![0; room], 0)).await,
        _ => {
            let (result, [buf]) = Op::on(on, annulet_driver::op::Readv::new([vec![0; room]])).await;
            (result, buf)
        }
    };
    buf.truncate(result.unwrap());
    buf
}

/// Drops a receive of each kind in flight in turn, and sends it a message.
async fn keep_one(driver: &Driver, way: usize, on: &Fd, from: &Fd, bytes: &'static str) {
    let room = || vec![0; 16];
    match way {
        0 => drop_in_flight(driver, Op::on(on, Recv::new(room()))),
        1 => drop_in_flight(driver, Op::on(on, Read::new(room()))),
        2 => drop_in_flight(driver, Op::on(on, From::new(room(), 0))),
        _ => drop_in_flight(driver, Op::on(on, annulet_driver::op::Readv::new([room()]))),
    }
    send(from, bytes, Vec::new()).await.unwrap();
    settle(driver);
}

#[test]
fn messages_of_dropped_receives_keep_their_boundaries_and_their_order() {
    run(|driver| async move {
        for kind in bounded() {
            for (kept, way) in (0..16).map(|both| (both / 4, both % 4)) {
                let (a, b) = pair(kind);
                keep_one(&driver, kept, &b, &a, "first").await;
                send(&a, "second", Vec::new()).await.unwrap();
                send(&a, "third", Vec::new()).await.unwrap();
                // Cut off where there is no room: the rest is not the next message.
                assert_eq!(receive_by(way, &b, 3).await, b"fir");
                assert_eq!(receive_by(way, &b, 16).await, b"second");
                keep_one(&driver, kept, &b, &a, "").await;
                assert_eq!(receive_by(way, &b, 16).await, b"third");
            }
        }
    });
}

#[test]
fn an_empty_message_is_one_even_when_it_was_kept() {
    run(|driver| async move {
        for kind in bounded() {
            for (kept, way) in (0..16).map(|both| (both / 4, both % 4)) {
                let (a, b) = pair(kind);
                keep_one(&driver, kept, &b, &a, "").await;
                send(&a, "next", Vec::new()).await.unwrap();
                let (peeked, _) = Op::on(&b, Recv::with_flags([0; 8], libc::MSG_PEEK)).await;
                assert_eq!(peeked.unwrap(), 0);
                assert_eq!(receive_by(way, &b, 16).await, b"");
                assert_eq!(receive_by(way, &b, 16).await, b"next");
            }
        }
    });
}

#[test]
fn a_kept_message_is_cut_and_says_so_as_the_kernels_own() {
    run(|driver| async move {
        for kind in bounded() {
            for kept in [false, true] {
                for (flags, len) in [(0, 3), (libc::MSG_TRUNC, 5)] {
                    let (a, b) = pair(kind);
                    if kept {
                        keep_one(&driver, 2, &b, &a, "12345").await;
                    } else {
                        send(&a, "12345", Vec::new()).await.unwrap();
                    }
                    let (message, buf) = Op::on(&b, From::new(vec![0; 3], flags)).await;
                    let message = message.unwrap();
                    assert_eq!(
                        (message.len, &buf[..]),
                        (len, &b"123"[..]),
                        "{kind:?} {kept}"
                    );
                    assert_eq!(message.flags & libc::MSG_TRUNC, libc::MSG_TRUNC);
                }
                let (a, b) = pair(kind);
                if kept {
                    keep_one(&driver, 2, &b, &a, "12345").await;
                } else {
                    send(&a, "12345", Vec::new()).await.unwrap();
                }
                let recv = Recv::with_flags(vec![0; 3], libc::MSG_TRUNC);
                let (result, buf) = Op::on(&b, recv).await;
                assert_eq!((result.unwrap(), &buf[..]), (5, &b"123"[..]));
            }
        }
    });
}

#[test]
fn a_kept_datagram_tells_its_sender() {
    run(|driver| async move {
        let (one, two) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        let (from, to) = (two.local_addr().unwrap(), one.local_addr().unwrap());
        let (one, two) = (Fd::new(one.into()), Fd::new(two.into()));
        type Whence = (usize, std::net::SocketAddr);
        // The dropped one need not have asked: `usize` is told the length alone.
        drop_in_flight(&driver, Op::on(&one, RecvFrom::<_, usize>::new([0; 8], 0)));
        Op::on(&two, SendTo::new("hello", Some(to.into()), 0))
            .await
            .0
            .unwrap();
        settle(&driver);
        let (result, buf) = Op::on(&one, RecvFrom::<_, Whence>::new([0; 8], 0)).await;
        assert_eq!(result.unwrap(), (5, from));
        assert_eq!(&buf[..5], b"hello");
        Op::on(&two, SendTo::new("", Some(to.into()), 0))
            .await
            .0
            .unwrap();
        let (result, _) = Op::on(&one, RecvFrom::<_, Whence>::new([0; 8], 0)).await;
        assert_eq!(result.unwrap(), (0, from));
    });
}

#[test]
fn a_kept_stream_is_read_on_where_descriptors_came_between() {
    run(|driver| async move {
        let (a, b) = socket_pair();
        let (reader, writer) = pipe();
        drop_in_flight(&driver, Op::on(&b, Recv::new(vec![0; 8])));
        send(&a, "one", Vec::new()).await.unwrap();
        settle(&driver);
        // Behind what is kept already: a peek does not take it.
        let (peeked, _) = Op::on(&b, Recv::with_flags([0; 8], libc::MSG_PEEK)).await;
        assert_eq!(peeked.unwrap(), 3);
        let (all, _) = Op::on(&b, RecvExact::new([0; 3])).await;
        all.unwrap();
        drop_in_flight(&driver, receive(&b, 8, 1));
        send(&a, "fd", vec![writer]).await.unwrap();
        settle(&driver);
        send(&a, "after", Vec::new()).await.unwrap();
        // One byte at a time: the descriptor comes with the first.
        let (message, buf) = receive(&b, 1, 1).await;
        let mut message = message.unwrap();
        assert_eq!(
            (&buf[..], message.control.take_fds().count()),
            (&b"f"[..], 1)
        );
        assert_closed(&reader).await;
        let (all, buf) = Op::on(&b, RecvExact::new(vec![0; 6])).await;
        all.unwrap();
        assert_eq!(buf, b"dafter");
    });
}

#[test]
fn the_end_of_a_stream_is_no_message() {
    run(|driver| async move {
        let (a, b) = socket_pair();
        drop_in_flight(&driver, receive(&b, 8, 1));
        a.close().await.unwrap();
        settle(&driver);
        for _ in 0..3 {
            let (message, _) = receive(&b, 8, 1).await;
            assert_eq!(message.unwrap().len, 0);
        }
    });
}

#[test]
fn what_was_received_can_be_taken_out_with_the_descriptor() {
    run(|driver| async move {
        let (one, two) = UnixDatagram::pair().unwrap();
        let (one, two) = (Fd::new(one.into()), Fd::new(two.into()));
        let (reader, writer) = pipe();
        drop_in_flight(&driver, receive(&one, 8, 1));
        send(&two, "kept", vec![writer]).await.unwrap();
        settle(&driver);
        let (fd, kept) = one.reclaim().await.unwrap();
        assert!(fd.as_raw_fd() >= 0);
        let (messages, error) = kept.into_messages();
        assert!(error.is_none());
        assert_eq!((messages.len(), &messages[0].bytes[..]), (1, &b"kept"[..]));
        assert_eq!(messages[0].control.fds().count(), 1);
        drop(messages);
        assert_closed(&reader).await;
    });
}

#[test]
fn a_receive_told_not_to_wait_leaves_no_error_behind() {
    run(|driver| async move {
        let (a, b) = socket_pair();
        let impatient = Recv::with_flags([0; 8], libc::MSG_DONTWAIT);
        drop_in_flight(&driver, Op::on(&b, impatient));
        settle(&driver);
        Op::on(&a, Send::new("x")).await.0.unwrap();
        assert_eq!(receive_by(0, &b, 8).await, b"x");
    });
}

#[test]
fn a_connect_without_room_in_the_backlog_waits_and_ends_at_its_deadline() {
    run(|driver| async move {
        let name = format!("\0annulet backlog {}", std::process::id());
        let addr = SockAddr::unix(name).unwrap();
        let socket = || socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&addr).unwrap();
        listener.listen(0).unwrap();
        let connect = |fd: &Fd| Op::on(fd, Connect::new(addr.clone()));
        let first = Fd::new(socket().into());
        connect(&first).await.unwrap();
        for round in 0..100 {
            let second = Fd::new(socket().into());
            let late = connect(&second)
                .timeout(Duration::from_micros(10 * round))
                .await;
            assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
            let token = CancelToken::new();
            let mut connecting = connect(&second).cancel_with(&token);
            assert!(poll_once(&mut connecting).is_pending());
            driver.turn(Wait::No).unwrap();
            token.cancel().await;
            assert!(is_cancelled(&connecting.await.unwrap_err()));
        }
        let third = Fd::new(socket().into());
        let mut connecting = connect(&third).timeout(LONG);
        assert!(poll_once(&mut connecting).is_pending());
        driver.turn(Wait::No).unwrap();
        listener.accept().unwrap();
        connecting.await.unwrap();
    });
}

#[test]
fn a_send_to_a_full_receiver_waits_and_ends_at_its_deadline_or_by_a_cancel() {
    run(|driver| async move {
        let name = format!("\0annulet full {}", std::process::id());
        let addr = SockAddr::unix(name).unwrap();
        let receiver = socket2::Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
        receiver.bind(&addr).unwrap();
        let sender = socket2::Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.send_to(b"x", &addr).is_ok() {}
        sender.set_nonblocking(false).unwrap();
        let (receiver, sender) = (Fd::new(receiver.into()), Fd::new(sender.into()));
        let send = || Op::on(&sender, SendTo::new("x", Some(addr.clone()), 0));
        for round in 0..100 {
            let late = send().timeout(Duration::from_micros(10 * round)).await.0;
            assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
            let token = CancelToken::new();
            let mut sending = send().cancel_with(&token);
            assert!(poll_once(&mut sending).is_pending());
            driver.turn(Wait::No).unwrap();
            token.cancel().await;
            assert!(is_cancelled(&sending.await.0.unwrap_err()));
        }
        let mut sending = send();
        assert!(poll_once(&mut sending).is_pending());
        driver.turn(Wait::No).unwrap();
        assert_eq!(receive_by(0, &receiver, 8).await, b"x");
        sending.await.0.unwrap();
    });
}
