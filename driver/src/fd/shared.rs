//! What is in flight on a descriptor: the count, the lanes, what is kept. Who queues for a lane: [`super::queue`].

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::hint::{self, Hint, Hints, Tried};
use crate::kept::Kept;
use crate::unpark::Remote;

pub(super) const COUNT: u32 = (1 << 20) - 1;
pub(super) const CLOSING: u32 = 1 << 31;
pub(super) const CLOSED: u32 = 1 << 30;
const KEPT: u32 = 1 << 29;
pub(super) const BORROWED: u32 = 1 << 28;
const READ_BUSY: u32 = 1 << 27;
const WRITE_BUSY: u32 = 1 << 26;
const READ_QUEUED: u32 = 1 << 25;
const WRITE_QUEUED: u32 = 1 << 24;
pub(super) const LINGERS: u32 = 1 << 23;
pub(super) const CALLED: u32 = 1 << 22;
pub(super) const PROMPT: u32 = 1 << 21;

/// The end of a list of slots.
pub(crate) const NONE: u32 = u32::MAX;

/// No send may.
const NEVER: u32 = u32::MAX;

/// A direction in which one operation at a time may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Reads, receives and accepts.
    Read,
    /// Writes and sends.
    Write,
}

impl Lane {
    pub(super) fn busy(self) -> u32 {
        match self {
            Lane::Read => READ_BUSY,
            Lane::Write => WRITE_BUSY,
        }
    }

    pub(super) fn queued(self) -> u32 {
        match self {
            Lane::Read => READ_QUEUED,
            Lane::Write => WRITE_QUEUED,
        }
    }
}

/// The answer to [`Shared::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The operation counts as in flight and holds its lane.
    Go,
    /// As `Go`, and something is kept that a read must be served from first.
    GoKept,
    /// The lane is taken: queue.
    Busy,
    /// The descriptor is closing or closed.
    Closed,
}

/// A descriptor, and all operations in flight on it; see the module's documentation.
pub(crate) struct Shared {
    pub(super) raw: RawFd,
    identity: u64,
    pub(super) state: AtomicU32,
    /// The driver whose slots [`head`](Shared::head) lists: the first that used the descriptor; 0 if none.
    home: AtomicU32,
    /// The home driver's list of slots in flight here. Only the home driver's thread touches it.
    head: AtomicU32,
    /// The same for those that have this as their second descriptor.
    second_head: AtomicU32,
    /// From so many bytes on sends may go without a copy; [`NEVER`].
    zero_copy: AtomicU32,
    /// The row of the home driver's table of files that this is in, or `NONE`; see [`super::registered`].
    pub(super) row: AtomicU32,
    /// Whether a call without waiting is worth it.
    hints: Hints,
    slow: Mutex<Slow>,
}

/// What is touched only off the fast path. Every descriptor has one, so it is small.
#[derive(Default)]
pub(super) struct Slow {
    pub(super) owned: Option<OwnedFd>,
    pub(super) close_error: Option<i32>,
    pub(super) reclaim: bool,
    /// The first driver that had an operation here, the home driver.
    pub(super) ring: Option<Remote>,
    pub(super) rare: Option<Box<Rare>>,
}

/// What few descriptors ever have, and those that do keep.
#[derive(Default)]
pub(super) struct Rare {
    pub(super) kept: Kept,
    pub(super) waiting: [VecDeque<Waiter>; 2],
    /// Those who need this descriptor and wait for another of theirs first: a close here must wake them.
    pub(super) elsewhere: Vec<Waiter>,
    pub(super) granted: [Option<u64>; 2],
    pub(super) closers: Vec<Waker>,
    /// Every other driver that has had an operation here.
    pub(super) rings: Vec<Remote>,
}

impl Slow {
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn take_kept(&mut self) -> Kept {
        self.rare
            .as_mut()
            .map(|rare| std::mem::take(&mut rare.kept))
            .unwrap_or_default()
    }

    /// Every driver that has had an operation here, the home driver first.
    pub(super) fn rings(&self) -> impl Iterator<Item = &Remote> {
        let others = self.rare.as_ref().map(|rare| rare.rings.iter());
        self.ring.iter().chain(others.into_iter().flatten())
    }
}

