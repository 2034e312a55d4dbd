//! One slot: who waits for an operation, and what has become of it.

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::Waker;

use super::Taken;
use super::memory::Memory;
use super::orphan::{Body, HasVtable, Vtable};
use crate::cancel::TokenInner;
use crate::fd::{FdRef, Lane, NONE};
use crate::op::{Ended, Nop, Operation, Success};
use crate::ring::Completion;

/// The bit of `user_data` that marks a completion as that of the slot's `LINK_TIMEOUT`.
const TIMEOUT_BIT: u64 = 1 << 31;
/// The bit of `user_data` that marks a completion as that of a cancel of the slot's operation.
const CANCEL_BIT: u64 = 1 << 30;
/// There are no more slots than fit beside these bits.
pub(super) const MOST: u32 = CANCEL_BIT as u32;

/// What a completion is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Operation,
    Timeout,
    Cancel,
}

/// An operation's number: where its slot is, and which of the slot's tenants it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Key {
    #[inline]
    pub(crate) fn user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn timeout_user_data(self) -> u64 {
        self.user_data() | TIMEOUT_BIT
    }

    pub(crate) fn cancel_user_data(self) -> u64 {
        self.user_data() | CANCEL_BIT
    }

    /// The key, if it is that of an operation's own completion.
    #[inline]
    pub(crate) fn of_operation(user_data: u64) -> Option<Key> {
        let key = Key {
            index: user_data as u32,
            generation: (user_data >> 32) as u32,
        };
        (user_data & (TIMEOUT_BIT | CANCEL_BIT) == 0).then_some(key)
    }

    /// The key, and which of its completions it is.
    #[inline]
    pub(super) fn from_user_data(user_data: u64) -> (Key, Of) {
        let index = (user_data & (CANCEL_BIT - 1)) as u32;
        let key = Key {
            index,
            generation: (user_data >> 32) as u32,
        };
        let of = match user_data & (TIMEOUT_BIT | CANCEL_BIT) {
            0 => Of::Operation,
            CANCEL_BIT => Of::Cancel,
            _ => Of::Timeout,
        };
        (key, of)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// In nobody's use.
    Free,
    /// The kernel may still touch the cell.
    InFlight,
    /// The result has come, and the operation is off its descriptor; but the kernel reads its memory still, and will
    /// tell when it no longer does. Nothing ends that earlier.
    Sent,
    /// The last completion has come; the operation waits to be taken out.
    Done,
    /// The operation, which nobody waits for, is being discarded, in its cell still.
    Leaving,
    /// The operation is out; only its timeout's completion is still to come.
    Spent,
}

/// The `LINK_TIMEOUT` of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    None,
    /// Its completion is still to come.
    Armed,
    /// It fired: the operation was cancelled because of it.
    Fired,
    /// The operation won.
    Over,
}

/// What the table holds for an operation. Kept small: one is written for every operation.
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) phase: Phase,
    pub(super) deadline: Deadline,
    pub(super) orphaned: bool,
    pub(super) cancelled: bool,
    /// Runs on when its future is dropped.
    pub(super) keep: bool,
    /// It notes its completions itself.
    pub(super) notes: bool,
    /// It is in its descriptor's list.
    pub(super) listed: bool,
    /// The lane to give up when the result is taken.
    pub(super) lane: Option<Lane>,
    /// The result is kept raw until somebody asks.
    pub(super) result: i32,
    pub(super) flags: u32,
    /// Neighbours in the descriptor's list, if listed. `next` of a free slot: the next free one.
    pub(super) next: u32,
    pub(super) prev: u32,
    /// What few operations have: an index into the slots' list of [`Rare`], or `NONE`.
    pub(super) rare: u32,
    pub(super) waker: Option<Waker>,
    /// Where the operation is: in the slot's own cell, or in one it was lent.
    pub(super) cell: NonNull<u8>,
    pub(super) home: NonNull<u8>,
    pub(super) vtable: &'static Vtable,
    pub(super) fd: Option<FdRef>,
}

/// What only linked, cancellable, grouped and multishot operations have, and those with two descriptors.
#[derive(Default)]
pub(super) struct Rare {
    /// Neighbours in the chain of linked operations.
    pub(super) chain_next: Option<Key>,
    pub(super) chain_prev: Option<Key>,
    /// The token that may cancel it, and its place there.
    pub(super) token: Option<(Rc<TokenInner>, usize)>,
    /// Completions of a multishot operation that nobody has taken yet.
    pub(super) more: VecDeque<Success>,
    /// The notification of a send that did not copy came before its result.
    pub(super) notified: bool,
    /// Its deadline is a timer beside it, not linked to it.
    pub(super) timer: bool,
    /// Its second descriptor, until the last completion.
    pub(super) second: Option<SecondFd>,
    /// The serial group to give up when the result is taken.
    pub(super) group: Option<FdRef>,
}

/// An operation's second descriptor.
pub(super) struct SecondFd {
    pub(super) fd: FdRef,
    pub(super) lane: Option<Lane>,
    /// It is in its descriptor's list of those it is the second of.
    pub(super) listed: bool,
    /// Neighbours in that list, by the indices of their slots.
    pub(super) next: u32,
    pub(super) prev: u32,
}

