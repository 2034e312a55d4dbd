//! Operations on pipes and at a descriptor's own position.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};

use annulet_tests::Canary;
use runtime::{Fd, Op, op};
use rustix::pipe::fcntl_setpipe_size;

use crate::case::{Case, LEN, SENT, blocked, operations};

operations! {
    read: Read;
    read_exact: ReadExact;
    readv: Readv;
    splice: Splice;
    splice_by_its_input: Splice;
    tee: Tee;
    tee_by_its_input: Tee;
    write: Write;
    write_all: WriteAll;
    writev: Writev;
}

/// A descriptor that is no socket.
pub(crate) const NOT_A_SOCKET: fn() -> Fd =
    || Fd::new(File::open("/dev/null").expect("there is one").into());

/// Our reading end, their writing end.
type Reading = (Fd, PipeWriter);

fn reading() -> Reading {
    let (ours, theirs) = std::io::pipe().expect("a pipe");
    (Fd::new(ours.into()), theirs)
}

/// Ours cannot be read from.
fn unreadable() -> Reading {
    let (_, writer) = std::io::pipe().expect("a pipe");
    (Fd::new(writer.into()), std::io::pipe().expect("a pipe").1)
}

fn write_to((_, theirs): &Reading) {
    let mut theirs = theirs;
    theirs.write_all(&SENT).expect("there is room");
}

/// Our writing end, their reading end.
type Writing = (Fd, PipeReader);

/// What a pipe with room for a page holds.
const PAGE: usize = 4096;

fn full() -> Writing {
    let (theirs, mut ours) = std::io::pipe().expect("a pipe");
    fcntl_setpipe_size(&ours, PAGE).expect("as small as they come");
    ours.write_all(&[0; PAGE]).expect("there is room");
    (Fd::new(ours.into()), theirs)
}

/// Ours cannot be written to.
fn unwritable() -> Writing {
    let (reader, _) = std::io::pipe().expect("a pipe");
    (Fd::new(reader.into()), std::io::pipe().expect("a pipe").0)
}

fn drain((_, theirs): &Writing) {
    let mut theirs = theirs;
    theirs.read_exact(&mut [0; PAGE]).expect("it is full");
}

fn read() -> Case<Reading, Op<op::Read<Canary>>> {
    blocked(
        reading,
        |(ours, _), arena| Op::on(ours, op::Read::new(arena.take())),
        write_to,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, buf)| result.as_ref().is_ok_and(|n| *n == LEN) && buf[..] == SENT)
    .fails(libc::EBADF, unreadable)
    .runs_on()
}

fn read_exact() -> Case<Reading, Op<op::ReadExact<Canary>>> {
    blocked(
        reading,
        |(ours, _), arena| Op::on(ours, op::ReadExact::new(arena.take())),
        write_to,
    )
    .on(|(ours, _)| ours)
    .gives(|(_, buf)| buf[..] == SENT)
    .fails(libc::EBADF, unreadable)
    .runs_on()
}

fn readv() -> Case<Reading, Op<op::Readv<[Canary; 2]>>> {
    blocked(
        reading,
        |(ours, _), arena| Op::on(ours, op::Readv::new([arena.take(), arena.take()])),
        write_to,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, [buf, _])| result.as_ref().is_ok_and(|n| *n == LEN) && buf[..] == SENT)
    .fails(libc::EBADF, unreadable)
    .runs_on()
}

fn write() -> Case<Writing, Op<op::Write<Canary>>> {
    blocked(
        full,
        |(ours, _), arena| Op::on(ours, op::Write::new(arena.take())),
        drain,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::EBADF, unwritable)
}

fn write_all() -> Case<Writing, Op<op::WriteAll<Canary>>> {
    blocked(
        full,
        |(ours, _), arena| Op::on(ours, op::WriteAll::new(arena.take())),
        drain,
    )
    .on(|(ours, _)| ours)
    .fails(libc::EBADF, unwritable)
}

fn writev() -> Case<Writing, Op<op::Writev<[Canary; 2]>>> {
    blocked(
        full,
        |(ours, _), arena| Op::on(ours, op::Writev::new([arena.take(), arena.take()])),
        drain,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == 2 * LEN))
    .fails(libc::EBADF, unwritable)
}

/// Two pipes of ours, the input's other end, which is theirs, and the output's.
type Between = (Fd, Fd, PipeWriter, PipeReader);

fn between() -> Between {
    let ((input, feed), (drain, output)) = (
        std::io::pipe().expect("a pipe"),
        std::io::pipe().expect("a pipe"),
    );
    (Fd::new(input.into()), Fd::new(output.into()), feed, drain)
}

/// The input cannot be read from.
fn not_between() -> Between {
    let (input, output, feed, drain) = between();
    let feed_too = Fd::new(feed.try_clone().expect("a descriptor").into());
    drop(input);
    (feed_too, output, feed, drain)
}

fn feed((_, _, feed, _): &Between) {
    let mut feed = feed;
    feed.write_all(&SENT).expect("there is room");
}

fn splice() -> Case<Between, Op<op::Splice>> {
    blocked(
        between,
        |(input, output, ..), _| Op::on(output, op::Splice::new(input, LEN)),
        feed,
    )
    .on(|(_, output, ..)| output)
    .gives(|moved| moved.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::EBADF, not_between)
    // One that completed as it was dropped has moved the bytes.
    .once()
}

fn splice_by_its_input() -> Case<Between, Op<op::Splice>> {
    splice().on(|(input, ..)| input)
}

fn tee() -> Case<Between, Op<op::Tee>> {
    blocked(
        between,
        |(input, output, ..), _| Op::on(output, op::Tee::new(input, LEN)),
        feed,
    )
    .on(|(_, output, ..)| output)
    .gives(|copied| copied.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::EBADF, not_between)
    .once()
}

fn tee_by_its_input() -> Case<Between, Op<op::Tee>> {
    tee().on(|(input, ..)| input)
}
