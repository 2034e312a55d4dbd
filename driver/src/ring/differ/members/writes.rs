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
    /// Nothing more is read there, or written, or both.
    Shutdown(u8),
    Close,
    /// Of files alone.
    Truncate(u16),
    Allocate(u16),
    Sync,
}

pub(in crate::ring::differ) fn writes() -> impl Strategy<Value = What> {
    (any::<bool>(), 0..40u16).prop_map(|(parts, len)| {
        What::Write(match parts {
            true => Write::Parts(len),
            false => Write::Plain(len),
        })
    })
}

pub(in crate::ring::differ) fn ends() -> impl Strategy<Value = What> {
    let shutdown = prop_oneof![1 => 0..3u8, 2 => Just(1)].prop_map(Write::Shutdown);
    prop_oneof![shutdown, Just(Write::Close)].prop_map(What::Write)
}

pub(in crate::ring::differ) fn changes() -> impl Strategy<Value = What> {
    let changes = prop_oneof![
        (0..100u16).prop_map(Write::Truncate),
        (0..100u16).prop_map(Write::Allocate),
        Just(Write::Sync),
    ];
    changes.prop_map(What::Write)
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
            Write::Shutdown(how) => opcode::Shutdown::new(writer, how.into()).build(),
            Write::Truncate(len) => opcode::Ftruncate::new(writer, len.into()).build(),
            Write::Allocate(len) => opcode::Fallocate::new(writer, len.into())
                .offset(offset)
                .build(),
            Write::Sync => opcode::Fsync::new(writer).build(),
            Write::Close => opcode::Close::new(writer).build(),
        }
    }

    fn produces(&self) -> bool {
        true
    }

    fn fails(&self, _place: Place, result: i32) -> bool {
        match *self {
            Write::Plain(len) | Write::Parts(len) => result < i32::from(len),
            Write::Close => result < 0,
            Write::Shutdown(_) => matches!(-result, libc::ECANCELED | libc::ENOTSOCK | libc::EBADF),
            Write::Truncate(_) | Write::Allocate(_) | Write::Sync => result == -libc::ECANCELED,
        }
    }

    fn takes_limit(&self, place: Place) -> bool {
        place != Place::File
    }

    fn can_go_on(&self, world: &World, _told: bool) -> bool {
        !matches!(self, Write::Plain(_) | Write::Parts(_)) || world.has_room()
    }

    fn hear(&self, world: &mut World, result: i32) -> i32 {
        if *self == Write::Close && result == 0 {
            world.writer_closed();
        }
        result
    }
}
