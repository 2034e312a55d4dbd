//! What is these handles' own: halves, limits, addresses, conversions. What every descriptor does is the spec suite's.

use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use annulet_driver::{CancelToken, Op, Partial, is_cancelled, op};
use socket2::SockRef;

use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime::Runtime::new().unwrap().block_on(future)
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = listener().await;
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<TcpListener>();
    shared::<TcpStream>();
    shared::<TcpSocket>();
    shared::<OwnedReadHalf>();
    shared::<OwnedWriteHalf>();
}

#[test]
fn dropping_the_write_half_ends_writing_and_reading_goes_on() {
    block_on(async {
        let (client, server) = pair().await;
        let (reader, writer) = client.into_split();
        writer.write_all("last words").await.0.unwrap();
        drop(writer);
        let (result, buf) = server.read_exact([0; 10]).await;
        result.unwrap();
        assert_eq!(&buf, b"last words");
        assert_eq!(server.read([0; 1]).await.0.unwrap(), 0);
        server.write_all("x").await.0.unwrap();
        assert_eq!(reader.read([0; 1]).await.0.unwrap(), 1);
    });
}

#[test]
fn a_forgotten_write_half_ends_nothing() {
    block_on(async {
        let (client, server) = pair().await;
        let (reader, writer) = client.into_split();
        writer.forget();
        let read = server.read([0; 1]).timeout(Duration::from_millis(1));
        assert_eq!(kind(read.await.0), io::ErrorKind::TimedOut);
        drop(reader);
        assert_eq!(server.read([0; 1]).await.0.unwrap(), 0);
    });
}

#[test]
fn halves_reunite_with_their_own_only_and_the_stream_goes_on() {
    block_on(async {
        let ((one, one_peer), (two, _two_peer)) = (pair().await, pair().await);
        one.set_read_timeout(Some(Duration::from_secs(7))).unwrap();
        let (one_reader, one_writer) = one.into_split();
        let (two_reader, two_writer) = two.into_split();
        let ReuniteError(one_reader, two_writer) = one_reader.reunite(two_writer).unwrap_err();
        two_reader.reunite(two_writer).unwrap();
        let one = one_writer.reunite(one_reader).unwrap();
        assert_eq!(one.read_timeout().unwrap(), Some(Duration::from_secs(7)));
        one.write_all("x").await.0.unwrap();
        assert_eq!(one_peer.read([0; 4]).await.0.unwrap(), 1);
    });
}

