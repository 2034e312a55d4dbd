//! The driver without a runtime: operations, their ends, and the shutdown.

mod support;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use annulet_driver::op::{
    Accept, CloseFd, Events, Fsync, MsgRing, Nop, OpenAt, PollAdd, Read, ReadExact, Recv,
    RecvExact, Send, SendAll, Statx, Timeout, Write, WriteAll,
};

use annulet_driver::{
    CancelToken, Driver, Fd, Op, Partial, Setup, Wait, chain, hard_chain, is_cancelled,
};

use support::{poll_once, run, socket_pair};

#[test]
fn a_nop_completes() {
    run(|_| async { Op::new(Nop::new()).await.unwrap() });
}

#[test]
fn bytes_go_through_a_socket_pair() {
    run(|_| async {
        let (a, b) = socket_pair();
        let (sent, _) = Op::on(&a, Send::new(b"hello".to_vec())).await;
        assert_eq!(sent.unwrap(), 5);
        let (got, buf) = Op::on(&b, Recv::new(Vec::with_capacity(64))).await;
        assert_eq!(got.unwrap(), 5);
        assert_eq!(buf, b"hello");
        a.close().await.unwrap();
        let (got, _) = Op::on(&b, Recv::new(vec![0; 8])).await;
        assert_eq!(got.unwrap(), 0);
    });
}

