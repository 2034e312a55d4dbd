//! Leaves in a chain what has one outcome only.
//!
//! Each rule looks at one member, in the order of the chain, and makes something else of it where nobody says how it ends.

use super::members::What;
use super::members::cancels::Cancel;
use super::members::messages::Message;
use super::members::plain::NOP;
use super::members::reads::{How, Read};
use super::members::times::Time;
use super::members::waits::Await;
use super::members::words::Word;
use super::members::writes::Write;
use super::place::Place;
use super::program::Member;

/// What rules have to know of the rest of a chain.
struct Chain {
    place: Place,
    /// It has a member that keeps all of it from beginning.
    refused: bool,
    /// Something in it makes others go on.
    gives: bool,
    closes: bool,
    last: usize,
    /// Of the members so far.
    produced: bool,
    cancelled: bool,
    /// One may wait.
    held: bool,
}

pub(super) fn settled(place: Place, mut members: Vec<Member>) -> Vec<Member> {
    let mut chain = Chain::of(place, &members);
    for (at, member) in members.iter_mut().enumerate() {
        chain.writes_once(member);
        chain.wakes_first(at, member);
        chain.counts_apart(at, member);
        chain.agrees(member);
        chain.cancels_once(member);
        chain.tells_what_waits(at, member);
        chain.limits_what_hears(member);
    }
    members
}

impl Chain {
    fn of(place: Place, members: &[Member]) -> Chain {
        let any = |with: fn(&Member) -> bool| members.iter().any(with);
        let gives = any(|member| {
            let wakes = matches!(member.what, What::Word(Word::Wake { .. }));
            wakes || member.what.kind().produces() || counts(member)
        });
        let makes_room = place == Place::FullPipe && any(|member| member.what.kind().consumes());
        Chain {
            place,
            refused: any(|member| member.what.is_wrong()),
            gives: gives || makes_room,
            closes: any(|member| member.what == What::Write(Write::Close)),
            last: members.len() - 1,
            produced: false,
            cancelled: false,
            held: false,
        }
    }

    /// Whoever waits for bytes may see one write or two. In a file nobody waits.
    fn writes_once(&mut self, member: &mut Member) {
        if member.what.kind().produces() && self.place != Place::File {
            if self.produced {
                member.what = NOP;
            }
            self.produced = true;
        }
    }

    /// Who was cancelled may be woken until its thread has run, if a chain went on to do that; and which completions of
    /// one look at the ring count for one that begins within it, nobody says.
    fn wakes_first(&self, at: usize, member: &mut Member) {
        let wakes = matches!(member.what, What::Word(Word::Wake { .. }));
        if at > 0 && (wakes || counts(member)) {
            member.what = NOP;
        }
    }

    /// Where times pass the kernel may count wrong.
    fn counts_apart(&self, at: usize, member: &mut Member) {
        let counter = self.place == Place::Counter;
        member.limit = member.limit.map(|soon| soon && !counter);
        member.what = match member.what {
            What::Time(Time::Count(count)) if !counter => What::Time(Time::Repeat(1 + count % 3)),
            What::Time(Time::Repeat(count)) if counter && at == 0 => What::Time(Time::Count(count)),
            What::Time(Time::Repeat(_)) if counter => NOP,
            What::Time(Time::Once {
                soon,
                success,
                clock,
            }) => What::Time(Time::Once {
                soon: soon && !counter,
                success,
                clock,
            }),
            What::Cancel(Cancel::Update { back, soon, limit }) => What::Cancel(Cancel::Update {
                back,
                soon: soon && !counter,
                limit,
            }),
            what => what,
        };
    }

    /// What the two rings do in ways of their own (see the head of `differ`).
    fn agrees(&self, member: &mut Member) {
        let quick = member.what.kind().is_quick();
        member.what = match member.what {
            // The number may be that of what another strand accepts.
            What::Await(Await::PollRoom) if self.closes => NOP,
            // In the kernel a close has happened when its system call ends: within it a file may still be open.
            What::Message(Message::Receive { len, .. }) if self.closes && quick => {
                What::Message(Message::Receive { len, flags: 0 })
            }
            What::Read(Read { how, len }) => match how {
                How::Try if self.closes => read(len),
                // From a socket it waits, told not to or not.
                How::Splice if self.closes || self.place != Place::Pipe => NOP,
                _ => member.what,
            },
            what => what,
        };
    }

    /// Whether what arrives or the cancel is first, nobody says.
    /// What follows what was cancelled is on its way then, and found by no second cancel; nor does anybody say what one
    /// finds that begins as others are cancelled.
    fn cancels_once(&mut self, member: &mut Member) {
        if member.what.cancels() {
            if self.gives || self.cancelled || self.held {
                member.what = What::Cancel(Cancel::Nobody);
            }
            self.cancelled = true;
        } else {
            // Where completions count, any may be what another waits for.
            self.held |= !member.what.kind().is_quick() || self.place == Place::Counter;
        }
    }

    /// A silent member that waits could not be told from one that is done; nor could a silent last one.
    fn tells_what_waits(&self, at: usize, member: &mut Member) {
        let quick = member.what.kind().is_quick() && member.limit.is_none();
        member.skips &= quick && at != self.last && !self.refused;
    }

    fn limits_what_hears(&self, member: &mut Member) {
        let kind = member.what.kind();
        // One that passes on the way to a worker answers `ENOENT`.
        let soon = kind.ends_at_limit();
        member.limit = member.limit.map(|limit| limit && soon);
        if !kind.takes_limit(self.place) {
            member.limit = None;
        }
    }
}

fn counts(member: &Member) -> bool {
    matches!(member.what, What::Time(Time::Count(_)))
}

fn read(len: u16) -> What {
    What::Read(Read {
        how: How::Plain,
        len,
    })
}
