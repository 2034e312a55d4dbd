//! Files that the ring knows: the same bytes, and let go of when they are closed, wherever that is.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::thread;

use annulet_tests::{Ring, poll_now, spec, submitted};
use runtime::fs::{File, OpenOptions};
use runtime::{Fd, Op, chain, op};

use crate::Dir;

spec! {
    known_or_not_the_bytes_are_the_same;
    async a_closed_file_is_let_go_of;
    async a_dropped_file_is_let_go_of;
    async a_file_closed_on_another_thread_is_let_go_of;
    async a_file_dropped_where_there_is_no_runtime_is_let_go_of;
    async a_file_closed_by_a_chain_is_let_go_of;
    async a_file_given_back_is_let_go_of_by_the_ring;
    async a_file_that_was_lent_out_is_let_go_of;
    a_file_that_outlives_its_runtime_is_let_go_of;
    async a_full_table_leaves_files_as_they_were;
    async only_the_thread_that_used_it_first_can_register_it;
    alone many_files_one_after_another_leave_nothing_open;
}

fn known_or_not_the_bytes_are_the_same(ring: Ring) {
    for fixed in [true, false] {
        let runtime = ring.builder().fixed_files(fixed).build().unwrap();
        runtime.block_on(async {
            let dir = Dir::new();
            let path = dir.path("file");
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true);
            let file = options.open(&path).await.unwrap();
            let known = file.register();
            assert_eq!(known.is_ok(), fixed, "{known:?}");
            // Twice is once.
            assert_eq!(file.register().is_ok(), known.is_ok());
            there_and_back(&file).await;
            assert_eq!(fs::read(&path).unwrap(), b"0one2three45six");
        });
    }
}

async fn there_and_back(file: &File) {
    file.write_all_at("0123456789", 0).await.0.unwrap();
    assert_eq!(file.write_at("three45", 5).await.0.unwrap(), 7);
    file.write_vectored_at(["one", "2"], 1).await.0.unwrap();
    file.write_all_at("six", 12).await.0.unwrap();
    let mut expected = b"0one2three45six".to_vec();
    let (read, buf) = file.read_at(Vec::with_capacity(100), 0).await;
    assert_eq!((read.unwrap(), &buf), (15, &expected));
    let (read, buf) = file.read_exact_at([0; 7], 5).await;
    read.unwrap();
    assert_eq!(&buf, b"three45");
    let (read, bufs) = file.read_vectored_at([[0; 4], [0; 4]], 1).await;
    assert_eq!((read.unwrap(), bufs.concat()), (8, b"one2thre".to_vec()));
    let mut all = Vec::new();
    while let (Ok(n @ 1..), buf) = file.read([0; 4]).await {
        all.extend_from_slice(&buf[..n]);
    }
    assert_eq!(all, std::mem::take(&mut expected));
    let limited = file
        .read_at([0; 4], 0)
        .timeout(std::time::Duration::from_secs(60));
    assert_eq!(limited.await.0.unwrap(), 4);
}

/// The writing end of a pipe, known to the ring if that can be, and the other: it ends when the file is let go of.
async fn registered() -> (Fd, Fd) {
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = Fd::new(writer.into());
    writer.register().unwrap();
    assert!(writer.is_registered());
    let write = Op::on(&writer, op::Write::new(*b"sent"));
    assert_eq!(write.await.0.unwrap(), 4);
    let reader = Fd::new(reader.into());
    let (read, buf) = Op::on(&reader, op::Read::new([0; 8])).await;
    assert_eq!((read.unwrap(), &buf[..4]), (4, &b"sent"[..]));
    (reader, writer)
}

async fn ends(reader: &Fd) {
    let (read, _) = Op::on(reader, op::Read::new([0; 8])).await;
    assert_eq!(read.unwrap(), 0);
}

async fn a_closed_file_is_let_go_of(_: Ring) {
    let (reader, writer) = registered().await;
    let mut read = Op::on(&reader, op::Read::new([0; 8]));
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    writer.close().await.unwrap();
    assert!(!writer.is_registered());
    assert_eq!(
        writer.register().unwrap_err().raw_os_error(),
        Some(libc::EBADF)
    );
    assert_eq!(read.await.0.unwrap(), 0);
}

