use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use annulet_driver::op::Nop;

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

fn kind<T: fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

fn loopback() -> SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()
}

async fn bound(kind: Type) -> Socket {
    let socket = Socket::new(Domain::IPV4, kind, None).await.unwrap();
    socket.bind(&loopback()).await.unwrap();
    socket
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Socket>();
}

#[test]
fn a_stream_of_any_domain_connects_and_is_accepted() {
    block_on(async {
        let tcp = bound(Type::STREAM).await;
        let unix = Socket::new(Domain::UNIX, Type::STREAM, None).await.unwrap();
        unix.bind(&SockAddr::unix("").unwrap()).await.unwrap();
        for (listener, domain) in [(tcp, Domain::IPV4), (unix, Domain::UNIX)] {
            listener.listen(4).await.unwrap();
            let client = Socket::new(domain, Type::STREAM, None).await.unwrap();
            let addr = listener.local_addr().unwrap();
            client.connect(&addr).await.unwrap();
            assert_eq!(client.peer_addr().unwrap(), addr);
            let (server, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.domain(), domain);
            client.write_all("hello").await.0.unwrap();
            let (result, buf) = server.read_exact([0; 5]).await;
            result.unwrap();
            assert_eq!(&buf, b"hello");
            client.shutdown(Shutdown::Write).await.unwrap();
            assert_eq!(server.recv([0; 5]).await.0.unwrap(), 0);
        }
    });
}

#[test]
fn a_message_keeps_its_sender_whatever_receive_it_came_for() {
    block_on(async {
        let (one, two) = (bound(Type::DGRAM).await, bound(Type::DGRAM).await);
        let (to, from) = (one.local_addr().unwrap(), two.local_addr().unwrap());
        for dropped in [true, false] {
            if dropped {
                let mut recv = one.recv(vec![0; 16]);
                assert!(poll_now(&mut recv).await.is_pending());
                submitted().await;
            }
            two.send_to("message", &to).await.0.unwrap();
            let (result, buf) = one.recv_from(Vec::with_capacity(16)).await;
            assert_eq!(result.unwrap(), (7, Some(from.clone())));
            assert_eq!(buf, b"message");
        }
    });
}

#[test]
fn flags_and_control_data_go_with_a_message() {
    block_on(async {
        let (one, two) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let control = Control::new().with_fd(null);
        one.send_msg(["with ", "it"], None, control, 0)
            .await
            .0
            .unwrap();
        const PEEK: i32 = nix::libc::MSG_PEEK;
        assert_eq!(two.recv_with_flags([0; 3], PEEK).await.0.unwrap(), 3);
        let room = Control::room_for_fds(1);
        let (result, [buf]) = two.recv_msg([Vec::with_capacity(16)], room, 0).await;
        let mut message = result.unwrap();
        assert_eq!(buf, b"with it");
        assert_eq!(message.control.take_fds().count(), 1);
    });
}

#[test]
fn limits_hold_and_go_over_to_what_it_becomes() {
    block_on(async {
        let socket = bound(Type::DGRAM).await;
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        assert_eq!(kind(socket.recv([0; 1]).await.0), io::ErrorKind::TimedOut);
        assert_eq!(
            kind(socket.recv_from([0; 1]).await.0),
            io::ErrorKind::TimedOut
        );
        // A message for a receive that was dropped goes over, too.
        let mut recv = socket.recv([0; 8]).timeout(Duration::from_secs(3600));
        assert!(poll_now(&mut recv).await.is_pending());
        submitted().await;
        drop(recv);
        let addr = socket.local_addr().unwrap();
        socket.send_to("kept", &addr).await.0.unwrap();
        let udp = socket.into_udp_socket().unwrap();
        assert_eq!(udp.read_timeout().unwrap(), Some(Duration::from_millis(1)));
        let (result, _) = udp.recv_from([0; 8]).await;
        assert_eq!(result.unwrap(), (4, addr.as_socket().unwrap()));
    });
}

#[test]
fn a_socket_becomes_only_what_it_is() {
    block_on(async {
        let stream = || bound(Type::STREAM);
        let datagram = || bound(Type::DGRAM);
        assert_eq!(
            kind(stream().await.into_udp_socket()),
            io::ErrorKind::InvalidInput
        );
        assert_eq!(
            kind(datagram().await.into_tcp_stream()),
            io::ErrorKind::InvalidInput
        );
        assert_eq!(
            kind(datagram().await.into_tcp_listener()),
            io::ErrorKind::InvalidInput
        );
        let (unix, _other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let error = unix.into_tcp_stream().unwrap_err();
        assert!(error.to_string().contains("AF_UNIX"), "{error}");
        let (one, other) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        let one = one.into_unix_seqpacket().unwrap();
        one.send("in sequence").await.0.unwrap();
        assert_eq!(other.recv([0; 16]).await.0.unwrap(), 11);
        let (one, other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let (one, other) = (
            one.into_unix_stream().unwrap(),
            other.into_unix_stream().unwrap(),
        );
        one.write_all("x").await.0.unwrap();
        assert_eq!(other.read([0; 1]).await.0.unwrap(), 1);
        let (one, _other) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        one.into_unix_datagram().unwrap();
        let listener = stream().await;
        listener.listen(1).await.unwrap();
        let listener = listener.into_tcp_listener().unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).await.unwrap();
        let addr = listener.local_addr().unwrap().into();
        client.connect(&addr).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let client = client.into_tcp_stream().unwrap();
        client.write_all("x").await.0.unwrap();
        assert_eq!(server.read([0; 1]).await.0.unwrap(), 1);
    });
}

#[test]
fn an_option_that_makes_the_close_wait_is_minded() {
    block_on(async {
        let socket = bound(Type::STREAM).await;
        assert!(!socket.fd.may_linger());
        let linger = Some(Duration::from_secs(5));
        socket.options(|socket| socket.set_linger(linger)).unwrap();
        assert!(socket.fd.may_linger());
        socket.options(|socket| socket.set_linger(None)).unwrap();
        assert!(!socket.fd.may_linger());
    });
}

#[test]
fn a_raw_socket_hears_the_answer_to_its_echo_request() {
    block_on(async {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).await;
        let raw = match raw {
            // Not everybody may.
            Err(error) => return assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
            Ok(raw) => raw,
        };
        // Type 8, code 0, checksum, identifier, sequence: RFC 792.
        let id = std::process::id() as u16;
        let mut ping = [8, 0, 0, 0, (id >> 8) as u8, id as u8, 0, 1];
        let sum: u32 = ping
            .chunks(2)
            .map(|two| u32::from(two[0]) << 8 | u32::from(two[1]))
            .sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        ping[2..4].copy_from_slice(&sum.to_be_bytes());
        raw.send_to(ping, &loopback()).await.0.unwrap();
        loop {
            // It hears all of ICMP that comes, its own request among it; the IP header (20 bytes) comes along.
            let (result, packet) = raw.recv_from(Vec::with_capacity(128)).await;
            assert_eq!(result.unwrap().1.unwrap().domain(), Domain::IPV4);
            if packet.len() >= 28 && packet[20] == 0 && packet[24..28] == ping[4..8] {
                break;
            }
        }
    });
}
