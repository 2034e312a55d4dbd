//! Buffers from memory that the ring knows: they give what other buffers give, wherever they are used.

use std::fs;
use std::thread;

use annulet_tests::{Ring, skip, spec, until};
use runtime::Builder;
use runtime::buf::{Arena, ArenaBuf, IoBufExt};
use runtime::fs::{File, OpenOptions};

use crate::Dir;

spec! {
    known_or_not_the_bytes_are_the_same;
    async a_ring_knows_an_arena_that_is_made_on_it;
    async an_arena_beyond_the_rings_table_works_all_the_same on kernel, plain, tiny;
    async an_arena_that_the_kernel_refuses_works_all_the_same;
    an_arena_outlives_its_runtime_and_goes_on_in_others;
    async o_direct_takes_an_arenas_buffers;
}

const LEN: usize = 20_000;

fn bytes(seed: u8) -> Vec<u8> {
    (0..LEN).map(|n| (n / 3 % 251) as u8 ^ seed).collect()
}

fn full(arena: &Arena, bytes: &[u8]) -> ArenaBuf {
    let mut buf = arena.buffer().unwrap();
    buf.set_len(bytes.len());
    buf.copy_from_slice(bytes);
    buf
}

/// Writes a file and reads it, each in several ways.
async fn there_and_back(arena: &Arena, dir: &Dir) {
    let path = dir.path("file");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(&path).await.unwrap();
    let content = bytes(arena.is_registered().into());
    let (wrote, buf) = file.write_at(full(arena, &content), 0).await;
    assert_eq!(wrote.unwrap(), LEN);
    drop(buf);
    let (wrote, part) = file
        .write_all_at(full(arena, &content).slice(5000..6000), LEN as u64)
        .await;
    wrote.unwrap();
    drop(part);
    let (wrote, _) = file.write(full(arena, b"at the cursor")).await;
    assert_eq!(wrote.unwrap(), 13);
    let mut expected = [&content[..], &content[5000..6000]].concat();
    expected[..13].copy_from_slice(b"at the cursor");
    assert!(fs::read(&path).unwrap() == expected);

    let (read, buf) = file.read_at(arena.buffer().unwrap(), 0).await;
    let n = read.unwrap();
    assert_eq!((n, buf.len()), (arena.size().min(expected.len()), n));
    assert!(buf[..] == expected[..n]);
    let (read, part) = file.read_exact_at(buf.slice(100..200), 3).await;
    read.unwrap();
    let buf = part.into_inner();
    assert!(buf[100..200] == expected[3..103]);
    assert!(buf[..100] == expected[..100]);
    drop(buf);
    let (read, buf) = file
        .read_at(arena.buffer().unwrap(), LEN as u64 + 900)
        .await;
    assert_eq!(read.unwrap(), 100);
    assert!(buf[..] == expected[LEN + 900..]);
    drop(buf);
    let (read, buf) = file.read(arena.buffer().unwrap()).await;
    let n = read.unwrap();
    assert!(n > 0 && buf[..n] == expected[13..13 + n]);
    // Not for pipes, whose reads are kept when dropped; but they take the buffers.
    let (reader, writer) = runtime::fs::pipe().unwrap();
    writer.write_all(full(arena, b"pipe")).await.0.unwrap();
    let (read, buf) = reader.read(buf).await;
    assert_eq!((read.unwrap(), &buf[..]), (4, &b"pipe"[..]));
}

fn known_or_not_the_bytes_are_the_same(ring: Ring) {
    let ways: [fn(Builder) -> Builder; 4] = [
        |builder| builder,
        |builder| builder.fixed_buffers(false),
        |builder| builder.without([4]),
        |builder| builder.without([5]),
    ];
    for (n, way) in ways.into_iter().enumerate() {
        let runtime = way(ring.builder()).build().unwrap();
        runtime.block_on(async {
            let arena = Arena::new(4, 20_480);
            assert_eq!(arena.is_registered(), n == 0);
            there_and_back(&arena, &Dir::new()).await;
        });
    }
}

async fn a_ring_knows_an_arena_that_is_made_on_it(_: Ring) {
    let arena = Arena::new(4, LEN);
    assert!(arena.is_registered());
    arena.register().unwrap();
    let clone = arena.clone();
    let elsewhere = thread::spawn(move || clone.is_registered());
    assert!(!elsewhere.join().unwrap());
    there_and_back(&arena, &Dir::new()).await;
}

async fn an_arena_beyond_the_rings_table_works_all_the_same(_: Ring) {
    let mut arenas: Vec<_> = (0..64).map(|_| Arena::new(1, 1)).collect();
    assert!(arenas.iter().all(Arena::is_registered));
    let more = Arena::new(4, LEN);
    assert!(!more.is_registered());
    let refused = more.register().unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::QuotaExceeded);
    let dir = Dir::new();
    there_and_back(&more, &dir).await;
    // One goes on another thread: the ring hears of it and has room again.
    let one = arenas.pop();
    thread::spawn(move || drop(one)).join().unwrap();
    until(|| more.register().is_ok()).await;
    assert!(more.is_registered());
    there_and_back(&more, &dir).await;
}

async fn an_arena_that_the_kernel_refuses_works_all_the_same(_: Ring) {
    // More than one row of its table takes; but little of it is ever touched.
    let arena = Arena::new(1 << 14, 1 << 17);
    assert!(!arena.is_registered());
    there_and_back(&arena, &Dir::new()).await;
}

fn an_arena_outlives_its_runtime_and_goes_on_in_others(ring: Ring) {
    let dir = Dir::new();
    let (arena, buf) = ring.runtime().block_on(async {
        let arena = Arena::new(4, LEN);
        there_and_back(&arena, &dir).await;
        let buf = full(&arena, b"still here");
        (arena, buf)
    });
    assert!(!arena.is_registered());
    assert_eq!(&buf[..], b"still here");
    let path = dir.with("other", [7; LEN]);
    let arena = thread::spawn(move || {
        ring.runtime().block_on(async {
            let file = File::open(&path).await.unwrap();
            let (read, buf) = file.read_at(buf, 0).await;
            assert!(read.unwrap() > 0 && buf.iter().all(|byte| *byte == 7));
            arena.register().unwrap();
            drop(arena.clone());
            there_and_back(&arena, &Dir::new()).await;
        });
        arena
    });
    let arena = arena.join().unwrap();
    let runtime = ring.runtime();
    runtime.block_on(there_and_back(&arena, &dir));
    drop(arena);
}

async fn o_direct_takes_an_arenas_buffers(_: Ring) {
    let dir = Dir::new();
    let content = [bytes(1), bytes(2)].concat();
    let path = dir.with("file", &content[..32_768]);
    let opened = OpenOptions::new().read(true).direct(true).open(path).await;
    let Ok(file) = opened else {
        return skip("no O_DIRECT on this file system");
    };
    let arena = Arena::new(8, 4096);
    let reads = (0..8).map(|n| file.read_at(arena.buffer().unwrap(), n * 4096));
    let reads: Vec<_> = reads.collect();
    for (n, read) in reads.into_iter().enumerate() {
        let (read, buf) = read.await;
        assert_eq!(read.unwrap(), 4096);
        assert!(buf[..] == content[n * 4096..][..4096]);
    }
}