async fn a_dropped_file_is_let_go_of(_: Ring) {
    let (reader, writer) = registered().await;
    let full = Op::on(&writer, op::WriteAll::new(vec![7; 1 << 20]));
    let mut full = Box::pin(full);
    assert!(poll_now(&mut full).await.is_pending());
    submitted().await;
    drop((full, writer));
    let all = Op::on(&reader, op::ReadExact::new(vec![0; 2 << 20])).await;
    assert_eq!(all.0.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

async fn a_file_closed_on_another_thread_is_let_go_of(ring: Ring) {
    let (reader, writer) = registered().await;
    let other = thread::spawn(move || {
        ring.runtime().block_on(async {
            writer.close().await.unwrap();
        });
    });
    ends(&reader).await;
    other.join().unwrap();
}

async fn a_file_dropped_where_there_is_no_runtime_is_let_go_of(_: Ring) {
    let (reader, writer) = registered().await;
    let other = thread::spawn(move || drop(writer));
    other.join().unwrap();
    ends(&reader).await;
}

async fn a_file_closed_by_a_chain_is_let_go_of(_: Ring) {
    let (reader, writer) = registered().await;
    let last = Op::on(&writer, op::Write::new(*b"last"));
    let ((wrote, _), closed) = chain((last, op::CloseFd::of(&writer))).await;
    assert_eq!(wrote.unwrap(), 4);
    closed.unwrap();
    let (read, _) = Op::on(&reader, op::Read::new([0; 8])).await;
    assert_eq!(read.unwrap(), 4);
    ends(&reader).await;
}

async fn a_file_given_back_is_let_go_of_by_the_ring(_: Ring) {
    let (reader, writer) = registered().await;
    let (owned, _) = writer.reclaim().await.unwrap();
    rustix::io::write(&owned, b"by hand").unwrap();
    let (read, _) = Op::on(&reader, op::Read::new([0; 8])).await;
    assert_eq!(read.unwrap(), 7);
    drop(owned);
    ends(&reader).await;
}

async fn a_file_that_was_lent_out_is_let_go_of(_: Ring) {
    let (reader, writer) = registered().await;
    assert_eq!(rustix::io::write(writer.as_fd(), b"lent"), Ok(4));
    writer.close().await.unwrap();
    let (read, _) = Op::on(&reader, op::Read::new([0; 8])).await;
    assert_eq!(read.unwrap(), 4);
    ends(&reader).await;
}

fn a_file_that_outlives_its_runtime_is_let_go_of(ring: Ring) {
    let (reader, writer) = ring.runtime().block_on(registered());
    ring.runtime().block_on(async {
        assert!(!writer.is_registered());
        assert_eq!(
            writer.register().unwrap_err().kind(),
            ErrorKind::Unsupported
        );
        let write = Op::on(&writer, op::Write::new(*b"sent"));
        assert_eq!(write.await.0.unwrap(), 4);
        let (read, _) = Op::on(&reader, op::Read::new([0; 8])).await;
        assert_eq!(read.unwrap(), 4);
    });
    drop(writer);
    ring.runtime().block_on(ends(&reader));
}

async fn a_full_table_leaves_files_as_they_were(_: Ring) {
    let zeros = || Fd::new(fs::File::open("/dev/zero").unwrap().into());
    let mut files: Vec<_> = (0..256).map(|_| zeros()).collect();
    files.iter().for_each(|file| file.register().unwrap());
    let more = zeros();
    let refused = more.register().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
    let (read, _) = Op::on(&more, op::Read::at([1; 8], 0)).await;
    assert_eq!(read.unwrap(), 8);
    files.pop();
    more.register().unwrap();
    let (read, _) = Op::on(&more, op::Read::at([1; 8], 0)).await;
    assert_eq!(read.unwrap(), 8);
}

async fn only_the_thread_that_used_it_first_can_register_it(ring: Ring) {
    let dir = Dir::new();
    let file = File::open(dir.with("file", "content")).await.unwrap();
    file.register().unwrap();
    let other = thread::spawn(move || {
        ring.runtime().block_on(async {
            let refused = file.register().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
            let (read, buf) = file.read_at([0; 7], 0).await;
            assert_eq!((read.unwrap(), &buf), (7, b"content"));
        });
        file
    });
    // Its last use may be waited for here: this thread is the one to close it.
    let file = runtime::task::spawn_blocking(move || other.join().unwrap()).await;
    assert_eq!(file.unwrap().read_at([0; 7], 0).await.0.unwrap(), 7);
}

fn many_files_one_after_another_leave_nothing_open(ring: Ring) {
    let before = annulet_tests::fds();
    let runtime = ring.runtime();
    runtime.block_on(async {
        for n in 0..2000 {
            let (reader, writer) = registered().await;
            if n % 2 == 0 {
                writer.close().await.unwrap();
            } else {
                drop(writer);
            }
            ends(&reader).await;
        }
    });
    drop(runtime);
    assert_eq!(annulet_tests::fds(), before);
}
