//! The driver of a thread: stages entries, enters the kernel, settles completions.
//!
//! A [`Driver`] owns one ring, the slots of everything in flight on it, and the entries that found no room in
//! the queue (the *backlog*: a cancel, or any other entry, is queued here rather than lost). It is shared by
//! the futures of its operations, all on one thread.
//!
//! One turn: what is staged goes to the kernel; if asked to, the thread sleeps; then the completions are moved
//! out of the ring and settled one by one, each under its own short borrow, collecting wakers; last, with
//! nothing borrowed, the wakers are called. No completion runs user code but the `Drop` of discarded buffers.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use io_uring::squeue::Flags;

use crate::current::{self, Entered};
use crate::fd::{Fd, FdRef};
use crate::op::{CloseOwned, Op, cancel_entry, watch_entry};
use crate::ring::{Completion, Ring, Setup, Sqe, Wait};
use crate::slots::{Done, Key, Orphaned, Settled, Slots};
use crate::unpark::{Remote, Unparker};

/// `user_data` of entries whose answer nobody wants (cancels).
pub(crate) const IGNORE: u64 = u64::MAX;
/// `user_data` of what ends the driver's sleep: the poll on its eventfd, and other rings' messages.
pub(crate) const WAKE: u64 = u64::MAX - 1;
/// Descriptors' memory kept for reuse.
const SPARE_FDS: usize = 1024;

/// The driver of one thread: a ring, and all operations in flight on it.
///
/// Cloning gives another handle to the same driver.
///
/// # Examples
///
/// ```
/// use annulet_driver::{Driver, Setup, Wait};
/// let driver = Driver::new(&Setup::default())?;
/// let entered = driver.enter();
/// driver.turn(Wait::No)?;
/// drop(entered);
/// assert!(driver.shutdown(std::time::Duration::from_secs(5)));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Driver {
    inner: Rc<Inner>,
}

struct Inner {
    id: u32,
    core: RefCell<Core>,
    ready: RefCell<Vec<Waker>>,
    remote: Remote,
    closed: Cell<bool>,
    counts: Counts,
}

/// What needs the ring and the slots together.
pub(crate) struct Core {
    ring: Ring,
    pub(crate) slots: Slots,
    /// Entries being put together, to be staged by one tail store.
    group: Vec<Sqe>,
    /// Entries that found no room, in order; a chain's stand together.
    backlog: VecDeque<Sqe>,
    batch: Vec<Completion>,
    spare_fds: Vec<FdRef>,
    /// Whether the poll on the eventfd is in flight.
    watching: bool,
}

#[derive(Default)]
struct Counts {
    enters: Cell<u64>,
    sleeps: Cell<u64>,
    staged: Cell<u64>,
    completions: Cell<u64>,
    cancels: Cell<u64>,
    discarded: Cell<u64>,
    pokes: Cell<u64>,
    panics: Cell<u64>,
}

fn add(count: &Cell<u64>, n: u64) {
    count.set(count.get() + n);
}

/// Counters of a driver since it was made, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Of these, the ones that were ready to sleep.
    pub sleeps: u64,
    /// Entries handed to the ring.
    pub staged: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Cancel entries staged.
    pub cancels: u64,
    /// Operations that completed with nobody waiting.
    pub discarded: u64,
    /// Times another thread ended the driver's sleep.
    pub pokes: u64,
    /// Panics caught in the `Drop` of discarded buffers.
    pub panics: u64,
    /// Operations and timeouts in flight now.
    pub in_flight: usize,
    /// Slots in use now: in flight, or finished and not taken yet.
    pub live: usize,
    /// Entries waiting for room in the queue now.
    pub backlog: usize,
}

impl Core {
    /// Adds an entry to the group that [`Driver::stage`] hands over as a whole.
    pub(crate) fn stage_later(&mut self, sqe: Sqe) {
        self.group.push(sqe);
    }

    /// Links the last entry of the group to the next one.
    pub(crate) fn link_last(&mut self, link: Flags) {
        if let Some(last) = self.group.pop() {
            self.group.push(last.linked_by(link));
        }
    }

