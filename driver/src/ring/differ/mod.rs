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
//! * `MSG_WAITALL` joins packets of a `SOCK_SEQPACKET` socket, too.
//! * Each wrong member of a chain is told its own error.
//! * A futex wait that is cancelled, or whose deadline passes, does not break its chain.
//!
//! * A multishot receive that found the socket empty waits, whether a buffer is left or not; only at first sight, and when
//!   something arrives, it is told that there is none.
//!
//! Left as it is:
//!
//! * Of receives alone buffers are picked here, not of reads; none with `MSG_WAITALL`, no bundles. `SOCK_NONEMPTY` is not told.
//! * A timeout that counts ends early there when others pass meanwhile: the sum it looks at goes back for a moment, below 0.
//! * A multishot receive of a `SOCK_SEQPACKET` socket that took the last buffer is `ENOBUFS` at once there; here it waits.
//! * There are no tables of descriptors or buffers here: `EBADF` where an entry names a place in one.
//! * Closing a descriptor while something is in flight on it: the kernel's request holds the file and goes on, here it
//!   waits for the number until it is cancelled. Above the waist a close waits for what is in flight.
//! * A close that is followed by a read without waiting in the same chain: there the file is open until the system call
//!   ends, here it is closed.
//! * A cancel that is staged behind what makes its target ready may find it here, where the kernel has it on its way.
//! * A deadline that passes while its operation is on the way to a worker answers `ENOENT` there, here `ETIME`.
//! * A packet that is cut by a receive with `MSG_WAITALL` breaks the chain there, and not here.
//! * A cancel by descriptor finds requests by the number here, by the file there, so also through a copy.
//! * A cancel by number, or a deadline, that ends a futex wait answers 1 there, 0 and `ETIME` here; a cancel of all counts
//!   all these waits as one there.
//! * A futex wait that was cancelled may still be woken here until its thread has run; then it was not cancelled.
//! * What waits on one of the kernel's workers (a splice of nothing) hears a cancel as `EINTR`, and no deadline.

mod cases;
mod program;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, squeue, types};
use proptest::test_runner::{Config, TestRunner};

use self::program::{Link, Member, Place, Strand, What, program};
use self::world::{World, target};
use super::{Completion, DriverKind, Ring, Setup, Sqe, Wait};

/// How long a ring may take over something that can go on.
const PATIENCE: Duration = Duration::from_secs(5);
const SHORTLY: Duration = Duration::from_millis(1);
/// Set in the number of a member's deadline.
const LIMIT: u64 = 1 << 32;
const THE_END: u64 = 1 << 33;

/// A chain that was staged.
struct Staged {
    strand: usize,
    members: Vec<(u64, Member)>,
}

struct Run<'a> {
    ring: Ring,
    strands: &'a [Strand],
    worlds: Vec<World>,
    chains: Vec<Staged>,
    /// Of each strand, in the order of their staging.
    numbers: Vec<Vec<u64>>,
    /// What was answered, by the entry's number: results, and how many of them were the last.
    answers: BTreeMap<u64, Vec<(i32, bool)>>,
    /// The order in which the last completions came.
    order: Vec<u64>,
    /// Multishot polls that have spoken.
    told: Vec<u64>,
    members: BTreeMap<u64, (usize, What)>,
    /// By the number of what ends or hastens another: the other's.
    targets: BTreeMap<u64, u64>,
    /// Those that are to end, as somebody was told.
    ending: Vec<u64>,
    /// In each strand: those who were woken and have not said so.
    owed: Vec<i32>,
    /// The buffers that were picked, by the entry's number.
    picked: BTreeMap<u64, Vec<u16>>,
    next: u64,
}

/// What one ring made of a program.
#[derive(Debug, PartialEq)]
struct Outcome {
    answers: BTreeMap<u64, Vec<(i32, bool)>>,
    early: Vec<u64>,
    remains: Vec<Vec<Vec<u8>>>,
    picked: BTreeMap<u64, Vec<u16>>,
}

