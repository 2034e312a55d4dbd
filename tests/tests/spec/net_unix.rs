//! Unix sockets: what sections A and B say of listeners and streams, on theirs; and descriptors that are passed: none is
//! left open, counted, whatever becomes of the message they came with.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use annulet_tests::{
    Ring, closed_elsewhere, fds, metrics, poll_now, spec, submitted, until, within_a_turn,
};
use runtime::is_cancelled;
use runtime::net::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};
use rustix::io::{FdFlags, fcntl_getfd};

spec! {
    alone async a1_closing_a_unix_listener_ends_a_blocked_accept;
    async a4_a_waiting_unix_client_is_accepted_at_once_by_every_kind_of_listener;
    async a5_what_a_unix_listener_accepts_is_close_on_exec;
    alone async a6_a_dropped_accept_leaves_its_unix_client_to_the_next;
    alone async descriptors_passed_and_dropped_anywhere_leave_none_open;
    alone async descriptors_without_room_are_told_and_none_is_left_open;
    alone async a_message_takes_253_descriptors_and_no_more;
    alone async a_socket_passed_into_itself_can_be_taken_out_again;
    alone async sockets_passed_through_each_other_are_collected;
    alone async descriptors_in_flight_end_with_the_sockets_they_are_in;
}

/// The kernel's limit of descriptors in a message.
const SCM_MAX_FD: usize = 253;

fn name(ring: Ring, of: &str) -> SocketAddr {
    let name = format!("annulet {of} {} {}", ring.name, std::process::id());
    SocketAddr::from_abstract_name(name).unwrap()
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// So many descriptors, and as many are open as before once they were sent.
fn many(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| null()).collect()
}

async fn a1_closing_a_unix_listener_ends_a_blocked_accept(ring: Ring) {
    let name = name(ring, "a1");
    let listener = std::rc::Rc::new(UnixListener::bind_addr(&name).await.unwrap());
    let mut accept = listener.accept();
    assert!(poll_now(&mut accept).await.is_pending());
    submitted().await;
    let closing = listener.clone();
    let closed = closed_elsewhere(move || closing.close()).await;
    let error = within_a_turn(accept).await.unwrap_err();
    assert!(is_cancelled(&error), "{error}");
    closed.await.unwrap().unwrap();
    let refused = UnixStream::connect_addr(&name).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

async fn a4_a_waiting_unix_client_is_accepted_at_once_by_every_kind_of_listener(ring: Ring) {
    let (streams, packets) = (name(ring, "a4"), name(ring, "a4 packets"));
    let listener = UnixListener::bind_addr(&streams).await.unwrap();
    let _client = UnixStream::connect_addr(&streams).await.unwrap();
    let (stream, peer) = within_a_turn(listener.accept()).await.unwrap();
    assert!(peer.is_unnamed());
    let own = stream.local_addr().unwrap();
    assert_eq!(own.as_abstract_name(), streams.as_abstract_name());
    let listener = UnixSeqpacketListener::bind_addr(&packets).await.unwrap();
    let _client = UnixSeqpacket::connect_addr(&packets).await.unwrap();
    let (_, peer) = within_a_turn(listener.accept()).await.unwrap();
    assert!(peer.is_unnamed());
}

async fn a5_what_a_unix_listener_accepts_is_close_on_exec(ring: Ring) {
    let name = name(ring, "a5");
    let listener = UnixListener::bind_addr(&name).await.unwrap();
    let client = UnixStream::connect_addr(&name).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    for fd in [listener.as_fd(), client.as_fd(), stream.as_fd()] {
        assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
    }
}

async fn a6_a_dropped_accept_leaves_its_unix_client_to_the_next(ring: Ring) {
    let (name, clients) = (name(ring, "a6"), name(ring, "a6 client"));
    let listener = UnixListener::bind_addr(&name).await.unwrap();
    let before = fds();
    for round in 0..6 {
        let mut accept = listener.accept();
        assert!(poll_now(&mut accept).await.is_pending());
        if round % 2 == 0 {
            submitted().await;
        }
        drop(accept);
        let client = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            None,
        );
        let client = client.unwrap();
        let addr = |addr: &SocketAddr| {
            let name = addr.as_abstract_name().unwrap();
            rustix::net::SocketAddrUnix::new_abstract_name(name).unwrap()
        };
        rustix::net::bind(&client, &addr(&clients)).unwrap();
        rustix::net::connect(&client, &addr(&name)).unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.as_abstract_name(), clients.as_abstract_name());
        stream.close().await.unwrap();
    }
    assert_eq!(fds(), before);
}