    /// Moves the backlog's entries into the queue, chain by chain, as far as there is room.
    fn flush_backlog(&mut self) {
        while !self.backlog.is_empty() {
            let group = self
                .backlog
                .iter()
                .position(|sqe| !sqe.is_linked())
                .map_or(self.backlog.len(), |at| at + 1);
            let entries = &self.backlog.make_contiguous()[..group];
            if !self.ring.stage(entries) {
                return;
            }
            self.backlog.drain(..group);
        }
    }
}

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl Driver {
    /// Builds a ring as `setup` says, for this thread.
    ///
    /// # Errors
    ///
    /// What `io_uring_setup(2)` refuses, with the cause and the remedy in words; no descriptor left.
    pub fn new(setup: &Setup) -> io::Result<Driver> {
        let ring = Ring::new(setup)?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let remote = Remote::new(id, ring.as_fd())?;
        let core = Core {
            ring,
            slots: Slots::new(),
            group: Vec::with_capacity(16),
            backlog: VecDeque::new(),
            batch: Vec::with_capacity(256),
            spare_fds: Vec::new(),
            watching: false,
        };
        let inner = Inner {
            id,
            core: RefCell::new(core),
            ready: RefCell::new(Vec::with_capacity(256)),
            remote,
            closed: Cell::new(false),
            counts: Counts::default(),
        };
        let driver = Driver {
            inner: Rc::new(inner),
        };
        driver.watch();
        Ok(driver)
    }

    /// Makes this the thread's driver until the guard is dropped: operations polled meanwhile run on it.
    pub fn enter(&self) -> Entered {
        current::enter(self)
    }

    /// The thread's driver, if one was entered.
    pub fn try_current() -> Option<Driver> {
        current::try_driver()
    }

    /// Ends the driver's sleep, from any thread.
    pub fn unparker(&self) -> Unparker {
        Unparker(self.inner.remote.clone())
    }

    /// The set-up flags the ring runs with, e.g. `SINGLE_ISSUER | DEFER_TASKRUN`.
    pub fn ring_flags(&self) -> String {
        self.core().ring.flags().to_owned()
    }

    /// Submission queue entries: the longest chain there can be.
    pub fn capacity(&self) -> usize {
        self.core().ring.capacity()
    }

    /// Whether the ring carries out an opcode (an `IORING_OP_*` number).
    pub fn supports(&self, opcode: u8) -> bool {
        self.core().ring.support().has(opcode)
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        let (core, counts) = (self.core(), &self.inner.counts);
        Metrics {
            enters: counts.enters.get(),
            sleeps: counts.sleeps.get(),
            staged: counts.staged.get(),
            completions: counts.completions.get(),
            cancels: counts.cancels.get(),
            discarded: counts.discarded.get(),
            pokes: counts.pokes.get(),
            panics: counts.panics.get(),
            in_flight: core.slots.in_flight(),
            live: core.slots.live(),
            backlog: core.backlog.len(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.inner.id
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.closed.get()
    }

    pub(crate) fn core(&self) -> RefMut<'_, Core> {
        self.inner.core.borrow_mut()
    }

    // --- staging --------------------------------------------------------------------------------

    /// Stages the group put together by [`Core::stage_later`], whole.
    ///
    /// No room: what is staged goes to the kernel first. Still none (the kernel wants its completions reaped):
    /// the group waits in the backlog.
    pub(crate) fn stage(&self) {
        let mut core = self.core();
        let core = &mut *core;
        add(&self.inner.counts.staged, core.group.len() as u64);
        let mut staged = core.backlog.is_empty() && core.ring.stage(&core.group);
        if !staged && core.backlog.is_empty() {
            add(&self.inner.counts.enters, 1);
            // An error here will come again, to the turn, which reports it.
            let _ = core.ring.enter(Wait::No);
            staged = core.ring.stage(&core.group);
        }
        if !staged {
            core.backlog.extend(core.group.drain(..));
        }
        core.group.clear();
    }

    fn stage_alone(&self, sqe: Sqe) {
        self.core().stage_later(sqe);
        self.stage();
    }

    /// Watches the eventfd by which other threads end this driver's sleep.
    fn watch(&self) {
        if let Some(raw) = self.inner.remote.raw_poke() {
            self.core().watching = true;
            self.stage_alone(watch_entry(raw));
        }
    }

    /// Whether `fd` lists its operations with this driver; makes the driver known to it if it was not.
    pub(crate) fn is_home_of(&self, fd: &FdRef) -> bool {
        fd.is_home(self.id()) || {
            fd.enlist(&self.inner.remote);
            fd.is_home(self.id())
        }
    }

    // --- the turn -------------------------------------------------------------------------------

    /// Hands over what is staged, sleeps if `wait` says so and nothing has completed yet, then settles and
    /// wakes what has completed. Enters the kernel only if there is something to hand over, to collect or to
    /// sleep for.
    ///
    /// # Errors
    ///
    /// What `io_uring_enter(2)` cannot recover from: the ring is not this thread's (after a fork).
    pub fn turn(&self, wait: Wait) -> io::Result<()> {
        self.submit(wait)?;
        self.reap();
        Ok(())
    }

    fn submit(&self, mut wait: Wait) -> io::Result<()> {
        let mut core = self.core();
        let core = &mut *core;
        while !core.backlog.is_empty() {
            let before = core.backlog.len();
            core.flush_backlog();
            if core.backlog.is_empty() {
                break;
            }
            add(&self.inner.counts.enters, 1);
            core.ring.enter(Wait::No)?;
            if core.backlog.len() == before {
                // The kernel takes nothing before it is rid of completions.
                wait = Wait::No;
                break;
            }
        }
        if core.ring.has_completions() {
            wait = Wait::No;
        }
        if wait != Wait::No || core.ring.wants_enter() {
            add(&self.inner.counts.enters, 1);
            add(&self.inner.counts.sleeps, u64::from(wait != Wait::No));
            core.ring.enter(wait)?;
        }
        Ok(())
    }

    fn reap(&self) {
        let mut batch = {
            let mut core = self.core();
            let mut batch = std::mem::take(&mut core.batch);
            core.ring.reap(&mut batch);
            batch
        };
        add(&self.inner.counts.completions, batch.len() as u64);
        for completion in batch.drain(..) {
            self.settle(completion);
        }
        self.core().batch = batch;
        self.wake_ready();
    }

    fn wake_ready(&self) {
        let mut ready = std::mem::take(&mut *self.inner.ready.borrow_mut());
        for waker in ready.drain(..) {
            waker.wake();
        }
        let mut slot = self.inner.ready.borrow_mut();
        if slot.is_empty() {
            *slot = ready;
        }
    }

    fn settle(&self, completion: Completion) {
        match completion.user_data {
            IGNORE => return,
            WAKE => return self.poked(completion),
            _ => {}
        }
        let settled = self.core().slots.settle(completion);
        match settled {
            Settled::Noted => {}
            Settled::Wake(waker) => self.inner.ready.borrow_mut().push(waker),
            Settled::Done(done) => self.follow(done),
            Settled::Orphan(key) => self.discard(key, true),
        }
    }

    /// Does what has to follow an operation's last completion.
    fn follow(&self, done: Done) {
        let mut ready = self.inner.ready.borrow_mut();
        ready.extend(done.waker);
        if let Some((token, cancelled)) = done.token {
            token.ended(done.key, cancelled, &mut ready);
        }
        drop(ready);
        if let Some(key) = done.cancel_next {
            self.stage_cancel(key);
        }
        if let Some(fd) = done.last_out {
            self.last_out(&fd);
        }
    }

    fn last_out(&self, fd: &FdRef) {
        let mut wakers = Vec::new();
        fd.last_out(&mut wakers);
        self.inner.ready.borrow_mut().append(&mut wakers);
    }

    /// Gives back what a completion brought that nobody waits for, then lets go of its descriptor.
    fn discard(&self, key: Key, counted: bool) {
        let Some(mut orphan) = self.core().slots.take_orphan(key, counted) else {
            return;
        };
        add(&self.inner.counts.discarded, 1);
        if !orphan.discard_quietly() {
            add(&self.inner.counts.panics, 1);
            tracing::error!("a buffer panicked when it was dropped");
        }
        if let Some(done) = orphan.done.take() {
            self.follow(done);
        }
        let (fd, lane) = (orphan.fd.take(), orphan.lane.take());
        self.core().slots.give_back(&orphan);
        let Some(fd) = fd else {
            return;
        };
        if let Some(lane) = lane {
            fd.release(lane);
        }
        if counted && fd.finish() {
            self.last_out(&fd);
        }
    }

    /// Another thread wants this one's attention.
    fn poked(&self, completion: Completion) {
        add(&self.inner.counts.pokes, 1);
        if !completion.more() && completion.result != 0 {
            self.core().watching = false;
            if !self.is_closed() {
                self.watch();
            }
        }
        for fd in self.inner.remote.take_mail() {
            self.cancel_fd(&fd);
        }
    }

    // --- a future's side ------------------------------------------------------------------------

    /// An operation's future is gone while it is in flight, or before its result was taken.
    pub(crate) fn abandon(&self, key: Key) {
        let (orphaned, waker) = self.core().slots.orphan(key);
        drop(waker);
        match orphaned {
            Orphaned::Gone | Orphaned::Kept => {}
            Orphaned::ToCancel => self.cancel(key),
            Orphaned::ToDiscard => self.discard(key, false),
        }
    }

    /// Asks the kernel to give an operation up. It ends by its own completion, as ever.
    pub(crate) fn cancel(&self, key: Key) {
        let target = self.core().slots.cancel(key);
        if let Some(target) = target {
            self.stage_cancel(target);
        }
    }

    fn stage_cancel(&self, key: Key) {
        add(&self.inner.counts.cancels, 1);
        self.stage_alone(cancel_entry(key.user_data()));
    }

    /// Cancels everything in flight here on `fd`.
    pub(crate) fn cancel_fd(&self, fd: &FdRef) {
        let keys = self.core().slots.on_fd(fd, fd.is_home(self.id()));
        keys.into_iter().for_each(|key| self.cancel(key));
    }

    /// Cancels an operation whose descriptor began to close, by another thread, while it began.
    pub(crate) fn cancel_if_closing(&self, key: Key) {
        let closing = self.core().slots.is_closing(key);
        if closing {
            self.cancel(key);
        }
    }

    /// Closes a descriptor in the background and tells those who await it.
    pub(crate) fn close_fd(&self, shared: FdRef, owned: OwnedFd) {
        let mut op = Op::new(CloseOwned::new(shared, owned));
        let _ = op.place(self, None, Flags::empty());
        self.stage();
        // The future is dropped here, but not cancelled: a close runs on (`OnDrop::Keep`).
    }

    /// The memory of a new descriptor: that of an old one, if there is some.
    pub(crate) fn renew_fd(&self, owned: OwnedFd) -> FdRef {
        let spare = self.core().spare_fds.pop();
        match spare {
            Some(mut fd) => match Arc::get_mut(&mut fd) {
                Some(shared) => {
                    shared.renew(owned);
                    fd
                }
                None => Fd::allocate(owned),
            },
            None => Fd::allocate(owned),
        }
    }

    /// Keeps the memory of a closed descriptor for the next one, if nobody else holds it.
    pub(crate) fn recycle_fd(&self, mut fd: FdRef) {
        if Arc::get_mut(&mut fd).is_some() {
            let mut core = self.core();
            if core.spare_fds.len() < SPARE_FDS {
                core.spare_fds.push(fd);
            }
        }
    }

    // --- the end --------------------------------------------------------------------------------

    /// Ends everything: no operation begins any more, all in flight are cancelled, and their completions are
    /// awaited, for at most `limit`. Called again, it does nothing.
    ///
    /// `false`: the limit has passed (or the ring cannot be entered) with operations still in flight. Their
    /// memory is then leaked, never freed: the kernel may still write to it.
    pub fn shutdown(&self, limit: Duration) -> bool {
        self.inner.shutdown(self, limit)
    }

    fn drained(&self) -> bool {
        let core = self.core();
        core.slots.in_flight() == 0 && core.backlog.is_empty() && !core.watching
    }
}

impl Inner {
    fn shutdown(&self, driver: &Driver, limit: Duration) -> bool {
        if self.closed.replace(true) {
            return driver.drained();
        }
        let until = Instant::now().checked_add(limit);
        // In order of their start, so that a chain's head goes before the others.
        let keys = driver.core().slots.all_in_flight();
        keys.into_iter().for_each(|key| driver.cancel(key));
        driver.stage_alone(cancel_entry(WAKE));
        while !driver.drained() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let result = driver.turn(Wait::AtMost(left));
            if result.is_err() || left == Some(Duration::ZERO) {
                let left = driver.core().slots.in_flight();
                tracing::error!(
                    left,
                    ?result,
                    "operations did not end: their memory is leaked"
                );
                break;
            }
        }
        self.remote.shut();
        driver.drained()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Slots that are still in flight leak themselves; see their `Drop`.
        self.spare_fds.clear();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("id", &self.inner.id)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl AsRawFd for Driver {
    /// The ring's descriptor.
    fn as_raw_fd(&self) -> i32 {
        self.core().ring.as_fd().as_raw_fd()
    }
}