#[test]
fn a_deadline_ends_a_receive() {
    run(|_| async {
        let (a, _b) = socket_pair();
        let (got, _) = Op::on(&a, Recv::new(vec![0; 8]))
            .timeout(Duration::from_millis(5))
            .await;
        assert_eq!(got.unwrap_err().kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn closing_ends_a_blocked_receive_first() {
    run(|driver| async move {
        let (a, _b) = socket_pair();
        let mut recv = Op::on(&a, Recv::new(vec![0; 8]));
        assert!(poll_once(&mut recv).is_pending());
        driver.turn(Wait::No).unwrap();
        let mut close = a.close();
        assert!(poll_once(&mut close).is_pending());
        let (got, _) = recv.await;
        assert!(is_cancelled(&got.unwrap_err()));
        close.await.unwrap();
        let (got, _) = Op::on(&a, Recv::new(vec![0; 8])).await;
        assert_eq!(got.unwrap_err().raw_os_error(), Some(9));
    });
}

#[test]
fn a_dropped_receive_loses_nothing() {
    run(|driver| async move {
        let (a, b) = socket_pair();
        for round in 0..100u8 {
            let mut recv = Op::on(&a, Recv::new(vec![0; 8]));
            assert!(poll_once(&mut recv).is_pending());
            if round % 3 == 0 {
                driver.turn(Wait::No).unwrap();
            }
            drop(recv);
            let (sent, _) = Op::on(&b, Send::new(vec![round, round])).await;
            assert_eq!(sent.unwrap(), 2);
            let (got, buf) = Op::on(&a, Recv::new([0; 1])).await;
            assert_eq!((got.unwrap(), buf), (1, [round]));
            let (got, buf) = Op::on(&a, Recv::new([0; 8])).await;
            assert_eq!((got.unwrap(), buf[0]), (1, round));
        }
    });
}

#[test]
fn a_dropped_accept_keeps_its_connection() {
    run(|driver| async move {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let listener = Fd::new(listener.into());
        let mut accept = Op::on(&listener, Accept::new());
        assert!(poll_once(&mut accept).is_pending());
        driver.turn(Wait::No).unwrap();
        drop(accept);
        let client = std::net::TcpStream::connect(addr).unwrap();
        let (_socket, peer) = Op::on(&listener, Accept::new()).await.unwrap();
        assert_eq!(
            peer.unwrap().as_socket().unwrap(),
            client.local_addr().unwrap()
        );
    });
}

#[test]
fn a_chain_writes_syncs_and_closes() {
    run(|_| async {
        let path = std::env::temp_dir().join(format!("annulet-chain-{}", std::process::id()));
        let open = OpenAt::new(&path, 0o102, 0o600).unwrap();
        let file = Fd::new(Op::new(open).await.unwrap());
        let (written, synced, closed) = chain((
            Op::on(&file, Write::at(b"data".to_vec(), 0)),
            Op::on(&file, Fsync::all()),
            CloseFd::of(&file),
        ))
        .await;
        assert_eq!(written.0.unwrap(), 4);
        synced.unwrap();
        closed.unwrap();
        assert!(file.is_closed());
        file.close().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn a_chain_breaks_where_a_member_fails_and_a_hard_one_goes_on() {
    run(|_| async {
        let (a, b) = socket_pair();
        let bad = Fd::new(std::fs::File::open("/").unwrap().into());
        let (one, two) = chain((
            Op::on(&bad, Read::at(vec![0; 8], 0)),
            Op::on(&a, Send::new(b"x".to_vec())),
        ))
        .await;
        assert_eq!(one.0.unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(is_cancelled(&two.0.unwrap_err()));
        let (one, two) = hard_chain((
            Op::on(&bad, Read::at(vec![0; 8], 0)).timeout(Duration::from_secs(5)),
            Op::on(&a, Send::new(b"x".to_vec())),
        ))
        .await;
        assert!(one.0.is_err());
        assert_eq!(two.0.unwrap(), 1);
        let (got, _) = Op::on(&b, Recv::new([0; 8])).await;
        assert_eq!(got.unwrap(), 1);
    });
}

#[test]
fn a_dropped_hard_chain_ends() {
    run(|driver| async move {
        let mut chain = hard_chain((
            Op::new(Timeout::new(Duration::from_secs(3600))),
            Op::new(Timeout::new(Duration::from_secs(3600))),
            Op::new(Timeout::new(Duration::from_secs(3600))),
        ));
        assert!(poll_once(&mut chain).is_pending());
        driver.turn(Wait::No).unwrap();
        drop(chain);
        while driver.metrics().in_flight > 0 {
            driver
                .turn(Wait::AtMost(Some(Duration::from_secs(5))))
                .unwrap();
        }
    });
}

#[test]
fn forgotten_and_dropped_operations_end_with_the_driver() {
    let driver = Driver::new(&Setup {
        entries: 8,
        ..Setup::default()
    })
    .unwrap();
    let entered = driver.enter();
    let (a, _b) = socket_pair();
    let mut recv = Op::on(&a, Recv::new(vec![0; 8]));
    assert!(poll_once(&mut recv).is_pending());
    std::mem::forget(recv);
    for _ in 0..100 {
        let mut timeout = Op::new(Timeout::new(Duration::from_secs(3600)));
        assert!(poll_once(&mut timeout).is_pending());
    }
    drop(entered);
    assert!(driver.shutdown(Duration::from_secs(5)));
    assert_eq!(driver.metrics().in_flight, 0);
}

fn pipe() -> (Fd, Fd) {
    let (reader, writer) = io::pipe().unwrap();
    (
        Fd::new(OwnedFd::from(reader)),
        Fd::new(OwnedFd::from(writer)),
    )
}

#[test]
fn a_whole_write_goes_on_where_the_pipe_was_full() {
    run(|_| async {
        let (reader, writer) = pipe();
        let data: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        let mut write = Op::on(&writer, WriteAll::new(data.clone()));
        assert!(poll_once(&mut write).is_pending());
        // Queues behind all rounds of the first, though the pipe has room in between.
        let mut second = Op::on(&writer, WriteAll::new(b"end".to_vec()));
        assert!(poll_once(&mut second).is_pending());
        let mut got = Vec::new();
        while got.len() < data.len() {
            let (n, buf) = Op::on(&reader, Read::new(vec![0; 50_000])).await;
            got.extend_from_slice(&buf[..n.unwrap()]);
            let _ = poll_once(&mut second);
            if got.len() < data.len() {
                assert!(poll_once(&mut write).is_pending());
            }
        }
        write.await.0.unwrap();
        second.await.0.unwrap();
        assert_eq!(&got[..data.len()], &data[..]);
        let (n, _) = Op::on(&reader, ReadExact::new([0; 3])).await;
        n.unwrap();
    });
}

#[test]
fn a_deadline_covers_all_rounds_and_says_how_far_they_got() {
    run(|_| async {
        let (reader, writer) = pipe();
        let (wrote, _) = Op::on(&writer, WriteAll::new(vec![7; 1_000_000]))
            .timeout(Duration::from_millis(5))
            .await;
        let error = wrote.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let done = Partial::of(&error);
        assert!(done > 0);
        let (got, _) = Op::on(&reader, ReadExact::new(vec![0; done])).await;
        got.unwrap();
    });
}

#[test]
fn a_dropped_whole_receive_keeps_what_it_was_served_and_what_it_received() {
    run(|driver| async move {
        let (a, b) = socket_pair();
        for round in 0..100 {
            // Dropped in flight: its byte is kept.
            let mut first = Op::on(&a, Recv::new(vec![0; 8]));
            assert!(poll_once(&mut first).is_pending());
            driver.turn(Wait::No).unwrap();
            drop(first);
            Op::on(&b, Send::new(b"1".to_vec())).await.0.unwrap();
            while driver.metrics().in_flight > 0 {
                driver.turn(Wait::AtMost(None)).unwrap();
            }
            // Served the kept byte, then receives some of the rest.
            let mut exact = Op::on(&a, RecvExact::new(vec![0; 4]));
            assert!(poll_once(&mut exact).is_pending());
            if round % 2 == 0 {
                Op::on(&b, Send::new(b"23".to_vec())).await.0.unwrap();
                drop(exact);
            } else {
                drop(exact);
                Op::on(&b, Send::new(b"23".to_vec())).await.0.unwrap();
            }
            let (got, buf) = Op::on(&a, RecvExact::new([0; 3])).await;
            got.unwrap();
            assert_eq!(&buf, b"123");
        }
    });
}

#[test]
fn a_whole_receive_ends_with_the_stream_and_gives_what_had_come() {
    run(|_| async {
        let (a, b) = socket_pair();
        Op::on(&b, SendAll::new(Vec::new())).await.0.unwrap();
        Op::on(&b, SendAll::new(b"abc".to_vec())).await.0.unwrap();
        b.close().await.unwrap();
        let (got, buf) = Op::on(&a, RecvExact::new(Vec::with_capacity(8))).await;
        let error = got.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(Partial::of(&error), 3);
        assert_eq!(buf, b"abc");
    });
}

#[test]
fn a_token_and_a_close_end_a_whole_write_between_its_rounds() {
    run(|_| async {
        for close in [false, true] {
            let (_reader, writer) = pipe();
            let token = CancelToken::new();
            let mut write = Op::on(&writer, WriteAll::new(vec![7; 1_000_000])).cancel_with(&token);
            assert!(poll_once(&mut write).is_pending());
            let closing = close.then(|| writer.close());
            let cancelling = (!close).then(|| token.cancel());
            let error = write.await.0.unwrap_err();
            assert!(is_cancelled(&error));
            if let Some(closing) = closing {
                closing.await.unwrap();
            }
            if let Some(cancelling) = cancelling {
                cancelling.await;
            }
        }
    });
}

#[test]
fn a_kept_connection_is_closed_with_its_listener() {
    run(|driver| async move {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let listener = Fd::new(listener.into());
        let mut accept = Op::on(&listener, Accept::new());
        assert!(poll_once(&mut accept).is_pending());
        driver.turn(Wait::No).unwrap();
        drop(accept);
        let client = std::net::TcpStream::connect(addr).unwrap();
        // Its last operation ends: the connection is kept.
        while driver.metrics().discarded == 0 {
            driver
                .turn(Wait::AtMost(Some(Duration::from_secs(10))))
                .unwrap();
        }
        listener.close().await.unwrap();
        let (got, _) = Op::on(&Fd::new(client.into()), Recv::new([0; 8])).await;
        assert_eq!(got.unwrap(), 0);
    });
}

#[test]
fn a_borrowed_number_stays_taken_until_its_handle_is_dropped() {
    run(|_| async {
        let (a, b) = socket_pair();
        let number = std::os::fd::AsFd::as_fd(&a).as_raw_fd();
        a.close().await.unwrap();
        let (got, _) = Op::on(&b, Recv::new([0; 8])).await;
        assert_eq!(got.unwrap(), 0, "the file is closed");
        let others: Vec<_> = (0..8)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        assert!(
            others.iter().all(|file| file.as_raw_fd() != number),
            "the number was given away"
        );
    });
}

#[test]
fn statx_tells_what_std_tells() {
    run(|_| async {
        let path = std::env::current_exe().unwrap();
        let known = std::fs::metadata(&path).unwrap();
        let by_path = Op::new(Statx::path(&path, 0).unwrap()).await.unwrap();
        let file = Fd::new(std::fs::File::open(&path).unwrap().into());
        let by_file = Op::on(&file, Statx::open_file()).await.unwrap();
        for status in [by_path, by_file] {
            assert_eq!(
                (status.stx_size, status.stx_ino),
                (known.len(), known.ino())
            );
        }
        let missing = Statx::path(Path::new("/nowhere/at/all"), 0).unwrap();
        assert_eq!(
            Op::new(missing).await.unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let nul = Statx::path(Path::new("a\0b"), 0).unwrap_err();
        assert_eq!(nul.kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_poll_tells_when_there_is_something_to_read_and_ends_with_its_descriptor() {
    run(|driver| async move {
        let (a, b) = socket_pair();
        let mut poll = Op::on(&a, PollAdd::new(Events::READ));
        assert!(poll_once(&mut poll).is_pending());
        driver.turn(Wait::No).unwrap();
        assert!(poll_once(&mut poll).is_pending());
        let (sent, _) = Op::on(&b, Send::new(b"x")).await;
        assert_eq!(sent.unwrap(), 1);
        assert!(poll.await.unwrap().contains(Events::READ));
        let (got, _) = Op::on(&a, Recv::new([0; 8])).await;
        assert_eq!(got.unwrap(), 1);
        let mut poll = Op::on(&a, PollAdd::new(Events::READ));
        assert!(poll_once(&mut poll).is_pending());
        a.close().await.unwrap();
        assert!(is_cancelled(&poll.await.unwrap_err()));
    });
}

#[test]
fn a_message_ends_another_threads_sleep_and_one_to_a_driver_that_is_gone_says_so() {
    run(|_| async {
        let (tell, told) = std::sync::mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            let driver = Driver::new(&Setup::default()).unwrap();
            tell.send(driver.unparker()).unwrap();
            while driver.metrics().pokes == 0 {
                driver.turn(Wait::AtMost(None)).unwrap();
            }
            assert!(driver.shutdown(Duration::from_secs(5)));
        });
        let unparker = told.recv().unwrap();
        Op::new(MsgRing::wake(&unparker)).await.unwrap();
        sleeper.join().unwrap();
        let gone = Op::new(MsgRing::wake(&unparker)).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotConnected);
        unparker.unpark();
    });
}
