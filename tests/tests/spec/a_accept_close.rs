//! Section A: accept and close.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use annulet_tests::{
    Ring, closed_elsewhere, fds, metrics, poll_now, skip, spec, submitted, until, within_a_turn,
};
use runtime::is_cancelled;
use runtime::net::{TcpListener, TcpStream, UnixListener};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use rustix::process::{Resource, getrlimit, setrlimit};

spec! {
    alone async a1_closing_a_listener_ends_a_blocked_accept;
    async a2_closing_a_listener_ends_its_accepts_in_the_order_of_their_calls;
    async a3_an_accept_times_out_and_the_listener_goes_on;
    async a4_a_waiting_client_is_accepted_at_once_and_its_address_is_right;
    async a4_a_waiting_v6_client_is_accepted_at_once_and_its_address_is_right;
    async a4_a_waiting_unix_client_is_accepted_at_once_and_its_name_is_right;
    async a5_what_is_accepted_is_close_on_exec;
    alone async a6_a_dropped_accept_leaves_its_client_to_the_next;
    alone async a6_a_client_of_a_dropped_accept_is_closed_with_its_listener;
    alone async a7_an_accept_dropped_as_it_completes_leaves_its_client_to_the_next;
    alone async a7_so_does_a_multishot_one;
    alone async a7_connections_that_nobody_takes_are_few;
    async a8_each_of_ten_thousand_connections_arrives_once;
    async a9_a_duplicate_of_a_closed_listener_goes_on_accepting;
    async a10_a_listener_waits_whether_it_is_blocking_or_not;
    alone async a11_out_of_descriptors_an_accept_says_so_and_the_next_one_recovers;
    alone async a11_so_does_a_multishot_one_and_neither_spins;
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A client in the listener's backlog: the kernel connects it, whether or not anybody accepts.
fn client(addr: SocketAddr) -> std::net::TcpStream {
    std::net::TcpStream::connect(addr).unwrap()
}

/// Asserts that `accepted` is the connection of `client`.
fn assert_is(client: &std::net::TcpStream, accepted: io::Result<(TcpStream, SocketAddr)>) {
    let (stream, peer) = accepted.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(stream.peer_addr().unwrap(), peer);
    assert_eq!(stream.local_addr().unwrap(), client.peer_addr().unwrap());
}

async fn a1_closing_a_listener_ends_a_blocked_accept(_: Ring) {
    let (listener, addr) = listener().await;
    let listener = Rc::new(listener);
    let mut accept = listener.accept();
    assert!(poll_now(&mut accept).await.is_pending());
    submitted().await;
    let ends = Rc::new(RefCell::new(Vec::new()));
    let (closing, log) = (listener.clone(), ends.clone());
    let closed = closed_elsewhere(move || {
        let close = closing.close();
        async move {
            close.await.unwrap();
            log.borrow_mut().push("close");
        }
    });
    let closed = closed.await;
    let error = within_a_turn(accept).await.unwrap_err();
    assert!(is_cancelled(&error), "{error}");
    ends.borrow_mut().push("accept");
    closed.await.unwrap();
    assert_eq!(*ends.borrow(), ["accept", "close"]);
    let refused = std::net::TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

async fn a2_closing_a_listener_ends_its_accepts_in_the_order_of_their_calls(_: Ring) {
    let (listener, _) = listener().await;
    let listener = Rc::new(listener);
    let called = Rc::new(RefCell::new(Vec::new()));
    let ended = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let (listener, called, ended) = (listener.clone(), called.clone(), ended.clone());
            runtime::spawn(async move {
                let mut accept = listener.accept();
                assert!(poll_now(&mut accept).await.is_pending());
                called.borrow_mut().push(n);
                let error = accept.await.unwrap_err();
                assert!(is_cancelled(&error), "{error}");
                ended.borrow_mut().push(n);
            })
        })
        .collect();
    until(|| called.borrow().len() == 10).await;
    submitted().await;
    let closing = listener.clone();
    let closed = closed_elsewhere(move || closing.close()).await;
    let log = ended.clone();
    let closed = runtime::spawn(async move {
        closed.await.unwrap().unwrap();
        log.borrow_mut().push(10);
    });
    for task in tasks {
        task.await.unwrap();
    }
    closed.await.unwrap();
    assert_eq!(*called.borrow(), (0..10).collect::<Vec<_>>());
    assert_eq!(
        *ended.borrow(),
        (0..=10).collect::<Vec<_>>(),
        "the close is 10"
    );
}

