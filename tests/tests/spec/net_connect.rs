//! Connecting to several addresses (RFC 8305), on every ring. Whose turn it is is tested in `annulet-net`.

use std::task::Poll;
use std::time::Duration;

use annulet_tests::{Ring, fds, metrics, poll_now, spec, submitted, until};
use runtime::net::{TcpListener, TcpSocket, TcpStream};

spec! {
    async the_first_that_answers_wins;
    alone async a_connect_dropped_at_any_point_leaves_nothing_open;
}

/// A listener whose backlog is full: a connection attempt gets no answer.
async fn silent() -> (TcpListener, TcpStream) {
    let socket = TcpSocket::new_v4().await.unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let listener = socket.listen(0).await.unwrap();
    let only = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (listener, only)
}

async fn the_first_that_answers_wins(_: Ring) {
    let (silent, _only) = silent().await;
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = open.local_addr().unwrap();
    let addrs = [silent.local_addr().unwrap(), addr];
    let stream = TcpStream::connect(&addrs[..])
        .attempt_delay(Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(stream.peer_addr().unwrap(), addr);
}

async fn a_connect_dropped_at_any_point_leaves_nothing_open(_: Ring) {
    let (silent, _only) = silent().await;
    // Without the ring: an accept that waited there would be in flight.
    let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    open.set_nonblocking(true).unwrap();
    let (silent, open_addr) = (silent.local_addr().unwrap(), open.local_addr().unwrap());
    let before = fds();
    for addrs in [&[open_addr][..], &[silent, open_addr], &[silent, silent]] {
        for looks in 0..8 {
            let mut connect = TcpStream::connect(addrs).attempt_delay(Duration::ZERO);
            let mut stream = None;
            for _ in 0..looks {
                if let Poll::Ready(connected) = poll_now(&mut connect).await {
                    stream = Some(connected.unwrap());
                    break;
                }
                submitted().await;
            }
            drop(connect);
            drop(stream);
            until(|| metrics().in_flight == 0).await;
            while open.accept().is_ok() {}
            assert_eq!(fds(), before, "after {looks} looks at {addrs:?}");
        }
    }
}
