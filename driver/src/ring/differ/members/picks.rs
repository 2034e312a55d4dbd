//! Receives into buffers that the ring picks, and those buffers.

use std::ptr::null_mut;

use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Pick {
    /// With room for so many bytes, or all of it.
    One(u16),
    /// The same again and again.
    Many,
    /// More buffers to pick.
    Provide,
}

pub(in crate::ring::differ) fn picks() -> impl Strategy<Value = What> {
    let room = prop_oneof![2 => Just(0), 1 => 1..30u16];
    let picks = prop_oneof![
        2 => room.prop_map(Pick::One),
        3 => Just(Pick::Many),
        2 => Just(Pick::Provide),
    ];
    picks.prop_map(What::Pick)
}

impl Kind for Pick {
    fn entry(&self, world: &mut World, _at: At<'_>) -> squeue::Entry {
        let (reader, group) = (world.reader(), world.group);
        match *self {
            Pick::One(len) => opcode::Recv::new(reader, null_mut(), len.into())
                .buf_group(group)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            Pick::Many => opcode::RecvMulti::new(reader, group).build(),
            Pick::Provide => {
                world.provide(2);
                opcode::Nop::new().build()
            }
        }
    }

    fn consumes(&self) -> bool {
        *self != Pick::Provide
    }

    fn takes_limit(&self, _place: Place) -> bool {
        *self != Pick::Many
    }

    fn can_go_on(&self, world: &World, _told: bool) -> bool {
        *self == Pick::Provide || world.has_arrived()
    }
}