async fn a3_an_accept_times_out_and_the_listener_goes_on(_: Ring) {
    const LIMIT: Duration = Duration::from_millis(100);
    let (listener, addr) = listener().await;
    let begun = Instant::now();
    let error = listener.accept().timeout(LIMIT).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() >= LIMIT, "early");
    // One that waits its turn behind another has its own time.
    let mut first = listener.accept();
    assert!(poll_now(&mut first).await.is_pending());
    let second = listener.accept().timeout(Duration::from_millis(1)).await;
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::TimedOut);
    let client = client(addr);
    assert_is(&client, first.await);
}

async fn a4_a_waiting_client_is_accepted_at_once_and_its_address_is_right(_: Ring) {
    let (listener, addr) = listener().await;
    for _ in 0..3 {
        let client = client(addr);
        assert_is(&client, within_a_turn(listener.accept()).await);
    }
    let (one, two) = (client(addr), client(addr));
    assert_is(&one, within_a_turn(listener.accept()).await);
    assert_is(&two, within_a_turn(listener.accept()).await);
}

async fn a4_a_waiting_v6_client_is_accepted_at_once_and_its_address_is_right(_: Ring) {
    let listener = match TcpListener::bind("[::1]:0").await {
        Ok(listener) => listener,
        Err(error) => return skip(&format!("no IPv6 on the loopback device: {error}")),
    };
    let client = client(listener.local_addr().unwrap());
    assert!(client.local_addr().unwrap().is_ipv6());
    assert_is(&client, within_a_turn(listener.accept()).await);
}

/// A path for a socket: short, as it must fit 108 bytes, and removed in the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(ring: Ring, name: &str) -> SocketPath {
        let name = format!("annulet-{}-{}-{name}", std::process::id(), ring.name);
        SocketPath(std::env::temp_dir().join(name))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn a4_a_waiting_unix_client_is_accepted_at_once_and_its_name_is_right(ring: Ring) {
    let server = SocketPath::new(ring, "server");
    let listener = UnixListener::bind(&server.0).await.unwrap();
    let accept = || within_a_turn(listener.accept());
    let connect = |name: Option<SocketAddrUnix>| {
        let socket =
            rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
        if let Some(name) = name {
            rustix::net::bind(&socket, &name).unwrap();
        }
        let server = SocketAddrUnix::new(&server.0).unwrap();
        rustix::net::connect(&socket, &server).unwrap();
        UnixStream::from(socket)
    };

    let _unnamed = connect(None);
    let (_, peer) = accept().await.unwrap();
    assert!(peer.is_unnamed());

    let name = SocketPath::new(ring, "client");
    let _named = connect(Some(SocketAddrUnix::new(&name.0).unwrap()));
    let (_, peer) = accept().await.unwrap();
    assert_eq!(peer.as_pathname(), Some(&*name.0));

    let name = format!("annulet a4 {} {}", ring.name, std::process::id());
    let name = name.as_bytes();
    let _abstract = connect(Some(SocketAddrUnix::new_abstract_name(name).unwrap()));
    let (_, peer) = accept().await.unwrap();
    assert_eq!(peer.as_abstract_name(), Some(name));
}

async fn a5_what_is_accepted_is_close_on_exec(_: Ring) {
    let (listener, addr) = listener().await;
    assert!(fcntl_getfd(&listener).unwrap().contains(FdFlags::CLOEXEC));
    let _clients = [client(addr), client(addr), client(addr)];
    let (stream, _) = listener.accept().await.unwrap();
    assert!(fcntl_getfd(&stream).unwrap().contains(FdFlags::CLOEXEC));
    let stream = listener.incoming().next().await.unwrap().unwrap();
    assert!(fcntl_getfd(&stream).unwrap().contains(FdFlags::CLOEXEC));
    let limited = listener.accept().timeout(Duration::from_secs(3600));
    let (stream, _) = limited.await.unwrap();
    assert!(fcntl_getfd(&stream).unwrap().contains(FdFlags::CLOEXEC));
}

