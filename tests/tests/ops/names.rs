//! Operations on what has a name.

use std::ffi::OsStr;
use std::path::PathBuf;

use annulet_tests::Canary;
use runtime::{Op, op};
use rustix::fs::{CWD, Mode, XattrFlags, mkfifoat};
use tempfile::TempDir;

use crate::case::{Case, LEN, SENT, endless, instant, operations};
use crate::files::TARGET;

operations! {
    getxattr: GetXattr;
    linkat: LinkAt;
    mkdirat: MkdirAt;
    open_a_file: OpenAt;
    open_a_fifo: OpenAt;
    openat2: OpenAt2;
    renameat: RenameAt;
    setxattr: SetXattr;
    statx_of_a_path: Statx;
    symlinkat: SymlinkAt;
    unlinkat: UnlinkAt;
}

/// A directory, with what has the name in it.
fn dir() -> TempDir {
    TempDir::new_in(TARGET).expect("a temporary directory")
}

fn dir_with_file() -> TempDir {
    let dir = dir();
    std::fs::write(dir.path().join("file"), SENT).expect("it can be written");
    dir
}

fn dir_with_fifo() -> TempDir {
    let dir = dir();
    let path = dir.path().join("fifo");
    mkfifoat(CWD, path, Mode::RWXU).expect("a FIFO");
    dir
}

fn open(dir: &TempDir, name: &str, flags: i32) -> op::OpenAt {
    op::OpenAt::new(&dir.path().join(name), flags, 0o600).expect("a path without NUL")
}

fn open_a_file() -> Case<TempDir, Op<op::OpenAt>> {
    instant(dir_with_file, |dir, _| {
        Op::new(open(dir, "file", libc::O_RDWR))
    })
    .fails(libc::ENOENT, dir)
    .opens()
}

/// Nobody has its other end open.
fn open_a_fifo() -> Case<TempDir, Op<op::OpenAt>> {
    endless(dir_with_fifo, |dir, _| {
        Op::new(open(dir, "fifo", libc::O_RDONLY).may_block())
    })
}

fn statx_of_a_path() -> Case<TempDir, Op<op::Statx>> {
    instant(dir_with_file, |dir, _| {
        Op::new(op::Statx::path(&dir.path().join("file"), 0).expect("a path without NUL"))
    })
    .gives(|result| {
        result
            .as_ref()
            .is_ok_and(|status| status.stx_size == LEN as u64)
    })
    .fails(libc::ENOENT, dir)
}

const XATTR: &str = "user.annulet";

fn dir_with_attribute() -> TempDir {
    let dir = dir_with_file();
    rustix::fs::setxattr(dir.path().join("file"), XATTR, &SENT, XattrFlags::empty())
        .expect("the file system has attributes");
    dir
}

fn getxattr() -> Case<TempDir, Op<op::GetXattr<Canary>>> {
    instant(dir_with_attribute, |dir, arena| {
        let get = op::GetXattr::new(&file_in(dir), OsStr::new(XATTR), arena.take());
        Op::new(get.expect("names without NUL"))
    })
    .gives(|(result, buf)| result.as_ref().is_ok_and(|n| *n == LEN) && buf[..] == SENT)
    .fails(libc::ENODATA, dir_with_file)
    .allocates()
}

fn setxattr() -> Case<TempDir, Op<op::SetXattr<Canary>>> {
    instant(dir_with_file, |dir, arena| {
        let set = op::SetXattr::new(&file_in(dir), OsStr::new(XATTR), arena.take(), 0);
        Op::new(set.expect("names without NUL"))
    })
    .fails(libc::ENOENT, dir)
    .allocates()
}

fn file_in(dir: &TempDir) -> PathBuf {
    dir.path().join("file")
}

fn other_in(dir: &TempDir) -> PathBuf {
    dir.path().join("other")
}

fn linkat() -> Case<TempDir, Op<op::LinkAt>> {
    instant(dir_with_file, |dir, _| {
        Op::new(op::LinkAt::new(&file_in(dir), &other_in(dir), 0).expect("paths without NUL"))
    })
    .fails(libc::ENOENT, dir)
    .once()
}

fn mkdirat() -> Case<TempDir, Op<op::MkdirAt>> {
    instant(dir, |dir, _| {
        Op::new(op::MkdirAt::new(&file_in(dir), 0o700).expect("a path without NUL"))
    })
    .fails(libc::EEXIST, dir_with_file)
    .once()
}

fn openat2() -> Case<TempDir, Op<op::OpenAt2>> {
    instant(dir_with_file, |dir, _| {
        let open = op::OpenAt2::new(&file_in(dir), libc::O_RDWR, 0, libc::RESOLVE_NO_SYMLINKS);
        Op::new(open.expect("a path without NUL"))
    })
    .fails(libc::ENOENT, dir)
    .opens()
}

fn renameat() -> Case<TempDir, Op<op::RenameAt>> {
    instant(dir_with_file, |dir, _| {
        Op::new(op::RenameAt::new(&file_in(dir), &other_in(dir), 0).expect("paths without NUL"))
    })
    .fails(libc::ENOENT, dir)
    .once()
}

fn symlinkat() -> Case<TempDir, Op<op::SymlinkAt>> {
    instant(dir, |dir, _| {
        Op::new(op::SymlinkAt::new(&other_in(dir), &file_in(dir)).expect("paths without NUL"))
    })
    .fails(libc::EEXIST, dir_with_file)
    .once()
}

fn unlinkat() -> Case<TempDir, Op<op::UnlinkAt>> {
    instant(dir_with_file, |dir, _| {
        Op::new(op::UnlinkAt::new(&file_in(dir), 0).expect("a path without NUL"))
    })
    .fails(libc::ENOENT, dir)
    .once()
}
