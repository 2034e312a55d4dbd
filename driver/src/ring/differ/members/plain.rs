//! What needs no descriptor, and what is wrong.

use io_uring::{opcode, squeue, types};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Plain {
    Nop,
    /// A read of a descriptor that is none.
    BadRead,
    /// An opcode that does not exist.
    NoOpcode,
    /// A timeout with flags that do not exist.
    BadFlags,
}

pub(in crate::ring::differ) const NOP: What = What::Plain(Plain::Nop);

pub(super) fn wrong() -> impl Strategy<Value = What> {
    let wrong = [Plain::BadRead, Plain::NoOpcode, Plain::BadFlags];
    prop::sample::select(wrong.to_vec()).prop_map(What::Plain)
}

impl Kind for Plain {
    fn entry(&self, world: &mut World, _at: At<'_>) -> squeue::Entry {
        match self {
            Plain::Nop => opcode::Nop::new().build(),
            Plain::BadRead => opcode::Read::new(types::Fd(-1), world.room(0), 1).build(),
            Plain::NoOpcode => {
                let mut bytes = [0u8; 64];
                bytes[0] = 250;
                // SAFETY: an entry is 64 bytes, in which all bits are valid.
                unsafe { std::mem::transmute::<[u8; 64], squeue::Entry>(bytes) }
            }
            Plain::BadFlags => opcode::Timeout::new(world.time(true))
                .flags(types::TimeoutFlags::from_bits_retain(1 << 20))
                .build(),
        }
    }

    fn is_quick(&self) -> bool {
        matches!(self, Plain::Nop | Plain::BadRead)
    }

    fn takes_limit(&self, _place: Place) -> bool {
        matches!(self, Plain::Nop | Plain::BadRead)
    }
}

/// What may be a member of any chain.
pub(in crate::ring::differ) fn anywhere() -> impl Strategy<Value = What> {
    prop_oneof![
        3 => Just(NOP),
        2 => wrong(),
        2 => super::times::once(),
        5 => super::cancels::cancels(),
    ]
}