#[test]
fn addresses_are_tried_in_turn_and_the_last_error_is_told() {
    block_on(async {
        let listener = listener().await;
        let open = listener.local_addr().unwrap();
        // Nobody listens there, and nobody else is given the port while this socket holds it.
        let socket = TcpSocket::new_v4().await.unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let refused = socket.local_addr().unwrap();
        let stream = TcpStream::connect(&[refused, open][..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        let error = TcpStream::connect(&[refused, refused][..]).await;
        assert_eq!(kind(error), io::ErrorKind::ConnectionRefused);
        let error = TcpListener::bind(&[open][..]).await;
        assert_eq!(kind(error), io::ErrorKind::AddrInUse);
    });
}

/// A listener whose backlog is full: a connection attempt gets no answer.
async fn full_listener() -> (TcpListener, TcpStream) {
    let socket = TcpSocket::new_v4().await.unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let listener = socket.listen(0).await.unwrap();
    let only = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (listener, only)
}

#[test]
fn a_connection_attempt_ends_at_its_deadline() {
    block_on(async {
        let (listener, _only) = full_listener().await;
        let addr = listener.local_addr().unwrap();
        let twice = [addr, addr];
        let connect = TcpStream::connect_timeout(&twice[..], Duration::from_millis(20));
        assert_eq!(kind(connect.await), io::ErrorKind::TimedOut);
        let connect = TcpStream::connect_timeout(addr, Duration::ZERO);
        assert_eq!(kind(connect.await), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_token_ends_a_connection_attempt() {
    block_on(async {
        let (listener, _only) = full_listener().await;
        let token = CancelToken::new();
        let socket = TcpSocket::new_v4().await.unwrap();
        let connect = socket.connect(listener.local_addr().unwrap());
        let mut connect = connect.cancel_with(&token);
        assert!(poll_once(&mut connect).is_pending());
        assert_eq!(token.cancel().await.cancelled, 1);
        assert!(is_cancelled(&connect.await.unwrap_err()));
    });
}

#[test]
fn a_streams_limit_holds_for_every_operation_and_its_own_goes_before() {
    block_on(async {
        let (client, _server) = pair().await;
        assert_eq!(
            kind(client.set_read_timeout(Some(Duration::ZERO))),
            io::ErrorKind::InvalidInput
        );
        client
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        for _ in 0..3 {
            assert_eq!(kind(client.read([0; 1]).await.0), io::ErrorKind::TimedOut);
            assert_eq!(kind(client.peek([0; 1]).await.0), io::ErrorKind::TimedOut);
        }
        client
            .set_read_timeout(Some(Duration::from_secs(3600)))
            .unwrap();
        let read = client.read([0; 1]).timeout(Duration::from_millis(1));
        assert_eq!(kind(read.await.0), io::ErrorKind::TimedOut);
        client
            .set_write_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let error = client.write_all(vec![0; 64 << 20]).await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(Partial::of(&error) > 0);
    });
}

#[test]
fn a_whole_read_past_its_deadline_gives_what_had_come() {
    block_on(async {
        let (client, server) = pair().await;
        server.write_all("abc").await.0.unwrap();
        let read = client.read_exact(Vec::with_capacity(8));
        let (result, buf) = read.timeout(Duration::from_millis(20)).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!((Partial::of(&error), &buf[..]), (3, &b"abc"[..]));
    });
}

#[test]
fn incoming_ends_with_its_listener_and_stays_ended() {
    block_on(async {
        let listener = listener().await;
        let addr = listener.local_addr().unwrap();
        let mut incoming = listener.incoming();
        let mut clients = Vec::new();
        for _ in 0..10 {
            let client = TcpStream::connect(addr).await.unwrap();
            let server = incoming.next().await.unwrap().unwrap();
            assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
            clients.push(client);
        }
        listener.close().await.unwrap();
        assert!(incoming.next().await.is_none());
        assert!(incoming.next().await.is_none());
        assert!(listener.incoming().next().await.is_none());
    });
}

#[test]
fn a_connection_that_incoming_left_tells_its_peer_to_the_next_accept() {
    block_on(async {
        let listener = listener().await;
        let addr = listener.local_addr().unwrap();
        let mut incoming = listener.incoming();
        let _first = TcpStream::connect(addr).await.unwrap();
        incoming.next().await.unwrap().unwrap();
        let second = TcpStream::connect(addr).await.unwrap();
        drop(incoming);
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, second.local_addr().unwrap());
    });
}

#[test]
fn a_connection_without_a_peer_any_more_was_aborted() {
    block_on(async {
        let (client, server) = pair().await;
        client.set_linger(Some(Duration::ZERO)).unwrap();
        client.close().await.unwrap();
        assert_eq!(
            kind(server.read([0; 1]).await.0),
            io::ErrorKind::ConnectionReset
        );
        let server = OwnedFd::from(server.into_std().await.unwrap());
        assert_eq!(
            kind(crate::accept::peer_of::<TcpStream>(&server, None)),
            io::ErrorKind::ConnectionAborted
        );
    });
}

#[test]
fn a_lingering_close_holds_nobody_up() {
    block_on(async {
        let (client, server) = pair().await;
        client.set_linger(Some(LINGER)).unwrap();
        stuck(&client).await;
        closes_at_once(client, server).await;
    });
}

/// A connection whose close has something to wait for: more than the kernel takes while nobody reads.
async fn stuck(stream: &TcpStream) {
    let write = stream.write_all(vec![0; 64 << 20]);
    let stuck = write.timeout(Duration::from_millis(20)).await.0;
    assert_eq!(kind(stuck), io::ErrorKind::TimedOut);
}

const LINGER: Duration = Duration::from_secs(5);

/// Closes it, which must not wait; then lets the kernel's worker go.
async fn closes_at_once(stream: TcpStream, peer: TcpStream) {
    let begun = std::time::Instant::now();
    stream.close().await.unwrap();
    assert!(begun.elapsed() < LINGER);
    peer.close().await.unwrap();
}

#[test]
fn what_a_lingering_listener_accepts_closes_without_holding_anybody_up() {
    block_on(async {
        // Told here, told by who borrowed the listener, inherited from std's.
        let socket = TcpSocket::new_v4().await.unwrap();
        socket.set_linger(Some(LINGER)).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let told = socket.listen(8).await.unwrap();
        let borrowed = listener().await;
        let set = SockRef::from(&borrowed).set_linger(Some(LINGER));
        set.unwrap();
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&std).set_linger(Some(LINGER)).unwrap();
        let std = TcpListener::from_std(std).unwrap();
        for listener in [told, borrowed, std] {
            let addr = listener.local_addr().unwrap();
            let client = TcpStream::connect(addr).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            assert_eq!(server.linger().unwrap(), Some(LINGER));
            stuck(&server).await;
            closes_at_once(server, client).await;
            let client = TcpStream::connect(addr).await.unwrap();
            let server = listener.incoming().next().await.unwrap().unwrap();
            stuck(&server).await;
            closes_at_once(server, client).await;
        }
    });
}

#[test]
fn a_close_that_lingers_by_a_borrowers_word_holds_nobody_up() {
    block_on(async {
        let (client, server) = pair().await;
        SockRef::from(&client).set_linger(Some(LINGER)).unwrap();
        stuck(&client).await;
        closes_at_once(client, server).await;
    });
}

#[test]
fn a_chains_close_that_lingers_holds_nobody_up() {
    block_on(async {
        let (client, server) = pair().await;
        client.set_linger(Some(LINGER)).unwrap();
        stuck(&client).await;
        let begun = std::time::Instant::now();
        let chain = (Op::new(op::Nop::new()), op::CloseFd::of(&client.fd));
        annulet_driver::chain(chain).await.1.unwrap();
        assert!(begun.elapsed() < LINGER);
        server.close().await.unwrap();
    });
}

#[test]
fn a_stream_becomes_stds_and_comes_back() {
    block_on(async {
        let (client, server) = pair().await;
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut client = client.into_std().await.unwrap();
        assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_secs(5)));
        let flags = rustix::fs::fcntl_getfl(&client).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
        client.write_all(b"from std").unwrap();
        assert_eq!(server.read([0; 64]).await.0.unwrap(), 8);
        server.write_all("to std").await.0.unwrap();
        let mut buf = [0; 6];
        client.read_exact(&mut buf).unwrap();

        client.set_nonblocking(true).unwrap();
        let client = TcpStream::from_std(client).unwrap();
        assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_secs(5)));
        let mut read = client.read([0; 4]);
        assert!(poll_once(&mut read).is_pending());
        server.write_all("late").await.0.unwrap();
        assert_eq!(read.await.0.unwrap(), 4);
    });
}

