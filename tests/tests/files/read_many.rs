//! Many blocks, several in flight at a time: in order, each what `pread(2)` gives.

use std::io::ErrorKind;
use std::pin::pin;

use annulet_tests::{Ring, metrics, poll_now, spec, until};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use runtime::buf::{AlignedBuf, Arena, IoBufMut};
use runtime::fs::{File, OpenOptions, ReadMany};

use crate::Dir;

spec! {
    blocks_come_in_order_with_the_bytes_that_are_there;
    async as_many_are_in_flight_as_there_are_buffers;
    async a_block_that_cannot_be_read_is_told_of_in_its_place;
    async a_dropped_next_loses_nothing;
    async what_is_dropped_midway_is_cancelled_and_harms_nobody;
    async a_taken_buffer_is_left_alone;
    async blocks_that_no_buffer_is_left_for_are_told_of;
}

const BLOCK: usize = 512;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 3 % 251) as u8).collect()
}

/// All blocks, and where they were.
async fn all<B: IoBufMut>(
    mut blocks: ReadMany<'_, impl Iterator<Item = u64>, B>,
) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(block) = blocks.next().await {
        let block = block.unwrap();
        all.push((block.offset(), block.to_vec()));
    }
    assert!(blocks.next().await.is_none());
    all
}

fn blocks_come_in_order_with_the_bytes_that_are_there(ring: Ring) {
    let dir = Dir::new();
    let content = bytes(10_000);
    let path = dir.with("file", &content);
    let cases = (
        proptest::collection::vec(0..12_000_u64, 0..60),
        1..9_usize,
        1..3 * BLOCK,
        any::<bool>(),
    );
    let runtime = ring.runtime();
    let config = Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    };
    let run = |(offsets, depth, len, arena): (Vec<u64>, usize, usize, bool)| {
        let got = runtime.block_on(async {
            let file = File::open(&path).await.unwrap();
            if arena {
                let arena = Arena::new(depth, len);
                let buffers = std::iter::from_fn(|| arena.buffer());
                all(file.read_many(offsets.clone(), buffers)).await
            } else {
                all(file.read_many(offsets.clone(), vec![vec![9; len]; depth])).await
            }
        });
        let len = if arena {
            len.next_multiple_of(4096)
        } else {
            len
        };
        let expected: Vec<_> = offsets
            .into_iter()
            .map(|offset| {
                let begin = (offset as usize).min(content.len());
                let end = (begin + len).min(content.len());
                (offset, content[begin..end].to_vec())
            })
            .collect();
        prop_assert_eq!(got, expected);
        Ok(())
    };
    TestRunner::new(config).run(&cases, run).unwrap();
}

/// A file of 64 blocks that no call reads at once, so that the ring does.
async fn file(dir: &Dir) -> (File, Vec<u8>) {
    let content = bytes(64 * 4096);
    let path = dir.with("file", &content);
    let direct = OpenOptions::new().read(true).direct(true).open(&path).await;
    match direct {
        Ok(file) => (file, content),
        Err(_) => (File::open(path).await.unwrap(), content),
    }
}

fn buffers(n: usize) -> Vec<AlignedBuf> {
    (0..n).map(|_| AlignedBuf::with_capacity(4096)).collect()
}

fn offsets() -> impl Iterator<Item = u64> {
    (0..64).map(|n| n * 4096)
}

async fn as_many_are_in_flight_as_there_are_buffers(_: Ring) {
    let dir = Dir::new();
    let (file, content) = file(&dir).await;
    let mut blocks = file.read_many(offsets(), buffers(8));
    assert_eq!(blocks.in_flight(), 0);
    let before = metrics().staged;
    let mut n = 0;
    loop {
        let Some(block) = blocks.next().await else {
            break;
        };
        let block = block.unwrap();
        assert!(block[..] == content[n * 4096..][..4096]);
        drop(block);
        n += 1;
        // One was handed out and is back; those that follow it are on their way.
        assert_eq!(blocks.in_flight(), 7.min(64 - n));
        assert_eq!(metrics().staged - before, (n as u64 + 7).min(64));
    }
    assert_eq!(n, 64);
}

async fn a_block_that_cannot_be_read_is_told_of_in_its_place(_: Ring) {
    let dir = Dir::new();
    let file = File::open(dir.with("file", bytes(2000))).await.unwrap();
    let offsets = [0, 1 << 63, 500, 1 << 63, 1 << 63, 1900];
    let mut blocks = file.read_many(offsets, [[0; BLOCK]; 2]);
    for offset in offsets {
        match blocks.next().await.unwrap() {
            Ok(block) => assert_eq!(
                (block.offset(), block.len()),
                (offset, BLOCK.min(2000 - offset as usize))
            ),
            Err(error) => assert_eq!((offset, error.kind()), (1 << 63, ErrorKind::InvalidInput)),
        }
    }
    assert!(blocks.next().await.is_none());
    let mut blocks = file.read_many([0, 500], [[0; BLOCK]]);
    file.close().await.unwrap();
    assert!(blocks.next().await.unwrap().is_err());
    assert!(blocks.next().await.unwrap().is_err());
    assert!(blocks.next().await.is_none());
}

async fn a_dropped_next_loses_nothing(_: Ring) {
    let dir = Dir::new();
    let (file, content) = file(&dir).await;
    let mut blocks = file.read_many(offsets(), buffers(4));
    let mut got = Vec::new();
    loop {
        if let std::task::Poll::Ready(None) = poll_now(&mut pin!(blocks.next()))
            .await
            .map(|next| next.map(|block| got.extend_from_slice(&block.unwrap())))
        {
            break;
        }
        runtime::yield_now().await;
    }
    assert!(got == content);
}

async fn what_is_dropped_midway_is_cancelled_and_harms_nobody(_: Ring) {
    let dir = Dir::new();
    let (file, content) = file(&dir).await;
    for n in 0..20 {
        let mut blocks = file.read_many(offsets(), buffers(16));
        for _ in 0..n {
            blocks.next().await.unwrap().unwrap();
        }
        drop(blocks.next());
        let _ = poll_now(&mut pin!(blocks.next())).await.is_ready();
        drop(blocks);
    }
    until(|| metrics().in_flight == 0).await;
    let got = all(file.read_many(offsets(), buffers(1))).await;
    assert!(got.into_iter().flat_map(|(_, block)| block).eq(content));
}

async fn a_taken_buffer_is_left_alone(_: Ring) {
    let dir = Dir::new();
    let (file, content) = file(&dir).await;
    let mut blocks = file.read_many(offsets(), buffers(3));
    let mut taken = Vec::new();
    while let Some(block) = blocks.next().await {
        let other = AlignedBuf::with_capacity(4096);
        taken.push(block.unwrap().replace(other));
    }
    assert!(taken.iter().flat_map(|buf| buf.iter()).eq(&content));
}

async fn blocks_that_no_buffer_is_left_for_are_told_of(_: Ring) {
    let dir = Dir::new();
    let file = File::open(dir.with("file", bytes(2000))).await.unwrap();
    let mut blocks = file.read_many([0, 512, 1024, 1536], [[0; BLOCK]; 2]);
    for _ in 0..2 {
        std::mem::forget(blocks.next().await.unwrap().unwrap());
    }
    // Not the end, which it would otherwise be taken for.
    for _ in 0..2 {
        let error = blocks.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
    }
    assert!(blocks.next().await.is_none());
}
