//! Section G: chains. Serial groups come with a later issue.

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use annulet_tests::{
    Ring, driver, metrics, poll_now, skip, socket_pair, spec, submitted, until, within_a_turn,
};
use runtime::op::{CloseFd, Fsync, Nop, OpenAt, Read, Recv, RecvExact, Send, Timeout, Write};
use runtime::{Fd, Op, chain, hard_chain, is_cancelled};

spec! {
    async g1_a_chain_writes_syncs_reads_and_closes_in_order;
    async g1_a_chain_that_fails_leaves_its_descriptor_open;
    async g2_the_first_that_fails_cancels_the_rest;
    async g2_in_a_hard_chain_the_rest_go_on;
    async g2_a_deadline_breaks_a_chain_where_it_passes;
    async g3_a_short_read_breaks_a_chain_behind_it;
    async g3_a_short_receive_breaks_it_only_if_it_wanted_all;
    async g4_a_chain_is_staged_whole_whatever_room_is_left;
    async g4_a_chain_longer_than_the_queue_is_refused_whole;
    async g4_a_dropped_chain_does_nothing_more;
    async g4_a_dropped_hard_chain_ends;
    g5_under_sqpoll_no_chain_is_split on kernel, tiny;
}

/// A new file with `content`, removed in the end.
struct NewFile {
    path: PathBuf,
    fd: Fd,
}

impl NewFile {
    async fn new(ring: Ring, name: &str, content: &[u8]) -> NewFile {
        let name = format!("{name}-{}-{}", ring.name, std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, content).unwrap();
        let fd = NewFile::open(&path).await;
        NewFile { path, fd }
    }

