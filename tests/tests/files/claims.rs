//! What `File` claims beyond what the standard library's does.

use std::fs;
use std::io::{ErrorKind, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use annulet_tests::{Ring, metrics, poll_now, spec, submitted};
use runtime::fs::{Advice, Allocate, File, FileTimes, Metadata, OpenOptions};
use runtime::is_cancelled;
use rustix::fs::{CWD, Mode, mkfifoat};

use crate::Dir;

spec! {
    async reading_to_the_end_dropped_anywhere_leaves_the_cursor;
    async reading_to_the_end_takes_what_grows_and_what_has_no_size;
    async text_that_is_none_leaves_the_string_as_it_was;
    async whole_files_are_read_and_written;
    async a_clone_shares_the_cursor;
    async a_fifo_reads_and_writes_side_by_side_and_keeps_what_dropped_reads_brought;
    async what_cannot_seek_refuses_offsets_before_any_io;
    async a_device_without_a_place_keeps_what_dropped_reads_brought;
    async closing_ends_what_is_in_flight_and_what_comes_later_fails;
    async metadata_is_that_of_std;
    async permissions_and_times_are_set;
    async room_is_reserved_punched_zeroed_and_moved;
    async advice_and_ranges_of_any_size_are_taken;
    async an_operation_on_a_file_takes_a_limit_and_a_token_and_is_linked;
}

async fn reading_to_the_end_dropped_anywhere_leaves_the_cursor(_: Ring) {
    let dir = Dir::new();
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let file = File::open(dir.with("long", &content)).await.unwrap();
    file.seek(SeekFrom::Start(10)).await.unwrap();
    let mut polls = 0;
    loop {
        let mut reading = Box::pin(file.read_to_end(Vec::new()));
        let mut done = None;
        for _ in 0..=polls {
            if let std::task::Poll::Ready(output) = poll_now(&mut reading).await {
                done = Some(output);
                break;
            }
            submitted().await;
        }
        drop(reading);
        if let Some((result, bytes)) = done {
            assert_eq!(result.unwrap(), content.len() - 10);
            assert!(bytes == content[10..]);
            break;
        }
        assert_eq!(file.stream_position().await.unwrap(), 10, "{polls} polls");
        polls += 1;
    }
    assert!(polls >= 3, "it was one round: nothing was shown");
    assert_eq!(file.stream_position().await.unwrap(), 3_000_000);
}

async fn reading_to_the_end_takes_what_grows_and_what_has_no_size(_: Ring) {
    let dir = Dir::new();
    let path = dir.with("grows", [1; 100]);
    let file = File::open(&path).await.unwrap();
    let mut reading = Box::pin(file.read_to_end(Vec::new()));
    assert!(poll_now(&mut reading).await.is_pending());
    let mut more = fs::File::options().append(true).open(&path).unwrap();
    more.write_all(&[2; 100_000]).unwrap();
    let (result, bytes) = reading.await;
    assert_eq!(result.unwrap(), 100_100);
    assert_eq!(bytes.iter().filter(|byte| **byte == 2).count(), 100_000);
    // Its size is said to be 0.
    let limits = runtime::fs::read_to_string("/proc/self/limits")
        .await
        .unwrap();
    assert!(limits.contains("Max open files"));
    // A pipe has neither size nor place.
    let fifo = dir.path("fifo");
    let (reader, writer) = fifo_ends(&fifo).await;
    writer.write_all([3; 20_000]).await.0.unwrap();
    writer.close().await.unwrap();
    let (result, bytes) = reader.read_to_end(vec![9]).await;
    assert_eq!(
        (result.unwrap(), bytes.len(), bytes[0]),
        (20_000, 20_001, 9)
    );
}

async fn text_that_is_none_leaves_the_string_as_it_was(_: Ring) {
    let dir = Dir::new();
    let file = File::open(dir.with("noise", b"ab\xffcd")).await.unwrap();
    let (result, text) = file.read_to_string("before".into()).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(text, "before");
    assert_eq!(file.stream_position().await.unwrap(), 5);
    let error = runtime::fs::read_to_string(dir.path("noise")).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidData);
}

