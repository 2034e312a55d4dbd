//! What a safe program may do to a driver: nothing gets lost, stuck or mixed up.

mod support;

use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use annulet_driver::op::{Accept, AcceptMulti, CloseFd, Nop, Recv, RecvMsg, Send, Timeout, Write};
use annulet_driver::{CancelToken, Driver, Fd, Op, Setup, Wait, chain, hard_chain, is_cancelled};

use support::{LONG, block_on, poll_once, run, socket_pair};

/// Turns until nothing is in flight.
fn settle(driver: &Driver) {
    while driver.metrics().in_flight > 0 {
        driver.turn(Wait::AtMost(Some(LONG))).unwrap();
    }
}

fn listener() -> (Fd, std::net::SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (Fd::new(listener.into()), addr)
}

fn connect(addr: std::net::SocketAddr) -> std::net::TcpStream {
    let client = std::net::TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client
}

/// Closes a descriptor when it is woken.
struct Closer(Mutex<Option<Fd>>, Mutex<Option<mpsc::Sender<()>>>);

impl Wake for Closer {
    fn wake(self: Arc<Self>) {
        let fd = self.0.lock().unwrap().take();
        drop(fd);
        if let Some(done) = self.1.lock().unwrap().take() {
            done.send(()).unwrap();
        }
    }
}

#[test]
fn a_waker_may_close_the_descriptor_whose_direction_it_is_handed() {
    let (done, hears) = mpsc::channel();
    // On a thread of its own: what fails here is a deadlock.
    std::thread::spawn(move || {
        run(|_| async move {
            let (a, b) = socket_pair();
            let mut first = Op::on(&a, Recv::new(vec![0; 8]));
            assert!(poll_once(&mut first).is_pending());
            let mut second = Op::on(&a, Recv::new(vec![0; 8]));
            Op::on(&b, Send::new(vec![1])).await.0.unwrap();
            let waker = Waker::from(Arc::new(Closer(
                Mutex::new(Some(a)),
                Mutex::new(Some(done)),
            )));
            let mut cx = Context::from_waker(&waker);
            assert!(Pin::new(&mut second).poll(&mut cx).is_pending());
            first.await.0.unwrap();
        });
    });
    hears.recv_timeout(LONG).unwrap();
}

/// Has the driver of its thread turn when it is woken.
struct Turner(Mutex<Option<io::Result<()>>>);

impl Wake for Turner {
    fn wake(self: Arc<Self>) {
        let driver = Driver::try_current().unwrap();
        *self.0.lock().unwrap() = Some(driver.turn(Wait::No));
    }
}

#[test]
fn a_turn_within_a_turn_is_refused() {
    run(|driver| async move {
        let (a, b) = socket_pair();
        let mut first = Op::on(&a, Recv::new(vec![0; 8]));
        assert!(poll_once(&mut first).is_pending());
        let turner = Arc::new(Turner(Mutex::default()));
        let waker = Waker::from(turner.clone());
        let mut second = Op::on(&a, Recv::new(vec![0; 8]));
        let polled = Pin::new(&mut second).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        // It is handed the direction in the midst of a turn: what brings that is discarded there.
        drop(first);
        Op::on(&b, Send::new(vec![1])).await.0.unwrap();
        while turner.0.lock().unwrap().is_none() {
            driver.turn(Wait::AtMost(Some(LONG))).unwrap();
        }
        let refused = turner.0.lock().unwrap().take().unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(second.await.0.unwrap(), 1);
    });
}

#[test]
fn the_longest_deadline_does_not_pass() {
    run(|_| async {
        let (a, b) = socket_pair();
        let mut recv = Op::on(&a, Recv::new(vec![0; 8])).timeout(Duration::MAX);
        assert!(poll_once(&mut recv).is_pending());
        let mut queued = Op::on(&a, Recv::new(vec![0; 8])).timeout(Duration::MAX);
        assert!(poll_once(&mut queued).is_pending());
        Op::new(Nop::new()).await.unwrap();
        assert!(poll_once(&mut queued).is_pending());
        Op::on(&b, Send::new(vec![1])).await.0.unwrap();
        recv.await.0.unwrap();
        Op::on(&b, Send::new(vec![1])).await.0.unwrap();
        queued.await.0.unwrap();
    });
}

