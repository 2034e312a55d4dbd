//! An open directory: what is done in it is done in it, whatever becomes of its path.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use runtime::fs::{Dir, DirBuilder, OpenOptions};
use runtime::{Builder, Runtime};
use rustix::io_uring::IoringOp;
use tempfile::TempDir;

fn block_on<F: Future>(f: impl FnOnce(TempDir) -> F) -> F::Output {
    let temp = TempDir::new().unwrap();
    Runtime::new().unwrap().block_on(f(temp))
}

async fn names(dir: &Dir) -> Vec<String> {
    let mut entries = dir.read_dir().await.unwrap();
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.unwrap() {
        assert_eq!(entry.path(), Path::new(entry.file_name()));
        names.push(entry.file_name().to_str().unwrap().to_owned());
    }
    names.sort();
    names
}

#[test]
fn what_is_done_in_a_directory_is_done_there_wherever_it_has_been_moved() {
    block_on(|temp| async move {
        let on = |path: &str| temp.path().join(path);
        fs::create_dir(on("old")).unwrap();
        let dir = Dir::open(on("old")).await.unwrap();
        fs::rename(on("old"), on("new")).unwrap();
        // A trap where it was.
        symlink("/no-such-directory", on("old")).unwrap();

        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let file = dir.open_file("file", &options).await.unwrap();
        file.write_all_at("content", 0).await.0.unwrap();
        dir.create_dir("sub").await.unwrap();
        dir.create_dir_with("a/b", DirBuilder::new().recursive(true))
            .await
            .unwrap();
        dir.symlink("file", "link").await.unwrap();
        dir.hard_link("file", &dir, "sub/twin").await.unwrap();
        dir.rename("sub", &dir, "below").await.unwrap();
        assert_eq!(names(&dir).await, ["a", "below", "file", "link"]);
        assert_eq!(fs::read(on("new/below/twin")).unwrap(), b"content");
        assert_eq!(dir.metadata("link").await.unwrap().nlink(), 2);
        assert!(dir.symlink_metadata("link").await.unwrap().is_symlink());
        assert_eq!(dir.read_link("link").await.unwrap(), Path::new("file"));

        let below = dir.open_dir("below").await.unwrap();
        assert_eq!(names(&below).await, ["twin"]);
        dir.remove_file("link").await.unwrap();
        dir.remove_dir_all("below").await.unwrap();
        dir.remove_dir("a/b").await.unwrap();
        dir.sync_all().await.unwrap();
        assert_eq!(names(&dir).await, ["a", "file"]);
        assert!(names(&below).await.is_empty(), "removed, and still open");
    });
}

#[test]
fn files_go_from_one_directory_to_another() {
    let lacking = [IoringOp::Renameat as u8, IoringOp::Linkat as u8];
    for (way, runtime) in [
        ("ring", Runtime::new().unwrap()),
        ("pool", Builder::new().without(lacking).build().unwrap()),
    ] {
        let temp = TempDir::new().unwrap();
        runtime.block_on(async {
            let on = |path: &str| temp.path().join(path);
            for name in ["from", "to"] {
                fs::create_dir(on(name)).unwrap();
            }
            let (from, to) = (Dir::open(on("from")).await, Dir::open(on("to")).await);
            let (from, to) = (from.unwrap(), to.unwrap());
            let driver = runtime::Driver::try_current().unwrap();
            let before = driver.metrics().staged;
            fs::write(on("from/a"), "content").unwrap();
            from.hard_link("a", &to, "linked").await.unwrap();
            from.rename("a", &to, "renamed").await.unwrap();
            assert_eq!(driver.metrics().staged >= before + 2, way == "ring");
            assert!(names(&from).await.is_empty());
            assert_eq!(names(&to).await, ["linked", "renamed"]);

            let error = from.rename("a", &to, "b").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let error = to.hard_link("linked", &to, "renamed").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        });
    }
}

#[test]
fn nothing_is_opened_beneath_a_directory_that_is_not() {
    block_on(|temp| async move {
        let on = |path: &str| temp.path().join(path);
        fs::create_dir_all(on("root/sub")).unwrap();
        fs::write(on("root/sub/file"), "content").unwrap();
        fs::write(on("secret"), "secret").unwrap();
        symlink("../../secret", on("root/sub/out")).unwrap();
        symlink(on("root/sub/file"), on("root/absolute")).unwrap();
        symlink("sub/file", on("root/in")).unwrap();
        let root = Dir::open(on("root")).await.unwrap();
        let mut options = OpenOptions::new();
        options.read(true);
        for path in ["sub/file", "in", "sub/../in", "sub/.//file"] {
            let file = root.open_beneath(path, &options).await.unwrap();
            assert_eq!(file.metadata().await.unwrap().len(), 7, "{path}");
        }
        let absolute = on("root/in");
        for path in ["../secret", "sub/out", "absolute", "sub/../../root/in"]
            .map(Path::new)
            .into_iter()
            .chain([absolute.as_path()])
        {
            let error = root.open_beneath(path, &options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CrossesDevices, "{path:?}");
        }
        // Without that word `..` and links lead out.
        root.open_file("sub/out", &options).await.unwrap();
    });
}

#[test]
fn an_entry_answers_by_the_directory_it_was_read_from() {
    block_on(|temp| async move {
        let on = |path: &str| temp.path().join(path);
        fs::create_dir(on("old")).unwrap();
        fs::write(on("old/file"), "content").unwrap();
        let mut entries = runtime::fs::read_dir(on("old")).await.unwrap();
        let entry = entries.next_entry().await.unwrap().unwrap();
        drop(entries);
        fs::rename(on("old"), on("new")).unwrap();
        assert_eq!(entry.path(), on("old/file"));
        assert_eq!(entry.metadata().await.unwrap().len(), 7);
        fs::remove_file(on("new/file")).unwrap();
        let error = entry.metadata().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn in_a_closed_directory_nothing_is_done() {
    block_on(|temp| async move {
        let dir = Dir::open(temp.path()).await.unwrap();
        let other = Dir::open(temp.path()).await.unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        dir.close().await.unwrap();
        let error = |result: std::io::Result<()>| result.unwrap_err().raw_os_error();
        let closed = Some(rustix::io::Errno::BADF.raw_os_error());
        assert_eq!(error(dir.create_dir("x").await), closed);
        assert_eq!(error(dir.remove_file("file").await), closed);
        assert_eq!(error(dir.rename("file", &dir, "x").await), closed);
        assert_eq!(error(dir.rename("file", &other, "x").await), closed);
        assert_eq!(error(other.rename("file", &dir, "x").await), closed);
        assert_eq!(error(other.hard_link("file", &dir, "x").await), closed);
        assert_eq!(error(dir.read_link("x").await.map(drop)), closed);
        assert_eq!(error(dir.read_dir().await.map(drop)), closed);
        assert_eq!(error(dir.sync_all().await), closed);
        assert_eq!(names(&other).await, ["file"]);
    });
}
