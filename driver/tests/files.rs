//! The operations on files, and what becomes of a file's cursor.

mod support;

use std::fs;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use annulet_driver::op::{
    Fadvise, Fallocate, Ftruncate, OpenAt, OpenAt2, Read, ReadExact, Readv, Seek, Statx,
    SyncFileRange, Write, WriteAll, Writev,
};
use annulet_driver::{Driver, Fd, Op, Wait, chain};

use support::{poll_once, run};

/// A directory of this test's own, removed in the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("annulet-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Dir(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> Fd {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        let file = fs::File::options().read(true).write(true).open(path);
        Fd::new(file.unwrap().into())
    }

    fn fd(&self) -> Fd {
        Fd::new(fs::File::open(&self.0).unwrap().into())
    }

    fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn cursor(file: &Fd) -> u64 {
    Op::on(file, Seek::new(SeekFrom::Current(0))).await.unwrap()
}

/// Turns until nothing is in flight.
fn settle(driver: &Driver) {
    while driver.metrics().in_flight > 0 {
        driver.turn(Wait::No).unwrap();
    }
}

/// When the reads of a test are dropped.
#[derive(Clone, Copy, Debug)]
enum Dropped {
    Staged,
    Submitted,
    Completed,
}

const EVER: [Dropped; 3] = [Dropped::Staged, Dropped::Submitted, Dropped::Completed];

fn start<F: Future + Unpin>(driver: &Driver, when: Dropped, future: &mut F) {
    assert!(poll_once(future).is_pending());
    match when {
        Dropped::Staged => {}
        Dropped::Submitted => driver.turn(Wait::No).unwrap(),
        Dropped::Completed => settle(driver),
    }
}

#[test]
fn a_dropped_read_at_the_cursor_leaves_it_where_it_was() {
    run(|driver| async move {
        let dir = Dir::new("cursor");
        let file = dir.file("f", b"0123456789");
        for when in EVER {
            Op::on(&file, Seek::new(SeekFrom::Start(2))).await.unwrap();
            let mut read = Op::on(&file, Read::at_cursor([0; 4]));
            start(&driver, when, &mut read);
            drop(read);
            assert_eq!(cursor(&file).await, 2, "{when:?}");
            let mut exact = Op::on(&file, ReadExact::at_cursor([0; 4]));
            start(&driver, when, &mut exact);
            drop(exact);
            assert_eq!(cursor(&file).await, 2, "{when:?}");
            // Its second round is to read the end.
            let mut beyond = Op::on(&file, ReadExact::at_cursor([0; 20]));
            start(&driver, when, &mut beyond);
            let _ = poll_once(&mut beyond);
            drop(beyond);
            assert_eq!(cursor(&file).await, 2, "{when:?}");
            let mut vectored = Op::on(&file, Readv::at_cursor([[0; 2]; 3]));
            start(&driver, when, &mut vectored);
            drop(vectored);
            let (got, bytes) = Op::on(&file, Read::at_cursor([0; 3])).await;
            assert_eq!((got.unwrap(), &bytes), (3, b"234"), "{when:?}");
        }
    });
}

#[test]
fn what_is_done_at_the_cursor_is_done_in_turn() {
    run(|driver| async move {
        let dir = Dir::new("turns");
        let file = dir.file("f", b"0123456789");
        let mut read = Op::on(&file, Read::at_cursor([0; 2]));
        let mut write = Op::on(&file, WriteAll::at_cursor(b"ab"));
        let mut seek = Op::on(&file, Seek::new(SeekFrom::Current(3)));
        let mut again = Op::on(&file, Writev::at_cursor([*b"x", *b"y"]));
        let before = driver.metrics().staged;
        assert!(poll_once(&mut read).is_pending());
        assert!(poll_once(&mut write).is_pending());
        assert!(poll_once(&mut seek).is_pending());
        assert!(poll_once(&mut again).is_pending());
        assert_eq!(driver.metrics().staged, before + 1, "the others queue");
        assert_eq!(read.await.0.unwrap(), 2);
        write.await.0.unwrap();
        assert_eq!(seek.await.unwrap(), 7);
        assert_eq!(again.await.0.unwrap(), 2);
        assert_eq!(dir.content("f"), b"01ab456xy9");
        assert_eq!(Op::on(&file, Write::at_cursor(b"!")).await.0.unwrap(), 1);
        assert_eq!(cursor(&file).await, 10);
    });
}

