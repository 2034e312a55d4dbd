//! How files are opened: every combination, as `std::fs::OpenOptions` has it.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use annulet_tests::{Ring, fds, metrics, poll_now, spec, submitted};
use runtime::fs::{File, OpenOptions};
use runtime::time;
use rustix::fs::{CWD, Mode, mkfifoat};

use crate::Dir;

spec! {
    async every_combination_opens_or_is_refused_as_in_std;
    async what_contradicts_itself_is_refused_before_any_io;
    async mode_and_further_flags_reach_the_kernel;
    alone async an_opening_that_is_dropped_leaves_no_descriptor;
    async a_fifo_opens_when_its_other_end_does_or_is_given_up;
}

async fn every_combination_opens_or_is_refused_as_in_std(_: Ring) {
    let dir = Dir::new();
    for bits in 0..64u32 {
        for there in [false, true] {
            let on = |bit: u32| bits & (1 << bit) != 0;
            let (ours, theirs) = (dir.path("ours"), dir.path("theirs"));
            for path in [&ours, &theirs] {
                let _ = fs::remove_file(path);
                if there {
                    fs::write(path, "before").unwrap();
                }
            }
            let mut options = OpenOptions::new();
            options.read(on(0)).write(on(1)).append(on(2));
            options.truncate(on(3)).create(on(4)).create_new(on(5));
            let mut std = fs::OpenOptions::new();
            std.read(on(0)).write(on(1)).append(on(2));
            std.truncate(on(3)).create(on(4)).create_new(on(5));
            let (opened, expected) = (options.open(&ours).await, std.open(&theirs));
            match (opened, expected) {
                (Ok(opened), Ok(mut expected)) => {
                    let wrote = opened.write_all("now").await.0.is_ok();
                    assert_eq!(wrote, expected.write_all(b"now").is_ok(), "{options:?}");
                }
                (opened, expected) => {
                    let kinds = (opened.unwrap_err().kind(), expected.unwrap_err().kind());
                    assert_eq!(kinds.0, kinds.1, "{options:?}, there: {there}");
                }
            }
            let content = |path: &Path| fs::read(path).map_err(|error| error.kind());
            assert_eq!(content(&ours), content(&theirs), "{options:?}");
        }
    }
}

async fn what_contradicts_itself_is_refused_before_any_io(_: Ring) {
    let before = metrics().staged;
    for options in [
        &mut OpenOptions::new(),
        OpenOptions::new().read(true).truncate(true),
        OpenOptions::new().read(true).create(true),
        OpenOptions::new().read(true).create_new(true),
        OpenOptions::new().append(true).truncate(true),
    ] {
        let error = options.open("/dev/null").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{options:?}");
    }
    let error = File::open("a\0b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(metrics().staged, before);
}

async fn mode_and_further_flags_reach_the_kernel(_: Ring) {
    let dir = Dir::new();
    let modes = [0o600, 0o640, 0o777, 0o4711];
    for mode in modes {
        let (ours, theirs) = (dir.path("ours"), dir.path("theirs"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).mode(mode);
        options.open(&ours).await.unwrap();
        let mut std = fs::OpenOptions::new();
        std.write(true).create(true).truncate(true).mode(mode);
        std.open(&theirs).unwrap();
        let mode_of = |path: &Path| fs::metadata(path).unwrap().mode();
        assert_eq!(mode_of(&ours), mode_of(&theirs), "{mode:o}");
        fs::remove_file(ours).unwrap();
        fs::remove_file(theirs).unwrap();
    }
    let link = dir.path("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let mut options = OpenOptions::new();
    // Those for access are left out: it is still opened for reading.
    options
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_WRONLY);
    let error = options.open(&link).await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    let file = options.open(dir.with("file", "x")).await.unwrap();
    assert_eq!(file.read([0; 1]).await.1, *b"x");
    // What has no name yet is made with the mode that was given, too.
    let mut options = OpenOptions::new();
    options
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o600);
    let file = options.open(dir.0.path()).await.unwrap();
    assert_eq!(file.metadata().await.unwrap().mode() & 0o7777, 0o600);
}

async fn an_opening_that_is_dropped_leaves_no_descriptor(_: Ring) {
    let dir = Dir::new();
    let path = dir.with("file", "x");
    let before = fds();
    let mut options = OpenOptions::new();
    options.read(true).direct(true);
    for polls in 0..3 {
        let mut opening = Box::pin(options.open(&path));
        for _ in 0..polls {
            if poll_now(&mut opening).await.is_ready() {
                break;
            }
            submitted().await;
        }
        drop(opening);
    }
    // Closing goes on in the background; all that was staged before is done with.
    while metrics().in_flight > 0 {
        submitted().await;
    }
    assert_eq!(fds(), before);
}

async fn a_fifo_opens_when_its_other_end_does_or_is_given_up(_: Ring) {
    let dir = Dir::new();
    let fifo = dir.path("fifo");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let writing = OpenOptions::new()
        .write(true)
        .open(&fifo)
        .await
        .unwrap_err();
    assert_eq!(writing.raw_os_error(), Some(libc::ENXIO));
    let mut options = OpenOptions::new();
    options.read(true).may_block(true);
    let alone = time::timeout(Duration::from_millis(5), options.open(&fifo)).await;
    assert!(alone.is_err());
    let mut reading = Box::pin(options.open(&fifo));
    assert!(poll_now(&mut reading).await.is_pending());
    submitted().await;
    assert!(poll_now(&mut reading).await.is_pending());
    let mut options = OpenOptions::new();
    let writer = options
        .write(true)
        .may_block(true)
        .open(&fifo)
        .await
        .unwrap();
    let reader = reading.await.unwrap();
    writer.write_all("through").await.0.unwrap();
    assert_eq!(reader.read_exact([0; 7]).await.1, *b"through");
}