    async fn open(path: &std::path::Path) -> Fd {
        Fd::new(
            Op::new(OpenAt::new(path, libc::O_RDWR, 0).unwrap())
                .await
                .unwrap(),
        )
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn g1_a_chain_writes_syncs_reads_and_closes_in_order(ring: Ring) {
    let file = NewFile::new(ring, "g1", b"").await;
    let again = NewFile::open(&file.path).await;
    for round in 0..10u64 {
        let size = 10_000;
        let at = round * size as u64;
        // Beyond the end of the file, so that there is nothing to read before it is written.
        let (wrote, synced, read, short) = chain((
            Op::on(&file.fd, Write::at(vec![round as u8 + 1; size], at)),
            Op::on(&file.fd, Fsync::all()),
            Op::on(&again, Read::at(vec![0; size], at)),
            Op::on(&again, Read::at(vec![0; size], at + 1)),
        ))
        .await;
        assert_eq!(wrote.0.unwrap(), size);
        synced.unwrap();
        assert_eq!(read.0.unwrap(), size);
        assert_eq!(read.1, vec![round as u8 + 1; size]);
        assert_eq!(short.0.unwrap(), size - 1);
    }
    let number = std::os::fd::AsRawFd::as_raw_fd(&file.fd);
    let (wrote, synced, closed) = chain((
        Op::on(&file.fd, Write::at(b"last", 0)),
        Op::on(&file.fd, Fsync::data()),
        CloseFd::of(&file.fd),
    ))
    .await;
    assert_eq!(wrote.0.unwrap(), 4);
    synced.unwrap();
    closed.unwrap();
    assert!(file.fd.is_closed());
    // It is the kernel that closed it; a second close is as fine as ever.
    let before = metrics().staged;
    file.fd.close().await.unwrap();
    assert_eq!(metrics().staged, before, "closed twice: {number}");
    assert_eq!(&std::fs::read(&file.path).unwrap()[..5], b"last\x01");
}

async fn g1_a_chain_that_fails_leaves_its_descriptor_open(ring: Ring) {
    let file = NewFile::new(ring, "g1-fails", b"content").await;
    let (read, closed) = chain((
        // Short: there are seven.
        Op::on(&file.fd, Read::at(vec![0; 8], 0)),
        CloseFd::of(&file.fd),
    ))
    .await;
    assert_eq!(read.0.unwrap(), 7);
    assert!(is_cancelled(&closed.unwrap_err()));
    assert!(!file.fd.is_closed());
    let (read, bytes) = Op::on(&file.fd, Read::at([0; 7], 0)).await;
    assert_eq!((read.unwrap(), &bytes), (7, b"content"));
    file.fd.close().await.unwrap();
}

/// A descriptor that no read succeeds on.
fn directory() -> Fd {
    Fd::new(std::fs::File::open("/").unwrap().into())
}

async fn g2_the_first_that_fails_cancels_the_rest(_: Ring) {
    let (ours, theirs) = socket_pair();
    let bad = directory();
    let (first, failed, sent, nop) = chain((
        Op::new(Nop::new()),
        Op::on(&bad, Read::at(vec![0; 8], 0)),
        Op::on(&ours, Send::new([1; 8])),
        Op::new(Nop::new()),
    ))
    .await;
    first.unwrap();
    assert_eq!(failed.0.unwrap_err().kind(), ErrorKind::IsADirectory);
    assert!(is_cancelled(&sent.0.unwrap_err()));
    assert!(is_cancelled(&nop.unwrap_err()));
    let mut recv = Op::on(&theirs, Recv::new([0; 8]));
    assert!(poll_now(&mut recv).await.is_pending());
    // Both directions of both are free again.
    submitted().await;
    Op::on(&ours, Send::new([2; 3])).await.0.unwrap();
    assert_eq!(recv.await.0.unwrap(), 3);
}

async fn g2_in_a_hard_chain_the_rest_go_on(_: Ring) {
    let (ours, theirs) = socket_pair();
    let bad = directory();
    let (failed, sent, again, nop) = hard_chain((
        Op::on(&bad, Read::at(vec![0; 8], 0)),
        Op::on(&ours, Send::new([1; 8])),
        Op::on(&bad, Read::at(vec![0; 8], 0)),
        Op::new(Nop::new()),
    ))
    .await;
    assert_eq!(failed.0.unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(sent.0.unwrap(), 8);
    assert_eq!(again.0.unwrap_err().kind(), ErrorKind::IsADirectory);
    nop.unwrap();
    let recv = within_a_turn(Op::on(&theirs, Recv::new([0; 8]))).await;
    assert_eq!(recv.0.unwrap(), 8);
}

async fn g2_a_deadline_breaks_a_chain_where_it_passes(_: Ring) {
    let (ours, theirs) = socket_pair();
    for hard in [false, true] {
        let recv = Op::on(&ours, Recv::new([0; 8])).timeout(Duration::from_millis(5));
        // A deadline that does not pass breaks nothing.
        let nop = Op::new(Nop::new()).timeout(Duration::from_secs(3600));
        let send = Op::on(&ours, Send::new([1; 8]));
        let (nop, recv, send) = if hard {
            hard_chain((nop, recv, send)).await
        } else {
            chain((nop, recv, send)).await
        };
        nop.unwrap();
        assert_eq!(recv.0.unwrap_err().kind(), ErrorKind::TimedOut);
        if hard {
            assert_eq!(send.0.unwrap(), 8);
            assert_eq!(Op::on(&theirs, Recv::new([0; 9])).await.0.unwrap(), 8);
        } else {
            assert!(is_cancelled(&send.0.unwrap_err()));
        }
    }
}

async fn g3_a_short_read_breaks_a_chain_behind_it(ring: Ring) {
    let file = NewFile::new(ring, "g3", b"twelve bytes").await;
    let (ours, theirs) = socket_pair();
    let (full, short, sent, nop) = chain((
        Op::on(&file.fd, Read::at(vec![0; 8], 0)),
        Op::on(&file.fd, Read::at(vec![0; 8], 8)),
        Op::on(&ours, Send::new([1; 8])),
        Op::new(Nop::new()),
    ))
    .await;
    assert_eq!((full.0.unwrap(), &full.1[..]), (8, &b"twelve b"[..]));
    assert_eq!((short.0.unwrap(), &short.1[..]), (4, &b"ytes"[..]));
    assert!(is_cancelled(&sent.0.unwrap_err()));
    assert!(is_cancelled(&nop.unwrap_err()));
    let (end, sent) = chain((
        Op::on(&file.fd, Read::at(vec![0; 8], 12)),
        Op::on(&ours, Send::new([1; 8])),
    ))
    .await;
    assert_eq!(end.0.unwrap(), 0);
    assert!(is_cancelled(&sent.0.unwrap_err()));
    let (short, sent) = hard_chain((
        Op::on(&file.fd, Read::at(vec![0; 8], 8)),
        Op::on(&ours, Send::new([1; 5])),
    ))
    .await;
    assert_eq!(short.0.unwrap(), 4);
    assert_eq!(sent.0.unwrap(), 5);
    // Only what the hard one sent.
    assert_eq!(Op::on(&theirs, Recv::new([0; 64])).await.0.unwrap(), 5);
}

async fn g3_a_short_receive_breaks_it_only_if_it_wanted_all(_: Ring) {
    let (ours, theirs) = socket_pair();
    Op::on(&theirs, Send::new([1; 4])).await.0.unwrap();
    let (short, sent) = chain((
        Op::on(&ours, Recv::new(vec![0; 8])),
        Op::on(&ours, Send::new([2; 3])),
    ))
    .await;
    assert_eq!((short.0.unwrap(), sent.0.unwrap()), (4, 3));
    Op::on(&theirs, Send::new([1; 4])).await.0.unwrap();
    theirs.close().await.unwrap();
    let (short, nop) = chain((
        Op::on(&ours, Recv::with_flags(vec![0; 8], libc::MSG_WAITALL)),
        Op::new(Nop::new()),
    ))
    .await;
    assert_eq!(short.0.unwrap(), 4);
    assert!(is_cancelled(&nop.unwrap_err()));
}

/// A chain whose first member waits for `release` to write: were it split, what follows would not wait for it.
async fn assert_whole(gate: &(Fd, Fd), way: &(Fd, Fd)) {
    let mut linked = chain((
        Op::on(&gate.0, Recv::new([0; 1])),
        Op::on(&way.0, Send::new([1; 1])),
        Op::new(Nop::new()),
        Op::on(&way.0, Send::new([2; 1])),
    ));
    assert!(poll_now(&mut linked).await.is_pending());
    submitted().await;
    submitted().await;
    assert!(poll_now(&mut linked).await.is_pending());
    let early = Op::on(&way.1, Recv::with_flags([0; 4], libc::MSG_DONTWAIT)).await;
    assert_eq!(early.0.unwrap_err().kind(), ErrorKind::WouldBlock, "split");
    Op::on(&gate.1, Send::new([0; 1])).await.0.unwrap();
    let (released, one, nop, two) = linked.await;
    assert_eq!(released.0.unwrap(), 1);
    assert_eq!((one.0.unwrap(), two.0.unwrap()), (1, 1));
    nop.unwrap();
    let (got, bytes) = Op::on(&way.1, RecvExact::new([0; 2])).await;
    got.unwrap();
    assert_eq!(bytes, [1, 2]);
}

async fn g4_a_chain_is_staged_whole_whatever_room_is_left(_: Ring) {
    let (gate, way) = (socket_pair(), socket_pair());
    let capacity = driver().capacity();
    for room in 0..=6 {
        submitted().await;
        let mut nops: Vec<_> = (0..capacity - room).map(|_| Op::new(Nop::new())).collect();
        for nop in &mut nops {
            assert!(poll_now(nop).await.is_pending());
        }
        assert_whole(&gate, &way).await;
        for nop in nops {
            nop.await.unwrap();
        }
    }
}

async fn g4_a_chain_longer_than_the_queue_is_refused_whole(ring: Ring) {
    let small = ring.builder().entries(4).build().unwrap();
    drop(small);
    let (ours, theirs) = socket_pair();
    let capacity = driver().capacity();
    let hour = Duration::from_secs(3600);
    let nop = || Op::new(Nop::new()).timeout(hour);
    let before = metrics().staged;
    // Seven entries with their timeouts, then three: ten.
    let linked = chain((
        Op::on(&ours, Send::new([1; 1])),
        nop(),
        nop(),
        nop(),
        nop(),
        Op::new(Nop::new()),
    ));
    let (sent, _, _, _, _, last) = linked.await;
    if capacity < 10 {
        let error = sent.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let message = error.to_string();
        assert!(
            message.contains("10 entries") && message.contains("more entries"),
            "{message}"
        );
        assert!(is_cancelled(&last.unwrap_err()));
        assert_eq!(metrics().staged, before, "some of it was staged");
    } else {
        sent.0.unwrap();
        last.unwrap();
        assert_eq!(Op::on(&theirs, Recv::new([0; 4])).await.0.unwrap(), 1);
    }
    // One as long as the queue is the longest there can be.
    if capacity == 8 {
        let linked = chain((
            nop(),
            nop(),
            nop(),
            Op::new(Nop::new()),
            Op::on(&ours, Send::new([1; 1])),
        ));
        let (_, _, _, _, sent) = linked.await;
        sent.0.unwrap();
        assert_eq!(Op::on(&theirs, Recv::new([0; 4])).await.0.unwrap(), 1);
    }
}

async fn g4_a_dropped_chain_does_nothing_more(_: Ring) {
    let (ours, theirs) = socket_pair();
    for submit in [false, true] {
        let mut linked = chain((
            Op::new(Timeout::new(Duration::from_secs(3600))),
            Op::new(Timeout::new(Duration::from_secs(3600))),
            Op::on(&ours, Send::new([1; 1])),
        ));
        assert!(poll_now(&mut linked).await.is_pending());
        if submit {
            submitted().await;
        }
        drop(linked);
        until(|| metrics().in_flight == 0).await;
        assert_eq!(metrics().live, 0);
    }
    // Its directions are free again, and nothing was sent but this.
    Op::on(&ours, Send::new([2; 1])).await.0.unwrap();
    let (got, byte) = Op::on(&theirs, Recv::new([0; 1])).await;
    assert_eq!((got.unwrap(), byte), (1, [2]));
    let next = Op::on(&theirs, Recv::with_flags([0; 1], libc::MSG_DONTWAIT)).await;
    assert_eq!(next.0.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Each member starts when the one before it was cancelled, and must be found by a cancel of its own.
async fn g4_a_dropped_hard_chain_ends(_: Ring) {
    let hour = || Op::new(Timeout::new(Duration::from_secs(3600)));
    let (ours, _theirs) = socket_pair();
    for round in 0..20 {
        let recv = Op::on(&ours, RecvExact::new([0; 8]));
        let mut linked = hard_chain((hour(), hour(), recv, hour()));
        assert!(poll_now(&mut linked).await.is_pending());
        for _ in 0..round % 4 {
            submitted().await;
        }
        drop(linked);
        until(|| metrics().in_flight == 0).await;
        assert_eq!(metrics().live, 0);
    }
}

fn g5_under_sqpoll_no_chain_is_split(ring: Ring) {
    let polled = ring.builder().sqpoll(Duration::from_millis(1)).build();
    let runtime = match polled {
        Ok(runtime) => runtime,
        Err(error) => return skip(&format!("no SQPOLL here: {error}")),
    };
    assert!(runtime.driver().ring_flags().contains("SQPOLL"));
    runtime.block_on(async {
        let (gate, way) = (socket_pair(), socket_pair());
        let done = Rc::new(Cell::new(false));
        // Entries beside the chains, so that the thread looks at the queue at any moment.
        let noise = runtime::spawn({
            let done = done.clone();
            async move {
                while !done.get() {
                    let mut nops = [Op::new(Nop::new()), Op::new(Nop::new())];
                    for nop in &mut nops {
                        let _ = poll_now(nop).await;
                    }
                    for mut nop in nops {
                        while poll_now(&mut nop).await.is_pending() {
                            runtime::yield_now().await;
                        }
                    }
                }
            }
        });
        for _ in 0..300 {
            assert_whole(&gate, &way).await;
        }
        done.set(true);
        noise.await.unwrap();
    });
    let driver = runtime.driver().clone();
    drop(runtime);
    assert_eq!((driver.metrics().in_flight, driver.metrics().live), (0, 0));
}
