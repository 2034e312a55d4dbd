//! What is these handles' own: paths and names, messages, descriptors, the peer, conversions. What every descriptor does
//! is the spec suite's, what becomes of control data the driver's.

use std::fs::File;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use annulet_driver::{CancelToken, is_cancelled};
use runtime::fs::PipeReader;

use super::*;
use crate::{OwnedReadHalf, OwnedWriteHalf};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime::Runtime::new().unwrap().block_on(future)
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

/// A directory of its own, removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "annulet-unix-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn abstract_name(name: &str) -> SocketAddr {
    let name = format!("annulet test {} {name}", std::process::id());
    SocketAddr::from_abstract_name(name).unwrap()
}

/// A pipe, whose writing end is to be passed: the reading end tells when nobody has it any more.
fn pipe() -> (PipeReader, OwnedFd) {
    let (reader, writer) = io::pipe().unwrap();
    (PipeReader::from_std(reader).unwrap(), writer.into())
}

async fn assert_closed(reader: &PipeReader) {
    let read = reader.read([0; 1]).timeout(Duration::from_secs(10)).await;
    assert_eq!(read.0.unwrap(), 0);
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<UnixListener>();
    shared::<UnixSeqpacketListener>();
    shared::<UnixStream>();
    shared::<UnixDatagram>();
    shared::<UnixSeqpacket>();
    shared::<OwnedReadHalf<UnixStream>>();
    shared::<OwnedWriteHalf<UnixStream>>();
}

#[test]
fn a_path_is_removed_with_its_listener_if_that_was_asked_for() {
    block_on(async {
        let directory = Directory::new();
        let (stays, goes, closed) = (
            directory.path("stays"),
            directory.path("goes"),
            directory.path("closed"),
        );
        drop(UnixListener::bind(&stays).await.unwrap());
        assert!(stays.exists());
        assert_eq!(
            kind(UnixListener::bind(&stays).await),
            io::ErrorKind::AddrInUse
        );
        let listener = UnixListener::bind(&goes).await.unwrap();
        drop(listener.unlink_on_drop().unwrap());
        assert!(!goes.exists());
        let listener = UnixListener::bind(&closed).await.unwrap();
        let listener = listener.unlink_on_drop().unwrap();
        let closing = listener.close();
        assert!(!closed.exists());
        closing.await.unwrap();
        // Whoever is there now is another.
        let other = UnixListener::bind(&closed).await.unwrap();
        drop(listener);
        assert!(closed.exists());
        drop(other);
    });
}

#[test]
fn a_path_that_is_anothers_by_now_is_left_alone() {
    block_on(async {
        let directory = Directory::new();
        let path = directory.path("socket");
        let one = UnixListener::bind(&path).await.unwrap();
        let one = one.unlink_on_drop().unwrap();
        let kept = directory.path("kept");
        std::fs::rename(&path, &kept).unwrap();
        let two = UnixListener::bind(&path).await.unwrap();
        drop(one);
        assert!(path.exists() && kept.exists());
        drop(two);
        let moved = UnixListener::bind(directory.path("std")).await.unwrap();
        let moved = moved.unlink_on_drop().unwrap().into_std().await.unwrap();
        assert!(directory.path("std").exists());
        drop(moved);
    });
}

#[test]
fn a_name_that_cannot_be_is_refused_before_anything_is_done() {
    block_on(async {
        for bad in ["x".repeat(108), "with\0nul".to_owned()] {
            let invalid = io::ErrorKind::InvalidInput;
            assert_eq!(kind(UnixListener::bind(&bad).await), invalid);
            assert_eq!(kind(UnixStream::connect(&bad).await), invalid);
            assert_eq!(kind(UnixDatagram::bind(&bad).await), invalid);
            let socket = UnixDatagram::unbound().unwrap();
            assert_eq!(kind(socket.connect(&bad).await), invalid);
            let (result, buf) = socket.send_to(vec![7; 3], &bad).await;
            assert_eq!((kind(result), &buf[..]), (invalid, &[7; 3][..]));
        }
    });
}

