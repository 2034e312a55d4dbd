//! Waits at words of memory.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::thread;
use std::time::Duration;

use io_uring::opcode;

use super::{ANYBODY, PRIVATE, all, on_both};
use crate::ring::DriverKind;

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
fn so_many_are_woken_as_a_wake_says_and_those_who_came_first() {
    on_both(|tried| {
        let word = AtomicU32::new(0);
        let at = word.as_ptr().cast_const();
        let wake = |count| opcode::FutexWake::new(at, count, ANYBODY, PRIVATE).build();
        for number in 1..=4 {
            let wait = opcode::FutexWait::new(at, 0, ANYBODY, PRIVATE);
            tried.stage(number, wait.build());
        }
        tried.stage(5, wake(1));
        tried.until(2);
        assert_eq!(tried.take(), [(1, 0), (5, 1)]);
        tried.stage(6, wake(2));
        tried.until(3);
        assert_eq!(tried.take(), [(2, 0), (3, 0), (6, 2)]);
        tried.stage(7, wake(2));
        tried.until(2);
        assert_eq!(tried.take(), [(4, 0), (7, 1)]);
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
