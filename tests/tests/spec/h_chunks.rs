//! Section H: buffers that the kernel picks.

use std::cell::RefCell;
use std::io::Write;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use annulet_tests::{
    Ring, fds, forget_on_purpose, metrics, poll_now, raise_descriptor_limit, spec, submitted, until,
};
use runtime::buf::Chunk;
use runtime::is_cancelled;
use runtime::net::UnixStream;

spec! {
    h1_more_messages_than_buffers_lose_nothing on kernel, plain, tiny, poll, incremental;
    async h1_however_many_messages_come_at_once_each_finds_a_buffer on kernel, incremental;
    h1_without_a_single_buffer_receives_take_memory_of_their_own on kernel, plain, tiny, poll, incremental;
    h1_a_receive_that_finds_no_buffer_does_not_spin on kernel, plain, tiny, poll, incremental;
    h1_a_multishot_receive_goes_on_without_buffers on kernel, plain, tiny, poll, incremental;
    h1_of_streams_that_run_dry_more_is_published on kernel, plain, poll, incremental;
    async h1_a_stream_that_nobody_reads_pauses on kernel, plain, tiny, poll, incremental;
    async h1_chunks_that_nobody_takes_are_few on kernel, plain;
    async h2_a_chunk_is_held_across_awaits_and_dropped_by_another_task on kernel, plain, tiny, poll, incremental;
    h2_a_chunk_outlives_its_runtime on kernel, plain, tiny, poll, incremental;
    alone h2_a_forgotten_chunk_is_leaked_and_never_written_to on kernel, plain, tiny, poll, incremental;
    async h2_a_chunk_is_sent_on_as_it_is on kernel, plain, tiny, poll, incremental;
    alone async h3_idle_connections_hold_no_buffers on kernel, plain, tiny, poll, incremental;
    async h3_the_buffers_that_came_back_last_are_lent_first;
    h3_what_is_switched_off_gives_the_same;
    async a_dropped_receive_leaves_its_bytes_to_the_next_of_either_kind on kernel, plain, tiny, poll, incremental;
    async a_dropped_multishot_receive_leaves_what_came_to_the_next_read on kernel, plain, tiny, poll, incremental;
    async what_was_shown_and_not_consumed_is_read_first on kernel, plain, tiny, poll, incremental;
    async what_was_shown_is_read_before_what_came_for_another on kernel, plain, tiny, poll, incremental;
    async the_end_of_a_stream_is_an_empty_chunk_and_no_chunk on kernel, plain, tiny, poll, incremental;
    async closing_ends_a_multishot_receive on kernel, plain, tiny, poll, incremental;
    async a_read_timeout_limits_each_chunk on kernel, plain, tiny, poll, incremental;
    alone async one_submission_receives_many_chunks on kernel, plain, tiny, poll, incremental;
}

pub(crate) fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a socket pair")
}

pub(crate) async fn send(to: &UnixStream, bytes: impl Into<Vec<u8>>) {
    to.write_all(bytes.into()).await.0.expect("there is room");
}

async fn h1_many(count: usize) {
    let pairs: Vec<_> = (0..count).map(|_| pair()).collect();
    let mut receives: Vec<_> = pairs.iter().map(|(ours, _)| ours.recv()).collect();
    for receive in &mut receives {
        assert!(poll_now(receive).await.is_pending());
    }
    submitted().await;
    for (n, (_, theirs)) in pairs.iter().enumerate() {
        send(theirs, [n as u8; 64]).await;
    }
    let mut chunks = Vec::new();
    for receive in receives {
        chunks.push(receive.await.unwrap());
    }
    for (n, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk[..], [n as u8; 64]);
    }
    assert!(metrics().chunks <= 32);
    assert!(metrics().chunks_lent <= 32);
    drop(chunks);
    assert_eq!(metrics().chunks_lent, 0);
    // And they are used again.
    send(&pairs[0].1, "again").await;
    assert_eq!(pairs[0].0.recv().await.unwrap()[..], *b"again");
}

fn h1_more_messages_than_buffers_lose_nothing(ring: Ring) {
    let builder = ring.builder().chunk_size(64).chunk_limit(32);
    builder.build().unwrap().block_on(h1_many(100));
}

