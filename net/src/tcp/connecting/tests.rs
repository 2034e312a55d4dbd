//! Ordered by which addresses answer, never by time: the delay between attempts is none, or longer than any test.

use std::future::Future;
use std::task::Waker;

use super::*;
use crate::TcpListener;

const NEVER: Duration = Duration::MAX;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime::Runtime::new().unwrap().block_on(future)
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn poll_now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Polls, and lets the ring work, until the attempts have been handed to the kernel.
async fn get_under_way(connect: &mut Connecting) {
    for _ in 0..8 {
        assert!(poll_now(connect).await.is_pending());
        Op::new(op::Nop::new()).await.unwrap();
    }
}

/// An address where a connection attempt gets no answer: its listener's backlog is full.
struct Silent {
    addr: SocketAddr,
    _held: (TcpListener, TcpStream),
}

async fn silent() -> Silent {
    let socket = TcpSocket::new_v4().await.unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let listener = socket.listen(0).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let only = TcpStream::connect(addr).await.unwrap();
    Silent {
        addr,
        _held: (listener, only),
    }
}

/// An address where nobody listens, nor ever will while the socket is held.
async fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().await.unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

async fn open() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

#[test]
fn families_alternate_beginning_with_the_first() {
    let addrs = |list: &[&str]| -> Vec<SocketAddr> {
        list.iter().map(|addr| addr.parse().unwrap()).collect()
    };
    let order = |list: &[&str]| interleaved(addrs(list).into_iter());
    assert_eq!(
        order(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]),
        addrs(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"])
    );
    assert_eq!(
        order(&["1.1.1.1:1", "[::1]:1", "[::2]:1", "[::3]:1"]),
        addrs(&["1.1.1.1:1", "[::1]:1", "[::2]:1", "[::3]:1"])
    );
    assert_eq!(order(&["1.1.1.1:1"]), addrs(&["1.1.1.1:1"]));
    assert_eq!(order(&[]), []);
}

#[test]
fn a_silent_address_holds_nobody_up() {
    block_on(async {
        let (silent, (listener, addr)) = (silent().await, open().await);
        for delay in [Duration::ZERO, Duration::from_millis(1)] {
            let connect = TcpStream::connect(&[silent.addr, addr][..]).attempt_delay(delay);
            let stream = connect.await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), addr);
            listener.accept().await.unwrap();
        }
    });
}

#[test]
fn before_the_delay_is_over_there_is_one_attempt() {
    block_on(async {
        let (silent, (listener, addr)) = (silent().await, open().await);
        let mut connect = TcpStream::connect(&[silent.addr, addr][..]).attempt_delay(NEVER);
        get_under_way(&mut connect).await;
        assert!(poll_now(&mut listener.accept()).await.is_pending());
        let State::Several(race) = &connect.state else {
            panic!("not among several: {connect:?}");
        };
        assert_eq!((race.running.len(), race.waiting.len()), (1, 1));
    });
}

#[test]
fn a_failure_is_followed_by_the_next_at_once() {
    block_on(async {
        let ((_socket, refused), (_listener, addr)) = (refusing().await, open().await);
        let addrs = [refused, refused, addr];
        let stream = TcpStream::connect(&addrs[..]).attempt_delay(NEVER).await;
        assert_eq!(stream.unwrap().peer_addr().unwrap(), addr);
    });
}

#[test]
fn a_failure_beside_a_silent_attempt_is_followed_by_the_next_at_once() {
    block_on(async {
        let (silent, (_socket, refused), (_listener, addr)) =
            (silent().await, refusing().await, open().await);
        let addrs = [refused, silent.addr, addr];
        let mut connect = TcpStream::connect(&addrs[..]).attempt_delay(NEVER);
        get_under_way(&mut connect).await;
        // The refused one let the silent one start, and that holds the third back.
        let State::Several(race) = &mut connect.state else {
            panic!("not among several: {connect:?}");
        };
        assert_eq!((race.failed.len(), race.running.len()), (1, 1));
        race.pause = None;
        assert_eq!(connect.await.unwrap().peer_addr().unwrap(), addr);
    });
}

#[test]
fn the_losers_are_closed() {
    block_on(async {
        let ((one, one_addr), (two, two_addr)) = (open().await, open().await);
        let connect = TcpStream::connect(&[one_addr, two_addr][..]);
        let stream = connect.attempt_delay(Duration::ZERO).await.unwrap();
        let peer = stream.peer_addr().unwrap();
        let (winner, loser) = if peer == one_addr {
            (one, two)
        } else {
            (two, one)
        };
        stream.write_all("x").await.0.unwrap();
        let (server, _) = winner.accept().await.unwrap();
        assert_eq!(server.read([0; 8]).await.0.unwrap(), 1);
        // It was connected before it was given up, or never came to that.
        let mut accept = loser.accept();
        Op::new(op::Nop::new()).await.unwrap();
        if let Poll::Ready(accepted) = poll_now(&mut accept).await {
            let read = accepted.unwrap().0.read([0; 8]).await.0;
            assert!(matches!(&read, Ok(0) | Err(_)), "{read:?}");
        }
    });
}

