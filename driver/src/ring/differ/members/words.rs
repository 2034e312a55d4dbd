//! Waits at a word of memory, and wakes.

use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

/// `FUTEX_BITSET_MATCH_ANY`.
const ANYBODY: u64 = 0xffff_ffff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Word {
    /// If the word is what is expected.
    Wait { expected: bool, shared: bool },
    /// All who wait, or nobody: who of them is first hangs on when a chain that was woken goes on.
    Wake { all: bool, shared: bool },
}

pub(in crate::ring::differ) fn words() -> impl Strategy<Value = What> {
    let wait = (prop::bool::weighted(0.85), any::<bool>());
    let wake = (prop::bool::weighted(0.75), any::<bool>());
    let words = prop_oneof![
        3 => wait.prop_map(|(expected, shared)| Word::Wait { expected, shared }),
        2 => wake.prop_map(|(all, shared)| Word::Wake { all, shared }),
    ];
    words.prop_map(What::Word)
}

/// Words of 32 bits, and who meets there.
fn scope(shared: bool) -> u32 {
    if shared { 2 } else { 2 | 128 }
}

impl Kind for Word {
    fn entry(&self, world: &mut World, _at: At<'_>) -> squeue::Entry {
        let word = world.word.as_ptr();
        match *self {
            Word::Wait { expected, shared } => {
                let value = u64::from(!expected);
                opcode::FutexWait::new(word, value, ANYBODY, scope(shared)).build()
            }
            Word::Wake { all, shared } => {
                let count = if all { 100 } else { 0 };
                opcode::FutexWake::new(word, count, ANYBODY, scope(shared)).build()
            }
        }
    }

    fn fails(&self, _place: Place, result: i32) -> bool {
        let waits = matches!(self, Word::Wait { .. });
        result < 0 && !(waits && result == -libc::ECANCELED)
    }

    fn ends_at_limit(&self) -> bool {
        matches!(self, Word::Wait { .. })
    }

    fn can_go_on(&self, _world: &World, _told: bool) -> bool {
        // Who waits is told of by who wakes, or cancels.
        !matches!(self, Word::Wait { expected: true, .. })
    }

    fn hear(&self, world: &mut World, result: i32) -> i32 {
        match self {
            Word::Wake { .. } if result > 0 => world.owed += result,
            Word::Wait { .. } if result == 0 => world.owed -= 1,
            _ => {}
        }
        result
    }
}