#[test]
fn a_listener_of_one_kind_is_none_of_another() {
    block_on(async {
        let directory = Directory::new();
        let path = directory.path("socket");
        let listener = UnixSeqpacketListener::bind(&path).await.unwrap();
        let error = UnixStream::connect(&path).await.unwrap_err();
        let wrong_type = rustix::io::Errno::PROTOTYPE.raw_os_error();
        assert_eq!(error.raw_os_error(), Some(wrong_type));
        listener.close().await.unwrap();
        let refused = io::ErrorKind::ConnectionRefused;
        assert_eq!(kind(UnixSeqpacket::connect(&path).await), refused);
        let name = abstract_name("kinds");
        let _listener = UnixSeqpacketListener::bind_addr(&name).await.unwrap();
        assert_eq!(kind(UnixStream::connect_addr(&name).await), refused);
    });
}

#[test]
fn a_connect_that_waits_ends_at_its_deadline_by_its_token_and_when_there_is_room() {
    block_on(async {
        let name = abstract_name("backlog");
        let listener = socket(Type::STREAM).unwrap();
        let addr = from_unix_addr(&name).unwrap();
        Op::on(&listener, op::Bind::new(addr)).await.unwrap();
        Op::on(&listener, op::Listen::new(0)).await.unwrap();
        let first = UnixStream::connect_addr(&name).await.unwrap();
        let late = UnixStream::connect_addr(&name).timeout(Duration::from_millis(5));
        assert_eq!(kind(late.await), io::ErrorKind::TimedOut);
        let token = CancelToken::new();
        let mut connect = UnixStream::connect_addr(&name).cancel_with(&token);
        assert!(poll_once(&mut connect).is_pending());
        runtime::yield_now().await;
        token.cancel().await;
        assert!(is_cancelled(&connect.await.unwrap_err()));
        let mut second = UnixStream::connect_addr(&name);
        assert!(poll_once(&mut second).is_pending());
        Op::on(&listener, op::Accept::new()).await.unwrap();
        second.await.unwrap();
        drop(first);
    });
}

#[test]
fn halves_of_a_unix_stream_are_those_of_any_stream() {
    block_on(async {
        let (one, two) = UnixStream::pair().unwrap();
        let (reader, writer) = one.into_split();
        writer.write_all("last words").await.0.unwrap();
        drop(writer);
        let (result, buf) = two.read_exact([0; 10]).await;
        result.unwrap();
        assert_eq!(&buf, b"last words");
        assert_eq!(two.read([0; 1]).await.0.unwrap(), 0);
        two.write_all("x").await.0.unwrap();
        assert_eq!(reader.read([0; 1]).await.0.unwrap(), 1);
        assert!(reader.peer_addr().unwrap().is_unnamed());
    });
}

#[test]
fn a_handles_limits_hold_for_messages_and_descriptors_too() {
    block_on(async {
        let (stream, _peer) = UnixStream::pair().unwrap();
        let (datagram, _peer) = UnixDatagram::pair().unwrap();
        let limit = Some(Duration::from_millis(1));
        stream.set_read_timeout(limit).unwrap();
        datagram.set_read_timeout(limit).unwrap();
        datagram.set_write_timeout(limit).unwrap();
        let late = io::ErrorKind::TimedOut;
        assert_eq!(kind(stream.read([0; 1]).await.0), late);
        assert_eq!(kind(stream.recv_fds([0; 1], 1).await.0), late);
        assert_eq!(kind(datagram.recv([0; 1]).await.0), late);
        assert_eq!(kind(datagram.recv_from([0; 1]).await.0), late);
        let full = loop {
            if let Err(error) = datagram.send("x").await.0 {
                break error;
            }
        };
        assert_eq!(full.kind(), late);
    });
}