async fn a6_a_dropped_accept_leaves_its_client_to_the_next(_: Ring) {
    let (listener, addr) = listener().await;
    let before = fds();
    for round in 0..10 {
        for _ in 0..=round % 3 {
            let mut accept = listener.accept();
            assert!(poll_now(&mut accept).await.is_pending());
            submitted().await;
            drop(accept);
        }
        let client = client(addr);
        let (stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        // Only the one: nothing else has come.
        let mut next = listener.accept();
        assert!(poll_now(&mut next).await.is_pending());
        stream.close().await.unwrap();
    }
    assert_eq!(fds(), before);
}

async fn a6_a_client_of_a_dropped_accept_is_closed_with_its_listener(_: Ring) {
    let before = fds();
    let (listener, addr) = listener().await;
    let mut accept = listener.accept();
    assert!(poll_now(&mut accept).await.is_pending());
    submitted().await;
    drop(accept);
    let client = client(addr);
    until(|| metrics().in_flight == 0).await;
    listener.close().await.unwrap();
    let client = TcpStream::from_std(client).unwrap();
    assert_eq!(client.read([0; 8]).await.0.unwrap(), 0);
    client.close().await.unwrap();
    assert_eq!(fds(), before);
}

async fn a7_an_accept_dropped_as_it_completes_leaves_its_client_to_the_next(_: Ring) {
    let (listener, addr) = listener().await;
    let before = fds();
    for _ in 0..10 {
        let client = client(addr);
        let mut accept = listener.accept();
        assert!(poll_now(&mut accept).await.is_pending());
        submitted().await;
        let landed = metrics();
        assert_eq!((landed.in_flight, landed.live), (0, 1), "not landed");
        drop(accept);
        let (stream, peer) = within_a_turn(listener.accept()).await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        stream.close().await.unwrap();
    }
    assert_eq!(fds(), before);
}

async fn a7_so_does_a_multishot_one(_: Ring) {
    let (listener, addr) = listener().await;
    let before = fds();
    for _ in 0..10 {
        let clients = [client(addr), client(addr), client(addr)];
        let mut incoming = listener.incoming();
        let first = incoming.next().await.unwrap().unwrap();
        submitted().await;
        drop(incoming);
        let mut streams = vec![first];
        for client in &clients[1..] {
            let (stream, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            streams.push(stream);
        }
        for stream in streams {
            stream.close().await.unwrap();
        }
    }
    assert_eq!(fds(), before);
}

async fn a7_connections_that_nobody_takes_are_few(_: Ring) {
    let (listener, addr) = listener().await;
    let mut incoming = listener.incoming();
    assert!(poll_now(&mut Box::pin(incoming.next())).await.is_pending());
    submitted().await;
    let before = fds().len();
    let mut clients = Vec::new();
    for _ in 0..150 {
        // Each comes by itself.
        clients.push(client(addr));
        submitted().await;
        submitted().await;
    }
    let accepted = fds().len() - before - clients.len();
    assert!((64..=66).contains(&accepted), "{accepted} wait to be taken");
    for client in &clients {
        let stream = incoming.next().await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
    }
    // It goes on as before.
    assert!(poll_now(&mut Box::pin(incoming.next())).await.is_pending());
    let another = client(addr);
    let stream = incoming.next().await.unwrap().unwrap();
    assert_eq!(stream.peer_addr().unwrap(), another.local_addr().unwrap());
}

async fn a8_each_of_ten_thousand_connections_arrives_once(_: Ring) {
    const CONNECTIONS: usize = 10_000;
    const AT_ONCE: usize = 100;
    let (listener, addr) = listener().await;
    let mut incoming = listener.incoming();
    let mut arrived = vec![false; CONNECTIONS];
    for first in (0..CONNECTIONS).step_by(AT_ONCE) {
        let clients: Vec<_> = (first..first + AT_ONCE)
            .map(|number| {
                let mut client = client(addr);
                client.write_all(&number.to_ne_bytes()).unwrap();
                client
            })
            .collect();
        for _ in 0..AT_ONCE {
            let stream = incoming.next().await.unwrap().unwrap();
            let (read, number) = stream.read_exact([0; size_of::<usize>()]).await;
            read.unwrap();
            let again = std::mem::replace(&mut arrived[usize::from_ne_bytes(number)], true);
            assert!(!again, "{} arrived twice", usize::from_ne_bytes(number));
        }
        drop(clients);
    }
    assert!(arrived.into_iter().all(|arrived| arrived));
    assert!(poll_now(&mut Box::pin(incoming.next())).await.is_pending());
    let closing = listener.close();
    assert!(within_a_turn(Box::pin(incoming.next())).await.is_none());
    closing.await.unwrap();
    assert!(incoming.next().await.is_none());
}

async fn a9_a_duplicate_of_a_closed_listener_goes_on_accepting(_: Ring) {
    let one = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = one.local_addr().unwrap();
    let two = TcpListener::from_std(one.try_clone().unwrap()).unwrap();
    let one = TcpListener::from_std(one).unwrap();
    let (mut first, mut second) = (one.accept(), two.accept());
    assert!(poll_now(&mut first).await.is_pending());
    assert!(poll_now(&mut second).await.is_pending());
    submitted().await;
    let closing = one.close();
    assert!(is_cancelled(&within_a_turn(first).await.unwrap_err()));
    closing.await.unwrap();
    submitted().await;
    assert!(poll_now(&mut second).await.is_pending());
    let client = client(addr);
    assert_is(&client, second.await);
}

async fn a10_a_listener_waits_whether_it_is_blocking_or_not(_: Ring) {
    for nonblocking in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(nonblocking).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        for _ in 0..2 {
            let mut accept = listener.accept();
            assert!(poll_now(&mut accept).await.is_pending());
            submitted().await;
            assert!(poll_now(&mut accept).await.is_pending());
            let client = client(addr);
            let (stream, _) = accept.await.unwrap();
            let flags = fcntl_getfl(&stream).unwrap();
            assert!(!flags.contains(OFlags::NONBLOCK));
            let mut read = stream.read([0; 8]);
            assert!(poll_now(&mut read).await.is_pending());
            submitted().await;
            assert!(poll_now(&mut read).await.is_pending());
            (&client).write_all(b"late").unwrap();
            assert_eq!(read.await.0.unwrap(), 4);
        }
        let mut incoming = listener.incoming();
        assert!(poll_now(&mut Box::pin(incoming.next())).await.is_pending());
        submitted().await;
        assert!(poll_now(&mut Box::pin(incoming.next())).await.is_pending());
        let client = client(addr);
        let stream = incoming.next().await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
        drop(incoming);
        let mut accept = listener.accept();
        assert!(poll_now(&mut accept).await.is_pending());
        submitted().await;
        let closing = listener.close();
        assert!(is_cancelled(&within_a_turn(accept).await.unwrap_err()));
        closing.await.unwrap();
    }
}

/// Takes every descriptor this process may have; giving one up frees one.
fn hoard() -> Vec<File> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(fds().len() as u64 + 64);
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut hoard = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => hoard.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                return hoard;
            }
        }
    }
}

