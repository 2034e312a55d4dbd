//! What is done with names, in a directory of the strand's own.

use std::ffi::CStr;

use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::{At, Kind, What};
use crate::ring::differ::place::Place;
use crate::ring::differ::world::World;

/// A name among these.
type Which = usize;

const NAMES: [&CStr; 4] = [c"a", c"b", c"a/c", c""];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring::differ) enum Name {
    Open { name: Which, create: bool },
    MakeDirectory(Which),
    Unlink { name: Which, directory: bool },
    Rename(Which, Which),
    Link(Which, Which),
    Symlink(Which, Which),
    Status(Which),
}

pub(in crate::ring::differ) fn names() -> impl Strategy<Value = What> {
    let name = || 0..NAMES.len();
    let names = prop_oneof![
        3 => (name(), any::<bool>()).prop_map(|(name, create)| Name::Open { name, create }),
        2 => name().prop_map(Name::MakeDirectory),
        2 => (name(), any::<bool>()).prop_map(|(name, directory)| Name::Unlink { name, directory }),
        1 => (name(), name()).prop_map(|(from, to)| Name::Rename(from, to)),
        1 => (name(), name()).prop_map(|(from, to)| Name::Link(from, to)),
        1 => (name(), name()).prop_map(|(from, to)| Name::Symlink(from, to)),
        1 => name().prop_map(Name::Status),
    ];
    names.prop_map(What::Name)
}

/// That of nothing.
const NOTHING: Which = 3;

impl Name {
    pub(super) fn is_wrong(self) -> bool {
        match self {
            Name::Open { name, .. } | Name::Unlink { name, .. } => name == NOTHING,
            Name::MakeDirectory(name) | Name::Status(name) => name == NOTHING,
            Name::Rename(one, other) | Name::Link(one, other) | Name::Symlink(one, other) => {
                one == NOTHING || other == NOTHING
            }
        }
    }
}

impl Kind for Name {
    fn entry(&self, world: &mut World, _at: At<'_>) -> squeue::Entry {
        let at = world.reader();
        let path = |name: Which| NAMES[name].as_ptr();
        match *self {
            Name::Open { name, create } => {
                let create = if create { libc::O_CREAT } else { 0 };
                let open = opcode::OpenAt::new(at, path(name)).mode(0o600);
                open.flags(libc::O_RDONLY | libc::O_CLOEXEC | create)
                    .build()
            }
            Name::MakeDirectory(name) => opcode::MkDirAt::new(at, path(name)).mode(0o700).build(),
            Name::Unlink { name, directory } => {
                let flags = if directory { libc::AT_REMOVEDIR } else { 0 };
                opcode::UnlinkAt::new(at, path(name)).flags(flags).build()
            }
            Name::Rename(from, to) => opcode::RenameAt::new(at, path(from), at, path(to)).build(),
            Name::Link(from, to) => opcode::LinkAt::new(at, path(from), at, path(to)).build(),
            Name::Symlink(to, name) => opcode::SymlinkAt::new(at, path(to), path(name)).build(),
            Name::Status(name) => {
                // What it says of times is not compared.
                let status = world.status().cast();
                opcode::Statx::new(at, path(name), status).build()
            }
        }
    }

    /// One at a time.
    fn consumes(&self) -> bool {
        true
    }

    /// None of them is a failure to a chain, but that of an open.
    fn fails(&self, _place: Place, result: i32) -> bool {
        let opens = matches!(self, Name::Open { .. });
        result == -libc::ECANCELED || opens && result < 0
    }

    fn takes_limit(&self, _place: Place) -> bool {
        false
    }

    fn hear(&self, world: &mut World, result: i32) -> i32 {
        match self {
            Name::Open { .. } if result >= 0 => {
                world.accepted(result);
                0
            }
            _ => result,
        }
    }
}
