//! Both kinds of temporary files, and what is left of them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use runtime::Runtime;
use tempfile::TempDir;

use super::*;
use crate::write_atomic::{replace, write_atomic};

const NAMED: [bool; 2] = [false, true];

fn block_on<F: Future>(f: impl FnOnce(TempDir) -> F) -> F::Output {
    let temp = TempDir::new().unwrap();
    Runtime::new().unwrap().block_on(f(temp))
}

async fn make(dir: &TempDir, named: bool) -> TempFile {
    let dir = At::CWD.open_dir(dir.path(), OFlags::empty()).await.unwrap();
    let dir = Arc::new(dir);
    if named {
        TempFile::named_in(&dir, PRIVATE).await.unwrap()
    } else {
        TempFile::in_dir(&dir, PRIVATE).await.unwrap()
    }
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn until(mut happened: impl FnMut() -> bool) {
    while !happened() {
        runtime::yield_now().await;
    }
}

#[test]
fn a_temporary_file_is_private_and_gone_when_dropped() {
    for named in NAMED {
        block_on(|dir| async move {
            let file = make(&dir, named).await;
            file.write_all("secret").await.0.unwrap();
            let status = file.metadata().await.unwrap();
            assert_eq!(status.mode() & 0o7777, 0o600);
            assert_eq!(status.nlink(), named.into());
            assert_eq!(names(&dir).len(), named.into());
            drop(file);
            until(|| names(&dir).is_empty()).await;
        });
    }
}

#[test]
fn a_persisted_file_takes_the_place_of_the_one_there() {
    for named in NAMED {
        block_on(|dir| async move {
            let path = dir.path().join("file");
            for content in ["first", "second"] {
                let temp = make(&dir, named).await;
                temp.write_all(content).await.0.unwrap();
                let file = temp.persist(&path).await.unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), content);
                file.write_all("!").await.0.unwrap();
                assert_eq!(names(&dir), ["file"]);
            }
        });
    }
}

#[test]
fn a_new_file_replaces_none() {
    for named in NAMED {
        block_on(|dir| async move {
            let path = dir.path().join("file");
            make(&dir, named).await.persist_new(&path).await.unwrap();
            let error = make(&dir, named).await.persist_new(&path).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(names(&dir), ["file"]);
        });
    }
}

#[test]
fn what_cannot_be_persisted_is_gone() {
    for named in NAMED {
        block_on(|dir| async move {
            let on = |path: &str| dir.path().join(path);
            fs::create_dir(on("dir")).unwrap();
            let error = make(&dir, named).await.persist(on("dir")).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::IsADirectory);
            let error = make(&dir, named).await.persist(on("no/file")).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
            let error = make(&dir, named).await.persist("/proc/file").await;
            let kind = error.unwrap_err().kind();
            assert!(matches!(
                kind,
                ErrorKind::CrossesDevices | ErrorKind::NotFound
            ));
            assert_eq!(names(&dir), ["dir"]);
        });
    }
}

#[test]
fn one_whose_making_is_dropped_leaves_nothing() {
    for named in NAMED {
        for turns in 0..20 {
            let dir = TempDir::new().unwrap();
            Runtime::new().unwrap().block_on(async {
                let mut making = Box::pin(make(&dir, named));
                for _ in 0..turns {
                    let now = std::future::poll_fn(|cx| {
                        std::task::Poll::Ready(making.as_mut().poll(cx).is_ready())
                    });
                    if now.await {
                        return;
                    }
                    runtime::yield_now().await;
                }
                drop(making);
                // The thread pool has no more to do for it when it has done this.
                runtime::task::spawn_blocking(|| ()).await.unwrap();
                until(|| names(&dir).is_empty()).await;
            });
        }
    }
}

#[test]
fn an_atomic_write_keeps_the_mode_and_leaves_one_file() {
    block_on(|dir| async move {
        let on = |path: &str| dir.path().join(path);
        write_atomic(on("new"), "new").await.unwrap();
        fs::write(on("by-std"), "").unwrap();
        let mode = |path: &str| fs::metadata(on(path)).unwrap().mode();
        assert_eq!(mode("new"), mode("by-std"), "the umask's");
        for bits in [0o600, 0o751, 0o4755] {
            fs::set_permissions(on("new"), fs::Permissions::from_mode(bits)).unwrap();
            for content in ["", "more", "again"] {
                write_atomic(on("new"), content).await.unwrap();
                assert_eq!(fs::read_to_string(on("new")).unwrap(), content);
                assert_eq!(mode("new") & 0o7777, bits);
            }
        }
        fs::hard_link(on("new"), on("twin")).unwrap();
        symlink("new", on("link")).unwrap();
        write_atomic(on("new"), "newest").await.unwrap();
        assert_eq!(fs::read(on("twin")).unwrap(), b"again");
        write_atomic(on("link"), "a file").await.unwrap();
        assert!(!on("link").is_symlink());
        assert_eq!(mode("link"), mode("by-std"));
        assert_eq!(fs::read(on("new")).unwrap(), b"newest");
        assert_eq!(names(&dir), ["by-std", "link", "new", "twin"]);
    });
}

