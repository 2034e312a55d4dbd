//! The operations in flight: `user_data` -> who waits, and what the kernel may touch.
//!
//! One read through here. `insert` moves the operation, its buffer with it, into a cell that does not move.
//! From then on the *slot* owns every byte of it; the future holds only a [`Key`]. The kernel may write to
//! the buffer until the operation's last completion, which [`settle`](Slots::settle) notes. After that the
//! future takes the operation back out ([`poll_take`](Slots::poll_take)), or, if it is gone (an *orphan*), the
//! driver discards it ([`take_orphan`](Slots::take_orphan)). A future that was forgotten leaves its slot here
//! until the driver goes: memory is leaked, never reused.
//!
//! A slot is freed when both have happened: its operation was taken out, and every completion that carries
//! its number has come (an operation with a deadline has two: its own and its timeout's). A send that does not copy
//! has two of its own: its result, with which it is off its descriptor (*sent*), and the notification that the kernel
//! no longer reads its buffer, which is the last one.
//!
//! This module knows no system calls, and runs no user code. The table holds what may move; [`memory`] what
//! may not.
#![allow(unsafe_code, reason = "owns type-erased operations in stable memory")]

mod find;
mod landed;
mod memory;
mod orphan;
mod second;
mod settle;
mod slot;
mod table;

use std::fmt;
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use io_uring::types::Timespec;
use slab::Slab;

pub(crate) use self::landed::Look;
use self::memory::Memory;
pub(crate) use self::orphan::Orphaned;
use self::orphan::{Body, HasVtable};
pub(crate) use self::slot::Key;
use self::slot::{Deadline, Phase, Rare, Slot};
use self::table::Table;
use crate::cancel::TokenInner;
use crate::fd::{FdRef, Lane, NONE};
use crate::op::{Operation, Success, timespec_of};

/// What has to follow a completion, besides a waking.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It was the last one of an operation that held more than its descriptor, or its descriptor's last.
    Done(Done),
    /// The last completion of an operation nobody waits for: it must be discarded. Whether its descriptor counts it.
    Orphan(Key, bool),
    /// An operation's timer has fired: it is to be cancelled.
    OutOfTime(Key),
    /// As many completions as there may be wait to be taken: it is to be cancelled.
    Full(Key),
    /// A cancel came too early to find it: it is to be asked for again.
    NotFound(Key),
}

/// What has to follow an operation's last completion, or the result of one that is sent.
#[derive(Debug)]
pub(crate) struct Done {
    /// A closing descriptor's last operation: it must be closed now.
    pub(crate) last_out: Option<FdRef>,
    /// A later member of the chain was asked to be cancelled before it could be: cancel this one now.
    pub(crate) cancel_next: Option<Key>,
    /// The operation's timer, which has not fired: to be cancelled.
    pub(crate) timer: Option<Key>,
    /// A descriptor the operation is off now, its second one or that of what is sent, and its lane there: to be given
    /// up, and the operation counted out.
    pub(crate) off: Option<(FdRef, Option<Lane>)>,
    /// The token the operation had and its place there, and whether the operation ended as cancelled.
    pub(crate) token: Option<(Rc<TokenInner>, usize)>,
    pub(crate) cancelled: bool,
}

/// A finished operation out of its slot.
pub(crate) struct Taken<T> {
    pub(crate) op: T,
    pub(crate) result: io::Result<Success>,
    pub(crate) fd: Option<FdRef>,
    pub(crate) lane: Option<Lane>,
    /// The serial group it was in, to be given up with the lane.
    pub(crate) group: Option<FdRef>,
}

