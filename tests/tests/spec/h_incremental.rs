//! Section H: buffers that the kernel fills by and by, so that each has several owners. What they have in common with
//! whole ones is in `h_chunks`, which runs with them too.

use std::collections::VecDeque;
use std::ops::Range;

use annulet_tests::{Ring, metrics, spec};
use runtime::buf::Chunk;

use crate::h_chunks::{pair, send, untaken};

spec! {
    async small_chunks_share_a_buffer on incremental, poll_incremental;
    async h1_a_stream_that_nobody_reads_pauses_at_64_chunks on incremental, poll_incremental;
    h2_a_part_that_is_kept_keeps_its_buffer_and_no_other on incremental, poll_incremental;
    async h2_what_is_written_to_a_chunk_is_in_no_other on incremental, poll_incremental;
    h2_parts_of_one_buffer_outlive_their_runtime on incremental, poll_incremental;
    h2_a_buffer_is_used_again_whatever_order_its_parts_come_back_in on incremental, poll_incremental;
    buffers_too_large_to_be_filled_by_and_by_are_filled_at_once on incremental, poll_incremental;
}

/// Messages, each received before the next is sent.
async fn messages(numbers: Range<u32>) -> Vec<Chunk> {
    let (ours, theirs) = pair();
    let mut chunks = Vec::new();
    for n in numbers {
        send(&theirs, n.to_ne_bytes()).await;
        chunks.push(ours.recv().await.unwrap());
    }
    chunks
}

fn assert_are(chunks: &[Chunk], numbers: Range<u32>) {
    for (chunk, n) in chunks.iter().zip(numbers) {
        assert_eq!(chunk[..], n.to_ne_bytes());
    }
}

async fn small_chunks_share_a_buffer(_: Ring) {
    let chunks = messages(0..1000).await;
    assert_are(&chunks, 0..1000);
    assert_eq!(metrics().chunks_lent, 1);
    drop(chunks);
    assert_eq!(metrics().chunks_lent, 0);
}

async fn h1_a_stream_that_nobody_reads_pauses_at_64_chunks(_: Ring) {
    // What waits in the socket still is not in a chunk.
    untaken(|ours| assert_eq!(rustix::io::ioctl_fionread(ours).unwrap(), 200 - 64)).await;
}

fn h2_a_part_that_is_kept_keeps_its_buffer_and_no_other(ring: Ring) {
    let runtime = ring.builder().chunk_size(1 << 16).build().unwrap();
    runtime.block_on(async {
        let kept = messages(7..8).await;
        let (ours, theirs) = pair();
        // Through every buffer several times.
        for n in 0..1000u32 {
            send(&theirs, vec![n as u8; 16 * 1024]).await;
            let mut left = 16 * 1024;
            while left > 0 {
                let chunk = ours.recv().await.unwrap();
                assert!(chunk.iter().all(|byte| *byte == n as u8));
                left -= chunk.len();
            }
        }
        assert_are(&kept, 7..8);
        assert_eq!((metrics().chunks_lent, metrics().chunks), (1, 32));
        drop(kept);
        assert_eq!(metrics().chunks_lent, 0);
    });
}

async fn h2_what_is_written_to_a_chunk_is_in_no_other(_: Ring) {
    let mut chunks = messages(0..100).await;
    for chunk in chunks.iter_mut().step_by(2) {
        chunk.fill(0xff);
    }
    let later = messages(100..200).await;
    for (chunk, n) in chunks.iter().zip(0..100u32) {
        let expected = if n % 2 == 0 { u32::MAX } else { n };
        assert_eq!(chunk[..], expected.to_ne_bytes());
    }
    assert_are(&later, 100..200);
}

fn h2_parts_of_one_buffer_outlive_their_runtime(ring: Ring) {
    let chunks = ring.runtime().block_on(messages(0..100));
    assert_are(&chunks, 0..100);
    let mut chunks = VecDeque::from(chunks);
    // The last one keeps the memory.
    let last = chunks.split_off(99);
    drop(chunks);
    assert_eq!(last[0][..], 99u32.to_ne_bytes());
}

fn h2_a_buffer_is_used_again_whatever_order_its_parts_come_back_in(ring: Ring) {
    // Sixteen messages a buffer.
    let runtime = ring.builder().chunk_size(64).build().unwrap();
    runtime.block_on(async {
        for round in 0..100u32 {
            let mut chunks = messages(0..64).await;
            assert_are(&chunks, 0..64);
            assert!(metrics().chunks_lent >= 4, "{}", metrics().chunks_lent);
            if round % 2 == 0 {
                chunks.reverse();
            }
            let (mut odd, mut even) = (Vec::new(), Vec::new());
            for (n, chunk) in chunks.into_iter().enumerate() {
                if n % 2 == 0 { &mut even } else { &mut odd }.push(chunk);
            }
            drop((even, odd));
            assert_eq!(metrics().chunks_lent, 0);
        }
        assert_eq!((metrics().chunks, metrics().chunks_dry), (32, 0));
    });
}

fn buffers_too_large_to_be_filled_by_and_by_are_filled_at_once(ring: Ring) {
    let runtime = ring.builder().chunk_size((1 << 16) + 1).build().unwrap();
    runtime.block_on(async {
        let chunks = messages(0..10).await;
        assert_are(&chunks, 0..10);
        assert_eq!(metrics().chunks_lent, 10);
        drop(chunks);
        // One receive brings more than 64 KiB.
        let (ours, theirs) = pair();
        let sent = runtime::spawn(async move { send(&theirs, vec![1; 100_000]).await });
        let (mut got, mut most) = (0, 0);
        while got < 100_000 {
            let chunk = ours.recv().await.unwrap();
            (got, most) = (got + chunk.len(), most.max(chunk.len()));
        }
        sent.await.unwrap();
        assert!(most <= (1 << 16) + 64, "{most}");
    });
}