#[test]
fn messages_tell_their_sender_by_path_by_abstract_name_and_by_none() {
    block_on(async {
        let directory = Directory::new();
        let path = directory.path("server");
        let server = UnixDatagram::bind(&path).await.unwrap();
        let name = abstract_name("sender");
        let unnamed = UnixDatagram::unbound().unwrap();
        let by_name = UnixDatagram::bind_addr(&name).await.unwrap();
        let by_path = UnixDatagram::bind(directory.path("sender")).await.unwrap();
        for sender in [&unnamed, &by_name, &by_path] {
            sender.send_to("one", &path).await.0.unwrap();
            let addr = server.local_addr().unwrap();
            sender.send_to_addr("", &addr).await.0.unwrap();
            let (peeked, _) = server.peek_from([0; 8]).await;
            assert_eq!(peeked.unwrap().0, 3);
            for len in [3, 0] {
                let (told, peer) = server.recv_from([0; 8]).await.0.unwrap();
                assert_eq!(told, len);
                let own = sender.local_addr().unwrap();
                assert_eq!(peer.as_pathname(), own.as_pathname());
                assert_eq!(peer.as_abstract_name(), own.as_abstract_name());
                assert_eq!(peer.is_unnamed(), own.is_unnamed());
            }
        }
        // A reply goes where the message came from.
        server.send_to_addr("reply", &name).await.0.unwrap();
        assert_eq!(by_name.recv([0; 8]).await.0.unwrap(), 5);
        by_path.connect(&path).await.unwrap();
        by_path.send("connected").await.0.unwrap();
        assert_eq!(server.recv([0; 64]).await.0.unwrap(), 9);
        let peer = by_path.peer_addr().unwrap();
        assert_eq!(peer.as_pathname(), Some(&*path));
    });
}

#[test]
fn a_message_for_a_dropped_receive_keeps_its_sender_for_the_next() {
    block_on(async {
        let name = abstract_name("kept");
        let server = UnixDatagram::bind_addr(&name).await.unwrap();
        let client = UnixDatagram::bind_addr(&abstract_name("kept client")).await;
        let client = client.unwrap();
        client.connect_addr(&name).await.unwrap();
        let mut recv = server.recv([0; 8]);
        assert!(poll_once(&mut recv).is_pending());
        runtime::yield_now().await;
        drop(recv);
        client.send("first").await.0.unwrap();
        client.send("second").await.0.unwrap();
        let (told, buf) = server.recv_from([0; 8]).await;
        let (len, peer) = told.unwrap();
        assert_eq!(&buf[..len], b"first");
        let own = client.local_addr().unwrap();
        assert_eq!(peer.as_abstract_name(), own.as_abstract_name());
        assert_eq!(server.recv([0; 8]).await.0.unwrap(), 6);
    });
}

#[test]
fn a_seqpacket_connection_keeps_messages_apart_and_ends() {
    block_on(async {
        let directory = Directory::new();
        let path = directory.path("socket");
        let listener = UnixSeqpacketListener::bind(&path).await.unwrap();
        let mut incoming = listener.incoming();
        let client = UnixSeqpacket::connect(&path).await.unwrap();
        let server = incoming.next().await.unwrap().unwrap();
        client.send("first").await.0.unwrap();
        client.send("second").await.0.unwrap();
        assert_eq!(server.peek([0; 2]).await.0.unwrap(), 2);
        let (len, buf) = server.recv([0; 3]).await;
        assert_eq!((len.unwrap(), &buf), (3, b"fir"));
        assert_eq!(server.recv([0; 64]).await.0.unwrap(), 6);
        client.shutdown(std::net::Shutdown::Write).await.unwrap();
        assert_eq!(server.recv([0; 64]).await.0.unwrap(), 0);
        server.send("reply").await.0.unwrap();
        assert_eq!(client.recv([0; 64]).await.0.unwrap(), 5);
        assert_eq!(server.peer_cred().unwrap().pid, std::process::id() as i32);
    });
}

