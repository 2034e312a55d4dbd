//! Section H: buffers. Zero-copy sends are in `h_zero_copy.rs`.

use std::io::ErrorKind;
use std::path::PathBuf;

use annulet_tests::{Ring, metrics, pipe, poll_now, socket_pair, spec, submitted, until};
use runtime::buf::IoBufExt;
use runtime::op::{OpenAt, Readv, RecvMsg, SendMsg, Writev};
use runtime::{Fd, Op, op};

spec! {
    async h5_a_vectored_read_fills_its_buffers_in_order;
    async h5_a_short_vectored_read_fills_them_as_far_as_it_goes;
    async h5_a_short_vectored_write_goes_on_where_it_stopped;
    async h5_vectored_reads_and_writes_of_a_file_advance_its_position;
    async h5_vectored_reads_and_writes_at_the_cursor_advance_it_by_what_they_did;
    async h5_any_number_of_buffers_goes_through;
    async h5_a_vectored_message_goes_through;
    async h5_a_dropped_vectored_read_leaves_its_bytes_to_the_next;
}

async fn h5_a_vectored_read_fills_its_buffers_in_order(_: Ring) {
    let (reader, writer) = pipe();
    let parts = ("one", vec![b'2'; 3], Vec::new(), [b'3'; 2]);
    let (wrote, parts) = Op::on(&writer, Writev::new(parts)).await;
    assert_eq!(wrote.unwrap(), 8);
    assert_eq!(parts, ("one", vec![b'2'; 3], Vec::new(), [b'3'; 2]));
    let room = (
        Vec::with_capacity(2),
        [0; 3],
        Vec::<u8>::new(),
        vec![0; 3].into_boxed_slice(),
    );
    let (read, (one, two, none, three)) = Op::on(&reader, Readv::new(room)).await;
    assert_eq!(read.unwrap(), 8);
    assert_eq!((&one[..], &two), (&b"on"[..], b"e22"));
    assert_eq!((none.len(), &three[..]), (0, &b"233"[..]));
}

async fn h5_a_short_vectored_read_fills_them_as_far_as_it_goes(_: Ring) {
    let (reader, writer) = pipe();
    for written in 1..=9usize {
        let sent: Vec<u8> = (1..=written as u8).collect();
        Op::on(&writer, op::WriteAll::new(sent.clone()))
            .await
            .0
            .unwrap();
        // What was in a `Vec` before is not there any more, also where nothing was read.
        let room = vec![vec![9; 3], vec![9; 3], vec![9; 4]];
        let (read, parts) = Op::on(&reader, Readv::new(room)).await;
        assert_eq!(read.unwrap(), written);
        assert_eq!(parts.concat(), sent);
        let lens: Vec<usize> = parts.iter().map(Vec::len).collect();
        let expected = [
            written.min(3),
            written.saturating_sub(3).min(3),
            written.saturating_sub(6),
        ];
        assert_eq!(lens, expected);
    }
    drop(writer);
    let (end, parts) = Op::on(&reader, Readv::new([vec![9; 3], vec![9; 3]])).await;
    assert_eq!((end.unwrap(), parts), (0, [Vec::new(), Vec::new()]));
}

async fn h5_a_short_vectored_write_goes_on_where_it_stopped(_: Ring) {
    const SIZE: usize = 100_000;
    let (reader, writer) = pipe();
    let bytes: Vec<u8> = (0..2 * SIZE as u32).map(|n| (n % 251) as u8).collect();
    let (mut one, mut two) = (bytes[..SIZE].to_vec(), bytes[SIZE..].to_vec());
    let (mut done, mut shorts) = (0, 0);
    let mut got = Vec::new();
    while done < 2 * SIZE {
        let at = (done.min(SIZE), done.saturating_sub(SIZE));
        let parts = (one.slice(at.0..), two.slice(at.1..));
        let (wrote, (first, second)) = Op::on(&writer, Writev::new(parts)).await;
        (one, two) = (first.into_inner(), second.into_inner());
        let wrote = wrote.unwrap();
        done += wrote;
        shorts += usize::from(done < 2 * SIZE);
        let (read, part) = Op::on(&reader, op::ReadExact::new(vec![0; wrote])).await;
        read.unwrap();
        got.extend(part);
    }
    assert!(shorts > 0, "no write was short: nothing was shown");
    assert!(got == bytes);
}

