//! Situations that are not left to chance, the same on both rings.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd, TimeoutFlags, Timespec};
use io_uring::{opcode, squeue};

use super::PATIENCE;
use crate::ring::poll::watch::poll_now;
use crate::ring::{DriverKind, Ring, Setup, Sqe, Wait};

const ANYBODY: u64 = 0xffff_ffff;
/// Words of 32 bits, that only this process knows.
const PRIVATE: u32 = 2 | 128;

struct Tried {
    ring: Ring,
    /// Number, result, and whether more are to come, in the order in which they came.
    told: Vec<(u64, i32, bool)>,
}

impl Tried {
    fn stage(&mut self, number: u64, entry: squeue::Entry) {
        // SAFETY: whatever it points at outlives the ring's hold of it, in each of these tests.
        let sqe = unsafe { Sqe::new(entry.user_data(number)) };
        assert!(self.ring.stage(&[sqe]));
    }

    fn chain(&mut self, first: u64, chain: &[squeue::Entry]) {
        let last = chain.len() - 1;
        for (at, entry) in chain.iter().enumerate() {
            let link = match at {
                at if at == last => squeue::Flags::empty(),
                _ => squeue::Flags::IO_LINK,
            };
            self.stage(first + at as u64, entry.clone().flags(link));
        }
    }

    fn look(&mut self, limit: Duration) {
        let mut batch = Vec::new();
        self.ring.enter(Wait::AtMost(Some(limit))).unwrap();
        self.ring.reap(&mut batch);
        let told = batch.iter().map(|c| (c.user_data, c.result, c.more()));
        self.told.extend(told);
    }

    /// Until there are so many completions.
    fn until(&mut self, count: usize) {
        let began = Instant::now();
        while self.told.len() < count {
            self.look(Duration::from_secs(1));
            let (kind, told) = (self.ring.kind(), &self.told);
            assert!(began.elapsed() < PATIENCE, "{kind:?}: {told:?}");
        }
    }

    /// What has been told, by number; those that came later are behind.
    fn take(&mut self) -> Vec<(u64, i32)> {
        let mut told: Vec<_> = self.told.drain(..).map(|(n, r, _)| (n, r)).collect();
        told.sort_by_key(|(number, _)| *number);
        told
    }

    fn has(&self, number: u64) -> bool {
        self.told.iter().any(|told| told.0 == number)
    }

    fn quiet(&mut self) -> bool {
        let before = self.told.len();
        (0..3).for_each(|_| self.look(Duration::ZERO));
        self.told.len() == before
    }
}

fn on_both(test: fn(&mut Tried)) {
    for driver in [DriverKind::Kernel, DriverKind::Poll] {
        let setup = Setup {
            driver,
            ..Setup::default()
        };
        let (ring, _) = Ring::new(&setup).unwrap();
        let mut tried = Tried {
            ring,
            told: Vec::new(),
        };
        test(&mut tried);
        assert!(tried.quiet(), "{driver:?}: {:?}", tried.told);
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer.into())
}

fn poll_of(fd: &OwnedFd) -> squeue::Entry {
    opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).build()
}

fn all() -> squeue::Entry {
    opcode::AsyncCancel2::new(CancelBuilder::any().all()).build()
}

static NEVER: Timespec = Timespec::new().sec(3600);
static SOON: Timespec = Timespec::new().nsec(1_000_000);

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
        let closed = pipe().0.as_raw_fd();
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
            assert!(began.elapsed() < PATIENCE, "{told:?}");
        }
    });
}

#[test]
fn a_timeout_ends_when_others_have_completed() {
    on_both(|tried| {
        let nop = || opcode::Nop::new().build();
        let counting = |count| opcode::Timeout::new(&NEVER).count(count).build();
        // What is handed over with it counts, whether before it or behind.
        tried.stage(1, nop());
        tried.stage(2, counting(3));
        tried.stage(3, nop());
        tried.until(2);
        assert!(tried.quiet());
        tried.stage(4, nop());
        tried.until(4);
        assert_eq!(tried.take(), [(1, 0), (2, 0), (3, 0), (4, 0)]);
        // What is before it in its chain does not; nor do timeouts that pass.
        tried.chain(1, &[nop(), counting(1)]);
        tried.stage(3, opcode::Timeout::new(&SOON).build());
        tried.until(2);
        assert!(tried.quiet());
        tried.stage(4, nop());
        tried.until(4);
        assert_eq!(tried.take(), [(1, 0), (2, 0), (3, -libc::ETIME), (4, 0)]);
        // One that has counted enough is no failure.
        tried.chain(1, &[counting(1), nop()]);
        tried.stage(3, nop());
        tried.until(3);
        assert_eq!(tried.take(), [(1, 0), (2, 0), (3, 0)]);
    });
}

