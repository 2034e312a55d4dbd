//! What ends others, or hastens them.

use io_uring::{opcode, squeue, types};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::LIMIT;
use crate::ring::differ::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Cancel {
    /// Of the entry so many before, in this strand.
    Back(u8),
    /// Of all with the number of the entry so many before.
    Each(u8),
    /// Of all that is done at the reader.
    Reader,
    /// Of one thing that is.
    OneOfReader,
    Nobody,
    /// Ends the timeout so many before.
    Remove(u8),
    /// Gives that another time; or its deadline.
    Update {
        back: u8,
        soon: bool,
        limit: bool,
    },
}

pub(super) fn cancels() -> impl Strategy<Value = What> {
    let cancels = prop_oneof![
        3 => (1..6u8).prop_map(Cancel::Back),
        1 => (1..6u8).prop_map(Cancel::Each),
        1 => Just(Cancel::Reader),
        1 => Just(Cancel::OneOfReader),
        1 => Just(Cancel::Nobody),
    ];
    cancels.prop_map(What::Cancel)
}

/// Of timeouts.
pub(in crate::ring::differ) fn changes() -> impl Strategy<Value = What> {
    let update = (1..5u8, any::<bool>(), any::<bool>());
    let changes = prop_oneof![
        2 => (1..5u8).prop_map(Cancel::Remove),
        3 => update.prop_map(|(back, soon, limit)| Cancel::Update { back, soon, limit }),
    ];
    changes.prop_map(What::Cancel)
}

impl Cancel {
    pub(super) fn target(self) -> Option<u8> {
        match self {
            Cancel::Back(back) | Cancel::Each(back) | Cancel::Remove(back) => Some(back),
            Cancel::Update { back, soon, .. } => soon.then_some(back),
            Cancel::Reader | Cancel::OneOfReader | Cancel::Nobody => None,
        }
    }
}

impl Kind for Cancel {
    fn entry(&self, world: &mut World, at: At<'_>) -> squeue::Entry {
        match *self {
            Cancel::Back(back) => opcode::AsyncCancel::new(at.target(back)).build(),
            Cancel::Each(back) => {
                let each = types::CancelBuilder::user_data(at.target(back)).all();
                opcode::AsyncCancel2::new(each).build()
            }
            Cancel::OneOfReader => {
                let one = types::CancelBuilder::fd(world.reader());
                opcode::AsyncCancel2::new(one).build()
            }
            Cancel::Reader => {
                let all = types::CancelBuilder::fd(world.reader()).all();
                opcode::AsyncCancel2::new(all).build()
            }
            Cancel::Nobody => opcode::AsyncCancel::new(u64::MAX - 1).build(),
            Cancel::Remove(back) => opcode::TimeoutRemove::new(at.target(back)).build(),
            Cancel::Update { back, soon, limit } => {
                let (target, time) = (at.target(back), world.time(soon));
                if limit {
                    let flags = types::TimeoutFlags::LINK_TIMEOUT_UPDATE;
                    let update = opcode::TimeoutUpdate::new(target | LIMIT, time);
                    update.flags(flags).build()
                } else {
                    opcode::TimeoutUpdate::new(target, time).build()
                }
            }
        }
    }
}