#[test]
fn a_seek_after_a_dropped_read_is_not_undone() {
    run(|driver| async move {
        let dir = Dir::new("seek");
        let file = dir.file("f", b"0123456789");
        for when in EVER {
            let mut read = Op::on(&file, Read::at_cursor([0; 8]));
            start(&driver, when, &mut read);
            drop(read);
            let seek = Op::on(&file, Seek::new(SeekFrom::End(-4)));
            assert_eq!(seek.await.unwrap(), 6);
            settle(&driver);
            assert_eq!(cursor(&file).await, 6, "{when:?}");
            Op::on(&file, Seek::new(SeekFrom::Start(0))).await.unwrap();
        }
        for beyond in [SeekFrom::Current(-1), SeekFrom::Start(u64::MAX)] {
            let error = Op::on(&file, Seek::new(beyond)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        let (read, seek) = chain((
            Op::on(&file, Read::at([0; 8], 0)),
            Op::on(&file, Seek::new(SeekFrom::Start(0))),
        ))
        .await;
        assert_eq!(seek.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(read.0.is_err());
    });
}

#[test]
fn a_file_given_away_has_its_cursor_where_dropped_reads_left_it() {
    run(|driver| async move {
        let dir = Dir::new("given");
        for when in EVER {
            let file = dir.file("f", b"0123456789");
            let mut read = Op::on(&file, Read::at_cursor([0; 8]));
            start(&driver, when, &mut read);
            drop(read);
            let (file, kept) = file.reclaim().await.unwrap();
            assert!(kept.is_empty());
            let mut rest = String::new();
            let mut file = fs::File::from(file);
            file.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "0123456789", "{when:?}");
        }
    });
}

#[test]
fn what_lands_after_the_close_touches_no_other_files_cursor() {
    run(|driver| async move {
        let dir = Dir::new("reused");
        for dropped in [false, true] {
            let file = dir.file("f", b"0123456789");
            let number = file.as_raw_fd();
            let mut write = Op::on(&file, Write::at_cursor(*b"abcd"));
            start(&driver, Dropped::Completed, &mut write);
            file.close().await.unwrap();
            // Whoever gets the number.
            let mut files: Vec<_> = (0..8)
                .map(|_| fs::File::open(dir.0.join("f")).unwrap())
                .collect();
            for file in &mut files {
                file.seek(SeekFrom::Start(9)).unwrap();
            }
            if dropped {
                drop(write);
            } else {
                assert_eq!(write.await.0.unwrap(), 4);
            }
            let reused = files.iter().any(|file| file.as_raw_fd() == number);
            assert!(reused, "nothing was shown");
            for file in &mut files {
                assert_eq!(file.stream_position().unwrap(), 9);
            }
        }
    });
}

#[test]
fn a_dropped_write_at_the_cursor_leaves_it_behind_what_it_wrote() {
    run(|driver| async move {
        let dir = Dir::new("written");
        for when in EVER {
            let file = dir.file("f", b"0123456789");
            let mut write = Op::on(&file, Write::at_cursor(*b"ab"));
            start(&driver, when, &mut write);
            drop(write);
            let written = cursor(&file).await;
            let mut all = Op::on(&file, WriteAll::at_cursor(*b"cd"));
            start(&driver, when, &mut all);
            drop(all);
            let more = cursor(&file).await - written;
            let mut vectored = Op::on(&file, Writev::at_cursor([*b"e", *b"f"]));
            start(&driver, when, &mut vectored);
            drop(vectored);
            let most = cursor(&file).await - written - more;
            // Cancelled before it began, it wrote nothing; completed, it had.
            for n in [written, more, most] {
                assert!(
                    n == 2 || n == 0 && !matches!(when, Dropped::Completed),
                    "{n}, {when:?}"
                );
            }
            let expected = ["ab", "cd", "ef"].iter().zip([written, more, most]);
            let expected: String = expected.filter(|(_, n)| *n > 0).map(|(s, _)| *s).collect();
            assert!(dir.content("f").starts_with(expected.as_bytes()));
        }
    });
}

#[test]
fn what_appends_takes_the_cursor_to_the_end() {
    run(|_| async {
        let dir = Dir::new("append");
        drop(dir.file("f", b"0123456789"));
        let file = fs::File::options()
            .read(true)
            .append(true)
            .open(dir.0.join("f"));
        let file = Fd::new(file.unwrap().into());
        Op::on(&file, Seek::new(SeekFrom::Start(3))).await.unwrap();
        let (read, bytes) = Op::on(&file, Read::at_cursor([0; 2])).await;
        assert_eq!((read.unwrap(), &bytes), (2, b"34"));
        Op::on(&file, WriteAll::at_cursor(*b"ab")).await.0.unwrap();
        assert_eq!(cursor(&file).await, 12);
        assert_eq!(dir.content("f"), b"0123456789ab");
    });
}

#[test]
fn what_is_done_at_the_cursor_is_refused_in_a_chain() {
    run(|driver| async move {
        let dir = Dir::new("chained");
        let file = dir.file("f", b"0123456789");
        let before = driver.metrics().staged;
        let (read, write) = chain((
            Op::on(&file, Read::at([0; 2], 0)),
            Op::on(&file, Write::at_cursor(b"ab")),
        ))
        .await;
        assert_eq!(write.0.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(read.0.is_err());
        let (read, exact) = chain((
            Op::on(&file, Readv::at_cursor([[0; 2]])),
            Op::on(&file, ReadExact::at_cursor([0; 2])),
        ))
        .await;
        assert_eq!(read.0.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(exact.0.is_err());
        assert_eq!(driver.metrics().staged, before);
        assert_eq!(cursor(&file).await, 0);
    });
}

#[test]
fn whole_reads_and_writes_at_offsets_move_no_cursor() {
    run(|_| async {
        let dir = Dir::new("whole");
        let file = dir.file("f", b"0123456789");
        Op::on(&file, WriteAll::at(b"ab", 8)).await.0.unwrap();
        let (read, bytes) = Op::on(&file, ReadExact::at([0; 4], 6)).await;
        read.unwrap();
        assert_eq!(&bytes, b"67ab");
        let (read, bytes) = Op::on(&file, ReadExact::at(Vec::with_capacity(4), 7)).await;
        let error = read.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(bytes, b"7ab");
        assert_eq!(cursor(&file).await, 0);
        let beyond = Op::on(&file, WriteAll::at(b"ab", 1 << 63)).await;
        assert_eq!(beyond.0.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn flags_of_a_write_and_of_a_read_reach_the_kernel() {
    run(|_| async {
        let dir = Dir::new("flags");
        let file = dir.file("f", b"0123456789");
        let append = Write::at(b"ab", 0).flags(libc::RWF_APPEND);
        assert_eq!(Op::on(&file, append).await.0.unwrap(), 2);
        let append = WriteAll::at(b"cd", 0).flags(libc::RWF_APPEND);
        Op::on(&file, append).await.0.unwrap();
        let append = Writev::at([*b"e", *b"f"], 0).flags(libc::RWF_APPEND);
        assert_eq!(Op::on(&file, append).await.0.unwrap(), 2);
        assert_eq!(dir.content("f"), b"0123456789abcdef");
        let unknown = Op::on(&file, Read::at([0; 1], 0).flags(1 << 30)).await;
        assert!(unknown.0.is_err());
        let unknown = Op::on(&file, Readv::at([[0; 1]], 0).flags(1 << 30)).await;
        assert!(unknown.0.is_err());
        let warm = Op::on(&file, Read::at([0; 1], 0).flags(libc::RWF_NOWAIT)).await;
        assert_eq!(warm.0.unwrap(), 1);
    });
}

#[test]
fn a_file_is_cut_grown_reserved_punched_advised_and_synced() {
    run(|_| async {
        let dir = Dir::new("sizes");
        let file = dir.file("f", &[7; 10_000]);
        let size = || fs::metadata(dir.0.join("f")).unwrap().size();
        Op::on(&file, Ftruncate::new(9_000)).await.unwrap();
        assert_eq!(size(), 9_000);
        Op::on(&file, Fallocate::new(0, 0, 20_000)).await.unwrap();
        assert_eq!(size(), 20_000);
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        Op::on(&file, Fallocate::new(punch, 0, 4096)).await.unwrap();
        let content = dir.content("f");
        assert!(content[..4096].iter().all(|byte| *byte == 0));
        assert!(content[4096..9_000].iter().all(|byte| *byte == 7));
        for len in [0, 1, 5 << 30] {
            let advice = Fadvise::new(libc::POSIX_FADV_WILLNEED, 0, len);
            Op::on(&file, advice).await.unwrap();
            let flags = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
            let sync = SyncFileRange::new(flags, 0, len);
            Op::on(&file, sync).await.unwrap();
        }
        let invalid = |result: io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        };
        invalid(Op::on(&file, Fadvise::new(77, 0, 0)).await);
        invalid(Op::on(&file, Ftruncate::new(1 << 63)).await);
        invalid(Op::on(&file, Fallocate::new(0, 1 << 63, 1)).await);
        invalid(Op::on(&file, Fallocate::new(0, 0, 0)).await);
    });
}

#[test]
fn paths_are_relative_to_the_directory_an_operation_is_started_on() {
    run(|_| async {
        let dir = Dir::new("relative");
        let (there, name) = (dir.fd(), Path::new("new"));
        let open = OpenAt::new(name, libc::O_CREAT | libc::O_WRONLY, 0o640).unwrap();
        let file = Fd::new(Op::on(&there, open).await.unwrap());
        Op::on(&file, WriteAll::new(b"hello")).await.0.unwrap();
        let status = Statx::path(name, 0).unwrap().also(libc::STATX_MNT_ID);
        let status = Op::on(&there, status).await.unwrap();
        let known = fs::metadata(dir.0.join(name)).unwrap();
        assert_eq!((status.stx_ino, status.stx_size), (known.ino(), 5));
        assert_ne!(status.stx_mask & libc::STATX_MNT_ID, 0);

        let beneath = libc::RESOLVE_BENEATH;
        let open = OpenAt2::new(name, libc::O_RDONLY, 0, beneath).unwrap();
        let file = Fd::new(Op::on(&there, open).await.unwrap());
        let (read, bytes) = Op::on(&file, Read::new([0; 8])).await;
        assert_eq!((read.unwrap(), &bytes[..5]), (5, &b"hello"[..]));
        for out in ["..", "/etc"] {
            let open = OpenAt2::new(Path::new(out), libc::O_RDONLY, 0, beneath).unwrap();
            let error = Op::on(&there, open).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CrossesDevices);
        }
        // On none: from the working directory.
        let open = OpenAt2::new(Path::new("."), libc::O_RDONLY, 0, beneath).unwrap();
        Op::new(open).await.unwrap();
        let nul = OpenAt2::new(Path::new("a\0b"), 0, 0, 0).unwrap_err();
        assert_eq!(nul.kind(), ErrorKind::InvalidInput);
    });
}
