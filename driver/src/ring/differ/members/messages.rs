//! Sends and receives by a header.

use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Message {
    Send {
        len: u16,
        all: bool,
    },
    /// With these `MSG_*` flags.
    Receive {
        len: u16,
        flags: i32,
    },
}

pub(in crate::ring::differ) fn messages() -> impl Strategy<Value = What> {
    let flags = [0, libc::MSG_WAITALL, libc::MSG_PEEK, libc::MSG_DONTWAIT];
    let receive = (0..40u16, prop::sample::select(flags.to_vec()));
    let messages = prop_oneof![
        (0..40u16, any::<bool>()).prop_map(|(len, all)| Message::Send { len, all }),
        receive.prop_map(|(len, flags)| Message::Receive { len, flags }),
    ];
    messages.prop_map(What::Message)
}

impl Kind for Message {
    fn entry(&self, world: &mut World, at: At<'_>) -> squeue::Entry {
        match *self {
            Message::Send { len, all } => {
                let (writer, header) = (world.writer(), world.header(at.fill(), len));
                let flags = if all { libc::MSG_WAITALL } else { 0 };
                let send = opcode::SendMsg::new(writer, header);
                send.flags(flags as u32).build()
            }
            Message::Receive { len, flags } => {
                let (reader, header) = (world.reader(), world.header(0, len));
                let receive = opcode::RecvMsg::new(reader, header);
                receive.flags(flags as u32).build()
            }
        }
    }

    fn consumes(&self) -> bool {
        matches!(self, Message::Receive { .. })
    }

    fn produces(&self) -> bool {
        matches!(self, Message::Send { .. })
    }

    fn fails(&self, _place: Place, result: i32) -> bool {
        let all = match *self {
            Message::Send { len, all } => all.then_some(len),
            Message::Receive { len, flags } => (flags == libc::MSG_WAITALL).then_some(len),
        };
        result < 0 || all.is_some_and(|len| result < i32::from(len))
    }

    fn is_quick(&self) -> bool {
        matches!(self, Message::Receive { flags, .. } if *flags == libc::MSG_DONTWAIT)
    }

    fn can_go_on(&self, world: &World, _told: bool) -> bool {
        match self {
            Message::Send { .. } => world.has_room(),
            Message::Receive { .. } => self.is_quick() || world.has_arrived(),
        }
    }
}
