//! The operations in flight: `user_data` -> who waits, and what the kernel may touch.
//!
//! One read through here. `insert` moves the operation, its buffer with it, into a cell that does not move.
//! From then on the *slot* owns every byte of it; the future holds only a [`Key`]. The kernel may write to
//! the buffer until the operation's last completion, which [`settle`](Slots::settle) notes. After that the
//! future takes the operation back out ([`take`](Slots::take)), or, if it is gone (an *orphan*), the driver
//! discards it ([`take_orphan`](Slots::take_orphan)). A future that was forgotten leaves its slot here until
//! the driver goes: memory is leaked, never reused.
//!
//! A slot is freed when both have happened: its operation was taken out, and every completion that carries
//! its number has come (an operation with a deadline has two: its own and its timeout's).
//!
//! This module knows no system calls. The slab holds what may move; [`memory`] what may not.
#![allow(unsafe_code, reason = "owns type-erased operations in stable memory")]

mod memory;

use std::alloc::Layout;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::types::Timespec;
use slab::Slab;

use self::memory::{Cell, Memory};
use crate::cancel::TokenInner;
use crate::fd::{FdRef, Lane, NONE};
use crate::op::{Ended, Operation, Origin, Success};
use crate::ring::Completion;

/// The bit of `user_data` that marks a completion as that of the slot's `LINK_TIMEOUT`.
const TIMEOUT_BIT: u64 = 1 << 31;

/// An operation's number: where its slot is, and which of the slot's tenants it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(crate) fn user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn timeout_user_data(self) -> u64 {
        self.user_data() | TIMEOUT_BIT
    }

    fn from_user_data(user_data: u64) -> (Key, bool) {
        let index = (user_data & (TIMEOUT_BIT - 1)) as u32;
        let key = Key {
            index,
            generation: (user_data >> 32) as u32,
        };
        (key, user_data & TIMEOUT_BIT != 0)
    }
}

/// What a cell holds: the deadline the kernel reads at submission, then the operation.
#[repr(C)]
struct Body<T> {
    timespec: Timespec,
    op: ManuallyDrop<T>,
}

