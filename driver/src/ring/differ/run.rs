//! One program on one ring.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, squeue, types};

use super::members::times::Clock;
use super::members::waits::Await;
use super::members::writes::Write;
use super::members::{At, What};
use super::program::{Link, Member, Strand};
use super::progress::SHORTLY;
use super::world::World;
use super::{LIMIT, PATIENCE};
use crate::ring::{Completion, DriverKind, Ring, Setup, Sqe, Wait};

const THE_END: u64 = 1 << 33;

/// A chain that was staged.
pub(super) struct Staged {
    pub(super) strand: usize,
    pub(super) members: Vec<(u64, Member)>,
}

pub(super) struct Run<'a> {
    ring: Ring,
    pub(super) strands: &'a [Strand],
    pub(super) worlds: Vec<World>,
    pub(super) chains: Vec<Staged>,
    /// Of each strand, in the order of their staging.
    numbers: Vec<Vec<u64>>,
    /// What was answered, by the entry's number: results, and whether they were the last.
    pub(super) answers: BTreeMap<u64, Vec<(i32, bool)>>,
    /// The order in which the last completions came.
    pub(super) order: Vec<u64>,
    /// Multishot polls that have spoken.
    pub(super) told: Vec<u64>,
    members: BTreeMap<u64, (usize, What)>,
    /// By the number of what ends or hastens another: the other's.
    targets: BTreeMap<u64, u64>,
    /// Those that are to end, as somebody was told.
    pub(super) ending: Vec<u64>,
    /// The buffers that were picked, by the entry's number.
    picked: BTreeMap<u64, Vec<u16>>,
    next: u64,
}

/// What one ring made of a program.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) answers: BTreeMap<u64, Vec<(i32, bool)>>,
    pub(super) early: Vec<u64>,
    pub(super) remains: Vec<Vec<String>>,
    pub(super) picked: BTreeMap<u64, Vec<u16>>,
}

impl Run<'_> {
    pub(super) fn new(kind: DriverKind, strands: &[Strand]) -> Run<'_> {
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

    fn stage(&mut self, strand: usize, chain: &[Member]) {
        if self.clashes(strand, chain) {
            return;
        }
        let mut group = Vec::new();
        let mut members = Vec::new();
        for (at, member) in chain.iter().enumerate() {
            let number = self.next;
            self.next += 1;
            group.extend(self.entries(strand, member, number, at + 1 == chain.len()));
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

    /// Whether its outcome would depend on what is in flight.
    fn clashes(&self, strand: usize, chain: &[Member]) -> bool {
        let uses = |with: fn(What) -> bool| chain.iter().any(|member| with(member.what));
        let consumes: fn(What) -> bool = |what| what.kind().consumes();
        let produces: fn(What) -> bool = |what| what.kind().produces();
        let closes = uses(|what| what == What::Write(Write::Close));
        uses(consumes) && self.is_busy(strand, consumes)
            || uses(produces) && self.is_busy(strand, produces)
            || closes && !self.worlds[strand].can_close()
    }

    /// A member, and its deadline.
    fn entries(
        &mut self,
        strand: usize,
        member: &Member,
        number: u64,
        is_last: bool,
    ) -> Vec<squeue::Entry> {
        let before = &self.numbers[strand];
        let at = At { number, before };
        if let Some(back) = member.what.target() {
            self.targets.insert(number, at.target(back));
        }
        let world = &mut self.worlds[strand];
        let entry = member.what.kind().entry(world, at).user_data(number);
        let entry = member
            .fixed
            .apply(member.what, entry, world, &mut self.ring);
        let bond = match member.link {
            Link::Soft => squeue::Flags::IO_LINK,
            Link::Hard => squeue::Flags::IO_HARDLINK,
        };
        let link = match is_last {
            true => squeue::Flags::empty(),
            false => bond,
        };
        let skips = match member.skips {
            true => squeue::Flags::SKIP_SUCCESS,
            false => squeue::Flags::empty(),
        };
        let Some(soon) = member.limit else {
            return vec![entry.flags(link | skips)];
        };
        let limit = world
            .limit(soon, Clock::of(number))
            .user_data(number | LIMIT)
            .flags(link);
        vec![entry.flags(bond | skips), limit]
    }

    pub(super) fn enter(&mut self, limit: Duration) {
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
        if let Some(&(strand, what)) = self.members.get(&number) {
            result = what.kind().hear(&mut self.worlds[strand], result);
            let target = self.targets.get(&number).filter(|_| what.found(result));
            self.ending.extend(target);
            let picked = cqueue::buffer_select(completion.flags);
            self.picked.entry(number).or_default().extend(picked);
            if what == What::Await(Await::PollMany) && result >= 0 && !last {
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

    pub(super) fn run(mut self) -> Outcome {
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
        if self.ring.kind() == DriverKind::Kernel {
            self.late_limits();
        }
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
            remains: self.worlds.iter_mut().map(World::remains).collect(),
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
        self.answers.retain(|number, _| *number <= THE_END);
    }

    /// A deadline that passes when its operation is through, but the system call not, finds nothing in the kernel.
    fn late_limits(&mut self) {
        let late = |number: &u64, answers: &BTreeMap<u64, Vec<(i32, bool)>>| {
            let of = &answers.get(&(number & !LIMIT));
            let none = answers[number] == [(-libc::ENOENT, true)];
            number & LIMIT != 0 && none && of.is_some_and(|of| *of != [(-libc::ECANCELED, true)])
        };
        let numbers: Vec<u64> = self.answers.keys().copied().collect();
        for number in numbers {
            if late(&number, &self.answers) {
                self.answers.insert(number, vec![(-libc::ECANCELED, true)]);
            }
        }
    }
}