impl Rare {
    /// The queues keep their room: whoever takes this memory over allocates nothing.
    fn clear(&mut self) {
        self.kept.clear();
        self.waiting.iter_mut().for_each(VecDeque::clear);
        self.elsewhere.clear();
        self.granted = [None; 2];
        self.closers.clear();
        self.rings.clear();
    }
}

pub(super) struct Waiter {
    pub(super) id: u64,
    pub(super) waker: Waker,
}

/// # Panics
///
/// If that many operations are in flight on one descriptor that the count would run into the flags.
#[inline]
fn one_more(state: u32) -> u32 {
    assert!(
        state & COUNT != COUNT,
        "more than a million operations in flight on one descriptor"
    );
    state + 1
}

fn next_identity() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    COUNT.fetch_add(1, Relaxed)
}

impl Shared {
    pub(super) fn new(owned: OwnedFd) -> Shared {
        Shared {
            raw: owned.as_raw_fd(),
            identity: next_identity(),
            state: AtomicU32::new(0),
            home: AtomicU32::new(0),
            head: AtomicU32::new(NONE),
            second_head: AtomicU32::new(NONE),
            zero_copy: AtomicU32::new(NEVER),
            row: AtomicU32::new(NONE),
            hints: hint::fresh(),
            slow: Mutex::new(Slow {
                owned: Some(owned),
                ..Slow::default()
            }),
        }
    }

    /// No descriptor: only a lane to queue for, that of a [serial group](crate::SerialGroup).
    pub(crate) fn lane_only() -> Shared {
        Shared {
            raw: -1,
            identity: 0,
            state: AtomicU32::new(0),
            home: AtomicU32::new(0),
            head: AtomicU32::new(NONE),
            second_head: AtomicU32::new(NONE),
            zero_copy: AtomicU32::new(NEVER),
            row: AtomicU32::new(NONE),
            hints: hint::fresh(),
            slow: Mutex::default(),
        }
    }

    /// Empties a closed descriptor's memory, so that it can wait for a new one.
    pub(crate) fn retire(&mut self) {
        *self.state.get_mut() = 0;
        *self.home.get_mut() = 0;
        *self.head.get_mut() = NONE;
        *self.second_head.get_mut() = NONE;
        *self.zero_copy.get_mut() = NEVER;
        *self.row.get_mut() = NONE;
        self.hints = hint::fresh();
        let slow = self.slow.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(rare) = &mut slow.rare {
            rare.clear();
        }
        slow.owned = None;
        slow.close_error = None;
        slow.reclaim = false;
        slow.ring = None;
    }

    /// Makes [retired](Shared::retire) memory serve a new descriptor.
    pub(crate) fn renew(&mut self, owned: OwnedFd) {
        self.raw = owned.as_raw_fd();
        self.identity = next_identity();
        self.slow
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .owned = Some(owned);
    }

    /// What tells it apart from all other descriptors of this process there ever are.
    #[inline]
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    #[inline]
    pub(crate) fn raw(&self) -> RawFd {
        self.raw
    }

    #[inline]
    pub(crate) fn hint(&self, tried: Tried) -> &Hint {
        &self.hints[tried as usize]
    }

    /// From how many bytes on a send may go without a copy; `usize::MAX`: none.
    #[inline]
    pub(crate) fn zero_copy(&self) -> usize {
        match self.zero_copy.load(Relaxed) {
            NEVER => usize::MAX,
            least => least as usize,
        }
    }

    pub(crate) fn set_zero_copy(&self, least: Option<usize>) {
        let least = least.map_or(NEVER, |least| u32::try_from(least).unwrap_or(NEVER));
        self.zero_copy.store(least, Relaxed);
    }

