//! What is opened into rows of the ring's table of files, used there and closed.

use io_uring::types::{DestinationSlot, Fd, Fixed};
use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

/// As many rows has the table; one more is spoken of.
pub(in crate::ring::differ) const ROWS: u32 = 3;

/// Into that row, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Row {
    Open(Option<u32>),
    Socket(Option<u32>),
    Close(u32),
    /// What is there gives so many bytes, if it is open.
    Read(u32, u16),
}

pub(in crate::ring::differ) fn rows() -> impl Strategy<Value = What> {
    let row = 0..=ROWS;
    let to = proptest::option::weighted(0.6, row.clone());
    let rows = prop_oneof![
        2 => to.clone().prop_map(Row::Open),
        2 => to.prop_map(Row::Socket),
        2 => row.clone().prop_map(Row::Close),
        2 => (row, 1..40u16).prop_map(|(row, len)| Row::Read(row, len)),
    ];
    rows.prop_map(What::Row)
}

fn slot(row: Option<u32>) -> DestinationSlot {
    row.map_or_else(DestinationSlot::auto_target, |row| {
        DestinationSlot::try_from_slot_target(row).unwrap()
    })
}

impl Kind for Row {
    fn entry(&self, world: &mut World, at: At<'_>) -> squeue::Entry {
        match *self {
            Row::Open(row) => {
                let open = opcode::OpenAt::new(Fd(libc::AT_FDCWD), c"/dev/zero".as_ptr());
                open.file_index(Some(slot(row))).build()
            }
            Row::Socket(row) => {
                let socket = opcode::Socket::new(libc::AF_UNIX, libc::SOCK_DGRAM, 0);
                socket.file_index(Some(slot(row))).build()
            }
            Row::Close(row) => opcode::Close::new(Fixed(row)).build(),
            Row::Read(row, len) => {
                let room = world.room(at.fill());
                let read = opcode::Read::new(Fixed(row), room, len.into());
                read.rw_flags(libc::RWF_NOWAIT).build()
            }
        }
    }

    /// Who looks for a free row finds what those before have left.
    fn consumes(&self) -> bool {
        true
    }

    fn fails(&self, _place: Place, result: i32) -> bool {
        match self {
            Row::Read(_, len) => result < i32::from(*len),
            // One that is there, but for which there is no row, has not failed.
            Row::Socket(_) => false,
            _ => result < 0,
        }
    }

    fn is_quick(&self) -> bool {
        !matches!(self, Row::Open(_))
    }

    fn takes_limit(&self, _place: Place) -> bool {
        false
    }
}
