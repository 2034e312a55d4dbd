//! Reads, and splices: what takes bytes.

use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum How {
    Plain,
    /// By one buffer in two parts.
    Parts,
    /// Does not wait.
    Try,
    /// All of it (`MSG_WAITALL`), where that exists.
    All,
    /// Looks at it, and leaves it (`MSG_PEEK`), where that exists.
    Peek,
    /// Into another pipe, without waiting.
    Splice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) struct Read {
    pub(in crate::ring::differ) how: How,
    pub(in crate::ring::differ) len: u16,
}

fn len() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 0..40u16, 2 => Just(8192u16)]
}

pub(in crate::ring::differ) fn reads() -> impl Strategy<Value = What> {
    let how = prop::sample::select(&[How::Plain, How::Parts, How::Try, How::All, How::Peek][..]);
    (how, len()).prop_map(|(how, len)| What::Read(Read { how, len }))
}

pub(in crate::ring::differ) fn splices() -> impl Strategy<Value = What> {
    let how = How::Splice;
    len().prop_map(move |len| What::Read(Read { how, len }))
}

impl Kind for Read {
    fn entry(&self, world: &mut World, at: At<'_>) -> squeue::Entry {
        let (reader, offset, len) = (world.reader(), world.offset(at), u32::from(self.len));
        let socket = world.place.is_socket();
        match self.how {
            How::All if socket => opcode::Recv::new(reader, world.room(0), len)
                .flags(libc::MSG_WAITALL)
                .build(),
            How::Peek if socket => opcode::Recv::new(reader, world.room(0), len)
                .flags(libc::MSG_PEEK)
                .build(),
            How::Try if socket => opcode::Recv::new(reader, world.room(0), len)
                .flags(libc::MSG_DONTWAIT)
                .build(),
            How::Try if world.place != Place::File => {
                let read = opcode::Read::new(reader, world.room(0), len);
                read.offset(offset).rw_flags(libc::RWF_NOWAIT).build()
            }
            How::Plain | How::All | How::Try | How::Peek => {
                let read = opcode::Read::new(reader, world.room(0), len);
                read.offset(offset).build()
            }
            How::Parts => {
                let readv = opcode::Readv::new(reader, world.vectors(0, self.len), 2);
                readv.offset(offset).build()
            }
            How::Splice => {
                let splice = opcode::Splice::new(reader, -1, world.beside(), -1, len);
                splice.flags(libc::SPLICE_F_NONBLOCK).build()
            }
        }
    }

    fn consumes(&self) -> bool {
        true
    }

    fn fails(&self, place: Place, result: i32) -> bool {
        // Of a socket a receive may bring less.
        let receives = place.is_socket() && matches!(self.how, How::Try | How::Peek);
        result < 0 || !receives && result < i32::from(self.len)
    }

    fn is_quick(&self) -> bool {
        self.how == How::Try
    }

    fn takes_limit(&self, place: Place) -> bool {
        // It does not reach what the kernel does on a worker.
        self.how != How::Splice && place != Place::File
    }

    fn can_go_on(&self, world: &World, _told: bool) -> bool {
        matches!(self.how, How::Try | How::Splice) || world.has_arrived()
    }
}
