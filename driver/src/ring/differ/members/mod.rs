//! What members of chains do: a family of entries a file. A new member is an arm there, a new family a file, and a line in
//! [`What`].

pub(super) mod cancels;
pub(super) mod mail;
pub(super) mod messages;
pub(super) mod names;
pub(super) mod picks;
pub(super) mod plain;
pub(super) mod reads;
pub(super) mod rows;
pub(super) mod times;
pub(super) mod waits;
pub(super) mod words;
pub(super) mod writes;

use io_uring::squeue;

use self::cancels::Cancel;
use self::mail::Mail;
use self::messages::Message;
use self::names::Name;
use self::picks::Pick;
use self::plain::Plain;
use self::reads::Read;
use self::rows::Row;
use self::times::Time;
use self::waits::Await;
use self::words::Word;
use self::writes::Write;
use super::LIMIT;
use super::place::Place;
use super::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Plain(Plain),
    Read(Read),
    Write(Write),
    Await(Await),
    Pick(Pick),
    Time(Time),
    Cancel(Cancel),
    Word(Word),
    Row(Row),
    Message(Message),
    Name(Name),
    Mail(Mail),
}

/// What has to be known of a member, whatever it is.
pub(super) trait Kind {
    fn entry(&self, world: &mut World, at: At<'_>) -> squeue::Entry;

    /// Takes what arrives, or waits for it.
    fn consumes(&self) -> bool {
        false
    }

    /// Makes something arrive.
    fn produces(&self) -> bool {
        false
    }

    /// Whether a chain breaks behind it.
    fn fails(&self, _place: Place, result: i32) -> bool {
        result < 0
    }

    /// Whether it is over as soon as it has begun.
    fn is_quick(&self) -> bool {
        false
    }

    /// Whether it may have a deadline: one that reaches it, and is certain to be first or last.
    fn takes_limit(&self, _place: Place) -> bool {
        true
    }

    /// Whether a deadline that passes finds it, wherever it is by then.
    fn ends_at_limit(&self) -> bool {
        self.consumes()
    }

    /// Whether it goes on by itself, as things are. `told` is whether it has spoken already.
    fn can_go_on(&self, _world: &World, _told: bool) -> bool {
        true
    }

    /// Takes in what came of it; what is to be compared.
    fn hear(&self, _world: &mut World, result: i32) -> i32 {
        result
    }
}

impl What {
    pub(super) fn kind(&self) -> &dyn Kind {
        match self {
            What::Plain(kind) => kind,
            What::Read(kind) => kind,
            What::Write(kind) => kind,
            What::Await(kind) => kind,
            What::Pick(kind) => kind,
            What::Time(kind) => kind,
            What::Cancel(kind) => kind,
            What::Word(kind) => kind,
            What::Row(kind) => kind,
            What::Message(kind) => kind,
            What::Name(kind) => kind,
            What::Mail(kind) => kind,
        }
    }

    /// Ends others, or hastens them.
    pub(super) fn cancels(self) -> bool {
        matches!(self, What::Cancel(cancel) if cancel != Cancel::Nobody)
    }

    /// Ends, or hastens, the one so many before.
    pub(super) fn target(self) -> Option<u8> {
        match self {
            What::Cancel(cancel) => cancel.target(),
            _ => None,
        }
    }

    /// Whether it answers that its target ends.
    pub(super) fn found(self, result: i32) -> bool {
        // Of all those with a number it tells how many.
        let many = matches!(self, What::Cancel(Cancel::Each(_)));
        result > 0 || result == 0 && !many
    }

    /// Nothing of its chain begins.
    pub(super) fn is_wrong(self) -> bool {
        match self {
            What::Plain(plain) => matches!(plain, Plain::NoOpcode | Plain::BadFlags),
            What::Name(name) => name.is_wrong(),
            _ => false,
        }
    }
}

/// An entry's number, and those of its strand's earlier ones.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) number: u64,
    pub(super) before: &'a [u64],
}

impl At<'_> {
    /// What its bytes are.
    pub(super) fn fill(self) -> u8 {
        (self.number % 251) as u8
    }

    /// The number of the entry so many before.
    pub(super) fn target(self, back: u8) -> u64 {
        let target = self.before.iter().rev().nth(usize::from(back) - 1);
        // Less the bit that a deadline's number has.
        target.copied().unwrap_or(!LIMIT)
    }
}
