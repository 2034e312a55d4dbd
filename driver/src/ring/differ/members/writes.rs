//! Writes, and the end of them: what makes others' reads go on.

use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Write {
    Plain(u16),
    Parts(u16),
    /// No more is written.
    Shutdown,
    Close,
}

pub(in crate::ring::differ) fn writes() -> impl Strategy<Value = What> {
    (any::<bool>(), 1..40u16).prop_map(|(parts, len)| {
        What::Write(match parts {
            true => Write::Parts(len),
            false => Write::Plain(len),
        })
    })
}

pub(in crate::ring::differ) fn ends() -> impl Strategy<Value = What> {
    prop::sample::select(&[Write::Shutdown, Write::Close][..]).prop_map(What::Write)
}

impl Kind for Write {
    fn entry(&self, world: &mut World, at: At<'_>) -> squeue::Entry {
        let (writer, offset) = (world.writer(), world.offset(at));
        match *self {
            Write::Plain(len) if world.place.is_socket() => {
                opcode::Send::new(writer, world.room(at.fill()), len.into()).build()
            }
            Write::Plain(len) => {
                let write = opcode::Write::new(writer, world.room(at.fill()), len.into());
                write.offset(offset).build()
            }
            Write::Parts(len) => {
                let writev = opcode::Writev::new(writer, world.vectors(at.fill(), len), 2);
                writev.offset(offset).build()
            }
            Write::Shutdown => opcode::Shutdown::new(writer, libc::SHUT_WR).build(),
            Write::Close => opcode::Close::new(writer).build(),
        }
    }

    fn produces(&self) -> bool {
        true
    }

    fn fails(&self, _place: Place, result: i32) -> bool {
        match *self {
            Write::Plain(len) | Write::Parts(len) => result < i32::from(len),
            Write::Shutdown | Write::Close => result < 0,
        }
    }

    fn takes_limit(&self, place: Place) -> bool {
        place != Place::File
    }

    fn can_go_on(&self, world: &World, _told: bool) -> bool {
        matches!(self, Write::Shutdown | Write::Close) || world.has_room()
    }

    fn hear(&self, world: &mut World, result: i32) -> i32 {
        if *self == Write::Close && result == 0 {
            world.writer_closed();
        }
        result
    }
}
