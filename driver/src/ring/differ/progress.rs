//! What of a program can go on by itself, and waiting until all that can has.

use std::time::{Duration, Instant};

use super::members::What;
use super::program::{Link, Member};
use super::run::{Run, Staged};
use super::world::World;
use super::{LIMIT, PATIENCE};

pub(super) const SHORTLY: Duration = Duration::from_millis(1);

impl Run<'_> {
    pub(super) fn is_over(&self, number: u64) -> bool {
        let answers = self.answers.get(&number);
        answers.is_some_and(|answers| answers.iter().any(|(_, last)| *last))
    }

    /// The member a chain is at, if it is not through.
    pub(super) fn front<'s>(&self, staged: &'s Staged) -> Option<&'s (u64, Member)> {
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

    pub(super) fn is_busy(&self, strand: usize, with: fn(What) -> bool) -> bool {
        self.chains.iter().any(|staged| {
            let concerned = staged.strand == strand;
            concerned
                && self.front(staged).is_some()
                && staged.members.iter().any(|(_, member)| with(member.what))
        })
    }

    fn can_go_on(&self, staged: &Staged) -> bool {
        let limits = staged.members.iter().any(|(number, member)| {
            let over = self.is_over(*number);
            member.limit.is_some() && over && !self.is_over(number | LIMIT)
        });
        let front = self.front(staged).is_some_and(|(number, member)| {
            let told = self.told.contains(number);
            let awaited =
                self.ending.contains(number) || goes_on(&self.worlds[staged.strand], member, told);
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
                && member
                    .what
                    .kind()
                    .fails(self.strands[staged.strand].place, result)
        })
    }

    /// Until all that can go on by itself has, and looking again brings nothing.
    pub(super) fn settle(&mut self) {
        let began = Instant::now();
        self.enter(SHORTLY);
        let mut quiet = 0;
        while quiet < 3 {
            let stuck = self
                .chains
                .iter()
                .find(|staged| self.can_go_on(staged) || self.worlds[staged.strand].owed > 0);
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
}

fn goes_on(world: &World, member: &Member, told: bool) -> bool {
    member.limit == Some(true) || member.what.kind().can_go_on(world, told)
}
