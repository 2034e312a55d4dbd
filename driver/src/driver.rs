//! The driver of a thread: stages entries, enters the kernel, settles completions.
//!
//! A [`Driver`] owns one ring, the slots of everything in flight on it, and the entries that found no room in
//! the queue (the *backlog*: a cancel, or any other entry, is queued here rather than lost). It is shared by
//! the futures of its operations, all on one thread.
//!
//! One turn: what is staged goes to the kernel; if asked to, the thread sleeps; then the completions are moved
//! out of the ring and settled one by one, each under its own short borrow, collecting wakers; last, with
//! nothing borrowed, the wakers are called. No completion runs user code but the `Drop` of discarded buffers.

mod attempts;
mod chunks;
mod embed;
mod metrics;
mod registered;
mod sleep;
mod turn;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::task::Waker;
use std::time::{Duration, Instant};

use self::attempts::Attempts;
use self::chunks::Chunks;
pub use self::metrics::Metrics;
use self::metrics::{Counts, add};
use crate::current::{self, Entered};
use crate::fd::{Fd, FdRef};
use crate::op::{CloseOwned, GivesUp, Op, cancel_entry};
use crate::ring::{Completion, DriverKind, Ring, Setup, Sqe, Support, VARIABLE, Wait, refusal};
use crate::slots::{Key, Orphaned, Slots};
use crate::unpark::{Remote, Unparker};