/// The type-erased half of an operation.
struct Vtable {
    /// Moves the operation out of its cell and gives it the completion nobody waits for.
    discard: unsafe fn(*mut u8, io::Result<Success>, Origin<'_>),
    /// Gives one of several completions nobody waits for to the operation.
    discard_more: unsafe fn(*mut u8, Success, Origin<'_>),
}

trait HasVtable: Operation {
    const VTABLE: Vtable = Vtable {
        discard: discard::<Self>,
        discard_more: discard_more::<Self>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The kernel may still touch the cell.
    InFlight,
    /// The last completion has come; the operation waits to be taken out.
    Done,
    /// The operation is out; only its timeout's completion is still to come.
    Spent,
}

/// The `LINK_TIMEOUT` of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadline {
    None,
    /// Its completion is still to come.
    Armed,
    /// It fired: the operation was cancelled because of it.
    Fired,
    /// The operation won.
    Over,
}

struct Slot {
    generation: u32,
    phase: Phase,
    deadline: Deadline,
    orphaned: bool,
    cancelled: bool,
    /// Runs on when its future is dropped.
    keep: bool,
    /// The result is kept raw until somebody asks.
    result: i32,
    flags: u32,
    waker: Option<Waker>,
    cell: Cell,
    vtable: &'static Vtable,
    fd: Option<FdRef>,
    /// The lane to give up when the result is taken.
    lane: Option<Lane>,
    /// Neighbours in the descriptor's list, if listed.
    listed: bool,
    next: u32,
    prev: u32,
    /// Neighbours in the chain of linked operations.
    chain_next: Option<Key>,
    chain_prev: Option<Key>,
    token: Option<Rc<TokenInner>>,
    /// Completions of a multishot operation that nobody has taken yet.
    more: VecDeque<Success>,
}

impl Slot {
    fn outcome(&self) -> io::Result<Success> {
        match u32::try_from(self.result) {
            Ok(value) => Ok(Success {
                value,
                flags: self.flags,
                ended: self.ended(),
            }),
            Err(_) => Err(self.error(-self.result)),
        }
    }

    fn ended(&self) -> Ended {
        match (self.deadline, self.cancelled) {
            (Deadline::Fired, _) => Ended::TimedOut,
            (_, true) => Ended::Cancelled,
            _ => Ended::Itself,
        }
    }

    /// A cancelled operation answers `ECANCELED`; one that ran on a kernel worker `EINTR` or one of the
    /// kernel's private restart codes (`ERESTARTSYS` 512 to `ERESTART_RESTARTBLOCK` 516).
    fn error(&self, errno: i32) -> io::Error {
        let ended = self.cancelled || self.deadline == Deadline::Fired;
        match errno {
            libc::ECANCELED | 512..=516 if self.deadline == Deadline::Fired => timed_out(),
            libc::EINTR if self.deadline == Deadline::Fired => timed_out(),
            libc::ECANCELED | 512..=516 => io::Error::from_raw_os_error(libc::ECANCELED),
            libc::EINTR if ended => io::Error::from_raw_os_error(libc::ECANCELED),
            errno => io::Error::from_raw_os_error(errno),
        }
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// What a completion meant to its slot.
#[derive(Debug)]
pub(crate) enum Settled {
    /// No slot has that number: nothing to do.
    Stale,
    /// Noted; nobody is to be told.
    Noted,
    /// Somebody waits for it.
    Wake(Waker),
    /// The last completion of an operation with an owner.
    Done(Done),
    /// The last completion of an operation nobody waits for: it must be discarded.
    Orphan(Key),
}

/// What has to follow an operation's last completion.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) key: Key,
    pub(crate) waker: Option<Waker>,
    /// A closing descriptor's last operation: it must be closed now.
    pub(crate) last_out: Option<FdRef>,
    /// A later member of the chain was asked to be cancelled before it could be: cancel this one now.
    pub(crate) cancel_next: Option<Key>,
    pub(crate) token: Option<(Rc<TokenInner>, bool)>,
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

/// An operation whose future is gone, out of its slot, on its way to being discarded.
pub(crate) struct Orphan {
    cell: Cell,
    vtable: &'static Vtable,
    /// `None` once discarded.
    result: Option<io::Result<Success>>,
    more: VecDeque<Success>,
    pub(crate) fd: Option<FdRef>,
    pub(crate) lane: Option<Lane>,
    pub(crate) done: Option<Done>,
}

impl Orphan {
    /// Lets the operation give back what its completions brought. Runs user code, the `Drop` of buffers; a
    /// panic there is caught. `false`: there was one.
    pub(crate) fn discard_quietly(&mut self) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.discard())).is_ok()
    }

    fn discard(&mut self) {
        let Some(result) = self.result.take() else {
            return;
        };
        let (origin, cell) = (Origin(self.fd.as_ref()), self.cell.ptr.as_ptr());
        for success in std::mem::take(&mut self.more) {
            // SAFETY: the operation is in the cell still, and this is its only owner.
            unsafe { (self.vtable.discard_more)(cell, success, origin) };
        }
        // SAFETY: as above; `result` is taken once, so this moves the operation out once.
        unsafe { (self.vtable.discard)(cell, result, origin) };
    }
}

/// All operations of one driver.
pub(crate) struct Slots {
    slab: Slab<Slot>,
    memory: Memory,
    generation: u32,
    in_flight: usize,
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("live", &self.slab.len())
            .field("in_flight", &self.in_flight)
            .finish()
    }
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots {
            slab: Slab::new(),
            memory: Memory::default(),
            generation: 0,
            in_flight: 0,
        }
    }

    /// Slots in use: operations in flight, and finished ones nobody has taken yet.
    pub(crate) fn live(&self) -> usize {
        self.slab.len()
    }

    /// Operations (and timeouts) whose last completion has not come.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Moves `op` into a slot. `home`: this driver's slots are the ones its descriptor lists.
    /// `keep`: the operation runs on when its future is dropped.
    pub(crate) fn insert<T: Operation>(
        &mut self,
        op: T,
        fd: Option<FdRef>,
        home: bool,
        lane: Option<Lane>,
        keep: bool,
    ) -> Key {
        let cell = self.memory.lend(Layout::new::<Body<T>>());
        let body = Body {
            timespec: Timespec::new(),
            op: ManuallyDrop::new(op),
        };
        // SAFETY: the cell fits a `Body<T>` (its layout was asked for) and is lent to this slot alone.
        unsafe { cell.ptr.cast::<Body<T>>().write(body) };
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = Slot {
            generation,
            phase: Phase::InFlight,
            deadline: Deadline::None,
            orphaned: false,
            cancelled: false,
            result: 0,
            flags: 0,
            waker: None,
            cell,
            vtable: &T::VTABLE,
            fd,
            lane,
            keep,
            listed: false,
            next: NONE,
            prev: NONE,
            chain_next: None,
            chain_prev: None,
            token: None,
            more: VecDeque::new(),
        };
        let index = self.slab.insert(slot);
        assert!(
            (index as u64) < TIMEOUT_BIT,
            "more than 2^31 operations in flight on one thread"
        );
        let index = index as u32;
        self.in_flight += 1;
        if home {
            self.list(index);
        }
        Key { index, generation }
    }

    /// The operation in its cell, to fill in the entry that points at it.
    ///
    /// # Safety
    ///
    /// `T` is the type `key` was inserted with, and the kernel has not seen the operation yet.
    pub(crate) unsafe fn op_mut<T: Operation>(&mut self, key: Key) -> &mut T {
        let slot = self
            .slot_mut(key)
            .expect("an operation is prepared right after its insertion");
        // SAFETY: the cell holds the `Body<T>` that `insert` wrote; we borrow all slots mutably.
        unsafe { &mut (*slot.cell.ptr.cast::<Body<T>>().as_ptr()).op }
    }

    /// Writes the deadline where the kernel will read it, and expects its completion too.
    pub(crate) fn arm_deadline(&mut self, key: Key, after: Duration) -> *const Timespec {
        let slot = self
            .slot_mut(key)
            .expect("an operation is prepared right after its insertion");
        slot.deadline = Deadline::Armed;
        let timespec = slot.cell.ptr.cast::<Timespec>();
        // SAFETY: every body starts with its timespec (`repr(C)`); the kernel has not seen it yet.
        unsafe { timespec.write(Timespec::from(after)) };
        self.in_flight += 1;
        timespec.as_ptr()
    }

    pub(crate) fn set_token(&mut self, key: Key, token: Rc<TokenInner>) {
        if let Some(slot) = self.slot_mut(key) {
            slot.token = Some(token);
        }
    }

    pub(crate) fn link(&mut self, from: Key, to: Key) {
        if let Some(slot) = self.slot_mut(from) {
            slot.chain_next = Some(to);
        }
        if let Some(slot) = self.slot_mut(to) {
            slot.chain_prev = Some(from);
        }
    }

    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.slab
            .get_mut(key.index as usize)
            .filter(|s| s.generation == key.generation)
    }

    fn slot(&self, key: Key) -> Option<&Slot> {
        self.slab
            .get(key.index as usize)
            .filter(|s| s.generation == key.generation)
    }

    // --- reaping --------------------------------------------------------------------------------

    /// Notes a completion in its slot.
    pub(crate) fn settle(&mut self, completion: Completion) -> Settled {
        let (key, is_timeout) = Key::from_user_data(completion.user_data);
        if self.slot(key).is_none() {
            return Settled::Stale;
        }
        if is_timeout {
            return self.settle_timeout(key, completion.result);
        }
        let slot = &mut self.slab[key.index as usize];
        debug_assert!(
            slot.phase == Phase::InFlight,
            "a completion after the last one"
        );
        if completion.more() {
            let value = completion.result.cast_unsigned();
            slot.more.push_back(Success {
                value,
                flags: completion.flags,
                ended: Ended::Itself,
            });
            return slot.waker.take().map_or(Settled::Noted, Settled::Wake);
        }
        slot.result = completion.result;
        slot.flags = completion.flags;
        slot.phase = Phase::Done;
        self.in_flight -= 1;
        self.unlist(key.index);
        if self.slab[key.index as usize].orphaned {
            return Settled::Orphan(key);
        }
        let mut done = self.done(key);
        let slot = &mut self.slab[key.index as usize];
        done.waker = slot.waker.take();
        done.last_out = slot.fd.as_ref().filter(|fd| fd.finish()).cloned();
        Settled::Done(done)
    }

    fn settle_timeout(&mut self, key: Key, result: i32) -> Settled {
        self.in_flight -= 1;
        let slot = &mut self.slab[key.index as usize];
        // It answers ECANCELED if the operation won; ETIME, or what cancelling answered, if it fired.
        slot.deadline = if result == -libc::ECANCELED {
            Deadline::Over
        } else {
            Deadline::Fired
        };
        if slot.phase == Phase::Spent {
            self.slab.remove(key.index as usize);
        }
        Settled::Noted
    }

    /// What follows a last completion, besides the waking.
    fn done(&mut self, key: Key) -> Done {
        let cancel_next = self.next_to_cancel(key);
        let slot = &mut self.slab[key.index as usize];
        let ended = slot.result < 0 && slot.cancelled;
        let token = slot.token.take().map(|token| (token, ended));
        Done {
            key,
            waker: None,
            last_out: None,
            cancel_next,
            token,
        }
    }

    /// The member after `key`, if it or a later one is to be cancelled: a member that has not started
    /// cannot be found by a cancel (`ENOENT`), so cancels walk down the chain as it advances.
    fn next_to_cancel(&self, key: Key) -> Option<Key> {
        let next = self.slot(key)?.chain_next?;
        let mut at = Some(next);
        while let Some(slot) = at.and_then(|k| self.slot(k)) {
            if slot.phase == Phase::InFlight && slot.cancelled {
                return Some(next);
            }
            at = slot.chain_next;
        }
        None
    }

    // --- the owner's side -----------------------------------------------------------------------

    /// Whether the last completion has come; if not, the context's waker is the one to wake.
    ///
    /// The waker it replaces is the caller's to drop, with nothing borrowed: that may run anything.
    pub(crate) fn poll(&mut self, key: Key, cx: &Context<'_>) -> (Poll<()>, Option<Waker>) {
        let Some(slot) = self.slot_mut(key) else {
            return (Poll::Ready(()), None);
        };
        if slot.phase != Phase::InFlight {
            return (Poll::Ready(()), None);
        }
        if slot
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            return (Poll::Pending, None);
        }
        (Poll::Pending, slot.waker.replace(cx.waker().clone()))
    }

    /// The next completion of a multishot operation, if one has come.
    pub(crate) fn take_more(&mut self, key: Key) -> Option<Success> {
        self.slot_mut(key)?.more.pop_front()
    }

    /// Takes a finished operation out, with its result.
    ///
    /// # Safety
    ///
    /// `T` is the type `key` was inserted with.
    pub(crate) unsafe fn take<T: Operation>(&mut self, key: Key) -> Option<Taken<T>> {
        let slot = self.slot_mut(key).filter(|s| s.phase == Phase::Done)?;
        let taken = Taken {
            result: slot.outcome(),
            fd: slot.fd.take(),
            lane: slot.lane.take(),
            // SAFETY: the cell holds the `Body<T>` that `insert` wrote; the last completion has come,
            // so the kernel is done with it, and the phase changes below, so it is read once.
            op: ManuallyDrop::into_inner(unsafe { slot.cell.ptr.cast::<Body<T>>().read() }.op),
        };
        let cell = slot.cell;
        self.free(key);
        // SAFETY: the operation was just moved out of it.
        unsafe { self.memory.give_back(cell) };
        Some(taken)
    }

    /// Frees a slot whose operation is out, now or when its timeout's completion comes.
    fn free(&mut self, key: Key) {
        let slot = &mut self.slab[key.index as usize];
        if slot.deadline == Deadline::Armed {
            slot.phase = Phase::Spent;
            slot.waker = None;
        } else {
            self.slab.remove(key.index as usize);
        }
    }

    /// The operation's future is gone.
    pub(crate) fn orphan(&mut self, key: Key) -> Orphaned {
        let Some(slot) = self.slot_mut(key) else {
            return Orphaned::Gone;
        };
        slot.orphaned = true;
        match (slot.phase, slot.keep) {
            (Phase::InFlight, true) => Orphaned::Kept,
            (Phase::InFlight, false) => Orphaned::ToCancel,
            (Phase::Done, _) => Orphaned::ToDiscard,
            (Phase::Spent, _) => Orphaned::Gone,
        }
    }

    /// Whether the operation's descriptor is closing.
    pub(crate) fn is_closing(&self, key: Key) -> bool {
        self.slot(key)
            .and_then(|s| s.fd.as_ref())
            .is_some_and(|fd| fd.is_closing())
    }

    /// The waker of an orphan; dropped by the caller, outside every borrow.
    pub(crate) fn take_waker(&mut self, key: Key) -> Option<Waker> {
        self.slot_mut(key)?.waker.take()
    }

    /// Takes a finished orphan out. Its descriptor counts it until the driver has discarded it.
    pub(crate) fn take_orphan(&mut self, key: Key, counted: bool) -> Option<Orphan> {
        self.slot(key)
            .filter(|s| s.orphaned && s.phase == Phase::Done)?;
        let done = counted.then(|| self.done(key));
        let slot = self.slot_mut(key)?;
        let orphan = Orphan {
            cell: slot.cell,
            vtable: slot.vtable,
            result: Some(slot.outcome()),
            more: std::mem::take(&mut slot.more),
            fd: slot.fd.take(),
            lane: slot.lane.take(),
            done,
        };
        self.free(key);
        Some(orphan)
    }

    /// Takes back the cell of an orphan that was discarded.
    pub(crate) fn give_back(&mut self, orphan: Orphan) {
        // SAFETY: `take_orphan` took it out of its slot, `discard` took the operation out of it.
        unsafe { self.memory.give_back(orphan.cell) };
    }

    // --- cancelling -----------------------------------------------------------------------------

    /// Marks the operation as cancelled and says which entry a cancel must name for that to work: its
    /// own, or that of the first member of its chain that is still running. `None`: nothing to cancel.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<Key> {
        let slot = self.slot_mut(key).filter(|s| s.phase == Phase::InFlight)?;
        slot.cancelled = true;
        let mut target = key;
        while let Some(slot) = self.slot(target) {
            match slot.chain_prev {
                Some(prev) if self.slot(prev).is_some_and(|p| p.phase == Phase::InFlight) => {
                    target = prev;
                }
                _ => break,
            }
        }
        Some(target)
    }

    /// All operations in flight.
    pub(crate) fn all_in_flight(&self) -> Vec<Key> {
        let in_flight = self
            .slab
            .iter()
            .filter(|(_, slot)| slot.phase == Phase::InFlight);
        in_flight
            .map(|(index, slot)| Key {
                index: index as u32,
                generation: slot.generation,
            })
            .collect()
    }

    /// The operations in flight on `fd`, oldest first.
    pub(crate) fn on_fd(&self, fd: &FdRef, home: bool) -> Vec<Key> {
        let mut keys = Vec::new();
        if home {
            let mut index = fd.head();
            while index != NONE {
                let slot = &self.slab[index as usize];
                keys.push(Key {
                    index,
                    generation: slot.generation,
                });
                index = slot.next;
            }
        } else {
            let here = |slot: &Slot| {
                slot.fd
                    .as_ref()
                    .is_some_and(|f| std::sync::Arc::ptr_eq(f, fd))
            };
            let found = self
                .slab
                .iter()
                .filter(|(_, s)| s.phase == Phase::InFlight && here(s));
            keys.extend(found.map(|(i, s)| Key {
                index: i as u32,
                generation: s.generation,
            }));
        }
        keys.sort_by_key(|key| key.generation);
        keys
    }

    // --- the descriptor's list ------------------------------------------------------------------

    fn list(&mut self, index: u32) {
        let slot = &mut self.slab[index as usize];
        let Some(fd) = &slot.fd else {
            return;
        };
        let head = fd.head();
        fd.set_head(index);
        slot.next = head;
        slot.listed = true;
        if head != NONE {
            self.slab[head as usize].prev = index;
        }
    }

    fn unlist(&mut self, index: u32) {
        let slot = &mut self.slab[index as usize];
        if !std::mem::take(&mut slot.listed) {
            return;
        }
        let (next, prev) = (slot.next, slot.prev);
        if prev == NONE {
            if let Some(fd) = &slot.fd {
                fd.set_head(next);
            }
        } else {
            self.slab[prev as usize].next = next;
        }
        if next != NONE {
            self.slab[next as usize].prev = prev;
        }
    }
}

/// A finished operation out of its slot.
pub(crate) struct Taken<T> {
    pub(crate) op: T,
    pub(crate) result: io::Result<Success>,
    pub(crate) fd: Option<FdRef>,
    pub(crate) lane: Option<Lane>,
}

impl Drop for Slots {
    /// Drops what finished and was never taken; leaks everything if the kernel may still write to some of it.
    fn drop(&mut self) {
        if self.in_flight > 0 {
            std::mem::forget(std::mem::take(&mut self.memory));
            std::mem::forget(std::mem::take(&mut self.slab));
            return;
        }
        let done = self.slab.iter().filter(|(_, s)| s.phase == Phase::Done);
        let keys: Vec<Key> = done
            .map(|(i, s)| Key {
                index: i as u32,
                generation: s.generation,
            })
            .collect();
        for key in keys {
            self.orphan(key);
            if let Some(mut orphan) = self.take_orphan(key, false) {
                orphan.discard_quietly();
                self.give_back(orphan);
            }
        }
    }
}
