//! Small reads at offsets of what is in memory: tried by a call before the ring, and never shorter for it.

use std::fs;
use std::io::IoSliceMut;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use annulet_tests::{Ring, metrics, skip, spec};
use runtime::buf::AlignedBuf;
use runtime::fs::File;
use runtime::{Fd, Op, op};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::Dir;

spec! {
    async cached_blocks_are_read_by_calls on kernel;
    async a_block_that_is_in_memory_in_part_is_read_whole;
    async a_block_that_is_not_in_memory_is_left_to_the_ring;
    async reads_that_end_with_the_file_are_soon_left_to_the_ring on kernel;
    async reads_with_o_direct_are_left_to_the_ring on kernel;
}

const BLOCK: usize = 4096;
const BLOCKS: u64 = 16;

/// A file in memory that was seen to be there.
async fn seen_cached(dir: &Dir) -> (File, Vec<u8>) {
    let content: Vec<u8> = (0..BLOCK as u64 * BLOCKS)
        .map(|n| (n / 7 % 251) as u8)
        .collect();
    let file = File::open(dir.with("file", &content)).await.unwrap();
    for _ in 0..4 {
        assert_eq!(file.read_at([0; BLOCK], 0).await.0.unwrap(), BLOCK);
    }
    (file, content)
}

async fn cached_blocks_are_read_by_calls(_: Ring) {
    let dir = Dir::new();
    let (file, content) = seen_cached(&dir).await;
    let before = metrics();
    for n in 0..500 {
        let offset = n % BLOCKS * BLOCK as u64 + n;
        let len = (content.len() - offset as usize).min(BLOCK);
        let (read, buf) = file.read_at(Vec::with_capacity(len), offset).await;
        assert_eq!(read.unwrap(), len);
        assert_eq!(buf, content[offset as usize..][..len]);
        let (read, buf) = file.read_exact_at(vec![0; len], offset).await;
        read.unwrap();
        assert_eq!(buf, content[offset as usize..][..len]);
    }
    let after = metrics();
    assert!(after.attempts >= before.attempts + 900, "{after:?}");
    assert!(after.staged <= before.staged + 100, "{after:?}");
}

/// All of the file leaves memory. The handle reads no more than it is asked to.
fn evict(path: &Path) -> fs::File {
    let file = fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::Random).unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    file
}

/// All of the file leaves memory but the first block.
fn evict_rest(path: &Path) -> fs::File {
    let file = evict(path);
    file.read_exact_at(&mut [0; BLOCK], 0).unwrap();
    file
}

/// What a call that does not wait reads of the first two blocks.
fn at_once(file: &fs::File) -> Result<usize, Errno> {
    let mut buf = [0; 2 * BLOCK];
    let mut room = [IoSliceMut::new(&mut buf)];
    preadv2(file, &mut room, 0, ReadWriteFlags::NOWAIT)
}

async fn a_block_that_is_in_memory_in_part_is_read_whole(_: Ring) {
    let dir = Dir::new();
    let (file, content) = seen_cached(&dir).await;
    let path = dir.path("file");
    let mut shorts = 0;
    for _ in 0..20 {
        shorts += usize::from(at_once(&evict_rest(&path)) == Ok(BLOCK));
        evict_rest(&path);
        let (read, buf) = file.read_at(vec![0; 2 * BLOCK], 0).await;
        assert_eq!(read.unwrap(), 2 * BLOCK);
        assert!(buf == content[..2 * BLOCK]);
        evict_rest(&path);
        let (read, buf) = file.read_exact_at(vec![0; 3 * BLOCK], 0).await;
        read.unwrap();
        assert!(buf == content[..3 * BLOCK]);
        for _ in 0..4 {
            file.read_at([0; BLOCK], 0).await.0.unwrap();
        }
    }
    if shorts == 0 {
        skip("nothing leaves memory on this file system");
    }
}

async fn a_block_that_is_not_in_memory_is_left_to_the_ring(_: Ring) {
    let dir = Dir::new();
    let (file, content) = seen_cached(&dir).await;
    for n in 1..BLOCKS as usize {
        evict(&dir.path("file"));
        let (read, buf) = file.read_at(vec![0; BLOCK], (n * BLOCK) as u64).await;
        assert_eq!(read.unwrap(), BLOCK);
        assert!(buf == content[n * BLOCK..][..BLOCK]);
    }
}

async fn reads_that_end_with_the_file_are_soon_left_to_the_ring(_: Ring) {
    let dir = Dir::new();
    let (file, content) = seen_cached(&dir).await;
    let end = content.len();
    let before = metrics();
    for n in 0..1000 {
        let offset = end - 1 - n % BLOCK;
        let (read, buf) = file.read_at(vec![0; BLOCK + 1], offset as u64).await;
        assert_eq!(read.unwrap(), end - offset);
        assert!(buf[..end - offset] == content[offset..]);
    }
    assert_eq!(file.read_at([0; 1], end as u64).await.0.unwrap(), 0);
    let after = metrics();
    assert!(after.attempts <= before.attempts + 20, "{after:?}");
}

async fn reads_with_o_direct_are_left_to_the_ring(_: Ring) {
    let dir = Dir::new();
    let path = dir.with("file", [7; BLOCK]);
    let mut options = fs::OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_DIRECT).open(path);
    let Ok(file) = opened else {
        return skip("no O_DIRECT on this file system");
    };
    // The handle does not know how it was opened.
    let file = Fd::new(file.into());
    let before = metrics();
    let mut buf = AlignedBuf::<BLOCK>::with_capacity(BLOCK);
    for _ in 0..100 {
        let read;
        (read, buf) = Op::on(&file, op::Read::at(buf, 0)).await;
        assert_eq!(read.unwrap(), BLOCK);
    }
    let after = metrics();
    assert_eq!(after.staged - before.staged, 100, "{after:?}");
}