#[test]
fn a_timeout_passes_as_often_as_it_says() {
    on_both(|tried| {
        let many = |time: &Timespec, times| {
            let timeout = opcode::Timeout::new(time).flags(TimeoutFlags::MULTISHOT);
            timeout.count(times).build()
        };
        tried.stage(1, many(&SOON, 3));
        tried.until(3);
        let passed = -libc::ETIME;
        assert_eq!(
            tried.told,
            [(1, passed, true), (1, passed, true), (1, passed, false)]
        );
        tried.take();
        tried.stage(1, many(&SOON, 0));
        tried.until(5);
        tried.stage(2, opcode::TimeoutRemove::new(1).build());
        while !tried
            .told
            .iter()
            .any(|(number, _, more)| *number == 1 && !more)
        {
            tried.look(Duration::from_secs(10));
        }
        tried.until(7);
        let told = tried.take();
        assert_eq!(told[told.len() - 2..], [(1, -libc::ECANCELED), (2, 0)]);
    });
}

#[test]
fn a_timeout_is_removed_or_given_another_time() {
    on_both(|tried| {
        let update = |number, time: &Timespec| opcode::TimeoutUpdate::new(number, time).build();
        let gone = -libc::ECANCELED;
        tried.stage(1, opcode::Timeout::new(&NEVER).build());
        tried.stage(2, opcode::TimeoutRemove::new(1).build());
        tried.stage(3, opcode::TimeoutRemove::new(1).build());
        tried.stage(4, update(1, &SOON));
        tried.until(4);
        let none = -libc::ENOENT;
        assert_eq!(tried.take(), [(1, gone), (2, 0), (3, none), (4, none)]);
        // It does not count any more, either.
        tried.stage(1, opcode::Timeout::new(&NEVER).count(2).build());
        tried.stage(2, update(1, &SOON));
        tried.until(2);
        assert_eq!(tried.take(), [(1, -libc::ETIME), (2, 0)]);
        // A deadline is found by its own number, and only if it is asked for.
        let (reader, _writer) = pipe();
        let limit = || opcode::LinkTimeout::new(&NEVER).build();
        tried.chain(1, &[poll_of(&reader), limit()]);
        tried.stage(3, update(2, &SOON));
        let limits = TimeoutFlags::LINK_TIMEOUT_UPDATE;
        tried.stage(
            4,
            opcode::TimeoutUpdate::new(2, &SOON).flags(limits).build(),
        );
        tried.until(4);
        assert_eq!(
            tried.take(),
            [(1, gone), (2, -libc::ETIME), (3, none), (4, 0)]
        );
    });
}

#[test]
fn what_is_wrong_with_a_timeout_is_told() {
    on_both(|tried| {
        let flags = |flags| opcode::Timeout::new(&SOON).flags(flags).build();
        let wrong = -libc::EINVAL;
        tried.stage(1, flags(TimeoutFlags::BOOTTIME | TimeoutFlags::REALTIME));
        tried.stage(2, flags(TimeoutFlags::ABS | TimeoutFlags::MULTISHOT));
        let negative = Timespec::new().sec(u64::MAX);
        tried.stage(3, opcode::Timeout::new(&raw const negative).build());
        tried.stage(
            4,
            opcode::TimeoutUpdate::new(9, &raw const negative).build(),
        );
        tried.until(4);
        assert_eq!(
            tried.take(),
            [(1, wrong), (2, wrong), (3, wrong), (4, wrong)]
        );
    });
}

#[test]
fn a_time_is_read_when_its_entry_is_handed_over() {
    on_both(|tried| {
        let (reader, _writer) = pipe();
        let mut times = Box::new([SOON, SOON, NEVER]);
        tried.stage(1, opcode::Timeout::new(&raw const times[0]).build());
        tried.chain(
            2,
            &[
                poll_of(&reader),
                opcode::LinkTimeout::new(&raw const times[1]).build(),
            ],
        );
        tried.stage(4, opcode::Timeout::new(&NEVER).build());
        tried.stage(
            5,
            opcode::TimeoutUpdate::new(4, &raw const times[2]).build(),
        );
        tried.look(Duration::ZERO);
        // By now it may be anything.
        *times = [NEVER, NEVER, SOON];
        drop(times);
        tried.until(4);
        tried.stage(6, all());
        tried.until(6);
        let (gone, passed) = (-libc::ECANCELED, -libc::ETIME);
        let told = [
            (1, passed),
            (2, gone),
            (3, passed),
            (4, gone),
            (5, 0),
            (6, 1),
        ];
        assert_eq!(tried.take(), told);
    });
}