#[test]
fn bytes_for_a_dropped_read_are_given_back_beside_stds_stream() {
    block_on(async {
        let (client, server) = pair().await;
        server.write_all("kept").await.0.unwrap();
        let mut read = client.read([0; 8]);
        assert!(poll_once(&mut read).is_pending());
        drop(read);
        // Queued behind the dropped read, so this hears of it.
        client.peek([0; 1]).await.0.unwrap();
        let error = client.into_std().await.unwrap_err();
        assert!(error.to_string().contains("into_parts"));
        let (stream, bytes) = error.into_parts().unwrap();
        assert_eq!(bytes, b"kept");
        drop(stream);
    });
}

#[test]
fn connections_for_dropped_accepts_are_given_back_beside_stds_listener() {
    block_on(async {
        let listener = listener().await;
        let addr = listener.local_addr().unwrap();
        let client = TcpStream::connect(addr).await.unwrap();
        let mut accept = listener.accept();
        assert!(poll_once(&mut accept).is_pending());
        drop(accept);
        let error = listener.into_std().await.unwrap_err();
        let (listener, streams) = error.into_parts().unwrap();
        assert_eq!(streams.len(), 1);
        assert_eq!(
            streams[0].peer_addr().unwrap(),
            client.local_addr().unwrap()
        );
        let listener = TcpListener::from_std(listener).unwrap();
        let second = TcpStream::connect(addr).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, second.local_addr().unwrap());
    });
}

