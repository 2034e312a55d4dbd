//! Functions on paths do what those of `std::fs` do: the same results, the same errors, the same files afterwards.
//!
//! Each is called on every kind of path there is, twice: std's in one tree of files, ours in another just like it; once
//! through the ring, once on the thread pool, as where the ring lacks the opcodes.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use runtime::{Builder, Runtime, fs as ours};
use rustix::io_uring::IoringOp;
use tempfile::TempDir;

/// Paths in the tree of [`plant`], and such as lead out of it or nowhere.
const PATHS: [&str; 22] = [
    "file",
    "file/",
    "empty",
    "empty/",
    "empty/.",
    "full",
    "full/inner",
    "full/../file",
    "to-file",
    "to-dir",
    "to-dir/",
    "to-dir/inner",
    "dangling",
    "loop",
    "loop/x",
    "missing",
    "missing/",
    "missing/x/y",
    "file/x",
    ".",
    "",
    "nul\0",
];

fn plant() -> TempDir {
    // In memory if possible: there are thousands.
    let temp = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
    let temp = temp.unwrap();
    let on = |path: &str| temp.path().join(path);
    fs::write(on("file"), "content").unwrap();
    fs::set_permissions(on("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(on("empty")).unwrap();
    fs::create_dir_all(on("full/sub/sub")).unwrap();
    fs::write(on("full/inner"), "inner").unwrap();
    fs::write(on("full/sub/sub/file"), "deep").unwrap();
    symlink("../../..", on("full/sub/up")).unwrap();
    symlink("file", on("to-file")).unwrap();
    symlink("full", on("to-dir")).unwrap();
    symlink("nothing", on("dangling")).unwrap();
    symlink("loop", on("loop")).unwrap();
    temp
}

/// All that is in a tree: names, types, modes, contents.
fn harvest(root: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let status = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().display();
            let what = if status.is_symlink() {
                format!("-> {}", path.read_link().unwrap().display())
            } else if status.is_dir() {
                walk(root, &path, into);
                "directory".to_owned()
            } else {
                let links = status.nlink();
                format!("{links} x {}", fs::read_to_string(&path).unwrap())
            };
            into.push(format!("{name} {:o} {what}", status.mode()));
        }
    }
    let mut all = Vec::new();
    walk(root, root, &mut all);
    all.sort();
    all
}

/// For those that take two of them.
const PAIRED: [&str; 14] = [
    "file",
    "empty",
    "empty/",
    "full",
    "full/inner",
    "full/sub/new",
    "to-file",
    "to-dir/inner",
    "loop/x",
    "missing",
    "missing/x",
    "file/x",
    ".",
    "nul\0",
];

/// A result so that those of two trees can be compared.
fn told<T: Debug>(result: io::Result<T>, root: &Path) -> String {
    let text = match result {
        Ok(value) => format!("{value:?}"),
        // Of a NUL byte the kernel never hears.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => "InvalidInput".to_owned(),
        Err(error) => format!("{:?} {:?}", error.kind(), error.raw_os_error()),
    };
    text.replace(&root.canonicalize().unwrap().display().to_string(), "ROOT")
}