async fn whole_files_are_read_and_written(_: Ring) {
    let dir = Dir::new();
    let path = dir.path("whole");
    for len in [0, 1, 8191, 8192, 8193, 1 << 20, (1 << 20) + 1, 3 << 20] {
        let content: Vec<u8> = (0..len as u32).map(|n| (n % 253) as u8).collect();
        runtime::fs::write(&path, content.clone()).await.unwrap();
        assert!(fs::read(&path).unwrap() == content, "written: {len}");
        assert!(
            runtime::fs::read(&path).await.unwrap() == content,
            "read: {len}"
        );
    }
    runtime::fs::write(&path, "short").await.unwrap();
    assert_eq!(runtime::fs::read(&path).await.unwrap(), b"short");
    assert!(runtime::fs::exists(&path).await.unwrap());
    assert!(!runtime::fs::exists(dir.path("missing")).await.unwrap());
    symlink("missing", dir.path("link")).unwrap();
    assert!(!runtime::fs::exists(dir.path("link")).await.unwrap());
    let beyond = runtime::fs::exists(path.join("file/as/directory")).await;
    assert_eq!(beyond.unwrap_err().kind(), ErrorKind::NotADirectory);
    let missing = runtime::fs::read(dir.path("missing")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let directory = runtime::fs::read(dir.0.path()).await.unwrap_err();
    assert_eq!(directory.kind(), ErrorKind::IsADirectory);
}

async fn a_clone_shares_the_cursor(_: Ring) {
    let dir = Dir::new();
    let file = File::open(dir.with("file", "0123456789")).await.unwrap();
    let clone = file.try_clone().unwrap();
    assert_eq!(file.read([0; 3]).await.1, *b"012");
    assert_eq!(clone.read([0; 3]).await.1, *b"345");
    file.close().await.unwrap();
    assert_eq!(clone.read([0; 3]).await.1, *b"678");
    assert_eq!(
        file.try_clone().unwrap_err().raw_os_error(),
        Some(libc::EBADF)
    );
}

/// Both ends of a new FIFO at `path`.
async fn fifo_ends(path: &Path) -> (File, File) {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
    // For reading and writing: whoever then opens for writing finds a reader.
    let both = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .await
        .unwrap();
    let writer = OpenOptions::new().write(true).open(path).await.unwrap();
    let reader = File::open(path).await.unwrap();
    both.close().await.unwrap();
    (reader, writer)
}

async fn a_fifo_reads_and_writes_side_by_side_and_keeps_what_dropped_reads_brought(_: Ring) {
    let dir = Dir::new();
    mkfifoat(CWD, dir.path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    let both = OpenOptions::new()
        .read(true)
        .write(true)
        .open(dir.path("fifo"))
        .await
        .unwrap();
    let mut read = both.read([0; 2]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    // The read does not hold this back, and is not lost with its future.
    drop(read);
    both.write_all("hello").await.0.unwrap();
    assert_eq!(both.read_exact([0; 5]).await.1, *b"hello");
    let mut read = both.read([0; 2]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    drop(read);
    both.write_all("again").await.0.unwrap();
    let mut peek = both.read([0; 1]);
    while poll_now(&mut peek).await.is_pending() {
        submitted().await;
    }
    drop(peek);
    let error = both.into_std().await.unwrap_err();
    let (_std, kept) = error.into_parts().unwrap();
    assert_eq!(kept, b"g");
}

async fn what_cannot_seek_refuses_offsets_before_any_io(_: Ring) {
    let dir = Dir::new();
    let (reader, writer) = fifo_ends(&dir.path("fifo")).await;
    let before = metrics().staged;
    let errors = [
        reader.read_at([0; 4], 0).await.0.unwrap_err(),
        reader.read_exact_at([0; 4], 0).await.0.unwrap_err(),
        reader.read_vectored_at([[0; 4]], 0).await.0.unwrap_err(),
        writer.write_at("data", 0).await.0.unwrap_err(),
        writer.write_all_at("data", 0).await.0.unwrap_err(),
        writer.write_vectored_at(["data"], 0).await.0.unwrap_err(),
        reader.seek(SeekFrom::Start(0)).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotSeekable, "{error}");
    }
    assert_eq!(metrics().staged, before);
    // A device need not have a place to be read at one.
    let zeros = File::open("/dev/zero").await.unwrap();
    assert_eq!(zeros.read_at([1; 4], 7).await.1, [0; 4]);
}

/// An event descriptor says that it has sought, and does not give again what was read.
async fn a_device_without_a_place_keeps_what_dropped_reads_brought(_: Ring) {
    let counter = rustix::event::eventfd(7, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let file = File::from_std(counter.into()).unwrap();
    let mut read = file.read([0; 8]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    // It has read, and nobody has looked.
    drop(read);
    assert_eq!(file.read([0; 8]).await.1, 7u64.to_ne_bytes());
}

async fn closing_ends_what_is_in_flight_and_what_comes_later_fails(_: Ring) {
    let dir = Dir::new();
    let (reader, _writer) = fifo_ends(&dir.path("fifo")).await;
    let mut read = reader.read([0; 4]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    let closing = reader.close();
    assert!(is_cancelled(&read.await.0.unwrap_err()));
    closing.await.unwrap();
    let ebadf = Some(libc::EBADF);
    let file = File::create(dir.path("file")).await.unwrap();
    file.close().await.unwrap();
    file.close().await.unwrap();
    assert_eq!(file.read([0; 4]).await.0.unwrap_err().raw_os_error(), ebadf);
    assert_eq!(
        file.write_at("x", 0).await.0.unwrap_err().raw_os_error(),
        ebadf
    );
    assert_eq!(
        file.read_to_end(vec![]).await.0.unwrap_err().raw_os_error(),
        ebadf
    );
    assert_eq!(file.rewind().await.unwrap_err().raw_os_error(), ebadf);
    assert_eq!(file.metadata().await.unwrap_err().raw_os_error(), ebadf);
    assert_eq!(file.set_len(1).await.unwrap_err().raw_os_error(), ebadf);
    assert_eq!(file.sync_all().await.unwrap_err().raw_os_error(), ebadf);
    assert_eq!(file.lock().await.unwrap_err().raw_os_error(), ebadf);
    let modified = file.set_modified(SystemTime::now()).await.unwrap_err();
    assert_eq!(modified.raw_os_error(), ebadf);
    let gone = file.into_std().await.unwrap_err();
    assert!(gone.into_parts().is_none());
}

fn assert_same(ours: &Metadata, std: &fs::Metadata) {
    let (our_type, type_of_std) = (ours.file_type(), std.file_type());
    assert_eq!(
        (our_type.is_dir(), our_type.is_file(), our_type.is_symlink()),
        (
            type_of_std.is_dir(),
            type_of_std.is_file(),
            type_of_std.is_symlink()
        )
    );
    assert_eq!(
        (ours.len(), ours.size(), ours.permissions()),
        (std.len(), std.size(), std.permissions())
    );
    let times = (ours.modified().unwrap(), ours.accessed().unwrap());
    assert_eq!(times, (std.modified().unwrap(), std.accessed().unwrap()));
    assert_eq!(ours.created().ok(), std.created().ok());
    assert_eq!(
        (
            ours.dev(),
            ours.ino(),
            ours.mode(),
            ours.nlink(),
            ours.rdev()
        ),
        (std.dev(), std.ino(), std.mode(), std.nlink(), std.rdev())
    );
    assert_eq!((ours.uid(), ours.gid()), (std.uid(), std.gid()));
    assert_eq!(
        (ours.blksize(), ours.blocks()),
        (std.blksize(), std.blocks())
    );
    let seconds = (ours.atime(), ours.mtime(), ours.ctime());
    assert_eq!(seconds, (std.atime(), std.mtime(), std.ctime()));
    let nanos = (ours.atime_nsec(), ours.mtime_nsec(), ours.ctime_nsec());
    assert_eq!(
        nanos,
        (std.atime_nsec(), std.mtime_nsec(), std.ctime_nsec())
    );
}

async fn metadata_is_that_of_std(_: Ring) {
    let dir = Dir::new();
    let path = dir.with("file", [1; 70_000]);
    symlink(&path, dir.path("link")).unwrap();
    for path in [
        &path,
        &dir.path("link"),
        dir.0.path(),
        Path::new("/dev/null"),
    ] {
        let ours = runtime::fs::metadata(path).await.unwrap();
        assert_same(&ours, &fs::metadata(path).unwrap());
        let ours = runtime::fs::symlink_metadata(path).await.unwrap();
        assert_same(&ours, &fs::symlink_metadata(path).unwrap());
    }
    let file = File::open(&path).await.unwrap();
    let ours = file.metadata().await.unwrap();
    assert_same(&ours, &fs::metadata(&path).unwrap());
    assert!(ours.mount_id().is_some() && !ours.is_immutable());
    let null = runtime::fs::metadata("/dev/null").await.unwrap();
    assert!(null.file_type().is_char_device() && null.direct_alignment().is_none());
    let fifo = dir.path("fifo");
    mkfifoat(CWD, &fifo, Mode::RUSR).unwrap();
    let fifo = runtime::fs::metadata(fifo).await.unwrap().file_type();
    assert!(fifo.is_fifo() && !fifo.is_socket() && !fifo.is_block_device());
}

async fn permissions_and_times_are_set(_: Ring) {
    let dir = Dir::new();
    let path = dir.with("file", "x");
    let file = File::open(&path).await.unwrap();
    file.set_permissions(PermissionsExt::from_mode(0o604))
        .await
        .unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o604);
    let (read, changed) = (
        SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5),
        SystemTime::UNIX_EPOCH - Duration::new(1_000, 500),
    );
    let times = FileTimes::new().set_accessed(read).set_modified(changed);
    file.set_times(times).await.unwrap();
    let metadata = file.metadata().await.unwrap();
    assert_eq!(metadata.accessed().unwrap(), read);
    assert_eq!(metadata.modified().unwrap(), changed);
    file.set_modified(read).await.unwrap();
    assert_eq!(file.metadata().await.unwrap().modified().unwrap(), read);
}

async fn room_is_reserved_punched_zeroed_and_moved(_: Ring) {
    let dir = Dir::new();
    let path = dir.with("file", [7; 64 << 10]);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .await
        .unwrap();
    let content = || fs::read(&path).unwrap();
    file.allocate(Allocate::Reserve, 0, 128 << 10)
        .await
        .unwrap();
    assert_eq!(content().len(), 128 << 10);
    let full = file.metadata().await.unwrap().blocks();
    file.punch_hole(4096, 56 << 10).await.unwrap();
    assert!(file.metadata().await.unwrap().blocks() < full);
    assert!(content()[4096..60 << 10].iter().all(|byte| *byte == 0));
    assert!(content()[60 << 10..64 << 10].iter().all(|byte| *byte == 7));
    file.allocate(Allocate::ReserveBeyond, 128 << 10, 64 << 10)
        .await
        .unwrap();
    assert_eq!(content().len(), 128 << 10);
    for (how, len) in [
        (Allocate::Zero, 128 << 10),
        (Allocate::Collapse, 124 << 10),
        (Allocate::Insert, 128 << 10),
        (Allocate::Unshare, 128 << 10),
    ] {
        match file.allocate(how, 0, 4096).await {
            Ok(()) => assert_eq!(content().len(), len, "{how:?}"),
            // Not on every file system; that it is asked for is what counts.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{how:?}"),
        }
    }
    assert!(content()[..4096].iter().all(|byte| *byte == 0));
    let reader = File::open(&path).await.unwrap();
    let error = reader.allocate(Allocate::Reserve, 0, 1).await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    let nothing = file.allocate(Allocate::Reserve, 0, 0).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::InvalidInput);
}

async fn advice_and_ranges_of_any_size_are_taken(_: Ring) {
    let dir = Dir::new();
    let file = File::open(dir.with("file", [7; 64 << 10])).await.unwrap();
    let all = [
        Advice::Normal,
        Advice::Sequential,
        Advice::Random,
        Advice::WillNeed,
        Advice::DontNeed,
        Advice::NoReuse,
    ];
    for advice in all {
        for len in [0, 4096, 9 << 30] {
            file.advise(advice, 0, len).await.unwrap();
        }
    }
    for len in [0, 4096, 9 << 30] {
        file.sync_range(0, len).await.unwrap();
    }
    let beyond = file.advise(Advice::Normal, 1 << 63, 0).await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::InvalidInput);
}

async fn an_operation_on_a_file_takes_a_limit_and_a_token_and_is_linked(_: Ring) {
    let dir = Dir::new();
    let (reader, _writer) = fifo_ends(&dir.path("fifo")).await;
    let late = reader.read([0; 4]).timeout(Duration::from_millis(1)).await;
    assert_eq!(late.0.unwrap_err().kind(), ErrorKind::TimedOut);
    let token = runtime::CancelToken::new();
    let mut read = reader.read_exact([0; 4]).cancel_with(&token);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    token.cancel();
    assert!(is_cancelled(&read.await.0.unwrap_err()));
    let path = dir.path("file");
    let file = File::create_new(&path).await.unwrap();
    let (wrote, synced, read) = runtime::chain((
        file.write_at("linked", 0),
        file.sync_data(),
        file.read_at([0; 6], 0),
    ))
    .await;
    assert_eq!(wrote.0.unwrap(), 6);
    synced.unwrap();
    assert_eq!(&read.1, b"linked");
}