#[test]
fn a_multishot_accept_awaited_as_one_operation_keeps_what_it_brought() {
    run(|driver| async move {
        let (listener, addr) = listener();
        let token = CancelToken::new();
        let mut accept = Op::on(&listener, AcceptMulti::new()).cancel_with(&token);
        assert!(poll_once(&mut accept).is_pending());
        driver.turn(Wait::No).unwrap();
        let _client = connect(addr);
        while driver.metrics().completions == 0 {
            driver.turn(Wait::AtMost(Some(LONG))).unwrap();
        }
        drop(token.cancel());
        assert!(is_cancelled(&accept.await.unwrap_err()));
        Op::on(&listener, Accept::new())
            .timeout(LONG)
            .await
            .unwrap();
    });
}

#[test]
fn a_chained_close_leaves_a_number_that_is_lent_out_alone() {
    run(|driver| async move {
        let (a, _b) = socket_pair();
        let lent = a.as_fd();
        let before = rustix::fs::fstat(lent).unwrap().st_ino;
        let (_, closed) = chain((Op::new(Nop::new()), CloseFd::of(&a))).await;
        assert_eq!(closed.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(rustix::fs::fstat(lent).unwrap().st_ino, before);

        let (c, _d) = socket_pair();
        c.with(|lent| {
            let before = rustix::fs::fstat(lent)?.st_ino;
            let links = chain((Op::new(Nop::new()), CloseFd::of(&c)));
            let (_, closed) = block_on(&driver, links);
            assert_eq!(closed.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
            assert_eq!(rustix::fs::fstat(lent)?.st_ino, before);
            Ok(())
        })
        .unwrap();
        // Lent no more: now it may.
        let (_, closed) = chain((Op::new(Nop::new()), CloseFd::of(&c))).await;
        closed.unwrap();
    });
}

#[test]
fn what_waits_in_another_chain_never_meets_the_numbers_next_owner() {
    run(|_| async {
        let (a, _b) = socket_pair();
        let mut later = hard_chain((
            Op::new(Timeout::new(Duration::from_millis(20))),
            Op::on(&a, Write::new(b"stray".to_vec())),
        ));
        assert!(poll_once(&mut later).is_pending());
        let (_, _closed) = chain((Op::new(Nop::new()), CloseFd::of(&a))).await;
        // Takes the number, if it is free.
        let (c, mut d) = std::os::unix::net::UnixStream::pair().unwrap();
        d.set_nonblocking(true).unwrap();
        let _ = later.await;
        let got = d.read(&mut [0; 8]);
        assert_eq!(got.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(c);
    });
}

#[test]
fn nothing_follows_a_chained_close_on_the_same_descriptor() {
    run(|_| async {
        let (a, _b) = socket_pair();
        let (closed, (wrote, _)) =
            chain((CloseFd::of(&a), Op::on(&a, Write::new(b"stray".to_vec())))).await;
        assert_eq!(closed.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(is_cancelled(&wrote.unwrap_err()));
        assert!(!a.is_closed());
    });
}

#[test]
fn a_close_called_during_a_chained_one_is_done_even_if_the_chain_breaks() {
    run(|_| async {
        let (a, mut b) = std::os::unix::net::UnixStream::pair().unwrap();
        let a = Fd::new(a.into());
        let bad = Fd::new(std::fs::File::open("/").unwrap().into());
        let mut links = chain((
            Op::on(&bad, annulet_driver::op::Read::at(vec![0; 8], 0)),
            CloseFd::of(&a),
        ));
        assert!(poll_once(&mut links).is_pending());
        let close = a.close();
        let (_, closed) = links.await;
        assert!(is_cancelled(&closed.unwrap_err()));
        close.await.unwrap();
        assert!(a.is_closed());
        assert_eq!(b.read(&mut [0; 1]).unwrap(), 0);
    });
}

#[test]
fn a_token_cancels_a_chain_that_queues() {
    run(|_| async {
        let (a, b) = socket_pair();
        let mut first = Op::on(&a, Recv::new(vec![0; 8]));
        assert!(poll_once(&mut first).is_pending());
        let token = CancelToken::new();
        let mut links = chain((
            Op::on(&a, Recv::new(vec![0; 8])).cancel_with(&token),
            Op::new(Nop::new()),
        ));
        assert!(poll_once(&mut links).is_pending());
        drop(token.cancel());
        Op::on(&b, Send::new(vec![1])).await.0.unwrap();
        first.await.0.unwrap();
        let (got, _) = links.await;
        assert!(is_cancelled(&got.0.unwrap_err()));
        // And it has given its direction up.
        Op::on(&b, Send::new(vec![1])).await.0.unwrap();
        Op::on(&a, Recv::new(vec![0; 8]))
            .timeout(LONG)
            .await
            .0
            .unwrap();
    });
}

#[test]
fn kept_bytes_are_no_concern_of_a_chain_that_queued_to_write() {
    run(|driver| async move {
        let (a, b) = socket_pair();
        let mut recv = Op::on(&a, Recv::new(vec![0; 8]));
        assert!(poll_once(&mut recv).is_pending());
        driver.turn(Wait::No).unwrap();
        drop(recv);
        Op::on(&b, Send::new(vec![1])).await.0.unwrap();
        settle(&driver);
        let mut first = Op::on(&a, Send::new(vec![1]));
        assert!(poll_once(&mut first).is_pending());
        let mut links = chain((Op::on(&a, Send::new(vec![2])), Op::new(Nop::new())));
        assert!(poll_once(&mut links).is_pending());
        first.await.0.unwrap();
        let (sent, _) = links.await;
        assert_eq!(sent.0.unwrap(), 1);
    });
}

#[test]
fn a_token_tells_two_drivers_operations_apart() {
    let one = Driver::new(&Setup::default()).unwrap();
    let two = Driver::new(&Setup::default()).unwrap();
    let token = CancelToken::new();
    let mut stays = Op::new(Timeout::new(Duration::from_secs(3600))).cancel_with(&token);
    let mut ends = Op::new(Nop::new()).cancel_with(&token);
    {
        let _entered = one.enter();
        assert!(poll_once(&mut stays).is_pending());
    }
    {
        let _entered = two.enter();
        assert!(poll_once(&mut ends).is_pending());
        block_on(&two, ends).unwrap();
    }
    drop(token.cancel());
    let error = block_on(&one, stays).unwrap_err();
    assert!(is_cancelled(&error));
    assert!(one.shutdown(LONG) && two.shutdown(LONG));
}

#[test]
fn a_received_message_comes_after_what_was_kept() {
    run(|driver| async move {
        let (a, b) = socket_pair();
        let mut recv = Op::on(&a, Recv::new(vec![0; 8]));
        assert!(poll_once(&mut recv).is_pending());
        driver.turn(Wait::No).unwrap();
        drop(recv);
        Op::on(&b, Send::new(b"one".to_vec())).await.0.unwrap();
        settle(&driver);
        Op::on(&b, Send::new(b"two".to_vec())).await.0.unwrap();
        for flags in [libc::MSG_PEEK, 0] {
            let bufs = (vec![0; 2], Vec::with_capacity(8));
            let (message, (head, tail)) = Op::on(&a, RecvMsg::new(bufs, flags)).await;
            assert_eq!(message.unwrap().len, 3);
            assert_eq!((&head[..], &tail[..]), (&b"on"[..], &b"e"[..]));
        }
    });
}

#[test]
fn a_receive_that_discards_shows_no_memory_it_did_not_fill() {
    run(|_| async {
        let (listener, addr) = listener();
        let mut client = connect(addr);
        let (socket, _) = Op::on(&listener, Accept::new()).await.unwrap();
        let socket = Fd::new(socket);
        let stale = || {
            let mut buf = vec![0xAA; 4];
            buf.clear();
            buf
        };
        client.write_all(b"12345678").unwrap();
        let (_, buf) = Op::on(&socket, Recv::with_flags(stale(), libc::MSG_TRUNC)).await;
        assert!(!buf.contains(&0xAA), "{buf:?}");
        let bufs = [stale()];
        let (_, bufs) = Op::on(&socket, RecvMsg::new(bufs, libc::MSG_TRUNC)).await;
        assert!(!bufs[0].contains(&0xAA), "{bufs:?}");
    });
}

#[test]
fn a_queued_operation_that_is_polled_after_the_shutdown_ends() {
    let driver = Driver::new(&Setup::default()).unwrap();
    let entered = driver.enter();
    let (a, _b) = socket_pair();
    let mut first = Op::on(&a, Recv::new(vec![0; 8]));
    assert!(poll_once(&mut first).is_pending());
    let mut second = Op::on(&a, Recv::new(vec![0; 8]));
    assert!(poll_once(&mut second).is_pending());
    let mut links = chain((Op::on(&a, Recv::new(vec![0; 8])), Op::new(Nop::new())));
    assert!(poll_once(&mut links).is_pending());
    assert!(driver.shutdown(LONG));
    assert!(poll_once(&mut first).is_ready());
    assert!(poll_once(&mut second).is_ready());
    assert!(poll_once(&mut links).is_ready());
    drop(entered);
    assert_eq!(driver.metrics().in_flight, 0);
}

#[test]
fn a_chain_and_a_close_by_another_thread_both_end() {
    for round in 0..500u32 {
        let (a, _b) = socket_pair();
        let a = Arc::new(a);
        let start = Arc::new(std::sync::Barrier::new(2));
        let other = std::thread::spawn({
            let (a, start) = (a.clone(), start.clone());
            move || {
                start.wait();
                for _ in 0..round % 64 {
                    std::hint::spin_loop();
                }
                drop(a.close());
            }
        });
        run(|_| async move {
            let links = chain((Op::on(&a, Recv::new(vec![0; 8])), Op::new(Nop::new())));
            start.wait();
            let (got, _) = links.await;
            assert!(got.0.is_err());
        });
        other.join().unwrap();
    }
}

/// A waker that counts its calls.
struct Count(std::sync::atomic::AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_token_wakes_a_chain_that_queues_and_whoever_only_watches() {
    run(|driver| async move {
        let (a, _b) = socket_pair();
        let mut first = Op::on(&a, Recv::new([0; 8]));
        assert!(poll_once(&mut first).is_pending());
        let token = CancelToken::new();
        let mut queued = chain((
            Op::on(&a, Recv::new([0; 8])).cancel_with(&token),
            Op::new(Nop::new()),
        ));
        let mut watching = token.cancelled();
        let count = Arc::new(Count(Default::default()));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut queued).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut watching).poll(&mut cx).is_pending());
        let report = token.cancel().await;
        assert_eq!(report.cancelled, 1);
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 2);
        watching.await;
        let (received, nothing) = queued.await;
        assert!(is_cancelled(&received.0.unwrap_err()));
        assert!(is_cancelled(&nothing.unwrap_err()));
        drop(first);
        a.close().await.unwrap();
        settle(&driver);
        assert_eq!(driver.metrics().live, 0);
    });
}

#[test]
fn a_fallback_on_a_closed_descriptor_does_nothing() {
    let setup = Setup {
        without: vec![57],
        ..Setup::default()
    };
    let driver = Driver::new(&setup).unwrap();
    let entered = driver.enter();
    block_on(&driver, async {
        let (listener, _) = listener();
        Op::on(&listener, annulet_driver::op::Listen::new(16))
            .await
            .unwrap();
        listener.close().await.unwrap();
        let refused = Op::on(&listener, annulet_driver::op::Listen::new(16)).await;
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(9));
    });
    drop(entered);
    assert!(driver.shutdown(LONG));
}

#[test]
fn an_operation_that_outlives_its_driver_keeps_no_ring_open() {
    let driver = Driver::new(&Setup::default()).unwrap();
    let entered = driver.enter();
    let mut pending = Op::new(Timeout::new(LONG));
    assert!(poll_once(&mut pending).is_pending());
    drop(entered);
    assert!(driver.as_raw_fd() >= 0);
    assert!(driver.shutdown(LONG));
    assert_eq!(driver.as_raw_fd(), -1);
    let entered = driver.enter();
    assert!(poll_once(&mut Op::new(Nop::new())).is_ready());
    let mut both = chain((Op::new(Nop::new()), Op::new(Nop::new())));
    let Poll::Ready((one, _)) = poll_once(&mut both) else {
        panic!("a chain waits for a driver that has shut down");
    };
    assert!(one.unwrap_err().to_string().contains("shutting down"));
    // Its completion has come: it was cancelled.
    let Poll::Ready(ended) = poll_once(&mut pending) else {
        panic!("an operation outlived its driver's last completion");
    };
    assert!(is_cancelled(&ended.unwrap_err()));
    drop(entered);
}