async fn a11_out_of_descriptors_an_accept_says_so_and_the_next_one_recovers(_: Ring) {
    let (listener, addr) = listener().await;
    let clients = [client(addr), client(addr)];
    let mut hoard = hoard();
    for client in &clients {
        for _ in 0..3 {
            let before = metrics().completions;
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            assert_eq!(metrics().completions - before, 1, "it spins");
        }
        hoard.pop();
        assert_is(client, listener.accept().await);
        // Its descriptor is closed in the background: until then there is none again.
        hoard.extend(File::open("/dev/null"));
        submitted().await;
        submitted().await;
        hoard.extend(File::open("/dev/null"));
    }
}

async fn a11_so_does_a_multishot_one_and_neither_spins(_: Ring) {
    let (listener, addr) = listener().await;
    let clients = [client(addr), client(addr)];
    let mut hoard = hoard();
    let mut incoming = listener.incoming();
    for client in &clients {
        for _ in 0..3 {
            let before = metrics().completions;
            let error = incoming.next().await.unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            // The one that went on after the connection before may have failed already.
            assert!(metrics().completions - before <= 1, "it spins");
        }
        // Not asked, it does nothing.
        let before = metrics().completions;
        for _ in 0..10 {
            submitted().await;
        }
        assert_eq!(metrics().completions - before, 10, "it spins");
        hoard.pop();
        let stream = incoming.next().await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
        stream.close().await.unwrap();
        hoard.extend(File::open("/dev/null"));
    }
    drop(hoard);
}