/// A client and a server, both of which wait as they are.
fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_splice_from_a_socket_that_waits_leaves_others_alone() {
    on_both(|tried| {
        let (mut client, server) = tcp();
        let (reader, writer) = pipe();
        let (from, to) = (Fd(server.as_raw_fd()), Fd(writer.as_raw_fd()));
        tried.stage(1, opcode::Splice::new(from, -1, to, -1, 100).build());
        // Were it to wait in the call, this would never be.
        tried.stage(2, opcode::Nop::new().build());
        tried.until(1);
        assert_eq!(tried.take(), [(2, 0)]);
        client.write_all(b"hello").unwrap();
        tried.until(1);
        assert_eq!(tried.take(), [(1, 5)]);
        let mut bytes = [0; 5];
        File::from(reader).read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        let flags = rustix::fs::fcntl_getfl(&server).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    });
}

#[test]
fn rings_that_accept_from_one_listener_leave_its_flags_as_they_were() {
    const CLIENTS: usize = 40;
    const RINGS: usize = 3;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, fd) = (listener.local_addr().unwrap(), listener.as_raw_fd());
    let accepted = Arc::new(AtomicU32::new(0));
    let ready = Arc::new(Barrier::new(RINGS + 1));
    let rings = [(); RINGS].map(|()| {
        let (accepted, ready) = (accepted.clone(), ready.clone());
        thread::spawn(move || {
            let setup = Setup {
                driver: DriverKind::Poll,
                ..Setup::default()
            };
            let (ring, _) = Ring::new(&setup).unwrap();
            let mut tried = Tried {
                ring,
                told: Vec::new(),
            };
            tried.stage(0, opcode::AcceptMulti::new(Fd(fd)).build());
            ready.wait();
            while (accepted.load(Acquire) as usize) < CLIENTS {
                tried.look(Duration::from_millis(1));
                for (_, socket, _) in tried.told.drain(..) {
                    assert!(socket >= 0, "{socket}");
                    // SAFETY: it is new.
                    drop(unsafe { OwnedFd::from_raw_fd(socket) });
                    accepted.fetch_add(1, AcqRel);
                }
            }
            tried.stage(1, all());
            tried.until(2);
        })
    });
    ready.wait();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    rings.into_iter().for_each(|ring| ring.join().unwrap());
    drop(clients);
    assert_eq!(accepted.load(Relaxed) as usize, CLIENTS);
    let flags = rustix::fs::fcntl_getfl(&listener).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
}

#[test]
fn every_wake_of_a_word_ends_a_wait_whoever_cancels() {
    on_both(|tried| {
        let word = Arc::new(AtomicU32::new(0));
        let stop = Arc::new(AtomicU32::new(0));
        let waker = thread::spawn({
            let (word, stop) = (word.clone(), stop.clone());
            move || {
                let mut woken = 0;
                while stop.load(Acquire) == 0 {
                    let private = rustix::thread::futex::Flags::PRIVATE;
                    woken += rustix::thread::futex::wake(&word, private, 1).unwrap();
                    thread::yield_now();
                }
                woken
            }
        });
        let mut ended = 0;
        for round in 0..300 {
            for number in 0..4 {
                let wait = opcode::FutexWait::new(word.as_ptr(), 0, ANYBODY, PRIVATE);
                tried.stage(number, wait.build());
            }
            if round % 3 == 0 {
                tried.look(Duration::ZERO);
            }
            tried.stage(4, opcode::AsyncCancel::new(round % 4).build());
            tried.stage(5, all());
            tried.until(6);
            let told = tried.take();
            for (number, result) in &told[..4] {
                assert!(matches!(-result, 0 | libc::ECANCELED), "{number}: {told:?}");
                ended += usize::from(*result == 0);
            }
        }
        stop.store(1, Relaxed);
        let woken = waker.join().unwrap();
        // A thread may come back from its word for no reason.
        let more = tried.ring.kind() == DriverKind::Poll && ended > woken;
        assert!(more || ended == woken, "{woken} were woken, {ended} ended");
    });
}

#[test]
fn a_wait_at_a_word_is_refused_where_there_is_nothing_to_wait_for() {
    on_both(|tried| {
        let word = [AtomicU32::new(7), AtomicU32::new(7)];
        let wait = |at, value, flags| opcode::FutexWait::new(at, value, ANYBODY, flags).build();
        let at = word[0].as_ptr().cast_const();
        tried.stage(1, wait(at, 8, PRIVATE));
        tried.stage(2, wait(at.wrapping_byte_add(2), 7, PRIVATE));
        // Words of 8 bits are not there yet.
        tried.stage(3, wait(at, 7, 128));
        tried.stage(4, wait(at, 1 << 32, PRIVATE));
        tried.stage(5, opcode::FutexWake::new(at, 0, ANYBODY, PRIVATE).build());
        tried.stage(6, opcode::FutexWake::new(at, 1, 0, PRIVATE).build());
        tried.until(6);
        let wrong = -libc::EINVAL;
        let told = [
            (1, -libc::EAGAIN),
            (2, wrong),
            (3, wrong),
            (4, wrong),
            (5, 0),
            (6, wrong),
        ];
        assert_eq!(tried.take(), told);
    });
}
