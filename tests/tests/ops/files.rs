//! Operations on open files.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{SeekFrom, Write};
use std::path::Path;

use annulet_tests::Canary;
use runtime::{Fd, Op, op};
use tempfile::tempfile_in;

use crate::case::{Case, LEN, SENT, instant, operations};
use crate::pipes::NOT_A_SOCKET;

operations! {
    fadvise: Fadvise;
    fallocate: Fallocate;
    fgetxattr: FgetXattr;
    fsetxattr: FsetXattr;
    fsync: Fsync;
    ftruncate: Ftruncate;
    read_at: Read;
    readv_at: Readv;
    seek: Seek;
    statx_of_an_open_file: Statx;
    sync_file_range: SyncFileRange;
    write_at: Write;
    writev_at: Writev;
}

/// Where files are made.
pub(crate) const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// An open file that holds what events bring; and another handle of it.
fn file() -> (Fd, File) {
    let mut file = tempfile_in(TARGET).expect("a temporary file");
    file.write_all(&SENT).expect("there is room");
    let other = file.try_clone().expect("a descriptor");
    (Fd::new(file.into()), other)
}

fn unopened() -> (Fd, File) {
    (
        NOT_A_SOCKET(),
        tempfile_in(TARGET).expect("a temporary file"),
    )
}

/// Ours is no file at all.
fn a_pipe() -> (Fd, File) {
    let (ours, _) = std::io::pipe().expect("a pipe");
    (Fd::new(ours.into()), unopened().1)
}

fn fadvise() -> Case<(Fd, File), Op<op::Fadvise>> {
    instant(file, |(ours, _), _| {
        Op::on(ours, op::Fadvise::new(libc::POSIX_FADV_WILLNEED, 0, 0))
    })
    .on(|(ours, _)| ours)
    .fails(libc::ESPIPE, a_pipe)
}

fn fallocate() -> Case<(Fd, File), Op<op::Fallocate>> {
    instant(file, |(ours, _), _| {
        Op::on(ours, op::Fallocate::new(0, 0, 4096))
    })
    .on(|(ours, _)| ours)
    .fails(libc::EBADF, a_pipe)
}

const XATTR: &str = "user.annulet";

fn file_with_attribute() -> (Fd, File) {
    let (ours, other) = file();
    rustix::fs::fsetxattr(&other, XATTR, &SENT, rustix::fs::XattrFlags::empty())
        .expect("the file system has attributes");
    (ours, other)
}

fn fgetxattr() -> Case<(Fd, File), Op<op::FgetXattr<Canary>>> {
    instant(file_with_attribute, |(ours, _), arena| {
        let get = op::FgetXattr::new(OsStr::new(XATTR), arena.take());
        Op::on(ours, get.expect("a name without NUL"))
    })
    .on(|(ours, _)| ours)
    .gives(|(result, buf)| result.as_ref().is_ok_and(|n| *n == LEN) && is_sent(buf))
    .fails(libc::ENODATA, file)
    .allocates()
}

fn fsetxattr() -> Case<(Fd, File), Op<op::FsetXattr<Canary>>> {
    instant(file, |(ours, _), arena| {
        let set = op::FsetXattr::new(OsStr::new(XATTR), arena.take(), 0);
        Op::on(ours, set.expect("a name without NUL"))
    })
    .on(|(ours, _)| ours)
    .fails(libc::EPERM, a_pipe)
    .allocates()
}

fn fsync() -> Case<(Fd, File), Op<op::Fsync>> {
    instant(file, |(ours, _), _| Op::on(ours, op::Fsync::all()))
        .on(|(ours, _)| ours)
        .fails(libc::EINVAL, unopened)
}

fn ftruncate() -> Case<(Fd, File), Op<op::Ftruncate>> {
    instant(file, |(ours, _), _| Op::on(ours, op::Ftruncate::new(4096)))
        .on(|(ours, _)| ours)
        .fails(libc::EINVAL, a_pipe)
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

fn seek() -> Case<(Fd, File), Op<op::Seek>> {
    instant(file, |(ours, _), _| {
        Op::on(ours, op::Seek::new(SeekFrom::End(-8)))
    })
    .on(|(ours, _)| ours)
    .gives(|result| result.as_ref().is_ok_and(|at| *at == LEN as u64 - 8))
    .fails(libc::ESPIPE, a_pipe)
    .called()
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

fn sync_file_range() -> Case<(Fd, File), Op<op::SyncFileRange>> {
    instant(file, |(ours, _), _| {
        Op::on(
            ours,
            op::SyncFileRange::new(libc::SYNC_FILE_RANGE_WRITE, 0, 0),
        )
    })
    .on(|(ours, _)| ours)
    .fails(libc::ESPIPE, a_pipe)
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
