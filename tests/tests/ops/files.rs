//! Operations on files, open ones and such as have a name.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use annulet_tests::Canary;
use runtime::{Fd, Op, op};
use tempfile::{TempDir, tempfile_in};

use crate::case::{Case, LEN, SENT, endless, instant, operations};
use crate::pipes::NOT_A_SOCKET;

operations! {
    fsync: Fsync;
    open_a_file: OpenAt;
    open_a_fifo: OpenAt;
    read_at: Read;
    readv_at: Readv;
    statx_of_a_path: Statx;
    statx_of_an_open_file: Statx;
    write_at: Write;
    writev_at: Writev;
}

const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// An open file that holds what events bring; and another handle of it.
fn file() -> (Fd, File) {
    let mut file = tempfile_in(TARGET).expect("a temporary file");
    file.write_all(&SENT).expect("there is room");
    let other = file.try_clone().expect("a descriptor");
    (Fd::new(file.into()), other)
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
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RWXU).expect("a FIFO");
    dir
}

fn unopened() -> (Fd, File) {
    (
        NOT_A_SOCKET(),
        tempfile_in(TARGET).expect("a temporary file"),
    )
}

fn fsync() -> Case<(Fd, File), Op<op::Fsync>> {
    instant(file, |(ours, _), _| Op::on(ours, op::Fsync::all()))
        .on(|(ours, _)| ours)
        .fails(libc::EINVAL, unopened)
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
    .deaf_to_deadlines()
}

fn is_sent(buf: &Canary) -> bool {
    buf[..] == SENT
}

fn read_at() -> Case<(Fd, File), Op<op::Read<Canary>>> {
    instant(file, |(ours, _), arena| {
        Op::on(ours, op::Read::at(arena.take(), 0))
    })
    .on(|(ours, _)| ours)
    .gives(|(result, buf)| result.as_ref().is_ok_and(|n| *n == LEN) && is_sent(buf))
    .fails(libc::EISDIR, || {
        let dir = File::open(Path::new("/")).expect("there is one");
        (Fd::new(dir.into()), unopened().1)
    })
}

fn readv_at() -> Case<(Fd, File), Op<op::Readv<[Canary; 2]>>> {
    instant(file, |(ours, _), arena| {
        Op::on(ours, op::Readv::at([arena.take(), arena.take()], 0))
    })
    .on(|(ours, _)| ours)
    .gives(|(result, [buf, _])| result.as_ref().is_ok_and(|n| *n == LEN) && is_sent(buf))
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

fn statx_of_an_open_file() -> Case<(Fd, File), Op<op::Statx>> {
    instant(file, |(ours, _), _| Op::on(ours, op::Statx::open_file()))
        .on(|(ours, _)| ours)
        .gives(|result| {
            result
                .as_ref()
                .is_ok_and(|status| status.stx_size == LEN as u64)
        })
}

fn write_at() -> Case<(Fd, File), Op<op::Write<Canary>>> {
    instant(file, |(ours, _), arena| {
        Op::on(ours, op::Write::at(arena.take(), 64))
    })
    .on(|(ours, _)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::EBADF, || {
        let dir = File::open(Path::new("/")).expect("there is one");
        (Fd::new(dir.into()), unopened().1)
    })
}

fn writev_at() -> Case<(Fd, File), Op<op::Writev<[Canary; 2]>>> {
    instant(file, |(ours, _), arena| {
        Op::on(ours, op::Writev::at([arena.take(), arena.take()], 64))
    })
    .on(|(ours, _)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == 2 * LEN))
}