/// All operations of one driver.
pub(crate) struct Slots {
    table: Table,
    rare: Slab<Rare>,
    memory: Memory,
    generation: u32,
    in_flight: usize,
    /// Notifications that a buffer is no longer read; and how many of these said that it was copied after all.
    notified: u64,
    copied: u64,
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (live, in_flight) = (self.live(), self.in_flight);
        f.debug_struct("Slots")
            .field("live", &live)
            .field("in_flight", &in_flight)
            .finish()
    }
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots {
            table: Table::default(),
            rare: Slab::new(),
            memory: Memory::default(),
            generation: 0,
            in_flight: 0,
            notified: 0,
            copied: 0,
        }
    }

    /// Slots in use: operations in flight, and finished ones nobody has taken yet.
    pub(crate) fn live(&self) -> usize {
        self.table.live()
    }

    /// Operations (and timeouts) whose last completion has not come.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Moves an operation into a slot, where it can be reached until the kernel has seen it. `home`: this driver's slots are
    /// the ones its descriptor lists. `keep`: the operation runs on when its future is dropped.
    ///
    /// # Safety
    ///
    /// At `op` is an operation which the caller treats as moved away from there, once this has returned.
    #[inline]
    pub(crate) unsafe fn insert<T: Operation>(
        &mut self,
        op: *const T,
        fd: Option<FdRef>,
        home: bool,
        lane: Option<Lane>,
        keep: bool,
        waker: Option<Waker>,
    ) -> (Key, &mut T) {
        let (index, slot) = self.table.take();
        let cell = self.memory.lend(T::VTABLE.class, slot.home);
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        slot.begin(generation, cell, &T::VTABLE, lane, keep);
        // A free slot owns nothing. An assignment would look for what there is to drop.
        let listed = home && fd.is_some();
        mem::forget(mem::replace(&mut slot.waker, waker));
        mem::forget(mem::replace(&mut slot.fd, fd));
        self.in_flight += 1;
        if listed {
            self.list(index);
        }
        let place = cell.cast::<Body<T>>().as_ptr();
        // SAFETY: the cell fits a `Body<T>` (its class says so), is this slot's alone, and borrowed with all slots from here
        // on; the operation is the caller's to move, which is the last thing done. The timespec is written when there is a
        // deadline.
        let op = unsafe {
            (&raw mut (*place).op)
                .cast::<T>()
                .copy_from_nonoverlapping(op, 1);
            &mut (*place).op
        };
        (Key { index, generation }, op)
    }

    /// Writes the deadline where the kernel will read it, and expects its completion too.
    pub(crate) fn arm_deadline(&mut self, key: Key, after: Duration) -> *const Timespec {
        let slot = &mut self.table[key.index];
        slot.deadline = Deadline::Armed;
        let timespec = slot.cell.cast::<Timespec>();
        // SAFETY: every body starts with its timespec (`repr(C)`); the kernel has not seen it yet.
        unsafe { timespec.write(timespec_of(after)) };
        self.in_flight += 1;
        timespec.as_ptr()
    }

    /// As [`arm_deadline`](Slots::arm_deadline), for a timer that is not linked to the operation: when it fires, the
    /// operation must be cancelled ([`Settled::OutOfTime`]); when the operation is over, the timer ([`Done::timer`]).
    pub(crate) fn arm_timer(&mut self, key: Key, after: Duration) -> *const Timespec {
        self.rare_mut(key).timer = true;
        self.arm_deadline(key, after)
    }

    pub(crate) fn set_token(&mut self, key: Key, token: (Rc<TokenInner>, usize)) {
        self.rare_mut(key).token = Some(token);
    }

    pub(crate) fn link(&mut self, from: Key, to: Key) {
        self.rare_mut(from).chain_next = Some(to);
        self.rare_mut(to).chain_prev = Some(from);
    }

    fn rare_mut(&mut self, key: Key) -> &mut Rare {
        let slot = &mut self.table[key.index];
        if slot.rare == NONE {
            slot.rare = self.rare.insert(Rare::default()) as u32;
        }
        &mut self.rare[slot.rare as usize]
    }

    fn rare(&self, slot: &Slot) -> Option<&Rare> {
        self.rare.get(slot.rare as usize)
    }

    #[inline]
    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.table
            .get_mut(key.index)
            .filter(|s| s.generation == key.generation)
    }

    #[inline]
    fn slot(&self, key: Key) -> Option<&Slot> {
        self.table
            .get(key.index)
            .filter(|s| s.generation == key.generation)
    }

    /// Frees a slot whose operation is out, now or when its timeout's completion comes.
    #[inline]
    fn free(&mut self, key: Key) {
        let slot = &self.table[key.index];
        if slot.is_rare() {
            return self.free_rare(key);
        }
        self.table.free(key.index);
    }

    #[cold]
    fn free_rare(&mut self, key: Key) {
        let slot = &mut self.table[key.index];
        if slot.rare != NONE {
            // Its token and its completions were taken out before.
            let rare = mem::replace(&mut slot.rare, NONE);
            drop(self.rare.remove(rare as usize));
        }
        if slot.deadline == Deadline::Armed {
            slot.phase = Phase::Spent;
        } else {
            self.table.free(key.index);
        }
    }

    /// Whether somebody has called `close` on the operation's descriptor, or its second. A chain that is to close
    /// it has not.
    pub(crate) fn is_closing(&self, key: Key) -> bool {
        let Some(slot) = self.slot(key) else {
            return false;
        };
        slot.fd.as_ref().is_some_and(|fd| fd.is_close_called())
            || self
                .second(slot)
                .is_some_and(|second| second.fd.is_close_called())
    }
}

impl Drop for Slots {
    /// Drops what finished and was never taken; leaks everything if the kernel may still write to some of it.
    fn drop(&mut self) {
        if self.in_flight > 0 {
            mem::forget(mem::take(&mut self.memory));
            mem::forget(mem::take(&mut self.table));
            mem::forget(mem::take(&mut self.rare));
            return;
        }
        for key in self.keys(Phase::Done, |_| true) {
            self.orphan(key);
            if let Some(mut orphan) = self.take_orphan(key, false) {
                orphan.discard_quietly(false);
                self.give_back(&orphan);
            }
        }
    }
}