impl Slot {
    /// A free one, whose own cell is `home`.
    pub(super) fn new(home: NonNull<u8>) -> Slot {
        Slot {
            generation: 0,
            phase: Phase::Free,
            deadline: Deadline::None,
            orphaned: false,
            cancelled: false,
            keep: false,
            notes: false,
            listed: false,
            lane: None,
            result: 0,
            flags: 0,
            next: NONE,
            prev: NONE,
            rare: NONE,
            waker: None,
            cell: home,
            home,
            vtable: &Nop::VTABLE,
            fd: None,
        }
    }

    /// Takes a free one into use for an operation in `cell`.
    #[inline]
    pub(super) fn begin(
        &mut self,
        generation: u32,
        cell: NonNull<u8>,
        vtable: &'static Vtable,
        lane: Option<Lane>,
        keep: bool,
    ) {
        self.generation = generation;
        self.phase = Phase::InFlight;
        self.deadline = Deadline::None;
        self.orphaned = false;
        self.cancelled = false;
        self.keep = keep;
        self.notes = vtable.note.is_some();
        self.listed = false;
        self.lane = lane;
        self.next = NONE;
        self.prev = NONE;
        self.rare = NONE;
        self.cell = cell;
        self.vtable = vtable;
    }

    /// Whether more is to be done than to free it once its operation is out.
    #[inline]
    pub(super) fn is_rare(&self) -> bool {
        self.rare != NONE || self.deadline == Deadline::Armed
    }

    /// Whether no more follows the last completion than that somebody is woken, and the descriptor told.
    #[inline]
    pub(super) fn ends_plainly(&self) -> bool {
        // All three at once: `NONE` is all ones.
        self.next & self.prev & self.rare == NONE && !(self.orphaned | self.notes)
    }

    /// The last completion has come.
    #[inline]
    pub(super) fn land(&mut self, completion: &Completion) {
        debug_assert!(
            self.phase == Phase::InFlight,
            "a completion after the last one"
        );
        self.result = completion.result;
        self.flags = completion.flags;
        self.phase = Phase::Done;
    }

    /// Moves the operation, whose last completion has come, out of its cell.
    ///
    /// # Safety
    ///
    /// `T` is the type it was inserted with, and this is done once.
    #[inline]
    pub(super) unsafe fn take_out<T: Operation>(
        &mut self,
        memory: &mut Memory,
        group: Option<FdRef>,
    ) -> Taken<T> {
        let body = self.cell.cast::<Body<T>>().as_ptr();
        // SAFETY: the cell holds the operation that `insert` wrote; the last completion has come, so the kernel is done
        // with it; it is read once.
        let op = unsafe { (&raw const (*body).op).read() };
        // SAFETY: lent for this type; the operation was just moved out of it.
        unsafe { memory.give_back(self.cell, T::VTABLE.class) };
        Taken {
            result: self.outcome(),
            fd: self.fd.take(),
            lane: self.lane,
            group,
            op: ManuallyDrop::into_inner(op),
        }
    }

    #[inline]
    pub(super) fn outcome(&self) -> io::Result<Success> {
        match u32::try_from(self.result) {
            Ok(value) => Ok(Success {
                value,
                flags: self.flags,
                ended: self.ended(),
            }),
            Err(_) => Err(self.error(-self.result)),
        }
    }

    #[inline]
    fn ended(&self) -> Ended {
        match (self.deadline, self.cancelled) {
            (Deadline::Fired, _) => Ended::TimedOut,
            (_, true) => Ended::Cancelled,
            _ => Ended::Itself,
        }
    }

    /// A cancelled operation answers `ECANCELED`; one that ran on a kernel worker `EINTR` or one of the
    /// kernel's private restart codes (`ERESTARTSYS` 512 to `ERESTART_RESTARTBLOCK` 516).
    ///
    /// Only a deadline or a cancel interrupts an operation, besides the break of its chain. So one that is in no
    /// chain and was not cancelled ran out of time, even if its timeout's own completion comes later.
    #[cold]
    fn error(&self, errno: i32) -> io::Error {
        let ended = match self.ended() {
            Ended::Itself if self.deadline == Deadline::Armed && self.rare == NONE => {
                Ended::TimedOut
            }
            ended => ended,
        };
        match errno {
            libc::ECANCELED | libc::EINTR | 512..=516 if ended == Ended::TimedOut => {
                io::ErrorKind::TimedOut.into()
            }
            libc::EINTR | 512..=516 if ended == Ended::Itself => {
                io::Error::from_raw_os_error(libc::EINTR)
            }
            libc::ECANCELED | libc::EINTR | 512..=516 => {
                io::Error::from_raw_os_error(libc::ECANCELED)
            }
            errno => io::Error::from_raw_os_error(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_user_data_whichever_completion_it_is_for() {
        let key = Key {
            index: MOST - 1,
            generation: u32::MAX,
        };
        let of = Key::from_user_data;
        assert_eq!(of(key.user_data()), (key, Of::Operation));
        assert_eq!(of(key.timeout_user_data()), (key, Of::Timeout));
        assert_eq!(of(key.cancel_user_data()), (key, Of::Cancel));
    }

    #[test]
    fn a_slot_stays_small() {
        assert!(size_of::<Slot>() <= 80, "{}", size_of::<Slot>());
    }
}
