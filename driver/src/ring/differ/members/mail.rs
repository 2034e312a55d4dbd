//! Messages to another ring.

use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::world::World;

/// One with this value, or to what is no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) struct Mail(Option<u16>);

pub(in crate::ring::differ) fn mail() -> impl Strategy<Value = What> {
    let value = proptest::option::weighted(0.9, any::<u16>());
    value.prop_map(|value| What::Mail(Mail(value)))
}

impl Kind for Mail {
    fn entry(&self, world: &mut World, at: At<'_>) -> squeue::Entry {
        match self.0 {
            Some(value) => {
                let message = opcode::MsgRingData::new(world.peer(), value.into(), at.number, None);
                message.build()
            }
            None => opcode::MsgRingData::new(world.reader(), 0, at.number, None).build(),
        }
    }

    fn hear(&self, world: &mut World, result: i32) -> i32 {
        world.mailed += usize::from(result == 0);
        result
    }
}
