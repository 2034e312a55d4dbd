//! Timeouts.

use std::time::Duration;

use io_uring::types::TimeoutFlags;
use io_uring::{opcode, squeue};
use proptest::prelude::*;
use rustix::time::ClockId;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Time {
    /// Passes at once, or never.
    Once {
        soon: bool,
        success: bool,
        clock: Clock,
    },
    /// Ends when so many others have completed.
    Count(u8),
    /// Passes so often.
    Repeat(u8),
}

/// Which clock a time is of, and whether it is one of it or from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Clock {
    FromNow,
    BootFromNow,
    Monotonic,
    Boot,
    Real,
}

const CLOCKS: [Clock; 5] = [
    Clock::FromNow,
    Clock::BootFromNow,
    Clock::Monotonic,
    Clock::Boot,
    Clock::Real,
];

impl Clock {
    /// One of them.
    pub(in crate::ring::differ) fn of(number: u64) -> Clock {
        CLOCKS[number as usize % CLOCKS.len()]
    }

    pub(in crate::ring::differ) fn flags(self) -> TimeoutFlags {
        match self {
            Clock::FromNow => TimeoutFlags::empty(),
            Clock::BootFromNow => TimeoutFlags::BOOTTIME,
            Clock::Monotonic => TimeoutFlags::ABS,
            Clock::Boot => TimeoutFlags::ABS | TimeoutFlags::BOOTTIME,
            Clock::Real => TimeoutFlags::ABS | TimeoutFlags::REALTIME,
        }
    }

    /// What it shows in so much time.
    pub(in crate::ring::differ) fn shows(self, after: Duration) -> Duration {
        let id = match self {
            Clock::FromNow | Clock::BootFromNow => return after,
            Clock::Monotonic => ClockId::Monotonic,
            Clock::Boot => ClockId::Boottime,
            Clock::Real => ClockId::Realtime,
        };
        let now = rustix::time::clock_gettime(id);
        after + Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }
}

pub(super) fn once() -> impl Strategy<Value = What> {
    let once = (
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(&CLOCKS[..]),
    );
    once.prop_map(|(soon, success, clock)| {
        What::Time(Time::Once {
            soon,
            success,
            clock,
        })
    })
}

pub(in crate::ring::differ) fn times() -> impl Strategy<Value = What> {
    let never = |success| Time::Once {
        soon: false,
        success,
        clock: Clock::FromNow,
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
            Time::Once {
                soon,
                success,
                clock,
            } => {
                let flags = match success {
                    true => TimeoutFlags::ETIME_SUCCESS,
                    false => TimeoutFlags::empty(),
                };
                let timeout = opcode::Timeout::new(world.time_by(soon, clock));
                timeout.flags(flags | clock.flags()).build()
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