async fn new_file(ring: Ring, name: &str) -> (Fd, PathBuf) {
    let name = format!("{name}-{}-{}", ring.name, std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    let open = OpenAt::new(&path, flags, 0o600).unwrap();
    (Fd::new(Op::new(open).await.unwrap()), path)
}

async fn h5_vectored_reads_and_writes_of_a_file_advance_its_position(ring: Ring) {
    let (file, path) = new_file(ring, "h5").await;
    let content: Vec<u8> = (0..10u8).collect();
    let parts = [content[..3].to_vec(), content[3..4].to_vec()];
    assert_eq!(Op::on(&file, Writev::new(parts)).await.0.unwrap(), 4);
    // Elsewhere: the position stays.
    let parts = ([7u8; 1], [8u8; 1], [9u8; 1]);
    assert_eq!(Op::on(&file, Writev::at(parts, 7)).await.0.unwrap(), 3);
    let parts = vec![vec![4], vec![5, 6]];
    assert_eq!(Op::on(&file, Writev::new(parts)).await.0.unwrap(), 3);
    let (read, parts) = Op::on(&file, Readv::at([[0u8; 4]; 2], 1)).await;
    assert_eq!((read.unwrap(), parts.concat()), (8, content[1..9].to_vec()));
    // Seven were written at the position: three are left, and the read is short.
    let (read, parts) = Op::on(&file, Readv::new([vec![0; 2], vec![0; 2]])).await;
    assert_eq!((read.unwrap(), parts.concat()), (3, content[7..].to_vec()));
    let (read, _) = Op::on(&file, Readv::new([vec![0; 2], vec![0; 2]])).await;
    assert_eq!(read.unwrap(), 0);
    assert_eq!(std::fs::read(&path).unwrap(), content);
    std::fs::remove_file(path).unwrap();
}

async fn h5_vectored_reads_and_writes_at_the_cursor_advance_it_by_what_they_did(_: Ring) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("file");
    let file = runtime::fs::File::create_new(&path).await.unwrap();
    let content: Vec<u8> = (0..10u8).collect();
    let parts = [content[..3].to_vec(), Vec::new(), content[3..7].to_vec()];
    assert_eq!(file.write_vectored(parts).await.0.unwrap(), 7);
    // Elsewhere: the cursor stays.
    let parts = ([7u8; 1], [8u8; 1], [9u8; 1]);
    assert_eq!(file.write_vectored_at(parts, 7).await.0.unwrap(), 3);
    assert_eq!(file.stream_position().await.unwrap(), 7);
    let (read, parts) = file.read_vectored_at([[0u8; 4]; 2], 1).await;
    assert_eq!((read.unwrap(), parts.concat()), (8, content[1..9].to_vec()));
    // Three are left, and the read is short; one that is dropped takes none of them.
    let mut dropped = file.read_vectored([vec![0; 2], vec![0; 2]]);
    assert!(poll_now(&mut dropped).await.is_pending());
    drop(dropped);
    let (read, parts) = file.read_vectored([vec![0; 2], vec![0; 2]]).await;
    assert_eq!((read.unwrap(), parts.concat()), (3, content[7..].to_vec()));
    assert_eq!(file.stream_position().await.unwrap(), 10);
    assert_eq!(std::fs::read(&path).unwrap(), content);
    // More than the kernel takes at once: short, as in the standard library.
    let parts: Vec<[u8; 1]> = (0..1500).map(|n: usize| [n as u8]).collect();
    assert_eq!(file.write_vectored(parts).await.0.unwrap(), 1024);
    assert_eq!(file.stream_position().await.unwrap(), 1034);
}

/// More than live in the operation itself, and more than the kernel takes at once (`IOV_MAX`, 1024): then it is
/// short, as in the standard library.
async fn h5_any_number_of_buffers_goes_through(_: Ring) {
    let (reader, writer) = pipe();
    for count in [1, 8, 9, 100, 1024, 1025, 3000] {
        let parts: Vec<[u8; 1]> = (0..count).map(|n: usize| [n as u8]).collect();
        let sent = parts.concat();
        let (wrote, _) = Op::on(&writer, Writev::new(parts)).await;
        let wrote = wrote.unwrap();
        assert_eq!(wrote, count.min(1024));
        let room: Vec<Vec<u8>> = (0..count).map(|_| Vec::with_capacity(1)).collect();
        let (read, parts) = Op::on(&reader, Readv::new(room)).await;
        assert_eq!(read.unwrap(), wrote);
        assert_eq!(parts.concat(), sent[..wrote]);
    }
}

async fn h5_a_vectored_message_goes_through(_: Ring) {
    let (ours, theirs) = socket_pair();
    let parts = (vec![1; 3], [2; 2]);
    let (sent, _) = Op::on(&ours, SendMsg::new(parts, None, 0)).await;
    assert_eq!(sent.unwrap(), 5);
    let room = [vec![0; 4], vec![0; 4], vec![0; 4]];
    let (got, parts) = Op::on(&theirs, RecvMsg::new(room, 0)).await;
    assert_eq!(got.unwrap().len, 5);
    assert_eq!(parts, [vec![1, 1, 1, 2], vec![2], Vec::new()]);
}

async fn h5_a_dropped_vectored_read_leaves_its_bytes_to_the_next(_: Ring) {
    let (reader, writer) = pipe();
    let mut read = Op::on(&reader, Readv::new((vec![0; 3], vec![0; 9])));
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    drop(read);
    let sent: Vec<u8> = (0..10).collect();
    Op::on(&writer, op::WriteAll::new(sent.clone()))
        .await
        .0
        .unwrap();
    until(|| metrics().in_flight == 0).await;
    // A short one, one that has more room than is left, and one that has to ask the kernel again.
    let (read, parts) = Op::on(&reader, Readv::new([vec![9; 2], vec![9; 2]])).await;
    assert_eq!((read.unwrap(), parts), (4, [vec![0, 1], vec![2, 3]]));
    let (read, parts) = Op::on(&reader, Readv::new([vec![9; 4], vec![9; 4]])).await;
    assert_eq!(
        (read.unwrap(), parts),
        (6, [sent[4..8].to_vec(), vec![8, 9]])
    );
    drop(writer);
    let (end, _) = Op::on(&reader, Readv::new([vec![9; 4], vec![9; 4]])).await;
    assert_eq!(end.unwrap(), 0);
    let (none, _) = Op::on(&reader, Readv::new([Vec::new(), Vec::new()])).await;
    assert_eq!(none.unwrap_err().kind(), ErrorKind::InvalidInput);
}