async fn descriptors_passed_and_dropped_anywhere_leave_none_open(_: Ring) {
    let before = fds();
    for stage in 0..5 {
        let (one, two) = UnixStream::pair().unwrap();
        let mut receive = two.recv_fds([0; 8], 3);
        assert!(poll_now(&mut receive).await.is_pending());
        if stage > 0 {
            submitted().await;
        }
        one.send_fds("three", many(3)).await.0.unwrap();
        match stage {
            // As it lands, or before it has; when its result is there; taken, and dropped with all.
            0 | 1 => drop(receive),
            2 => {
                until(|| metrics().in_flight == 0).await;
                drop(receive);
            }
            3 => drop(receive.await),
            // Kept, and taken by who cannot take descriptors.
            _ => {
                drop(receive);
                assert_eq!(two.read([0; 2]).await.0.unwrap(), 2);
                assert_eq!(two.read([0; 8]).await.0.unwrap(), 3);
            }
        }
        one.close().await.unwrap();
        two.close().await.unwrap();
        assert_eq!(fds(), before, "stage {stage}");
    }
}

async fn descriptors_without_room_are_told_and_none_is_left_open(_: Ring) {
    let (one, two) = UnixDatagram::pair().unwrap();
    let before = fds();
    for kept in [false, true] {
        for room in 0..=5 {
            if kept {
                let mut receive = two.recv_fds([0; 8], 5);
                assert!(poll_now(&mut receive).await.is_pending());
                submitted().await;
                drop(receive);
            }
            one.send_fds("five", many(5)).await.0.unwrap();
            let passed = two.recv_fds([0; 8], room).await.0.unwrap();
            assert_eq!(passed.fds.len(), room);
            assert_eq!(passed.fds_truncated, room < 5);
            assert_eq!(fds().len(), before.len() + room, "kept: {kept}");
            drop(passed);
            assert_eq!(fds(), before, "kept: {kept}");
        }
    }
}

async fn a_message_takes_253_descriptors_and_no_more(_: Ring) {
    let (one, two) = UnixSeqpacket::pair().unwrap();
    let before = fds();
    let error = one.send_fds("x", many(SCM_MAX_FD + 1)).await.0.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(fds(), before);
    one.send_fds("x", many(SCM_MAX_FD)).await.0.unwrap();
    assert_eq!(fds(), before, "they are on their way");
    let passed = two.recv_fds([0; 8], SCM_MAX_FD + 7).await.0.unwrap();
    assert_eq!(
        (passed.fds.len(), passed.fds_truncated),
        (SCM_MAX_FD, false)
    );
    drop(passed);
    assert_eq!(fds(), before);
}

async fn a_socket_passed_into_itself_can_be_taken_out_again(_: Ring) {
    let before = fds();
    let (one, two) = UnixStream::pair().unwrap();
    // The end that will receive it.
    let own = two.as_fd().try_clone_to_owned().unwrap();
    one.send_fds("yourself", [own]).await.0.unwrap();
    let passed = two.recv_fds([0; 8], 1).await.0.unwrap();
    let again = UnixStream::from(passed.fds.into_iter().next().unwrap());
    one.write_all("hello").await.0.unwrap();
    assert_eq!(again.read([0; 8]).await.0.unwrap(), 5);
    for end in [one, two, again] {
        end.close().await.unwrap();
    }
    submitted().await;
    assert_eq!(fds(), before);
}

/// What holds a pipe's writing end open is in two sockets that hold nothing but each other.
async fn sockets_passed_through_each_other_are_collected(_: Ring) {
    let before = fds();
    let (reader, writer) = runtime::fs::pipe().unwrap();
    let (one, two) = UnixStream::pair().unwrap();
    let (three, four) = UnixStream::pair().unwrap();
    let copy = |of: &UnixStream| of.as_fd().try_clone_to_owned().unwrap();
    let writer: OwnedFd = writer.into_std().await.unwrap().into();
    one.send_fds("x", [copy(&four), writer]).await.0.unwrap();
    three.send_fds("x", [copy(&two)]).await.0.unwrap();
    for end in [one, two, three, four] {
        end.close().await.unwrap();
    }
    // The kernel looks for such sockets when one that was passed is closed, or another is passed.
    let (one, two) = UnixStream::pair().unwrap();
    one.send_fds("x", [copy(&two)]).await.0.unwrap();
    drop((one, two));
    let read = reader.read([0; 1]).timeout(Duration::from_secs(10));
    assert_eq!(read.await.0.unwrap(), 0);
    reader.close().await.unwrap();
    until(|| fds() == before).await;
}

async fn descriptors_in_flight_end_with_the_sockets_they_are_in(_: Ring) {
    let before = fds();
    let (reader, writer) = runtime::fs::pipe().unwrap();
    let writer: OwnedFd = writer.into_std().await.unwrap().into();
    let (one, two) = UnixStream::pair().unwrap();
    let mut receive = two.recv_fds([0; 8], 1);
    assert!(poll_now(&mut receive).await.is_pending());
    submitted().await;
    one.send_fds("x", [writer]).await.0.unwrap();
    until(|| metrics().in_flight == 0).await;
    // Complete, and never polled again: dropped after its socket was closed.
    two.close().await.unwrap();
    drop(receive);
    drop((one, two));
    let read = reader.read([0; 1]).timeout(Duration::from_secs(10));
    assert_eq!(read.await.0.unwrap(), 0);
    reader.close().await.unwrap();
    until(|| fds() == before).await;
}
