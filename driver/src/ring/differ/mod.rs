//! The same programs of entries on the kernel's ring and on the one in user space: they have to answer the same.
//!
//! Programs are drawn at random ([`program`]), but so that each has one outcome only: a strand's descriptors are its own
//! ([`world`]), at most one of its chains takes from them and at most one gives at any time, and before the next chains are
//! staged all that can go on by itself has. What can is asked of the descriptors (`poll(2)`), not of the rings: a
//! ring that lets something lie that could go on is found out by that, too. At the end all is cancelled.
//!
//! What is compared: each entry's results, each buffer, what is left in pipes, sockets and files. What is not, because
//! the kernel promises nothing: the order between entries, but for a deadline that passes, which is told before what it
//! ended; how often a multishot poll says the same; which bits beside `POLLIN` a poll tells of.
//!
//! # Where the two differ
//!
//! Found by this test, and settled in `poll/`:
//!
//! * What is wrong with an entry itself (flags, times) cancels its chain before any of it has begun.
//! * A member whose success is not to be told (`CQE_SKIP_SUCCESS`) and that fails silences the rest of its chain.
//! * A pipe that was spliced does not know `RWF_NOWAIT` any more: a vectored read was cut to its first vector, a write to
//!   what a pipe takes at once.
//! * `MSG_WAITALL` joins packets of a `SOCK_SEQPACKET` socket, too, and breaks the chain behind one that was cut. By a
//!   header (`SENDMSG`, `RECVMSG`) it moves all as well; control data goes with the first bytes.
//! * Each wrong member of a chain is told its own error. A name that is none (empty, too long) makes a member wrong.
//! * What fails at names (but for opening them), and what is done to files as a whole (`FSYNC`, `FALLOCATE` ...), breaks no
//!   chain; nor does the shutdown of a socket that is not connected.
//! * A read of no bytes from a socket is done at once, a receive of none is not.
//! * A tee of what is no pipe is refused, and does not wait for it.
//! * A futex wait that is cancelled, or whose deadline passes, does not break its chain.
//! * A cancel by descriptor finds what is done at the file, also through a copy; before Linux 6.10, where `kcmp(2)` is
//!   refused, too, by the number only.
//! * A socket is read at offset 0 as at none, and not at others (`ESPIPE`).
//! * What is wrong with the size of an `open_how` is wrong with the entry.
//! * A socket for which there is no row in the table of files does not break its chain; a file, or a connection, does.
//! * A multishot receive that found the socket empty waits, whether a buffer is left or not; only at first sight, and when
//!   something arrives, it is told that there is none. Of what is no stream nobody knows whether there is more, and so it
//!   looks for a buffer to find out.
//! * A cancel by number, or a deadline, that ends a wait at a word or for a child answers how many it ended, 1 instead of 0
//!   and `ETIME`; a cancel of all counts all waits of such a kind as one.
//!
//! Left as it is:
//!
//! * Of receives alone buffers are picked here, not of reads or messages; none with `MSG_WAITALL`, no bundles: refused
//!   (`EINVAL`), as is what else no entry of ours asks for, `IOSQE_IO_DRAIN` among it. `SOCK_NONEMPTY` is not told.
//! * A send without a copy that never began, as its chain broke before: the kernel says `ECANCELED`, and that this is all,
//!   and notifies of its buffer all the same. Here that was all.
//! * One that the kernel refuses for its flags is followed by a notification there, mostly; not here.
//! * A timeout that counts ends early there when others pass meanwhile: the sum it looks at goes back for a moment, below 0.
//! * A row of the table of files has a descriptor here, so that `EMFILE` may come of filling one; it is closed as soon as
//!   nobody uses it, there when the system call ends. Rows are not sent to other rings, nor made numbers of
//!   (`FIXED_FD_INSTALL`), nor filled by an entry (`FILES_UPDATE`): `EINVAL`.
//! * Known memory is reached by its address here, so that what may not be touched is `EFAULT`, where the kernel goes by the
//!   pages. That it can be is not looked at when a row is filled. There are no vectors of it (`READV_FIXED`).
//! * Closing a descriptor while something is in flight on it: the kernel's request holds the file and goes on, here it
//!   waits for the number until it is cancelled. Above the waist a close waits for what is in flight.
//! * A close that is followed by a read without waiting in the same chain: there the file is open until the system call
//!   ends, here it is closed.
//! * A cancel that is staged behind what makes its target ready may find it here, where the kernel has it on its way.
//! * A deadline that passes while its operation is on the way to a worker answers `ENOENT` there, here `ETIME`.
//! * A deadline that passes when its operation is through, but not the system call that it began in, answers `ENOENT` there,
//!   `ECANCELED` here. On a busy machine that is any deadline (`late_limits` in `run`).
//! * A futex wait that was cancelled may still be woken here until its thread has run; then it was not cancelled.
//! * What waits on one of the kernel's workers (a splice of nothing) hears a cancel as `EINTR`, and no deadline.

mod cases;
mod fixed;
mod members;
mod place;
mod program;
mod progress;
mod run;
mod settled;
mod world;

use std::time::Duration;

use proptest::test_runner::{Config, TestRunner};

use self::program::{Strand, program};
use self::run::Run;
use super::DriverKind;

/// How long a ring may take over something that can go on.
const PATIENCE: Duration = Duration::from_secs(5);
/// Set in the number of a member's deadline.
const LIMIT: u64 = 1 << 32;

fn compare(strands: &[Strand]) {
    let kernel = Run::new(DriverKind::Kernel, strands).run();
    let poll = Run::new(DriverKind::Poll, strands).run();
    for (number, answer) in &kernel.answers {
        let other = poll.answers.get(number);
        assert_eq!(
            Some(answer),
            other,
            "entry {number:x}\nkernel: {:?}\npoll: {:?}",
            kernel.answers,
            poll.answers
        );
    }
    let beyond: Vec<_> = poll
        .answers
        .keys()
        .filter(|n| !kernel.answers.contains_key(n))
        .collect();
    assert_eq!(
        beyond,
        Vec::<&u64>::new(),
        "told of by the ring in user space alone"
    );
    assert_eq!(
        kernel.early, poll.early,
        "deadlines told before what they ended"
    );
    assert_eq!(kernel.picked, poll.picked, "buffers picked");
    assert_eq!(kernel.remains, poll.remains, "memory and descriptors");
}

#[test]
fn any_program_has_the_same_outcome_on_both_rings() {
    let cases = std::env::var("ANNULET_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(400),
        failure_persistence: None,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&program(), |strands| {
            compare(&strands);
            Ok(())
        })
        .unwrap();
}