#[test]
fn an_atomic_write_that_is_refused_changes_nothing() {
    block_on(|dir| async move {
        let on = |path: &str| dir.path().join(path);
        fs::create_dir(on("dir")).unwrap();
        fs::write(on("file"), "old").unwrap();
        for (path, kind) in [
            ("dir", ErrorKind::IsADirectory),
            ("file/", ErrorKind::IsADirectory),
            ("no/file", ErrorKind::NotFound),
            ("file/file", ErrorKind::NotADirectory),
            ("nul\0", ErrorKind::InvalidInput),
            ("dir/..", ErrorKind::InvalidInput),
        ] {
            let error = write_atomic(on(path), "new").await.unwrap_err();
            assert_eq!(error.kind(), kind, "{path:?}");
        }
        assert_eq!(names(&dir), ["dir", "file"]);
        assert_eq!(fs::read(on("file")).unwrap(), b"old");
    });
}

/// Each step fails in turn: the write, by what may be written to a file; the putting in place, by what is there.
#[test]
fn an_atomic_write_that_fails_half_way_leaves_the_old_content_and_nothing_else() {
    for named in NAMED {
        block_on(|dir| async move {
            let on = |path: &str| dir.path().join(path);
            fs::write(on("file"), "old").unwrap();
            fs::create_dir(on("dir")).unwrap();
            let at = At::CWD.open_dir(dir.path(), OFlags::empty()).await;
            let at = Arc::new(at.unwrap());

            let temp = make(&dir, named).await;
            // A closed file refuses every write.
            temp.close().await.unwrap();
            let failed = replace(&at, Path::new("file"), temp, "new", None).await;
            assert_eq!(failed.unwrap_err().raw_os_error(), Some(9));
            assert_eq!(names(&dir), ["dir", "file"]);

            let temp = make(&dir, named).await;
            let failed = replace(&at, Path::new("dir"), temp, "new", None).await;
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::IsADirectory);
            assert_eq!(names(&dir), ["dir", "file"]);
            assert_eq!(fs::read(on("file")).unwrap(), b"old");
        });
    }
}

/// On a file system of 64 KiB, mounted for a process of its own: the write is short, and its rest fails.
#[test]
fn an_atomic_write_to_a_full_disk_leaves_the_old_content_and_nothing_else() {
    const SMALL: &str = "ANNULET_SMALL_DISK";
    let Some(disk) = std::env::var_os(SMALL) else {
        let dir = TempDir::new().unwrap();
        let mount = "mount -t tmpfs -o size=64k tmpfs \"$ANNULET_SMALL_DISK\"";
        let test = std::env::current_exe().unwrap();
        let name = "temp_file::tests::an_atomic_write_to_a_full_disk_leaves_the_old_content_and_nothing_else";
        let mounted = |then: &str| {
            let mut shell = std::process::Command::new("unshare");
            shell.args(["--mount", "sh", "-c", &format!("{mount} && {then}")]);
            shell
                .env(SMALL, dir.path())
                .env("TEST", &test)
                .env("NAME", name);
            shell.output()
        };
        if !mounted("true").is_ok_and(|tried| tried.status.success()) {
            println!("skipped: no file system can be mounted here");
            return;
        }
        let ran = mounted("exec \"$TEST\" \"$NAME\" --exact").unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
        return;
    };
    let path = Path::new(&disk).join("file");
    for named in NAMED {
        fs::write(&path, "old").unwrap();
        Runtime::new().unwrap().block_on(async {
            let dir = At::CWD.open_dir(Path::new(&disk), OFlags::empty()).await;
            let dir = Arc::new(dir.unwrap());
            let temp = if named {
                TempFile::named_in(&dir, PRIVATE).await
            } else {
                TempFile::in_dir(&dir, PRIVATE).await
            };
            let contents = vec![0; 1 << 20];
            let failed = replace(&dir, Path::new("file"), temp.unwrap(), contents, None).await;
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::StorageFull);
            let fits: Vec<u8> = (0..40_000).map(|n: u32| (n / 7) as u8).collect();
            write_atomic(&path, fits.clone()).await.unwrap();
            assert_eq!(fs::read(&path).unwrap(), fits, "the room was given back");
        });
        assert_eq!(fs::read_dir(&disk).unwrap().count(), 1);
    }
}

#[test]
fn an_atomic_write_keeps_the_owner_if_it_may() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root gives files away");
        return;
    }
    block_on(|dir| async move {
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).unwrap();
        write_atomic(&path, "new").await.unwrap();
        let status = fs::metadata(&path).unwrap();
        assert_eq!((status.uid(), status.gid()), (12, 34));
        assert_eq!(status.mode() & 0o7777, 0o4750);
    });
}

#[test]
fn an_atomic_write_dropped_at_any_time_leaves_the_old_content_or_the_new() {
    for turns in 0..60 {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        Runtime::new().unwrap().block_on(async {
            let mut writing = Box::pin(write_atomic(&path, vec![b'n'; 1 << 16]));
            for _ in 0..turns {
                let now = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(writing.as_mut().poll(cx).is_ready())
                });
                if now.await {
                    break;
                }
                runtime::yield_now().await;
            }
            drop(writing);
            let content = fs::read(&path).unwrap();
            assert!(content == b"old" || content == vec![b'n'; 1 << 16]);
            until(|| names(&dir) == ["file"]).await;
        });
    }
}

#[test]
fn an_atomic_write_past_a_time_limit_leaves_the_old_content() {
    block_on(|dir| async move {
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        let writing = write_atomic(&path, vec![0; 64 << 20]);
        let limited = runtime::time::timeout(Duration::from_micros(1), writing).await;
        assert!(limited.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(&dir), ["file"]);
    });
}
