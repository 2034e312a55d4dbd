//! Entries that name their file by a row of the ring's table, and memory that the ring knows: any member of a chain may, as
//! it is all the same to what it does.

use std::os::fd::RawFd;

use io_uring::{opcode, squeue};
use proptest::prelude::*;

use super::members::What;
use super::members::writes::Write;
use super::world::World;
use crate::ring::{Ring, Sqe};

/// What the ring knows of a member's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    All,
    /// The beginning, which may be too little.
    Part,
}

/// What a member names by a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    pub(super) file: bool,
    pub(super) memory: Known,
}

/// So much of it is a part.
const PART: usize = 20;
/// Where the descriptor is in an entry.
const FD: usize = 4;

/// Where `files` says so, files may be named by rows.
pub(super) fn fixed(files: bool) -> impl Strategy<Value = Fixed> {
    let memory =
        prop_oneof![4 => Just(Known::Nothing), 1 => Just(Known::All), 1 => Just(Known::Part)];
    (prop::bool::weighted(0.5), memory).prop_map(move |(file, memory)| Fixed {
        file: file && files,
        memory,
    })
}

impl Fixed {
    /// The entry of a member, that names by rows what it is to name by them.
    pub(super) fn apply(
        self,
        what: What,
        entry: squeue::Entry,
        world: &mut World,
        ring: &mut Ring,
    ) -> squeue::Entry {
        // SAFETY: the memory is the world's, as it was before.
        let mut sqe = unsafe { Sqe::new(entry) };
        // SAFETY: an entry is 64 bytes of plain numbers.
        let bytes: [u8; 64] = unsafe { std::mem::transmute(sqe.entry.clone()) };
        if self.file
            && works_on_file(what)
            && let Some(row) = world.row(fd(&bytes), ring)
        {
            sqe = sqe.in_table(row);
        }
        let one_buffer = matches!(bytes[0], opcode::Read::CODE | opcode::Write::CODE);
        if one_buffer && let Some(row) = self.row_of_memory(world, ring) {
            sqe = sqe.in_region(row);
        }
        sqe.entry
    }

    fn row_of_memory(self, world: &World, ring: &mut Ring) -> Option<u16> {
        let memory = world.last_memory();
        let known = match self.memory {
            Known::Nothing => return None,
            Known::All => memory.len(),
            Known::Part => PART,
        };
        // As many as there are rows.
        ring.register_buffer(memory.as_ptr(), known).ok()
    }
}

fn fd(bytes: &[u8; 64]) -> RawFd {
    RawFd::from_ne_bytes(bytes[FD..FD + 4].try_into().unwrap())
}

/// Whether its descriptor is what it works on, and it does not give the number back.
fn works_on_file(what: What) -> bool {
    use What::{Await, Cancel, Pick, Read, Write as Writes};
    matches!(what, Await(_) | Cancel(_) | Pick(_) | Read(_) | Writes(_))
        && what != Writes(Write::Close)
}