/// `user_data` of entries whose answer nobody wants (cancels).
pub(crate) const IGNORE: u64 = u64::MAX;
/// `user_data` of what ends the driver's sleep: the poll on its eventfd, and other rings' messages.
pub(crate) const WAKE: u64 = IGNORE - 1;
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
    /// What follows a completion is being done, in the midst of a turn.
    following: Cell<bool>,
    kind: DriverKind,
    support: Support,
    refused: Option<io::Error>,
    counts: Counts,
    attempts: Attempts,
    chunks: Chunks,
    zero_copy: Option<usize>,
    fixed_buffers: bool,
    fixed_files: bool,
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

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl Driver {
    /// Builds a ring as `setup` says, for this thread.
    ///
    /// # Errors
    ///
    /// What `io_uring_setup(2)` refuses, with the cause and the remedy in words, if the kernel's ring was insisted on
    /// (see [`DriverKind`]); no descriptor left; `InvalidInput` for sizes beyond the kernel's, and for an environment
    /// variable `ANNULET_DRIVER` that names no ring.
    pub fn new(setup: &Setup) -> io::Result<Driver> {
        let (mut ring, refused) = Ring::new(setup)?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let remote = Remote::new(id, ring.as_fd()).map_err(|error| refusal(&error))?;
        if let Some(fd) = remote.ring() {
            ring.known_as(fd.as_raw_fd());
        }
        let (kind, support) = (ring.kind(), ring.support());
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
            following: Cell::new(false),
            kind,
            support,
            refused,
            counts: Counts::default(),
            attempts: Attempts::new(setup.attempts),
            chunks: Chunks::new(setup),
            zero_copy: setup.zero_copy,
            fixed_buffers: setup.fixed_buffers,
            fixed_files: setup.fixed_files,
        };
        let driver = Driver {
            inner: Rc::new(inner),
        };
        driver.watch();
        if let Some(reason) = driver.refused() {
            // What refuses one ring refuses all: a program of many threads hears of it once.
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    "the ring is one in user space, which is slower: {reason}; {VARIABLE}=poll chooses it without a warning"
                );
            });
        }
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

    /// Which ring it is: never [`Auto`](DriverKind::Auto).
    pub fn kind(&self) -> DriverKind {
        self.inner.kind
    }

    /// Why it is not the kernel's, with the remedy in words, if that was refused.
    pub fn refused(&self) -> Option<&io::Error> {
        self.inner.refused.as_ref()
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
    #[inline]
    pub fn supports(&self, opcode: u8) -> bool {
        self.inner.support.has(opcode)
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        let (core, counts) = (self.core(), &self.inner.counts);
        let chunks = self.inner.chunks.usage();
        let (zero_copy, zero_copy_copied) = core.slots.notified();
        Metrics {
            enters: counts.enters.get(),
            sleeps: counts.sleeps.get(),
            staged: counts.staged.get(),
            completions: counts.completions.get(),
            cancels: counts.cancels.get(),
            discarded: counts.discarded.get(),
            pokes: counts.pokes.get(),
            panics: counts.panics.get(),
            attempts: self.inner.attempts.made(),
            zero_copy,
            zero_copy_copied,
            in_flight: core.slots.in_flight(),
            live: core.slots.live(),
            backlog: core.backlog.len(),
            chunks: chunks.made,
            chunks_lent: chunks.lent,
            chunks_dry: chunks.dry,
        }
    }

    /// From how many bytes on sockets made here send without a copy.
    pub(crate) fn default_zero_copy(&self) -> Option<usize> {
        self.inner.zero_copy
    }

    #[inline]
    pub(crate) fn id(&self) -> u32 {
        self.inner.id
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.inner.closed.get()
    }

    #[inline]
    pub(crate) fn core(&self) -> RefMut<'_, Core> {
        self.inner.core.borrow_mut()
    }

    /// Whether `fd` lists its operations with this driver; makes the driver known to it if it was not.
    #[inline]
    pub(crate) fn is_home_of(&self, fd: &FdRef) -> bool {
        fd.is_home(self.id()) || {
            fd.enlist(&self.inner.remote);
            fd.is_home(self.id())
        }
    }

    /// How often it has handed over what was staged.
    #[inline]
    pub(crate) fn enters(&self) -> u64 {
        self.inner.attempts.enters()
    }

    /// Whether an operation may be tried by a plain call before it is staged; one is then being made.
    #[inline]
    pub(crate) fn may_attempt(&self) -> bool {
        self.inner.attempts.take(self.inner.counts.staged.get())
    }

    /// The same of a send that begins, which is counted also if it is not `worth` it.
    #[inline]
    pub(crate) fn may_attempt_send(&self, worth: bool) -> bool {
        self.inner.attempts.take_send(worth)
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

    /// The operation may be in no place where the kernel looks for it: between the end of a chain's member before it and
    /// its own start, or on its way to a worker. So the cancel's answer is heard.
    fn stage_cancel(&self, key: Key) {
        add(&self.inner.counts.cancels, 1);
        self.stage_alone(cancel_entry(key.user_data(), key.cancel_user_data()));
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
        let _ = op.place(self.clone(), GivesUp::default(), None, None);
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
        if let Some(shared) = Arc::get_mut(&mut fd) {
            shared.retire();
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
        if self.inner.closed.replace(true) {
            return self.drained();
        }
        let until = Instant::now().checked_add(limit);
        // In order of their start, so that a chain's head goes before the others.
        let keys = self.core().slots.all_cancellable();
        keys.into_iter().for_each(|key| self.cancel(key));
        self.stage_alone(cancel_entry(WAKE, IGNORE));
        while !self.drained() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let result = self.turn(Wait::AtMost(left));
            if result.is_err() || left == Some(Duration::ZERO) {
                let left = self.core().slots.in_flight();
                tracing::error!(
                    left,
                    ?result,
                    "operations did not end: their memory is leaked"
                );
                break;
            }
        }
        self.inner.remote.shut();
        let drained = self.drained();
        if drained {
            // Futures that were kept or forgotten hold the driver, but no longer its ring.
            let mut ring = std::mem::replace(&mut self.core().ring, Ring::Closed);
            self.inner.chunks.end(&mut ring);
        }
        drained
    }

    fn drained(&self) -> bool {
        let core = self.core();
        core.slots.in_flight() == 0 && core.backlog.is_empty() && !core.watching
    }
}

impl Drop for Inner {
    /// Descriptors and unparkers may live on; what they hold of the driver is let go.
    fn drop(&mut self) {
        self.remote.shut();
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
    /// The ring's descriptor; -1 once it is shut down.
    fn as_raw_fd(&self) -> i32 {
        self.core().ring.as_fd().map_or(-1, |fd| fd.as_raw_fd())
    }
}