/// The kernel receives them in helpings, as deferred work; before each there are buffers again.
async fn h1_however_many_messages_come_at_once_each_finds_a_buffer(_: Ring) {
    const COUNT: usize = 300;
    let mut peers = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..COUNT {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        peers.push(theirs);
        streams.push(UnixStream::from_std(ours).unwrap());
    }
    let mut all: Vec<_> = streams.iter().map(UnixStream::chunks).collect();
    for chunks in &mut all {
        let mut next = pin!(chunks.next());
        assert!(poll_now(&mut next).await.is_pending());
    }
    submitted().await;
    for round in 0..3u8 {
        // Without a turn in between.
        for (n, theirs) in peers.iter_mut().enumerate() {
            theirs.write_all(&[round, n as u8]).unwrap();
        }
        for (n, chunks) in all.iter_mut().enumerate() {
            let chunk = chunks.next().await.unwrap().unwrap();
            assert_eq!(chunk[..], [round, n as u8]);
        }
    }
    assert_eq!(metrics().chunks_dry, 0);
    assert_eq!(metrics().chunks_lent, 0);
}

fn h1_without_a_single_buffer_receives_take_memory_of_their_own(ring: Ring) {
    let runtime = ring.builder().chunk_limit(0).build().unwrap();
    runtime.block_on(async {
        h1_many(40).await;
        assert_eq!(metrics().chunks, 0);
    });
}

fn h1_a_receive_that_finds_no_buffer_does_not_spin(ring: Ring) {
    let runtime = ring.builder().chunk_limit(0).build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = pair();
        let mut receive = ours.recv();
        assert!(poll_now(&mut receive).await.is_pending());
        for _ in 0..10 {
            submitted().await;
            assert!(poll_now(&mut receive).await.is_pending());
        }
        // It was told that there is none, and waits for data now.
        let before = metrics().chunks_dry;
        assert_eq!(before, 1);
        for _ in 0..10 {
            submitted().await;
            assert!(poll_now(&mut receive).await.is_pending());
        }
        assert_eq!(metrics().chunks_dry, before);
        send(&theirs, "data").await;
        assert_eq!(receive.await.unwrap()[..], *b"data");
        assert_eq!(metrics().chunks_dry, before + 1);
    });
}

fn h1_a_multishot_receive_goes_on_without_buffers(ring: Ring) {
    let builder = ring.builder().chunk_size(64).chunk_limit(32);
    builder.build().unwrap().block_on(async {
        let (ours, theirs) = pair();
        let mut stream = ours.chunks();
        let mut held: Vec<Chunk> = Vec::new();
        let mut expected = Vec::new();
        for n in 0..100u8 {
            send(&theirs, [n; 64]).await;
            expected.extend([n; 64]);
            // All of them are held: past the limit there is none to pick.
            held.push(stream.next().await.unwrap().unwrap());
        }
        let got: Vec<u8> = held
            .iter()
            .flat_map(|chunk| chunk.iter().copied())
            .collect();
        assert!(got == expected);
        drop(held);
        for n in 0..100u8 {
            send(&theirs, [n; 64]).await;
            assert_eq!(stream.next().await.unwrap().unwrap()[..], [n; 64]);
        }
        assert!(metrics().chunks <= 32);
    });
}

fn h1_of_streams_that_run_dry_more_is_published(ring: Ring) {
    let runtime = ring.builder().chunk_size(64).build().unwrap();
    runtime.block_on(async {
        let pairs: Vec<_> = (0..2).map(|_| pair()).collect();
        let mut streams: Vec<_> = pairs.iter().map(|(ours, _)| ours.chunks()).collect();
        let mut dry = Vec::new();
        for round in 0..16u8 {
            for stream in &mut streams {
                assert!(poll_now(&mut Box::pin(stream.next())).await.is_pending());
            }
            submitted().await;
            // More than is published at first, for both of them at once.
            let mut sends: Vec<_> = (pairs.iter())
                .map(|(_, theirs)| theirs.write_all(vec![round; 40 * 64]))
                .collect();
            for send in &mut sends {
                let _ = poll_now(send).await;
            }
            for stream in &mut streams {
                let mut left = 40 * 64;
                while left > 0 {
                    let chunk = stream.next().await.unwrap().unwrap();
                    assert!(chunk.iter().all(|byte| *byte == round));
                    left -= chunk.len();
                }
            }
            dry.push(metrics().chunks_dry);
        }
        // Not again and again.
        assert!((1..8).contains(&dry[15]), "{dry:?}");
    });
}