#[test]
fn descriptors_go_both_ways_by_every_kind_of_socket() {
    block_on(async {
        let (stream, stream_peer) = UnixStream::pair().unwrap();
        let (datagram, datagram_peer) = UnixDatagram::pair().unwrap();
        let (packet, packet_peer) = UnixSeqpacket::pair().unwrap();
        macro_rules! pass {
            ($from:expr, $to:expr) => {{
                let (reader, writer) = pipe();
                let second = writer.try_clone().unwrap();
                $from.send_fds("two", [writer, second]).await.0.unwrap();
                let (passed, buf) = $to.recv_fds([0; 8], 2).await;
                let passed = passed.unwrap();
                assert_eq!((passed.len, &buf[..3]), (3, &b"two"[..]));
                assert!(!passed.fds_truncated && !passed.truncated);
                assert_eq!(passed.fds.len(), 2);
                for fd in passed.fds {
                    File::from(fd).write_all(b"x").unwrap();
                }
                assert_eq!(reader.read([0; 8]).await.0.unwrap(), 2);
                assert_closed(&reader).await;
                // No room for one of them, nor for any.
                for (room, buf) in [(1, 8), (0, 2)] {
                    let (reader, writer) = pipe();
                    let second = writer.try_clone().unwrap();
                    $from.send_fds("two", [writer, second]).await.0.unwrap();
                    let receive = $to.recv_fds(vec![0; buf], room);
                    let passed = receive.await.0.unwrap();
                    assert_eq!((passed.fds.len(), passed.fds_truncated), (room, true));
                    drop(passed.fds);
                    assert_closed(&reader).await;
                }
            }};
        }
        pass!(datagram, datagram_peer);
        pass!(datagram_peer, datagram);
        pass!(packet, packet_peer);
        pass!(packet_peer, packet);
        pass!(stream, stream_peer);
        let rest = stream_peer.read([0; 8]).await.0.unwrap();
        assert_eq!(rest, 1);
        pass!(stream_peer, stream);
    });
}

#[test]
fn a_stream_passes_a_stream() {
    block_on(async {
        let (one, two) = UnixStream::pair().unwrap();
        let (three, four) = UnixStream::pair().unwrap();
        let three = three.into_std().await.unwrap();
        one.send_fds("socket", [three.into()]).await.0.unwrap();
        let (passed, _) = two.recv_fds([0; 8], 1).await;
        let three = UnixStream::from(passed.unwrap().fds.remove(0));
        three.write_all("through").await.0.unwrap();
        assert_eq!(four.read([0; 8]).await.0.unwrap(), 7);
    });
}

#[test]
fn a_stream_takes_no_descriptors_without_bytes() {
    block_on(async {
        let (one, two) = UnixStream::pair().unwrap();
        let (reader, writer) = pipe();
        let send = one.send_fds("", [writer]).await.0;
        assert_eq!(kind(send), io::ErrorKind::InvalidInput);
        assert_closed(&reader).await;
        let receive = two.recv_fds(Vec::new(), 1).await.0;
        assert_eq!(kind(receive), io::ErrorKind::InvalidInput);
        // A message may be empty, descriptors or not.
        let (one, two) = UnixDatagram::pair().unwrap();
        let (reader, writer) = pipe();
        one.send_fds("", [writer]).await.0.unwrap();
        assert_eq!(two.recv_fds([0; 8], 1).await.0.unwrap().fds.len(), 1);
        assert_closed(&reader).await;
    });
}

