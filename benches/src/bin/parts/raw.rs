//! The floor: the same by hand.
#![allow(unsafe_code, reason = "the ring by hand takes entries unchecked")]

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::mpsc;
use std::thread;

use annulet_benches::{cpu_time, process_cpu_time};
use io_uring::{IoUring, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};

use crate::{Part, per_op, pipes};

pub(crate) fn ring(part: Part) -> bool {
    match part {
        Part::Nop { at_once } => nop(at_once),
        Part::WakeOtherThread => wake_by_ring(),
        Part::Pipe => pipes::ring(&mut new_ring()),
        _ => return false,
    }
    true
}

pub(crate) fn counter(part: Part) -> bool {
    matches!(part, Part::WakeOtherThread)
        .then(wake_by_eventfd)
        .is_some()
}

pub(crate) fn epoll(part: Part) -> bool {
    matches!(part, Part::Pipe).then(pipes::epoll).is_some()
}

fn new_ring() -> IoUring {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag();
    builder.setup_submit_all().setup_no_sqarray();
    builder.build(256).expect("io_uring is to be had")
}

fn push(queue: &mut squeue::SubmissionQueue<'_>, entry: &squeue::Entry) {
    // SAFETY: what is pushed here points at nothing.
    unsafe { queue.push(entry) }.expect("it fits the queue");
}

fn nop(at_once: u64) {
    let mut ring = new_ring();
    let (mut submitter, mut queue, mut completions) = ring.split();
    let registered = submitter.register_ring_fd();
    registered.expect("a thread registers a few rings");
    let entry = opcode::Nop::new().build();
    per_op(at_once, |rounds| {
        let before = cpu_time();
        for _ in 0..rounds {
            (0..at_once).for_each(|_| push(&mut queue, &entry));
            queue.sync();
            submitter
                .submit_and_wait(at_once as usize)
                .expect("our own ring");
            completions.sync();
            assert_eq!(completions.by_ref().count() as u64, at_once);
            queue.sync();
        }
        cpu_time() - before
    });
    submitter.unregister_ring_fd().expect("registered above");
}

/// One system call a message: it sends, and waits for the answer.
fn wake_by_ring() {
    let (to, from) = mpsc::channel();
    let mut near = new_ring();
    let near_fd = near.as_raw_fd();
    let far = thread::spawn(move || {
        let mut far = new_ring();
        to.send(far.as_raw_fd()).expect("it is waited for");
        answer(&mut far, near_fd);
    });
    let far_fd = from.recv().expect("it has started");
    per_op(1, |rounds| {
        let before = process_cpu_time();
        ask(&mut near, far_fd, rounds);
        process_cpu_time() - before
    });
    message(&mut near, far_fd, STOP, 0);
    far.join().expect("it does not panic");
}

const PING: u64 = 1;
const STOP: u64 = 2;

/// Sends and waits for the answer, so many times.
fn ask(ring: &mut IoUring, other: RawFd, rounds: u64) {
    for _ in 0..rounds {
        message(ring, other, PING, 1);
        ring.completion().for_each(drop);
    }
}

/// Answers until told to stop.
fn answer(ring: &mut IoUring, other: RawFd) {
    ring.submit_and_wait(1).expect("our own ring");
    while ring.completion().all(|entry| entry.user_data() == PING) {
        message(ring, other, PING, 1);
    }
}

fn message(ring: &mut IoUring, other: RawFd, message: u64, wait: usize) {
    let entry = opcode::MsgRingData::new(types::Fd(other), 0, message, None)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS);
    push(&mut ring.submission(), &entry);
    ring.submit_and_wait(wait).expect("our own ring");
}

/// Two system calls a message.
fn wake_by_eventfd() {
    let new = || eventfd(0, EventfdFlags::CLOEXEC).expect("descriptors are to be had");
    let (there, back) = (new(), new());
    let (far_there, far_back) = (there.try_clone(), back.try_clone());
    let far = thread::spawn(move || {
        let (there, back) = (
            far_there.expect("a duplicate"),
            far_back.expect("a duplicate"),
        );
        while wait(&there) == PING {
            signal(&back, PING);
        }
    });
    per_op(1, |rounds| {
        let before = process_cpu_time();
        for _ in 0..rounds {
            signal(&there, PING);
            wait(&back);
        }
        process_cpu_time() - before
    });
    signal(&there, STOP);
    far.join().expect("it does not panic");
}

fn signal(to: &OwnedFd, message: u64) {
    rustix::io::write(to, &message.to_ne_bytes()).expect("a counter has room");
}

fn wait(from: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    rustix::io::read(from, &mut count).expect("a counter can be read");
    u64::from_ne_bytes(count)
}
