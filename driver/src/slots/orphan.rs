//! Operations without their type: what is in a cell, and how it ends when nobody waits for it.

use std::alloc::Layout;
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::Waker;

use io_uring::types::Timespec;

use super::memory::Class;
use super::slot::Phase;
use super::{Done, Key, Slots};
use crate::fd::{FdRef, Lane};
use crate::guarded::guarded;
use crate::op::{Operation, Origin, Success};

/// What a cell holds: the deadline the kernel reads at submission, then the operation.
#[repr(C)]
pub(super) struct Body<T> {
    pub(super) timespec: Timespec,
    pub(super) op: ManuallyDrop<T>,
}

/// [`Operation::note`] of what is in the cell.
type Note = unsafe fn(*mut u8, i32, bool, &mut Vec<Waker>);

/// [`Operation::will_go_on`] of what is in the cell.
pub(super) type WillGoOn = unsafe fn(*const u8, &io::Result<Success>) -> bool;

/// The type-erased half of an operation.
pub(super) struct Vtable {
    /// The kind of cell it lives in.
    pub(super) class: Class,
    /// Moves the operation out of its cell and gives it the completion nobody waits for.
    discard: unsafe fn(*mut u8, io::Result<Success>, Origin<'_>),
    /// Gives one of several completions nobody waits for to the operation.
    pub(super) discard_more: unsafe fn(*mut u8, Success, Origin<'_>),
    /// How many completions may wait to be taken.
    pub(super) untaken: usize,
    /// Tells an operation that notes its completions itself of one; `None` for all others.
    pub(super) note: Option<Note>,
    /// Of an operation that may complete twice; `None` for all others.
    pub(super) will_go_on: Option<WillGoOn>,
}

pub(super) trait HasVtable: Operation {
    const VTABLE: Vtable = Vtable {
        class: Class::of(Layout::new::<Body<Self>>()),
        discard: discard::<Self>,
        discard_more: discard_more::<Self>,
        untaken: Self::UNTAKEN,
        note: if Self::NOTES {
            Some(note::<Self>)
        } else {
            None
        },
        will_go_on: if Self::NOTIFIED {
            Some(will_go_on::<Self>)
        } else {
            None
        },
    };
}
impl<T: Operation> HasVtable for T {}

/// # Safety
///
/// `ptr` is a cell holding a live `Body<T>` that nobody uses afterwards.
unsafe fn discard<T: Operation>(ptr: *mut u8, result: io::Result<Success>, origin: Origin<'_>) {
    // SAFETY: the caller's; the value is read once and the cell given up.
    let body = unsafe { ptr.cast::<Body<T>>().read() };
    ManuallyDrop::into_inner(body.op).discard(result, origin);
}

/// # Safety
///
/// `ptr` is a cell holding a live `Body<T>`, borrowed by nobody else.
unsafe fn discard_more<T: Operation>(ptr: *mut u8, success: Success, origin: Origin<'_>) {
    // SAFETY: the caller's.
    let body = unsafe { &mut *ptr.cast::<Body<T>>() };
    body.op.discard_more(success, origin);
}

/// # Safety
///
/// `ptr` is a cell holding a live `Body<T>`, borrowed by nobody else.
unsafe fn note<T: Operation>(ptr: *mut u8, result: i32, more: bool, wakers: &mut Vec<Waker>) {
    // SAFETY: the caller's.
    let body = unsafe { &mut *ptr.cast::<Body<T>>() };
    body.op.note(result, more, wakers);
}

/// # Safety
///
/// `ptr` is a cell holding a live `Body<T>`, borrowed mutably by nobody.
unsafe fn will_go_on<T: Operation>(ptr: *const u8, result: &io::Result<Success>) -> bool {
    // SAFETY: the caller's.
    let body = unsafe { &*ptr.cast::<Body<T>>() };
    body.op.will_go_on(result)
}

/// What an operation whose future is gone needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orphaned {
    /// Nothing: there is no such operation any more.
    Gone,
    /// Nothing: it runs on, and what it brings is kept.
    Kept,
    /// To be cancelled.
    ToCancel,
    /// To be discarded: it has completed.
    ToDiscard,
}

/// An operation whose future is gone, on its way to being discarded; its slot and its cell are its own until then.
pub(crate) struct Orphan {
    pub(super) key: Key,
    pub(super) cell: NonNull<u8>,
    pub(super) vtable: &'static Vtable,
    /// `None` once discarded.
    pub(super) result: Option<io::Result<Success>>,
    pub(super) more: VecDeque<Success>,
    pub(crate) fd: Option<FdRef>,
    pub(crate) lane: Option<Lane>,
    pub(crate) group: Option<FdRef>,
    pub(crate) done: Option<Done>,
}

impl Orphan {
    /// Lets the operation give back what its completions brought. Runs user code, the `Drop` of buffers; a
    /// panic there is caught. `false`: there was one. `counted`: it still counts as in flight on its descriptor.
    pub(crate) fn discard_quietly(&mut self, counted: bool) -> bool {
        guarded(|| self.discard(counted))
    }

