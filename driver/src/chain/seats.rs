//! The seats of a chain's members: directions of descriptors, serial groups. Taken all or none.
//!
//! They are numbered, [`SEATS`] for each member.

use std::io;
use std::sync::Arc;

use super::{Member, Members};
use crate::fd::{Begin, FdRef, Lane, closed_error};
use crate::op::{ALL, GivesUp, SEATS, Seat, Which, kept_error};

pub(super) enum Seats {
    Taken,
    /// All were given back; this one is busy.
    Busy(FdRef, Lane),
    /// All were given back; this member cannot begin.
    Refused(usize, io::Error),
}

fn which(seat: usize) -> Which {
    ALL[seat % SEATS]
}

fn seat<'a>(members: &'a [&mut dyn Member], seat: usize) -> Option<Seat<'a>> {
    members[seat / SEATS].seat(which(seat))
}

/// Counts every member in on its descriptors and takes its directions and groups: all, or none.
pub(super) fn take_seats(members: Members<'_, '_>, mut granted: Option<(FdRef, Lane)>) -> Seats {
    for at in 0..members.len() * SEATS {
        let Some((fd, lane)) = seat(members, at) else {
            continue;
        };
        let lane = lane.filter(|lane| !shared_before(members, at, fd, *lane));
        let mine = granted.take_if(|(f, l)| Arc::ptr_eq(f, fd) && lane == Some(*l));
        let begun = if mine.is_some() {
            fd.begin_granted(lane)
        } else {
            fd.begin(lane)
        };
        if which(at) == Which::Group && matches!(begun, Begin::Go | Begin::GoKept) {
            // It has a lane, and counts nobody.
            fd.finish_here();
        }
        let member = at / SEATS;
        let seats = match begun {
            Begin::Go => continue,
            Begin::GoKept => {
                give_back_one(fd, lane, which(at));
                Seats::Refused(member, kept_error())
            }
            Begin::Busy => match lane {
                Some(lane) => Seats::Busy(fd.clone(), lane),
                None => Seats::Refused(member, closed_error()),
            },
            Begin::Closed => {
                if let Some((fd, lane)) = mine {
                    fd.release(lane);
                }
                Seats::Refused(member, closed_error())
            }
        };
        give_back(members, at);
        if let Some((fd, lane)) = granted {
            fd.release(lane);
        }
        return seats;
    }
    Seats::Taken
}

fn give_back_one(fd: &FdRef, lane: Option<Lane>, which: Which) {
    if let Some(lane) = lane {
        fd.release(lane);
    }
    if which != Which::Group {
        fd.finish_here();
    }
}

/// Counts members out again and gives up what they took: the first `count` seats.
pub(super) fn give_back(members: Members<'_, '_>, count: usize) {
    for at in 0..count {
        if let Some((fd, lane)) = seat(members, at) {
            let lane = lane.filter(|lane| !shared_before(members, at, fd, *lane));
            give_back_one(fd, lane, which(at));
        }
    }
}

fn same(members: &[&mut dyn Member], at: usize, fd: &FdRef, lane: Lane) -> bool {
    seat(members, at).is_some_and(|(f, l)| l == Some(lane) && Arc::ptr_eq(f, fd))
}

/// Whether a seat before `at` is this direction already.
fn shared_before(members: &[&mut dyn Member], at: usize, fd: &FdRef, lane: Lane) -> bool {
    (0..at).any(|before| same(members, before, fd, lane))
}

/// What member `member` gives up when it ends: its own, unless a later member shares it.
pub(super) fn gives_up(members: &[&mut dyn Member], member: usize) -> GivesUp {
    let last = |which: usize| {
        let at = member * SEATS + which;
        let (fd, lane) = seat(members, at)?;
        let shared = |lane: &Lane| {
            (at + 1..members.len() * SEATS).any(|after| same(members, after, fd, *lane))
        };
        lane.filter(|lane| !shared(lane))
    };
    let [group, own, second] = [0, 1, 2].map(last);
    GivesUp {
        own,
        second,
        group: group.is_some(),
    }
}
