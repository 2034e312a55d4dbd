//! The directions of a chain's members: taken all or none.

use std::io;
use std::sync::Arc;

use super::{Member, Members};
use crate::fd::{Begin, FdRef, Lane, closed_error};

pub(super) enum Seats {
    Taken,
    /// All were given back; this one is busy.
    Busy(FdRef, Lane),
    /// All were given back; this member cannot begin.
    Refused(usize, io::Error),
}

/// Counts every member in and takes its direction: all, or none.
pub(super) fn take_seats(members: Members<'_, '_>, mut granted: Option<(FdRef, Lane)>) -> Seats {
    for at in 0..members.len() {
        let Some((fd, lane)) = members[at].seat() else {
            continue;
        };
        let lane = lane.filter(|lane| !shared_before(members, at, &fd, *lane));
        let mine = granted.take_if(|(f, l)| Arc::ptr_eq(f, &fd) && lane == Some(*l));
        let begun = if mine.is_some() {
            fd.begin_granted(lane)
        } else {
            fd.begin(lane)
        };
        let seats = match begun {
            Begin::Go => continue,
            Begin::GoKept => {
                members[at].count_out(lane);
                Seats::Refused(
                    at,
                    io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "what an earlier, dropped read received waits on this descriptor: read it first",
                    ),
                )
            }
            Begin::Busy => match lane {
                Some(lane) => Seats::Busy(fd, lane),
                None => Seats::Refused(at, closed_error()),
            },
            Begin::Closed => {
                if let Some((fd, lane)) = mine {
                    fd.release(lane);
                }
                Seats::Refused(at, closed_error())
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

/// Counts the first `count` members out again, and gives up what they took.
pub(super) fn give_back(members: Members<'_, '_>, count: usize) {
    for at in 0..count {
        let lane = members[at]
            .seat()
            .and_then(|(fd, lane)| lane.filter(|lane| !shared_before(members, at, &fd, *lane)));
        members[at].count_out(lane);
    }
}

fn same(member: &dyn Member, fd: &FdRef, lane: Lane) -> bool {
    member
        .seat()
        .is_some_and(|(f, l)| l == Some(lane) && Arc::ptr_eq(&f, fd))
}

/// Whether a member before `at` has taken this direction already.
fn shared_before(members: &[&mut dyn Member], at: usize, fd: &FdRef, lane: Lane) -> bool {
    members[..at].iter().any(|m| same(&**m, fd, lane))
}

/// The direction that member `at` gives up when it ends: its own, unless a later member shares it.
pub(super) fn gives_up(members: &[&mut dyn Member], at: usize) -> Option<Lane> {
    let (fd, lane) = members[at].seat()?;
    lane.filter(|lane| !members[at + 1..].iter().any(|m| same(&**m, &fd, *lane)))
}
