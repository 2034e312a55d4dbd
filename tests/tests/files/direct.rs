//! `O_DIRECT`: what is aligned goes through, what is not is refused before it is submitted.

use std::fs;
use std::io::{self, ErrorKind, SeekFrom};

use annulet_tests::{Ring, metrics, skip, spec};
use runtime::Partial;
use runtime::buf::{AlignedBuf, Alignment, IoBufExt};
use runtime::fs::{File, OpenOptions};

use crate::Dir;

spec! {
    async what_is_aligned_goes_through;
    async what_is_not_aligned_is_refused_before_any_io_and_says_what_is_needed;
    async reading_exactly_beyond_the_end_says_so_also_when_that_is_within_a_block;
}

/// A file for `O_DIRECT` with `content`, and what it asks for; `None` where there is no such thing.
async fn direct(dir: &Dir, content: &[u8]) -> Option<(File, Alignment)> {
    let path = dir.with("file", content);
    let mut options = OpenOptions::new();
    let opened = options
        .read(true)
        .write(true)
        .direct(true)
        .open(&path)
        .await;
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            skip(&format!("no O_DIRECT on this file system: {error}"));
            return None;
        }
    };
    let Some(alignment) = file.direct_alignment() else {
        skip("this kernel does not tell what O_DIRECT asks for");
        return None;
    };
    assert!(
        alignment.offset() <= 4096 && alignment.memory() <= 4096,
        "{alignment:?}"
    );
    let told = runtime::fs::metadata(&path)
        .await
        .unwrap()
        .direct_alignment();
    assert_eq!(told, Some(alignment));
    Some((file, alignment))
}

async fn what_is_aligned_goes_through(_: Ring) {
    let dir = Dir::new();
    let content: Vec<u8> = (0..16_384u32).map(|n| (n % 251) as u8).collect();
    let Some((file, _)) = direct(&dir, &content).await else {
        return;
    };
    let (result, buf) = file
        .read_at(AlignedBuf::<4096>::with_capacity(8192), 4096)
        .await;
    assert_eq!(result.unwrap(), 8192);
    assert!(buf[..] == content[4096..12_288]);
    // At the cursor, which the kernel does not move by itself where it reads past its cache.
    let (result, buf) = file.read_exact(buf).await;
    result.unwrap();
    assert!(buf[..] == content[..8192]);
    let two = [
        AlignedBuf::<4096>::with_capacity(4096),
        AlignedBuf::with_capacity(4096),
    ];
    let (result, two) = file.read_vectored(two).await;
    assert_eq!(result.unwrap(), 8192);
    assert!([&two[0][..], &two[1][..]].concat() == content[8192..]);
    let (result, part) = file.read_at(buf.slice(4096..8192), 0).await;
    assert_eq!(result.unwrap(), 4096);
    let buf = part.into_inner();
    assert!(buf[..4096] == content[..4096]);

    let ones = AlignedBuf::<4096>::from(&[1; 4096][..]);
    let (result, ones) = file.write_all_at(ones, 0).await;
    result.unwrap();
    let (result, ones) = file.write_at(ones, 4096).await;
    assert_eq!(result.unwrap(), 4096);
    file.seek(SeekFrom::Start(8192)).await.unwrap();
    let (result, ones) = file.write_all(ones).await;
    result.unwrap();
    let (result, _) = file.write_vectored([ones]).await;
    assert_eq!(result.unwrap(), 4096);
    assert!(fs::read(dir.path("file")).unwrap() == [1; 16_384]);
    // Where the cursor is not at a block it is refused, too.
    file.seek(SeekFrom::Start(1)).await.unwrap();
    let before = metrics().staged;
    let (result, _) = file.read(buf).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(metrics().staged, before);
    // Without O_DIRECT anything goes.
    let file = File::open(dir.path("file")).await.unwrap();
    assert_eq!(file.direct_alignment(), None);
    assert_eq!(file.read_at([0; 3], 7).await.0.unwrap(), 3);
}

async fn what_is_not_aligned_is_refused_before_any_io_and_says_what_is_needed(_: Ring) {
    let dir = Dir::new();
    let Some((file, alignment)) = direct(&dir, &[7; 16_384]).await else {
        return;
    };
    let before = metrics().staged;
    let refused = |result: io::Result<()>, what: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let needed = format!("multiples of {} bytes: {what}", alignment.offset());
        assert!(error.to_string().contains(&needed), "{error}");
    };
    let buf = || AlignedBuf::<4096>::zeroed(4096);
    // An address that no file takes: an odd one.
    let odd = || AlignedBuf::<4096>::zeroed(8192).slice(1..4097);
    let (offset, length) = ("the offset is 1", "the length is 100 bytes");
    let address = "the buffer is at another address";
    refused(file.read_at(buf(), 1).await.0.map(drop), offset);
    refused(file.read_exact_at(buf(), 1).await.0, offset);
    refused(file.read_vectored_at([buf()], 1).await.0.map(drop), offset);
    refused(file.write_at(buf(), 1).await.0.map(drop), offset);
    refused(file.write_all_at(buf(), 1).await.0, offset);
    refused(file.write_vectored_at([buf()], 1).await.0.map(drop), offset);
    if alignment.memory() > 1 {
        refused(file.read_at(odd(), 0).await.0.map(drop), address);
        refused(file.read_exact(odd()).await.0, address);
        refused(file.read_vectored([odd()]).await.0.map(drop), address);
        refused(file.write(odd()).await.0.map(drop), address);
        refused(file.write_all(odd()).await.0, address);
        refused(file.write_vectored([odd()]).await.0.map(drop), address);
    }
    let short = || buf().slice(..100);
    refused(file.read(short()).await.0.map(drop), length);
    refused(file.read_exact_at(short(), 0).await.0, length);
    refused(file.read_vectored([short()]).await.0.map(drop), length);
    refused(file.write_at(short(), 0).await.0.map(drop), length);
    refused(file.write_all(short()).await.0, length);
    refused(file.write_vectored([short()]).await.0.map(drop), length);
    let array = "the buffer is an array, which moves";
    refused(file.read([0; 4096]).await.0.map(drop), array);
    refused(file.write_all([0; 4096]).await.0, array);
    refused(file.write_vectored([[0; 4096]]).await.0.map(drop), array);
    assert_eq!(metrics().staged, before);
    assert!(fs::read(dir.path("file")).unwrap() == [7; 16_384]);
}

async fn reading_exactly_beyond_the_end_says_so_also_when_that_is_within_a_block(_: Ring) {
    let dir = Dir::new();
    let Some((file, _)) = direct(&dir, &[7; 5000]).await else {
        return;
    };
    let (result, buf) = file
        .read_exact_at(AlignedBuf::<4096>::with_capacity(8192), 0)
        .await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    assert_eq!((Partial::of(&error), buf.len()), (5000, 5000));
    let (result, buf) = file.read_exact_at(buf, 4096).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    assert_eq!((Partial::of(&error), buf.len()), (904, 904));
}