#[test]
fn every_failure_is_told_and_the_last_gives_the_kind() {
    block_on(async {
        let ((_one, one), (_two, two)) = (refusing().await, refusing().await);
        for delay in [Duration::ZERO, NEVER] {
            let connect = TcpStream::connect(&[one, two][..]).attempt_delay(delay);
            let error = connect.await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let attempts = ConnectError::of(&error).unwrap().attempts();
            let addrs: Vec<_> = attempts.iter().map(|(addr, _)| *addr).collect();
            assert_eq!(addrs, [one, two]);
            let told = error.to_string();
            assert!(told.contains(&one.to_string()), "{told}");
            assert!(told.contains(&two.to_string()), "{told}");
        }
        // One alone says it plainly.
        let error = TcpStream::connect(one).await.unwrap_err();
        assert!(ConnectError::of(&error).is_none());
        assert!(error.raw_os_error().is_some());
    });
}

#[test]
fn attempts_follow_one_another_with_their_families_alternating() {
    block_on(async {
        let (_one, v4) = refusing().await;
        // Port 0 is nobody's; without IPv6 it fails all the same.
        let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
        let connect = TcpStream::connect(&[v4, v4, v6][..]).attempt_delay(NEVER);
        let error = connect.await.unwrap_err();
        let attempts = ConnectError::of(&error).unwrap().attempts();
        let addrs: Vec<_> = attempts.iter().map(|(addr, _)| *addr).collect();
        assert_eq!(addrs, [v4, v6, v4]);
    });
}

#[test]
fn past_the_deadline_the_error_says_so_and_what_was_not_tried() {
    block_on(async {
        let (one, two) = (silent().await, silent().await);
        for (delay, tried) in [(Duration::ZERO, 2), (NEVER, 1)] {
            let connect = TcpStream::connect(&[one.addr, two.addr][..]).attempt_delay(delay);
            let error = connect.timeout(Duration::from_millis(5)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            let error = ConnectError::of(&error).unwrap();
            assert_eq!(error.attempts().len(), tried, "{error}");
            assert_eq!(error.untried().len(), 2 - tried, "{error}");
        }
        let alone = TcpStream::connect(one.addr).timeout(Duration::from_millis(5));
        assert_eq!(alone.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let past = TcpStream::connect(&[one.addr, two.addr][..]).deadline(Instant::now());
        assert_eq!(past.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_token_ends_all_attempts() {
    block_on(async {
        let (one, two) = (silent().await, silent().await);
        let token = CancelToken::new();
        let connect = TcpStream::connect(&[one.addr, two.addr][..]).cancel_with(&token);
        let mut connect = connect.attempt_delay(Duration::ZERO);
        get_under_way(&mut connect).await;
        let report = token.cancel().await;
        assert_eq!((report.cancelled, report.completed), (2, 0));
        assert!(is_cancelled(&connect.await.unwrap_err()));
        let late = TcpStream::connect(one.addr).cancel_with(&token).await;
        assert!(is_cancelled(&late.unwrap_err()));
    });
}

#[test]
fn a_token_ends_a_look_up() {
    block_on(async {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let task = blocking::unblock(move || {
            let _ = held.recv();
            Ok(Vec::new())
        });
        let token = CancelToken::new();
        let mut connect = TcpStream::connect("localhost:9").cancel_with(&token);
        connect.watch = Some(token.cancelled());
        connect.state = State::Finding(Finding::until(task, None));
        assert!(poll_now(&mut connect).await.is_pending());
        let stop = token.clone();
        let stopping = runtime::spawn(async move { stop.cancel().await });
        assert!(is_cancelled(&connect.await.unwrap_err()));
        stopping.await.unwrap();
        drop(release);
    });
}

#[test]
fn nothing_is_looked_up_before_the_first_poll() {
    // Outside of a runtime, where an operation would panic.
    let connect = TcpStream::connect("localhost:9").timeout(Duration::from_secs(1));
    assert!(matches!(connect.state, State::Idle(Addrs::Name(_))));
}

#[test]
#[should_panic(expected = "resolved")]
fn a_resolved_connect_is_not_polled_again() {
    block_on(async {
        let (_listener, addr) = open().await;
        let mut connect = TcpStream::connect(addr);
        (&mut connect).await.unwrap();
        let _ = poll_once(&mut connect);
    });
}