    pub(super) fn slow(&self) -> MutexGuard<'_, Slow> {
        // No user code runs under this lock, so a poisoned one holds a consistent value.
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.state.load(Acquire) & CLOSING != 0
    }

    /// Whether it is closing, and not only because a chain is about to close it.
    pub(crate) fn is_close_called(&self) -> bool {
        self.state.load(Acquire) & CALLED != 0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.load(Acquire) & CLOSED != 0
    }

    pub(crate) fn lingers(&self) -> bool {
        self.state.load(Acquire) & LINGERS != 0
    }

    /// Counts an operation in, and takes its lane.
    #[inline]
    pub(crate) fn begin(&self, lane: Option<Lane>) -> Begin {
        let (busy, blocked) = lane.map_or((0, 0), |l| (l.busy(), l.busy() | l.queued()));
        let mut state = self.state.load(Relaxed);
        loop {
            if state & CLOSING != 0 {
                return Begin::Closed;
            }
            if state & blocked != 0 {
                return Begin::Busy;
            }
            match self
                .state
                .compare_exchange_weak(state, one_more(state) | busy, AcqRel, Relaxed)
            {
                Ok(_) if lane == Some(Lane::Read) && state & KEPT != 0 => return Begin::GoKept,
                Ok(_) => return Begin::Go,
                Err(seen) => state = seen,
            }
        }
    }

    /// [`begin`](Shared::begin) for an operation that was handed its lane while it queued.
    #[inline]
    pub(crate) fn begin_granted(&self, lane: Option<Lane>) -> Begin {
        let mut state = self.state.load(Relaxed);
        loop {
            if state & CLOSING != 0 {
                return Begin::Closed;
            }
            match self
                .state
                .compare_exchange_weak(state, one_more(state), AcqRel, Relaxed)
            {
                Ok(_) if lane == Some(Lane::Read) && state & KEPT != 0 => return Begin::GoKept,
                Ok(_) => return Begin::Go,
                Err(seen) => state = seen,
            }
        }
    }

    /// Counts an operation out: its last completion has come. `true`: it was the last one of a closing
    /// descriptor, and the caller must call [`last_out`](Shared::last_out).
    #[must_use]
    #[inline]
    pub(crate) fn finish(&self) -> bool {
        let old = self.state.fetch_sub(1, AcqRel);
        debug_assert!(old & COUNT != 0, "an operation finished twice");
        old & COUNT == 1 && old & CLOSING != 0
    }

    /// Puts aside what arrived for nobody.
    pub(crate) fn keep(&self, put: impl FnOnce(&mut Kept)) {
        let mut slow = self.slow();
        let kept = &mut slow.rare().kept;
        put(kept);
        if !kept.is_empty() {
            self.state.fetch_or(KEPT, AcqRel);
        }
    }

    /// Serves a read from what was put aside.
    pub(crate) fn serve<R>(&self, take: impl FnOnce(&mut Kept) -> R) -> R {
        let mut slow = self.slow();
        let kept = &mut slow.rare().kept;
        let taken = take(kept);
        if kept.is_empty() {
            self.state.fetch_and(!KEPT, AcqRel);
        }
        taken
    }

    // --- which rings have operations here -------------------------------------------------------

    /// Whether driver `id`'s slots are the ones listed here.
    #[inline]
    pub(crate) fn is_home(&self, id: u32) -> bool {
        self.home.load(Relaxed) == id
    }

    /// Makes driver `remote` known as one that has operations here. The first becomes the home.
    ///
    /// The caller has counted its operation in already and must look at
    /// [`is_closing`](Shared::is_closing) afterwards: a closer that came before this call did not see
    /// the driver.
    #[cold]
    pub(crate) fn enlist(&self, remote: &Remote) {
        let mut slow = self.slow();
        if slow.rings().any(|r| r.id() == remote.id()) {
            return;
        }
        if !slow.ring.as_ref().is_some_and(Remote::is_open) {
            slow.ring = Some(remote.clone());
        } else {
            let rings = &mut slow.rare().rings;
            rings.retain(Remote::is_open);
            rings.push(remote.clone());
        }
        let _ = self.home.compare_exchange(0, remote.id(), AcqRel, Relaxed);
    }

    /// First of the listed slots. Home driver's thread only.
    #[inline]
    pub(crate) fn head(&self) -> u32 {
        self.head.load(Relaxed)
    }

    #[inline]
    pub(crate) fn set_head(&self, head: u32) {
        self.head.store(head, Relaxed);
    }

    /// As [`head`](Shared::head), of the slots that have this as their second descriptor.
    pub(crate) fn second_head(&self) -> u32 {
        self.second_head.load(Relaxed)
    }

    pub(crate) fn set_second_head(&self, head: u32) {
        self.second_head.store(head, Relaxed);
    }

    /// Whether something is kept that a read must be served from first.
    pub(crate) fn has_kept(&self) -> bool {
        self.state.load(Acquire) & KEPT != 0
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.load(Relaxed);
        f.debug_struct("Fd")
            .field("raw", &self.raw)
            .field("in_flight", &(state & COUNT))
            .field("closing", &(state & CLOSING != 0))
            .finish()
    }
}
