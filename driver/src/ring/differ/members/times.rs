//! Timeouts.

use io_uring::types::TimeoutFlags;
use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Time {
    /// Passes at once, or never.
    Once { soon: bool, success: bool },
    /// Ends when so many others have completed.
    Count(u8),
    /// Passes so often.
    Repeat(u8),
}

pub(super) fn once() -> impl Strategy<Value = What> {
    let once = any::<(bool, bool)>();
    once.prop_map(|(soon, success)| What::Time(Time::Once { soon, success }))
}

pub(in crate::ring::differ) fn times() -> impl Strategy<Value = What> {
    let never = |success| Time::Once {
        soon: false,
        success,
    };
    let times = prop_oneof![
        4 => (1..6u8).prop_map(Time::Count),
        2 => (1..4u8).prop_map(Time::Repeat),
        2 => any::<bool>().prop_map(never),
    ];
    times.prop_map(What::Time)
}

impl Kind for Time {
    fn entry(&self, world: &mut World, _at: At<'_>) -> squeue::Entry {
        match *self {
            Time::Once { soon, success } => {
                let flags = match success {
                    true => TimeoutFlags::ETIME_SUCCESS,
                    false => TimeoutFlags::empty(),
                };
                let timeout = opcode::Timeout::new(world.time(soon));
                timeout.flags(flags).build()
            }
            Time::Count(count) => {
                let timeout = opcode::Timeout::new(world.time(false));
                timeout.count(count.into()).build()
            }
            Time::Repeat(times) => {
                let timeout = opcode::Timeout::new(world.time(true));
                let timeout = timeout.count(times.into());
                timeout.flags(TimeoutFlags::MULTISHOT).build()
            }
        }
    }

    fn fails(&self, _place: Place, result: i32) -> bool {
        match self {
            Time::Once { success: true, .. } => result != -libc::ETIME,
            _ => result < 0,
        }
    }

    fn takes_limit(&self, _place: Place) -> bool {
        // Whether it or a deadline of the same length is first, nobody says.
        !matches!(self, Time::Repeat(_) | Time::Once { soon: true, .. })
    }

    fn ends_at_limit(&self) -> bool {
        matches!(self, Time::Once { .. })
    }

    fn can_go_on(&self, _world: &World, _told: bool) -> bool {
        // One that counts is told of by whoever is counted.
        match *self {
            Time::Once { soon, .. } => soon,
            Time::Count(_) => false,
            Time::Repeat(_) => true,
        }
    }
}
