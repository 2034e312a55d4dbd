//! Cancels: what they find, and count.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{opcode, squeue};

use super::super::PATIENCE;
use super::{ANYBODY, PRIVATE, all, on_both, pipe, poll_of};
use crate::ring::DriverKind;
use crate::ring::poll::watch::poll_now;

#[test]
fn each_of_those_with_one_number_is_found_by_it() {
    on_both(|tried| {
        let (one, other) = (pipe(), pipe());
        tried.stage(1, poll_of(&one.0));
        tried.stage(1, poll_of(&other.0));
        tried.stage(1, poll_of(&one.0));
        tried.look(Duration::ZERO);
        // Handed over together they may all find the same one, which is only about to end.
        for number in 2..6 {
            tried.stage(number, opcode::AsyncCancel::new(1).build());
            tried.until(7.min(number as usize * 2 - 2));
        }
        let gone = (1, -libc::ECANCELED);
        let (found, none) = (0, -libc::ENOENT);
        let cancels = [(2, found), (3, found), (4, found), (5, none)];
        assert_eq!(tried.take(), [[gone; 3].as_slice(), &cancels].concat());
    });
}

#[test]
fn one_of_several_with_one_number_that_ends_leaves_the_others_to_be_found() {
    on_both(|tried| {
        let pipes = [pipe(), pipe(), pipe()];
        for ends in 0..3 {
            for (reader, _) in &pipes {
                tried.stage(1, poll_of(reader));
            }
            tried.look(Duration::ZERO);
            let (reader, writer) = &pipes[ends];
            rustix::io::write(writer, b"x").unwrap();
            tried.until(1);
            rustix::io::read(reader, &mut [0u8; 1]).unwrap();
            for number in 2..5 {
                tried.stage(number, opcode::AsyncCancel::new(1).build());
                tried.until(6.min(number as usize * 2 - 1));
            }
            let (gone, none) = (-libc::ECANCELED, -libc::ENOENT);
            let told = [
                (1, libc::POLLIN.into()),
                (1, gone),
                (1, gone),
                (2, 0),
                (3, 0),
                (4, none),
            ];
            assert_eq!(tried.take(), told);
        }
    });
}

#[test]
fn a_cancel_by_a_closed_descriptor_is_told_so() {
    on_both(|tried| {
        // A number that nobody is given meanwhile: the lowest are.
        let closed = rustix::io::fcntl_dupfd_cloexec(pipe().0, 700);
        let closed = closed.map(|fd| fd.as_raw_fd()).unwrap();
        for (number, by) in [
            CancelBuilder::fd(Fd(closed)),
            CancelBuilder::fd(Fd(closed)).all(),
        ]
        .into_iter()
        .enumerate()
        {
            tried.stage(number as u64, opcode::AsyncCancel2::new(by).build());
        }
        tried.until(2);
        assert_eq!(tried.take(), [(0, -libc::EBADF), (1, -libc::EBADF)]);
    });
}

#[test]
fn a_cancel_by_descriptor_leaves_alone_what_has_that_number_for_another_reason() {
    on_both(|tried| {
        let (reader, _writer) = pipe();
        let word = AtomicU32::new(0);
        // The flags of a futex wait are where others have their descriptor.
        let fd = PRIVATE as RawFd;
        assert!(poll_now(fd, 0) < 0, "a test with so many descriptors");
        // SAFETY: nobody has that number.
        let copy = unsafe { libc::dup2(reader.as_raw_fd(), fd) };
        assert_eq!(copy, fd);
        // SAFETY: it is new.
        let copy = unsafe { OwnedFd::from_raw_fd(copy) };
        tried.stage(
            1,
            opcode::FutexWait::new(word.as_ptr(), 0, ANYBODY, PRIVATE).build(),
        );
        tried.stage(2, poll_of(&copy));
        tried.look(Duration::ZERO);
        let by = CancelBuilder::fd(Fd(fd)).all();
        tried.stage(3, opcode::AsyncCancel2::new(by).build());
        tried.until(2);
        assert_eq!(tried.take(), [(2, -libc::ECANCELED), (3, 1)]);
        tried.stage(4, all());
        tried.until(2);
        assert_eq!(tried.take(), [(1, -libc::ECANCELED), (4, 1)]);
    });
}

#[test]
fn a_cancel_of_all_counts_what_a_worker_is_at() {
    on_both(|tried| {
        let dir = tempfile::tempdir().unwrap();
        let path = std::ffi::CString::new(dir.path().join("fifo").to_str().unwrap()).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        let (reader, _writer) = pipe();
        let began = Instant::now();
        loop {
            let open = opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr()).flags(libc::O_RDONLY);
            tried.stage(1, open.build().flags(squeue::Flags::ASYNC));
            tried.stage(2, poll_of(&reader));
            tried.look(Duration::ZERO);
            tried.stage(3, all());
            tried.until(2);
            while !(1..=3).all(|number| tried.has(number)) {
                // On its way to the worker nobody finds it.
                tried.stage(4, opcode::AsyncCancel::new(1).build());
                tried.look(Duration::from_millis(1));
            }
            tried.quiet();
            let told = tried.take();
            if told.contains(&(3, 2)) {
                break;
            }
            // There it is found at any time.
            assert_ne!(tried.ring.kind(), DriverKind::Poll, "{told:?}");
            assert!(began.elapsed() < PATIENCE, "{told:?}");
        }
    });
}