impl Run<'_> {
    fn new(kind: DriverKind, strands: &[Strand]) -> Run<'_> {
        let setup = Setup {
            driver: kind,
            ..Setup::default()
        };
        let (mut ring, _) = Ring::new(&setup).unwrap();
        let worlds = (0..).zip(strands);
        let worlds = worlds.map(|(at, strand)| World::new(strand.place, at, &mut ring));
        Run {
            worlds: worlds.collect(),
            targets: BTreeMap::new(),
            ending: Vec::new(),
            owed: vec![0; strands.len()],
            picked: BTreeMap::new(),
            ring,
            strands,
            chains: Vec::new(),
            numbers: vec![Vec::new(); strands.len()],
            answers: BTreeMap::new(),
            order: Vec::new(),
            told: Vec::new(),
            members: BTreeMap::new(),
            next: 1,
        }
    }

    fn is_over(&self, number: u64) -> bool {
        let answers = self.answers.get(&number);
        answers.is_some_and(|answers| answers.iter().any(|(_, last)| *last))
    }

    /// The member a chain is at, if it is not through.
    fn front<'s>(&self, staged: &'s Staged) -> Option<&'s (u64, Member)> {
        let mut silenced = false;
        for member in &staged.members {
            let over = self.is_over(member.0);
            if !over && !silenced && !member.1.skips {
                return Some(member);
            }
            // Had it been no failure, nobody would have heard of it: and then of the rest, neither.
            silenced |=
                over && member.1.skips && member.1.link == Link::Soft && !self.cancelled(member.0);
        }
        None
    }

    fn cancelled(&self, number: u64) -> bool {
        self.answers[&number] == [(-libc::ECANCELED, true)]
    }

    fn is_busy(&self, strand: usize, with: fn(What) -> bool) -> bool {
        self.chains.iter().any(|staged| {
            let concerned = staged.strand == strand;
            concerned
                && self.front(staged).is_some()
                && staged.members.iter().any(|(_, member)| with(member.what))
        })
    }

    fn stage(&mut self, strand: usize, chain: &[Member]) {
        let uses = |with: fn(What) -> bool| chain.iter().any(|member| with(member.what));
        let closes = |what| matches!(what, What::CloseWriter);
        let clashes = uses(What::consumes) && self.is_busy(strand, What::consumes)
            || uses(What::produces) && self.is_busy(strand, What::produces)
            || uses(closes) && !self.worlds[strand].can_close();
        if clashes {
            return;
        }
        let mut group = Vec::new();
        let mut members = Vec::new();
        for (at, member) in chain.iter().enumerate() {
            let number = self.next;
            self.next += 1;
            if let Some(back) = member.what.target() {
                let target = target(&self.numbers[strand], back);
                self.targets.insert(number, target);
            }
            let world = &mut self.worlds[strand];
            let mut entry = world.entry(member, number, &self.numbers[strand]);
            let link = match member.link {
                Link::Soft => squeue::Flags::IO_LINK,
                Link::Hard => squeue::Flags::IO_HARDLINK,
            };
            let is_last = at + 1 == chain.len();
            if member.skips {
                entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
            }
            if !is_last || member.limit.is_some() {
                entry = entry.flags(link);
            }
            group.push(entry);
            if let Some(soon) = member.limit {
                let mut limit = world.limit(soon).user_data(number | LIMIT);
                if !is_last {
                    limit = limit.flags(link);
                }
                group.push(limit);
            }
            self.numbers[strand].push(number);
            self.members.insert(number, (strand, member.what));
            members.push((number, *member));
        }
        // SAFETY: the memory is the world's, which stays until every entry has been answered.
        let group: Vec<Sqe> = group
            .into_iter()
            .map(|entry| unsafe { Sqe::new(entry) })
            .collect();
        assert!(self.ring.stage(&group));
        self.chains.push(Staged { strand, members });
    }

    fn enter(&mut self, limit: Duration) {
        let mut batch = Vec::new();
        self.ring.enter(Wait::AtMost(Some(limit))).unwrap();
        self.ring.reap(&mut batch);
        for completion in batch {
            self.hear(completion);
        }
    }

    fn hear(&mut self, completion: Completion) {
        let number = completion.user_data;
        let (mut result, last) = (completion.result, !completion.more());
        result = self.as_elsewhere(number, result);
        if let Some(&(strand, what)) = self.members.get(&number) {
            let world = &mut self.worlds[strand];
            match what {
                What::CloseWriter if result == 0 => world.writer_closed(),
                What::Accept | What::AcceptMany if result >= 0 => {
                    world.accepted(result);
                    result = 0;
                }
                What::Poll | What::PollMany if result >= 0 => result = 1,
                What::WakeWord { .. } if result > 0 => self.owed[strand] += result,
                What::WaitWord { .. } if result == 0 => self.owed[strand] -= 1,
                _ => {}
            }
            let target = self.targets.get(&number).filter(|_| result == 0);
            self.ending.extend(target);
            let picked = cqueue::buffer_select(completion.flags);
            self.picked.entry(number).or_default().extend(picked);
            if what == What::PollMany && result >= 0 && !last {
                if self.told.contains(&number) {
                    return;
                }
                self.told.push(number);
            }
        }
        assert!(!self.is_over(number), "{number:x} is told of after its end");
        self.answers.entry(number).or_default().push((result, last));
        if last {
            self.order.push(number);
        }
    }

    /// Of the waits at words that it has ended the kernel's ring tells how many, where others' answers are 0 and `ETIME`.
    fn as_elsewhere(&self, number: u64, result: i32) -> i32 {
        let waits = |number: u64| {
            let member = self.members.get(&number);
            member.is_some_and(|(_, what)| matches!(what, What::WaitWord { .. }))
        };
        match result {
            1 if number & LIMIT != 0 && waits(number & !LIMIT) => -libc::ETIME,
            1 if self
                .targets
                .get(&number)
                .is_some_and(|target| waits(*target)) =>
            {
                0
            }
            result => result,
        }
    }

    fn can_go_on(&self, staged: &Staged) -> bool {
        let limits = staged.members.iter().any(|(number, member)| {
            let over = self.is_over(*number);
            member.limit.is_some() && over && !self.is_over(number | LIMIT)
        });
        let front = self.front(staged).is_some_and(|(number, member)| {
            let told = self.told.contains(number);
            let awaited =
                self.ending.contains(number) || self.worlds[staged.strand].can_go_on(member, told);
            // Its deadline has told already.
            let passed = self.answers.get(&(number | LIMIT));
            awaited || passed.is_some_and(|told| told[0] == (-libc::ETIME, true))
        });
        limits || front || self.breaks(staged)
    }

    /// Whether the member before the front ended so that the rest is to be cancelled.
    fn breaks(&self, staged: &Staged) -> bool {
        let Some((front, _)) = self.front(staged) else {
            return false;
        };
        let before =
            staged.members.iter().rev().find(|(number, member)| {
                number < front && (!member.skips || self.is_over(*number))
            });
        before.is_some_and(|(number, member)| {
            let (result, _) = self.answers[number][self.answers[number].len() - 1];
            member.link == Link::Soft
                && member.what.fails(self.strands[staged.strand].place, result)
        })
    }

    /// Until all that can go on by itself has, and looking again brings nothing.
    fn settle(&mut self) {
        let began = Instant::now();
        self.enter(SHORTLY);
        let mut quiet = 0;
        while quiet < 3 {
            let stuck = self
                .chains
                .iter()
                .find(|staged| self.can_go_on(staged) || self.owed[staged.strand] > 0);
            assert!(
                began.elapsed() < PATIENCE,
                "it does not go on: {:?}\nanswers: {:?}",
                stuck.map(|staged| &staged.members),
                self.answers
            );
            let (goes_on, order) = (stuck.is_some(), self.order.len());
            self.enter(if goes_on { SHORTLY } else { Duration::ZERO });
            let nothing = !goes_on && self.order.len() == order;
            quiet = if nothing { quiet + 1 } else { 0 };
        }
    }

    fn run(mut self) -> Outcome {
        let steps = self.strands.iter().map(|strand| strand.chains.len()).max();
        for step in 0..steps.unwrap_or(0) {
            for (at, strand) in self.strands.iter().enumerate() {
                let chain = strand.chains.get(step);
                let cancels = chain.is_some_and(|c| c.iter().any(|member| member.what.cancels()));
                if strand.clients[step] && !cancels {
                    self.worlds[at].connect();
                }
                if let Some(chain) = chain {
                    self.stage(at, chain);
                }
            }
            self.settle();
        }
        self.end();
        let mut early = Vec::new();
        self.order.retain(|number| *number < THE_END);
        for (at, number) in self.order.iter().enumerate() {
            let passed = self.answers[number].contains(&(-libc::ETIME, true));
            if number & LIMIT != 0 && passed && !self.order[..at].contains(&(number & !LIMIT)) {
                early.push(*number);
            }
        }
        early.sort_unstable();
        Outcome {
            early,
            remains: self.worlds.iter().map(World::remains).collect(),
            answers: self.answers,
            picked: self.picked,
        }
    }

    fn end(&mut self) {
        let began = Instant::now();
        let mut rounds = 0;
        while rounds == 0
            || self
                .chains
                .iter()
                .any(|staged| self.front(staged).is_some())
        {
            assert!(began.elapsed() < PATIENCE, "cancelled, it does not end");
            let all = opcode::AsyncCancel2::new(types::CancelBuilder::any().all()).build();
            // SAFETY: it points at nothing.
            let all = unsafe { Sqe::new(all.user_data(THE_END + rounds)) };
            assert!(self.ring.stage(&[all]));
            self.settle();
            rounds += 1;
        }
        while !self.is_over(THE_END + rounds - 1) {
            assert!(began.elapsed() < PATIENCE, "the cancel does not answer");
            self.enter(SHORTLY);
        }
        // The first is the one that counts.
        let words = self
            .strands
            .iter()
            .any(|strand| strand.place == Place::Word);
        let end = THE_END + u64::from(!words);
        self.answers.retain(|number, _| *number < end);
    }
}

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