async fn h1_a_stream_that_nobody_reads_pauses(_: Ring) {
    let (ours, theirs) = pair();
    let mut stream = ours.chunks();
    assert!(matches!(
        poll_now(&mut Box::pin(stream.next())).await,
        Poll::Pending
    ));
    submitted().await;
    let all: Vec<u8> = (0..4_000_000u32).map(|n| (n % 251) as u8).collect();
    let sent = all.clone();
    let writer = runtime::spawn(async move {
        theirs.write_all(sent).await.0.unwrap();
    });
    for _ in 0..100 {
        submitted().await;
    }
    let lent = metrics().chunks_lent;
    assert!((1..256).contains(&lent), "{lent} chunks wait");
    // Nothing more happens: that is all it gets, the writer waits for room.
    for _ in 0..100 {
        submitted().await;
    }
    assert_eq!(metrics().chunks_lent, lent);
    assert!(!writer.is_finished());
    let mut got = Vec::new();
    while let Some(chunk) = stream.next().await {
        got.extend_from_slice(&chunk.unwrap());
    }
    assert!(got == all);
    writer.await.unwrap();
    assert_eq!(metrics().chunks_lent, 0);
}

async fn h1_chunks_that_nobody_takes_are_few(_: Ring) {
    untaken(|_| assert_eq!(metrics().chunks_lent, 64)).await;
}

/// 200 bytes come to a stream, one by one, that nobody takes before `look` has looked at it.
pub(crate) async fn untaken(look: impl FnOnce(&UnixStream)) {
    let (ours, theirs) = pair();
    let mut stream = ours.chunks();
    assert!(poll_now(&mut Box::pin(stream.next())).await.is_pending());
    for n in 0..200u8 {
        // Each comes by itself.
        send(&theirs, [n]).await;
        submitted().await;
        submitted().await;
    }
    look(&ours);
    let mut got = Vec::new();
    while got.len() < 200 {
        got.extend_from_slice(&stream.next().await.unwrap().unwrap());
    }
    assert!(got.iter().copied().eq(0..200u8));
}

async fn h2_a_chunk_is_held_across_awaits_and_dropped_by_another_task(_: Ring) {
    let (ours, theirs) = pair();
    send(&theirs, "held").await;
    let chunk = ours.recv().await.unwrap();
    for _ in 0..100 {
        send(&theirs, [9; 4]).await;
        assert_eq!(ours.recv().await.unwrap()[..], [9; 4]);
    }
    assert_eq!(chunk[..], *b"held");
    assert_eq!(metrics().chunks_lent, 1);
    runtime::spawn(async move { assert_eq!(chunk.to_vec(), b"held") })
        .await
        .unwrap();
    assert_eq!(metrics().chunks_lent, 0);
}

fn h2_a_chunk_outlives_its_runtime(ring: Ring) {
    let receive = async |bytes: [u8; 4]| {
        let (ours, theirs) = pair();
        send(&theirs, bytes).await;
        ours.recv().await.unwrap()
    };
    let mut chunk = ring.runtime().block_on(receive(*b"left"));
    assert_eq!(chunk[..], *b"left");
    chunk[0] = b'L';
    // In another runtime it is a buffer like any other.
    let other = ring.runtime();
    other.block_on(async {
        let (ours, theirs) = pair();
        theirs.write_all(chunk).await.0.unwrap();
        let second = ours.recv().await.unwrap();
        assert_eq!(second[..], *b"Left");
    });
}

fn h2_a_forgotten_chunk_is_leaked_and_never_written_to(ring: Ring) {
    let before = fds();
    let forgotten: RefCell<&'static [u8]> = RefCell::default();
    let runtime = ring.builder().chunk_size(64).build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = pair();
        send(&theirs, [7; 64]).await;
        let chunk = ours.recv().await.unwrap();
        let kept: &'static Chunk = Box::leak(Box::new(chunk));
        forget_on_purpose(kept);
        *forgotten.borrow_mut() = kept;
        for _ in 0..1000 {
            send(&theirs, [8; 64]).await;
            assert_eq!(ours.recv().await.unwrap()[..], [8; 64]);
        }
        assert_eq!(metrics().chunks_lent, 1);
    });
    drop(runtime);
    assert_eq!(*forgotten.borrow(), [7; 64]);
    assert_eq!(fds(), before);
}