/// One runtime whose ring has it all, and one that falls back.
fn runtimes() -> [(&'static str, Runtime); 2] {
    let lacking = [
        IoringOp::Unlinkat,
        IoringOp::Renameat,
        IoringOp::Mkdirat,
        IoringOp::Symlinkat,
        IoringOp::Linkat,
        IoringOp::Openat,
    ];
    let lacking = lacking.map(|opcode| opcode as u8);
    [
        ("ring", Runtime::new().unwrap()),
        ("pool", Builder::new().without(lacking).build().unwrap()),
    ]
}

/// `path` below `root`; an empty one stays empty.
fn below(root: &Path, path: &str) -> PathBuf {
    if path.is_empty() {
        PathBuf::new()
    } else {
        root.join(path)
    }
}

fn same_on_a_path<T: Debug>(
    name: &str,
    std: impl Fn(&Path) -> io::Result<T>,
    ours: impl AsyncFn(&Path) -> io::Result<T>,
) {
    let long = "n".repeat(300);
    let paths = PATHS.iter().copied().chain([long.as_str()]);
    for path in paths {
        for (way, runtime) in runtimes() {
            let (theirs, our) = (plant(), plant());
            let expected = told(std(&below(theirs.path(), path)), theirs.path());
            let found = runtime.block_on(ours(&below(our.path(), path)));
            let found = told(found, our.path());
            assert_eq!(found, expected, "{name} {path:?} by the {way}");
            let (found, expected) = (harvest(our.path()), harvest(theirs.path()));
            assert_eq!(found, expected, "after {name} {path:?} by the {way}");
        }
    }
}

fn same_on_two_paths<T: Debug>(
    name: &str,
    std: impl Fn(&Path, &Path) -> io::Result<T>,
    ours: impl AsyncFn(&Path, &Path) -> io::Result<T>,
) {
    for (way, runtime) in runtimes() {
        for from in PAIRED {
            for to in PAIRED {
                let (theirs, our) = (plant(), plant());
                let on = |root: &TempDir| (below(root.path(), from), below(root.path(), to));
                let (a, b) = on(&theirs);
                let expected = told(std(&a, &b), theirs.path());
                let (a, b) = on(&our);
                let found = told(runtime.block_on(ours(&a, &b)), our.path());
                assert_eq!(found, expected, "{name} {from:?} {to:?} by the {way}");
                let (found, expected) = (harvest(our.path()), harvest(theirs.path()));
                assert_eq!(found, expected, "after {name} {from:?} {to:?} by the {way}");
            }
        }
    }
}

macro_rules! same {
    ($($name:ident as $std:path;)*) => {$(
        #[test]
        fn $name() {
            same_on_a_path(
                stringify!($name),
                |path| $std(path),
                async |path| ours::$name(path).await,
            );
        }
    )*};
    (two: $($name:ident as $std:path;)*) => {$(
        #[test]
        fn $name() {
            same_on_two_paths(
                stringify!($name),
                |from, to| $std(from, to),
                async |from, to| ours::$name(from, to).await,
            );
        }
    )*};
}

/// The claims are the functions' names: `paths::the_same_as_std::rename`.
mod the_same_as_std {
    use super::*;

    same! {
        canonicalize as fs::canonicalize;
        create_dir as fs::create_dir;
        create_dir_all as fs::create_dir_all;
        read_link as fs::read_link;
        remove_dir as fs::remove_dir;
        remove_dir_all as fs::remove_dir_all;
        remove_file as fs::remove_file;
    }

    same! { two:
        hard_link as fs::hard_link;
        rename as fs::rename;
    }

    #[test]
    fn read_dir() {
        same_on_a_path(
            "read_dir",
            |path| {
                let mut all = Vec::new();
                for entry in fs::read_dir(path)? {
                    let entry = entry?;
                    let kind = entry.file_type()?;
                    let kind = (kind.is_dir(), kind.is_file(), kind.is_symlink());
                    let name = entry.path().strip_prefix(path).unwrap().to_owned();
                    all.push((name, kind, entry.metadata()?.len()));
                }
                all.sort();
                Ok(all)
            },
            async |path| {
                let mut all = Vec::new();
                let mut entries = ours::read_dir(path).await?;
                while let Some(entry) = entries.next_entry().await? {
                    let kind = entry.file_type().await?;
                    let kind = (kind.is_dir(), kind.is_file(), kind.is_symlink());
                    let status = entry.metadata().await?;
                    assert_eq!(entry.ino(), status.ino());
                    let name = entry.path().strip_prefix(path).unwrap().to_owned();
                    all.push((name, kind, status.len()));
                }
                all.sort();
                Ok(all)
            },
        );
    }

    /// But that std's empties a file that is copied to itself.
    #[test]
    fn copy() {
        same_on_two_paths(
            "copy",
            |from, to| {
                if from.canonicalize().ok() == to.canonicalize().ok() && to.is_file() {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                fs::copy(from, to)
            },
            async |from, to| ours::copy(from, to).await,
        );
    }

    #[test]
    fn set_permissions() {
        for mode in [0o600, 0o4755] {
            let permissions = fs::Permissions::from_mode(mode);
            same_on_a_path(
                "set_permissions",
                |path| fs::set_permissions(path, permissions.clone()),
                async |path| ours::set_permissions(path, permissions.clone()).await,
            );
        }
    }

    /// What it points at is text: it need not be one of the paths.
    #[test]
    fn symlink() {
        for target in ["file", "../x", "", "nul\0"] {
            same_on_a_path(
                "symlink",
                |path| std::os::unix::fs::symlink(target, path),
                async |path| ours::symlink(target, path).await,
            );
        }
    }
}

#[test]
fn a_builder_gives_its_mode_to_every_directory_it_creates() {
    use std::os::unix::fs::DirBuilderExt;
    for (mode, recursive) in [(0o777, true), (0o750, true), (0o1700, false)] {
        same_on_a_path(
            "DirBuilder",
            |path| {
                fs::DirBuilder::new()
                    .recursive(recursive)
                    .mode(mode)
                    .create(path)
            },
            async |path| {
                let mut builder = ours::DirBuilder::new();
                builder.recursive(recursive).mode(mode).create(path).await
            },
        );
    }
}

#[test]
fn directories_created_by_many_at_once_are_there_for_all() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("a/b/c/d");
    Runtime::new().unwrap().block_on(async {
        let create = || runtime::spawn(ours::create_dir_all(path.clone()));
        let tasks: Vec<_> = std::iter::repeat_with(create).take(50).collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    assert!(path.is_dir());
}

#[test]
fn what_the_ring_has_goes_through_the_ring_and_the_rest_does_not() {
    for (way, runtime) in runtimes() {
        let temp = plant();
        let on = |path: &str| temp.path().join(path);
        let staged = || runtime.driver().metrics().staged;
        let before = staged();
        runtime.block_on(async {
            ours::create_dir(on("new")).await.unwrap();
            ours::rename(on("new"), on("newer")).await.unwrap();
            ours::remove_dir(on("newer")).await.unwrap();
            ours::symlink("x", on("new")).await.unwrap();
            ours::hard_link(on("new"), on("newer")).await.unwrap();
            ours::remove_file(on("newer")).await.unwrap();
        });
        // The ring has staged its six and what waking it takes.
        assert_eq!(staged() - before >= 6, way == "ring", "{way}");
    }
}

#[test]
fn a_large_directory_is_read_whole_and_no_name_comes_twice() {
    let temp = plant();
    let empty = temp.path().join("empty");
    let mut names: Vec<_> = (0..5000).map(|n| format!("{n:0>100}")).collect();
    for name in &names {
        fs::write(empty.join(name), "").unwrap();
    }
    let mut found = Vec::new();
    Runtime::new().unwrap().block_on(async {
        let mut entries = ours::read_dir(&empty).await.unwrap();
        while let Some(entry) = entries.next_entry().await.unwrap() {
            found.push(entry.file_name().to_str().unwrap().to_owned());
        }
        assert!(entries.next_entry().await.unwrap().is_none());
    });
    found.sort();
    names.sort();
    assert!(found == names, "{} instead of {}", found.len(), names.len());
}

#[test]
fn a_dropped_next_entry_loses_none() {
    let temp = plant();
    let names = Runtime::new().unwrap().block_on(async {
        let mut entries = ours::read_dir(temp.path()).await.unwrap();
        let mut names = Vec::new();
        loop {
            {
                let mut next = Box::pin(entries.next_entry());
                let polled =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(next.as_mut().poll(cx)));
                if let std::task::Poll::Ready(entry) = polled.await {
                    match entry.unwrap() {
                        Some(entry) => names.push(entry.path()),
                        None => break names,
                    }
                    continue;
                }
            }
            runtime::yield_now().await;
        }
    });
    assert_eq!(names.len(), fs::read_dir(temp.path()).unwrap().count());
}

#[test]
fn a_removed_directory_that_is_still_open_is_empty() {
    let temp = plant();
    let path = temp.path().join("empty");
    Runtime::new().unwrap().block_on(async {
        let mut entries = ours::read_dir(&path).await.unwrap();
        fs::remove_dir(&path).unwrap();
        assert!(entries.next_entry().await.unwrap().is_none());
    });
}

/// Somebody swaps a directory of the tree for a link that leads out of it, again and again.
#[test]
fn a_tree_is_removed_without_following_a_link_swapped_in_for_a_directory() {
    let temp = plant();
    let outside = temp.path().join("full");
    let before = harvest(&outside);
    let tree = temp.path().join("tree");
    for round in 0..200 {
        let inner = tree.join("a/b");
        fs::create_dir_all(inner.join("c")).unwrap();
        for n in 0..20 {
            fs::write(inner.join(n.to_string()), "").unwrap();
        }
        let aside = temp.path().join("aside");
        symlink(&outside, &aside).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let swapping = std::thread::spawn({
            let (inner, aside, over) = (inner.clone(), aside.clone(), over.clone());
            let (cwd, exchange) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
            move || {
                while !over.load(Relaxed) {
                    let _ = rustix::fs::renameat_with(cwd, &inner, cwd, &aside, exchange);
                }
            }
        });
        let removed = Runtime::new()
            .unwrap()
            .block_on(ours::remove_dir_all(&tree));
        over.store(true, Relaxed);
        swapping.join().unwrap();
        // What is a link and a directory by turns may well be in the way.
        if let Err(error) = removed {
            use io::ErrorKind::{DirectoryNotEmpty, IsADirectory, NotADirectory};
            let kind = error.kind();
            let race = matches!(kind, DirectoryNotEmpty | IsADirectory | NotADirectory);
            assert!(race, "round {round}: {error}");
            fs::remove_dir_all(&tree).unwrap();
        }
        assert_eq!(harvest(&outside), before, "round {round}");
        let _ = fs::remove_file(&aside).or_else(|_| fs::remove_dir_all(&aside));
    }
}

#[test]
fn a_tree_that_others_remove_too_is_gone_for_all() {
    let temp = plant();
    for _ in 0..20 {
        let tree = temp.path().join("tree");
        for n in 0..50 {
            fs::create_dir_all(tree.join(format!("{n}/x"))).unwrap();
            fs::write(tree.join(format!("{n}/x/file")), "").unwrap();
        }
        Runtime::new().unwrap().block_on(async {
            let remove = || {
                let tree = tree.clone();
                runtime::spawn(async move {
                    if let Err(error) = ours::remove_dir_all(&tree).await {
                        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
                        assert!(!tree.exists(), "it gave up although there was more");
                    }
                })
            };
            let (a, b) = (remove(), remove());
            a.await.unwrap();
            b.await.unwrap();
        });
        assert!(!tree.exists());
    }
}

#[test]
fn a_deep_tree_is_removed_with_a_descriptor_a_level() {
    let temp = plant();
    let tree = temp.path().join("tree");
    let deep = tree.join("d/".repeat(500));
    fs::create_dir_all(&deep).unwrap();
    Runtime::new().unwrap().block_on(async {
        ours::remove_dir_all(&tree).await.unwrap();
    });
    assert!(!tree.exists());
}

#[test]
fn a_copy_to_itself_is_refused_and_leaves_the_file_whole() {
    let temp = plant();
    let on = |path: &str| temp.path().join(path);
    fs::hard_link(on("file"), on("twin")).unwrap();
    Runtime::new().unwrap().block_on(async {
        for to in ["file", "to-file", "twin"] {
            let error = ours::copy(on("file"), on(to)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    });
    assert_eq!(fs::read(on("file")).unwrap(), b"content");
}

#[test]
fn a_large_file_is_copied_whole_and_a_longer_one_is_cut() {
    let temp = plant();
    let on = |path: &str| temp.path().join(path);
    // More than is copied in one go, and no whole multiple of that.
    let content: Vec<u8> = (0..(40 << 20) + 7).map(|n: u32| (n / 251) as u8).collect();
    fs::write(on("large"), &content).unwrap();
    Runtime::new().unwrap().block_on(async {
        let copied = ours::copy(on("large"), on("copy")).await.unwrap();
        assert_eq!(copied, content.len() as u64);
        assert!(fs::read(on("copy")).unwrap() == content);
        ours::copy(on("file"), on("copy")).await.unwrap();
        assert_eq!(fs::read(on("copy")).unwrap(), b"content");
    });
}

#[test]
fn a_fifo_is_refused_instead_of_waited_for() {
    let temp = plant();
    let on = |path: &str| temp.path().join(path);
    let made = std::process::Command::new("mkfifo")
        .arg(on("fifo"))
        .status();
    assert!(made.unwrap().success());
    Runtime::new().unwrap().block_on(async {
        let error = ours::copy(on("fifo"), on("copy")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(!on("copy").exists());
        ours::remove_dir_all(temp.path()).await.unwrap();
    });
}