#[test]
fn descriptors_that_nobody_took_are_closed_with_the_runtime() {
    let (mut reader, writer) = io::pipe().unwrap();
    let (kept, result) = block_on(async {
        let (one, two) = UnixStream::pair().unwrap();
        let (three, four) = UnixStream::pair().unwrap();
        let writer = OwnedFd::from(writer);
        let mut receive = two.recv_fds([0; 8], 1);
        let mut untaken = four.recv_fds([0; 8], 1);
        assert!(poll_once(&mut receive).is_pending() && poll_once(&mut untaken).is_pending());
        let copy = writer.try_clone().unwrap();
        one.send_fds("x", [copy]).await.0.unwrap();
        three.send_fds("x", [writer]).await.0.unwrap();
        drop(receive);
        ((one, two), (three, untaken))
    });
    drop((kept, result));
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn the_peer_is_told_with_a_descriptor_that_stays_its() {
    block_on(async {
        let (one, _two) = UnixStream::pair().unwrap();
        let peer = one.peer_cred().unwrap();
        assert_eq!(peer.pid, std::process::id() as i32);
        assert_eq!(peer.uid, rustix::process::getuid().as_raw());
        assert_eq!(peer.gid, rustix::process::getgid().as_raw());
        match one.peer_pidfd() {
            Ok(pidfd) => {
                let signal = rustix::process::Signal::CONT;
                rustix::process::pidfd_send_signal(&pidfd, signal).unwrap();
            }
            // Before Linux 6.5.
            Err(error) => assert_eq!(
                error.raw_os_error(),
                Some(rustix::io::Errno::NOPROTOOPT.raw_os_error())
            ),
        }
    });
}

#[test]
fn streams_and_sockets_become_stds_and_come_back() {
    block_on(async {
        let (one, two) = UnixStream::pair().unwrap();
        one.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut std = one.into_std().await.unwrap();
        assert_eq!(std.read_timeout().unwrap(), Some(Duration::from_secs(5)));
        std.write_all(b"from std").unwrap();
        assert_eq!(two.read([0; 64]).await.0.unwrap(), 8);
        two.write_all("to std").await.0.unwrap();
        std.read_exact(&mut [0; 6]).unwrap();
        let one = UnixStream::from_std(std).unwrap();
        assert_eq!(one.read_timeout().unwrap(), Some(Duration::from_secs(5)));
        let directory = Directory::new();
        let listener = UnixListener::bind(directory.path("l")).await.unwrap();
        let listener = UnixListener::from_std(listener.into_std().await.unwrap()).unwrap();
        let client = UnixStream::connect(directory.path("l")).await.unwrap();
        let mut accept = listener.accept();
        assert!(poll_once(&mut accept).is_pending());
        drop(accept);
        let error = listener.into_std().await.unwrap_err();
        assert_eq!(error.into_parts().unwrap().1.len(), 1);
        drop((client, one));
    });
}

#[test]
fn what_came_for_dropped_receives_is_given_back_beside_stds_socket() {
    block_on(async {
        let (one, two) = UnixDatagram::pair().unwrap();
        let (stream, stream_peer) = UnixStream::pair().unwrap();
        let (reader, writer) = pipe();
        one.send_fds("message", [writer]).await.0.unwrap();
        stream_peer.write_all("bytes").await.0.unwrap();
        let mut receive = two.recv_fds([0; 8], 1);
        let mut read = stream.read([0; 8]);
        assert!(poll_once(&mut receive).is_pending() && poll_once(&mut read).is_pending());
        drop((receive, read));
        // Queued behind the dropped ones, so these hear of them.
        two.peek([0; 1]).await.0.unwrap();
        stream.peek([0; 1]).await.0.unwrap();
        let (_, messages) = two.into_std().await.unwrap_err().into_parts().unwrap();
        assert_eq!(
            (messages.len(), &messages[0].bytes[..]),
            (1, &b"message"[..])
        );
        assert_eq!(messages[0].control.fds().count(), 1);
        drop(messages);
        assert_closed(&reader).await;
        let (_, messages) = stream.into_std().await.unwrap_err().into_parts().unwrap();
        assert_eq!((messages.len(), &messages[0].bytes[..]), (1, &b"bytes"[..]));
    });
}

#[test]
fn a_borrowed_handle_is_what_it_was_made_from() {
    block_on(async {
        let name = abstract_name("borrowed");
        let listener = UnixListener::bind_addr(&name).await.unwrap();
        let again = UnixListener::from(listener.as_fd().try_clone_to_owned().unwrap());
        let client = UnixStream::connect_addr(&name).await.unwrap();
        again.accept().await.unwrap();
        let shown = format!("{listener:?} {client:?}");
        assert!(shown.contains("abstract"), "{shown}");
    });
}