async fn h2_a_chunk_is_sent_on_as_it_is(_: Ring) {
    let (ours, theirs) = pair();
    send(&theirs, "head:body").await;
    let mut chunk = ours.recv().await.unwrap();
    chunk.advance(5);
    chunk.truncate(3);
    let (sent, chunk) = ours.write_all(chunk).await;
    sent.unwrap();
    assert_eq!(chunk[..], *b"bod");
    assert_eq!(chunk.into_vec(), b"bod");
    assert_eq!(theirs.recv().await.unwrap()[..], *b"bod");
    assert_eq!(metrics().chunks_lent, 0);
}

async fn h3_idle_connections_hold_no_buffers(_: Ring) {
    raise_descriptor_limit();
    let room = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let count = room
        .map_or(10_000, |room| (room as usize - 200) / 2)
        .min(10_000);
    let pairs: Vec<_> = (0..count).map(|_| pair()).collect();
    let mut receives: Vec<_> = pairs.iter().map(|(ours, _)| ours.recv()).collect();
    for receive in &mut receives {
        assert!(poll_now(receive).await.is_pending());
    }
    submitted().await;
    assert_eq!(metrics().chunks_lent, 0);
    assert!(metrics().chunks <= 1024, "{} buffers", metrics().chunks);
    send(&pairs[count / 2].1, "one").await;
    assert_eq!(receives.swap_remove(count / 2).await.unwrap()[..], *b"one");
}

async fn h3_the_buffers_that_came_back_last_are_lent_first(_: Ring) {
    let (ours, theirs) = pair();
    let mut held = Vec::new();
    for _ in 0..500 {
        send(&theirs, "much at once").await;
        held.push(ours.recv().await.unwrap());
    }
    drop(held);
    assert!(metrics().chunks >= 500);
    let mut places = std::collections::BTreeSet::new();
    for n in 0..1000u32 {
        send(&theirs, n.to_ne_bytes()).await;
        let chunk = ours.recv().await.unwrap();
        assert_eq!(chunk[..], n.to_ne_bytes());
        places.insert(chunk.as_ptr());
    }
    assert!(
        places.len() <= 64,
        "{} buffers for one message",
        places.len()
    );
}

fn h3_what_is_switched_off_gives_the_same(ring: Ring) {
    for (provided, incremental) in [(true, true), (true, false), (false, false)] {
        let builder = ring.builder().provided_buffers(provided).chunk_size(256);
        let builder = builder.incremental(incremental);
        builder.build().unwrap().block_on(async {
            let (ours, theirs) = pair();
            let all: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
            send(&theirs, all.clone()).await;
            drop(theirs);
            let mut got = ours.recv().await.unwrap().into_vec();
            assert_eq!(got.len(), 256);
            let mut stream = ours.chunks();
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.unwrap();
                assert!((1..=256).contains(&chunk.len()));
                got.extend_from_slice(&chunk);
            }
            assert!(got == all);
            assert_eq!(metrics().chunks_lent, 0);
        });
    }
}

async fn a_dropped_receive_leaves_its_bytes_to_the_next_of_either_kind(_: Ring) {
    let (ours, theirs) = pair();
    for n in 0..20u8 {
        let mut dropped = ours.recv();
        assert!(poll_now(&mut dropped).await.is_pending());
        if n % 2 == 0 {
            submitted().await;
        }
        drop(dropped);
        // It runs on.
        assert_eq!((metrics().cancels, metrics().in_flight), (0, 1));
        send(&theirs, [n; 8]).await;
        if n % 4 < 2 {
            assert_eq!(ours.recv().await.unwrap()[..], [n; 8]);
        } else {
            assert_eq!(ours.read_exact([0; 3]).await.1, [n; 3]);
            assert_eq!(ours.recv().await.unwrap()[..], [n; 5]);
        }
    }
    until(|| metrics().in_flight == 0).await;
    assert_eq!(metrics().chunks_lent, 0);
}

