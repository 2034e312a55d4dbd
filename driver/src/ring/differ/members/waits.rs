//! Waiting for readiness, and for connections.

use std::ptr::null_mut;

use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Await {
    Poll,
    PollMany,
    /// For room to write.
    PollRoom,
    Accept,
    AcceptMany,
}

pub(in crate::ring::differ) fn polls() -> impl Strategy<Value = What> {
    prop::sample::select(&[Await::Poll, Await::PollMany, Await::PollRoom][..]).prop_map(What::Await)
}

pub(in crate::ring::differ) fn accepts() -> impl Strategy<Value = What> {
    let accepts = [Await::Accept, Await::Accept, Await::AcceptMany];
    prop::sample::select(accepts.to_vec()).prop_map(What::Await)
}

impl Kind for Await {
    fn entry(&self, world: &mut World, _at: At<'_>) -> squeue::Entry {
        let reader = world.reader();
        let poll = opcode::PollAdd::new(reader, libc::POLLIN as u32);
        match self {
            Await::Poll => poll.build(),
            Await::PollMany => poll.multi(true).build(),
            Await::PollRoom => opcode::PollAdd::new(world.writer(), libc::POLLOUT as u32).build(),
            Await::Accept => opcode::Accept::new(reader, null_mut(), null_mut()).build(),
            Await::AcceptMany => opcode::AcceptMulti::new(reader).build(),
        }
    }

    fn consumes(&self) -> bool {
        true
    }

    fn takes_limit(&self, _place: Place) -> bool {
        matches!(self, Await::Poll | Await::PollRoom | Await::Accept)
    }

    fn can_go_on(&self, world: &World, told: bool) -> bool {
        match self {
            Await::PollRoom => world.has_room(),
            Await::PollMany => world.has_arrived() && !told,
            _ => world.has_arrived(),
        }
    }

    fn hear(&self, world: &mut World, result: i32) -> i32 {
        match self {
            _ if result < 0 => result,
            Await::Poll | Await::PollMany | Await::PollRoom => 1,
            Await::Accept | Await::AcceptMany => {
                world.accepted(result);
                0
            }
        }
    }
}