    fn discard(&mut self, counted: bool) {
        let Some(result) = self.result.take() else {
            return;
        };
        let cell = self.cell.as_ptr();
        let origin = Origin {
            fd: self.fd.as_ref(),
            counted,
        };
        for success in std::mem::take(&mut self.more) {
            // SAFETY: the operation is in the cell still, and this is its only owner.
            unsafe { (self.vtable.discard_more)(cell, success, origin) };
        }
        // SAFETY: as above; `result` is taken once, so this moves the operation out once.
        unsafe { (self.vtable.discard)(cell, result, origin) };
    }
}

impl Slots {
    /// The operation's future is gone. Its waker is the caller's to drop, with nothing borrowed.
    pub(crate) fn orphan(&mut self, key: Key) -> (Orphaned, Option<Waker>) {
        let Some(slot) = self.slot_mut(key) else {
            return (Orphaned::Gone, None);
        };
        slot.orphaned = true;
        let orphaned = match (slot.phase, slot.keep) {
            (Phase::InFlight, true) | (Phase::Sent, _) => Orphaned::Kept,
            (Phase::InFlight, false) => Orphaned::ToCancel,
            (Phase::Done, _) => Orphaned::ToDiscard,
            (Phase::Free | Phase::Leaving | Phase::Spent, _) => Orphaned::Gone,
        };
        (orphaned, slot.waker.take())
    }

    /// Takes a finished orphan's parts out; the operation itself stays in its cell, to be discarded there, until
    /// [`give_back`](Slots::give_back). `counted`: its descriptor counts it until the driver has discarded it.
    pub(crate) fn take_orphan(&mut self, key: Key, counted: bool) -> Option<Orphan> {
        self.slot(key)
            .filter(|s| s.orphaned && s.phase == Phase::Done)?;
        let done = counted.then(|| self.done(key));
        let group = self.take_group(key);
        let slot = &mut self.table[key.index];
        let more = self
            .rare
            .get_mut(slot.rare as usize)
            .map(|rare| std::mem::take(&mut rare.more));
        slot.phase = Phase::Leaving;
        Some(Orphan {
            key,
            cell: slot.cell,
            vtable: slot.vtable,
            result: Some(slot.outcome()),
            more: more.unwrap_or_default(),
            fd: slot.fd.take(),
            lane: slot.lane.take(),
            group,
            done,
        })
    }

    /// Takes back the cell and the slot of an orphan that was discarded.
    pub(crate) fn give_back(&mut self, orphan: &Orphan) {
        // SAFETY: the cell is of the class that its vtable has; `discard` took the operation out of it; the driver gives
        // it back once.
        unsafe { self.memory.give_back(orphan.cell, orphan.vtable.class) };
        self.free(orphan.key);
    }
}