async fn a_dropped_multishot_receive_leaves_what_came_to_the_next_read(_: Ring) {
    let (ours, theirs) = pair();
    for round in 0..20u8 {
        let mut stream = ours.chunks();
        send(&theirs, [round; 4]).await;
        assert_eq!(stream.next().await.unwrap().unwrap()[..], [round; 4]);
        for n in 0..round {
            send(&theirs, [n; 4]).await;
        }
        drop(stream);
        for n in 0..round {
            assert_eq!(ours.read_exact([0; 4]).await.1, [n; 4]);
        }
    }
    until(|| metrics().in_flight == 0).await;
    assert_eq!(metrics().chunks_lent, 0);
}

async fn what_was_shown_and_not_consumed_is_read_first(_: Ring) {
    let (ours, theirs) = pair();
    let mut stream = ours.chunks();
    send(&theirs, "first").await;
    assert_eq!(stream.fill_buf().await.unwrap(), b"first");
    stream.consume(2);
    assert_eq!(stream.fill_buf().await.unwrap(), b"rst");
    send(&theirs, "second").await;
    submitted().await;
    submitted().await;
    drop(stream);
    assert_eq!(ours.read_exact([0; 9]).await.1, *b"rstsecond");
    let mut stream = ours.chunks();
    send(&theirs, "third").await;
    stream.fill_buf().await.unwrap();
    stream.consume(1);
    assert_eq!(stream.next().await.unwrap().unwrap()[..], *b"hird");
    drop(theirs);
    assert_eq!(stream.fill_buf().await.unwrap(), b"");
}

async fn what_was_shown_is_read_before_what_came_for_another(_: Ring) {
    let (ours, theirs) = pair();
    // With a limit each chunk is received by itself, so others may receive in between.
    ours.set_read_timeout(Some(Duration::from_secs(3600)))
        .unwrap();
    send(&theirs, "shown").await;
    let mut chunks = ours.chunks();
    assert_eq!(chunks.fill_buf().await.unwrap(), b"shown");
    let mut another = ours.recv();
    assert!(poll_now(&mut another).await.is_pending());
    submitted().await;
    drop(another);
    send(&theirs, "later").await;
    until(|| metrics().discarded == 1).await;
    chunks.consume(2);
    drop(chunks);
    assert_eq!(ours.read_exact([0; 8]).await.1, *b"ownlater");
}

async fn the_end_of_a_stream_is_an_empty_chunk_and_no_chunk(_: Ring) {
    let (ours, theirs) = pair();
    send(&theirs, "last").await;
    drop(theirs);
    assert_eq!(ours.recv().await.unwrap()[..], *b"last");
    assert!(ours.recv().await.unwrap().is_empty());
    assert!(ours.recv().await.unwrap().is_empty());
    let mut stream = ours.chunks();
    assert!(stream.next().await.is_none());
    assert!(stream.next().await.is_none());
    assert_eq!(metrics().chunks_lent, 0);
}

async fn closing_ends_a_multishot_receive(_: Ring) {
    let (ours, _theirs) = pair();
    let mut stream = ours.chunks();
    let mut next = Box::pin(stream.next());
    assert!(poll_now(&mut next).await.is_pending());
    submitted().await;
    let close = ours.close();
    let error = next.await.unwrap().unwrap_err();
    assert!(is_cancelled(&error), "{error:?}");
    assert!(stream.next().await.is_none());
    close.await.unwrap();
}

async fn a_read_timeout_limits_each_chunk(_: Ring) {
    let (ours, theirs) = pair();
    ours.set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let mut stream = ours.chunks();
    let late = stream.next().await.unwrap().unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
    send(&theirs, "in time").await;
    assert_eq!(stream.next().await.unwrap().unwrap()[..], *b"in time");
}

async fn one_submission_receives_many_chunks(_: Ring) {
    let (ours, theirs) = pair();
    let mut stream = ours.chunks();
    send(&theirs, "warm").await;
    drop(stream.next().await);
    // The sends, staged or made by a call, and what else is staged.
    let done = || metrics().staged + metrics().attempts;
    let before = done();
    for n in 0..500u32 {
        send(&theirs, n.to_ne_bytes()).await;
        assert_eq!(stream.next().await.unwrap().unwrap()[..], n.to_ne_bytes());
    }
    assert_eq!(done() - before, 500);
}