#[test]
fn whole_writes_of_several_tasks_do_not_mix() {
    block_on(async {
        const LEN: usize = 4 << 20;
        let (client, server) = pair().await;
        let client = std::rc::Rc::new(client);
        let writers: Vec<_> = (1..4u8)
            .map(|byte| {
                let client = client.clone();
                runtime::spawn(async move { client.write_all(vec![byte; LEN]).await.0 })
            })
            .collect();
        for byte in 1..4u8 {
            let (result, buf) = server.read_exact(vec![0; LEN]).await;
            result.unwrap();
            assert!(buf.iter().all(|b| *b == byte));
        }
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
    });
}

#[test]
fn sockets_that_agree_share_a_port() {
    block_on(async {
        let mut addr = "127.0.0.1:0".parse().unwrap();
        let mut listeners = Vec::new();
        for _ in 0..3 {
            let socket = TcpSocket::new_v4().await.unwrap();
            socket.set_reuseport(true).unwrap();
            socket.bind(addr).await.unwrap();
            addr = socket.local_addr().unwrap();
            listeners.push(socket.listen(1).await.unwrap());
        }
    });
}

#[test]
fn what_an_option_is_set_to_is_what_it_is() {
    fn check(stream: &TcpStream) -> io::Result<()> {
        stream.set_tcp_user_timeout(Some(Duration::from_millis(1234)))?;
        let timeout = stream.tcp_user_timeout()?;
        assert_eq!(timeout, Some(Duration::from_millis(1234)));
        stream.set_tcp_quickack(false)?;
        assert!(!stream.tcp_quickack()?);
        stream.set_tcp_cork(true)?;
        assert!(stream.tcp_cork()?);
        stream.set_tcp_notsent_lowat(4096)?;
        assert_eq!(stream.tcp_notsent_lowat()?, 4096);
        stream.set_tos_v4(0x10)?;
        assert_eq!(stream.tos_v4()?, 0x10);
        stream.set_tcp_congestion("reno")?;
        assert_eq!(stream.tcp_congestion()?, "reno");
        assert!(stream.tcp_mss()? > 0);
        stream.set_recv_buffer_size(10_000)?;
        assert!(stream.recv_buffer_size()? >= 10_000);
        assert!(stream.set_tcp_congestion("nothing like it").is_err());
        assert_eq!(stream.device()?, None);
        Ok(())
    }
    block_on(async {
        let (client, _server) = pair().await;
        check(&client).unwrap();
        let socket = TcpSocket::new_v6().await.unwrap();
        socket.set_unicast_hops_v6(7).unwrap();
        assert_eq!(socket.unicast_hops_v6().unwrap(), 7);
        socket.set_tclass_v6(0x20).unwrap();
        assert_eq!(socket.tclass_v6().unwrap(), 0x20);
        socket.set_nodelay(true).unwrap();
        assert!(socket.nodelay().unwrap());
        client.close().await.unwrap();
        let error = client.tcp_cork().unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::BADF.raw_os_error())
        );
    });
}
