//! A descriptor and everything that is in flight on it.
//!
//! [`Fd`] is what a `TcpStream` or a `File` holds. Behind it stands one [`Shared`], which every operation
//! in flight on the descriptor (its slot, on whichever ring) holds too. One atomic word says it all:
//!
//! | bits | meaning | set by | cleared by |
//! | --- | --- | --- | --- |
//! | count | operations the kernel may still complete | [`Shared::begin`] | [`Shared::finish`], at the last completion |
//! | `BUSY` (a lane) | a read (or a write) is between its start and the taking of its result | `begin` | [`Shared::release`] |
//! | `QUEUED` (a lane) | somebody waits for the lane; under the lock | `enqueue` | `release`, `leave` |
//! | `KEPT` | something arrived for a future that was gone; under the lock | `keep` | `serve` |
//! | `BORROWED` | `as_fd` was called: the number must outlive the close | `as_fd` | never |
//! | `LINGERS` | closing may block: a kernel worker does it | `set_lingers` | `set_lingers` |
//! | `CLOSING` | no operation begins any more | `close` | a chain whose close did not run |
//! | `CLOSED` | the kernel has let go | [`Shared::closed`] | never |
//!
//! **Lanes.** Two receives in flight on one socket can complete in reverse, two sends interleave. So a
//! descriptor has one lane a direction; who finds it busy queues and is handed it in turn.
//!
//! **Kept.** A read whose future is dropped stays in flight, or is cancelled too late: what it brings is
//! put here and the next read is served from here before it asks the kernel.
//!
//! **Closing.** Whoever sets `CLOSING` cancels all that is in flight, on every ring that has some, by the
//! operations' own numbers (descriptor numbers are reused, and cancelling by them costs 200 times as
//! much). The count and `CLOSING` are in one word, so exactly one party sees "closing, and none in flight":
//! the closer, or the last operation to finish. That one closes ([`Shared::last_out`]).
#![allow(unsafe_code, reason = "lends the descriptor out as BorrowedFd")]

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::current;
use crate::kept::Kept;
use crate::unpark::Remote;

const COUNT: u32 = (1 << 20) - 1;
const CLOSING: u32 = 1 << 31;
const CLOSED: u32 = 1 << 30;
const KEPT: u32 = 1 << 29;
const BORROWED: u32 = 1 << 28;
const READ_BUSY: u32 = 1 << 27;
const WRITE_BUSY: u32 = 1 << 26;
const READ_QUEUED: u32 = 1 << 25;
const WRITE_QUEUED: u32 = 1 << 24;
const LINGERS: u32 = 1 << 23;

/// What a slot, or an operation not yet started, holds of a descriptor.
pub(crate) type FdRef = Arc<Shared>;

/// The end of a list of slots.
pub(crate) const NONE: u32 = u32::MAX;

/// A direction in which one operation at a time may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Reads, receives and accepts.
    Read,
    /// Writes and sends.
    Write,
}

impl Lane {
    fn busy(self) -> u32 {
        match self {
            Lane::Read => READ_BUSY,
            Lane::Write => WRITE_BUSY,
        }
    }

    fn queued(self) -> u32 {
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
    raw: RawFd,
    state: AtomicU32,
    /// The driver whose slots [`head`](Shared::head) lists: the first that used the descriptor; 0 if none.
    home: AtomicU32,
    /// The home driver's list of slots in flight here. Only the home driver's thread touches it.
    head: AtomicU32,
    slow: Mutex<Slow>,
}

/// What is touched only off the fast path.
#[derive(Default)]
struct Slow {
    owned: Option<OwnedFd>,
    kept: Kept,
    waiting: [VecDeque<Waiter>; 2],
    granted: [Option<u64>; 2],
    closers: Vec<Waker>,
    close_error: Option<i32>,
    /// Every driver that has had an operation here, the home driver first.
    rings: Vec<Remote>,
    reclaim: bool,
}

struct Waiter {
    id: u64,
    waker: Waker,
}

static NEXT_WAITER: AtomicU64 = AtomicU64::new(1);

impl Shared {
    fn new(owned: OwnedFd) -> Shared {
        Shared {
            raw: owned.as_raw_fd(),
            state: AtomicU32::new(0),
            home: AtomicU32::new(0),
            head: AtomicU32::new(NONE),
            slow: Mutex::new(Slow {
                owned: Some(owned),
                ..Slow::default()
            }),
        }
    }

    /// Makes a finished descriptor's memory serve a new one: accepting allocates nothing.
    pub(crate) fn renew(&mut self, owned: OwnedFd) {
        self.raw = owned.as_raw_fd();
        *self.state.get_mut() = 0;
        *self.home.get_mut() = 0;
        *self.head.get_mut() = NONE;
        let slow = self
            .slow
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        slow.owned = Some(owned);
        slow.kept.clear();
        slow.waiting.iter_mut().for_each(VecDeque::clear);
        slow.granted = [None; 2];
        slow.closers.clear();
        slow.close_error = None;
        slow.rings.clear();
        slow.reclaim = false;
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.raw
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        // No user code runs under this lock, so a poisoned one holds a consistent value.
        self.slow
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.state.load(Acquire) & CLOSING != 0
    }

    fn is_closed(&self) -> bool {
        self.state.load(Acquire) & CLOSED != 0
    }

    pub(crate) fn lingers(&self) -> bool {
        self.state.load(Acquire) & LINGERS != 0
    }

    /// Counts an operation in, and takes its lane.
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
                .compare_exchange_weak(state, (state + 1) | busy, AcqRel, Relaxed)
            {
                Ok(_) if lane == Some(Lane::Read) && state & KEPT != 0 => return Begin::GoKept,
                Ok(_) => return Begin::Go,
                Err(seen) => state = seen,
            }
        }
    }

    /// [`begin`](Shared::begin) for an operation that was handed its lane while it queued.
    pub(crate) fn begin_granted(&self) -> Begin {
        let mut state = self.state.load(Relaxed);
        loop {
            if state & CLOSING != 0 {
                return Begin::Closed;
            }
            match self
                .state
                .compare_exchange_weak(state, state + 1, AcqRel, Relaxed)
            {
                Ok(_) if state & KEPT != 0 => return Begin::GoKept,
                Ok(_) => return Begin::Go,
                Err(seen) => state = seen,
            }
        }
    }

    /// Counts an operation out: its last completion has come. `true`: it was the last one of a closing
    /// descriptor, and the caller must call [`last_out`](Shared::last_out).
    #[must_use]
    pub(crate) fn finish(&self) -> bool {
        let old = self.state.fetch_sub(1, AcqRel);
        debug_assert!(old & COUNT != 0, "an operation finished twice");
        old & COUNT == 1 && old & CLOSING != 0
    }

    /// Gives a lane up: hands it to the first in the queue, or frees it.
    pub(crate) fn release(&self, lane: Lane) {
        let mut state = self.state.load(Relaxed);
        while state & lane.queued() == 0 {
            match self
                .state
                .compare_exchange_weak(state, state & !lane.busy(), AcqRel, Relaxed)
            {
                Ok(_) => return,
                Err(seen) => state = seen,
            }
        }
        if let Some(waker) = self.hand_on(&mut self.slow(), lane) {
            waker.wake();
        }
    }

    /// Hands a held lane to the first waiter; the lane stays busy on its behalf.
    fn hand_on(&self, slow: &mut Slow, lane: Lane) -> Option<Waker> {
        let queue = &mut slow.waiting[lane as usize];
        let first = queue.pop_front();
        let empty = queue.is_empty();
        slow.granted[lane as usize] = first.as_ref().map(|w| w.id);
        if empty {
            let off = if first.is_some() {
                lane.queued()
            } else {
                lane.queued() | lane.busy()
            };
            self.state.fetch_and(!off, AcqRel);
        }
        first.map(|w| w.waker)
    }

    /// Queues for `lane`. `None`: it fell free meanwhile and is now the caller's.
    pub(crate) fn enqueue(&self, lane: Lane, waker: &Waker) -> Option<u64> {
        let mut slow = self.slow();
        let mut state = self.state.load(Relaxed);
        loop {
            let free = state & (lane.busy() | lane.queued()) == 0;
            let next = state | if free { lane.busy() } else { lane.queued() };
            match self
                .state
                .compare_exchange_weak(state, next, AcqRel, Relaxed)
            {
                Ok(_) if free => return None,
                Ok(_) => break,
                Err(seen) => state = seen,
            }
        }
        let id = NEXT_WAITER.fetch_add(1, Relaxed);
        slow.waiting[lane as usize].push_back(Waiter {
            id,
            waker: waker.clone(),
        });
        Some(id)
    }

    /// Whether waiter `id` was handed its lane; if not, `waker` is the one to wake.
    pub(crate) fn granted(&self, lane: Lane, id: u64, waker: &Waker) -> bool {
        let mut slow = self.slow();
        if slow.granted[lane as usize] == Some(id) {
            slow.granted[lane as usize] = None;
            return true;
        }
        let waiter = slow.waiting[lane as usize].iter_mut().find(|w| w.id == id);
        let replaced = waiter.map(|w| std::mem::replace(&mut w.waker, waker.clone()));
        // Dropping a waker may run anything: not under the lock.
        drop(slow);
        drop(replaced);
        false
    }

    /// Takes waiter `id` out of the queue; a lane it was handed meanwhile goes on to the next.
    pub(crate) fn leave(&self, lane: Lane, id: u64) {
        let mut slow = self.slow();
        let queue = &mut slow.waiting[lane as usize];
        if let Some(at) = queue.iter().position(|w| w.id == id) {
            let waiter = queue.remove(at);
            if queue.is_empty() {
                self.state.fetch_and(!lane.queued(), AcqRel);
            }
            drop(slow);
            drop(waiter);
            return;
        }
        if slow.granted[lane as usize] == Some(id) {
            slow.granted[lane as usize] = None;
            let next = self.hand_on(&mut slow, lane);
            drop(slow);
            if let Some(waker) = next {
                waker.wake();
            }
        }
    }

    /// Puts aside what arrived for nobody.
    pub(crate) fn keep(&self, put: impl FnOnce(&mut Kept)) {
        let mut slow = self.slow();
        put(&mut slow.kept);
        if !slow.kept.is_empty() {
            self.state.fetch_or(KEPT, AcqRel);
        }
    }

    /// Serves a read from what was put aside.
    pub(crate) fn serve<R>(&self, take: impl FnOnce(&mut Kept) -> R) -> R {
        let mut slow = self.slow();
        let taken = take(&mut slow.kept);
        if slow.kept.is_empty() {
            self.state.fetch_and(!KEPT, AcqRel);
        }
        taken
    }

    // --- which rings have operations here -------------------------------------------------------

    /// Whether driver `id`'s slots are the ones listed here.
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
        if slow.rings.iter().any(|r| r.id() == remote.id()) {
            return;
        }
        slow.rings.retain(Remote::is_open);
        slow.rings.push(remote.clone());
        let _ = self.home.compare_exchange(0, remote.id(), AcqRel, Relaxed);
    }

    /// First of the listed slots. Home driver's thread only.
    pub(crate) fn head(&self) -> u32 {
        self.head.load(Relaxed)
    }

    pub(crate) fn set_head(&self, head: u32) {
        self.head.store(head, Relaxed);
    }

    // --- closing --------------------------------------------------------------------------------

    /// Starts to close: no operation begins any more, all in flight are cancelled, the last one out
    /// closes. Does nothing if that is under way already.
    pub(crate) fn close(self: &Arc<Self>) {
        let old = self.state.fetch_or(CLOSING, AcqRel);
        if old & CLOSING != 0 {
            return;
        }
        if old & COUNT == 0 {
            let mut wakers = Vec::new();
            self.last_out(&mut wakers);
            wakers.into_iter().for_each(Waker::wake);
        } else {
            self.cancel_everywhere();
        }
    }

    fn cancel_everywhere(self: &Arc<Self>) {
        let rings = self.slow().rings.clone();
        let here = current::try_driver();
        for ring in rings {
            match &here {
                Some(driver) if driver.id() == ring.id() => driver.cancel_fd(self),
                _ => ring.cancel_fd(self.clone()),
            }
        }
    }

    /// Nothing is in flight and nothing will be: closes the descriptor, through this thread's ring if
    /// there is one. Those who queued for a lane are put into `wakers`, in order.
    pub(crate) fn last_out(self: &Arc<Self>, wakers: &mut Vec<Waker>) {
        let mut slow = self.slow();
        for lane in [Lane::Read, Lane::Write] {
            wakers.extend(slow.waiting[lane as usize].drain(..).map(|w| w.waker));
            self.state.fetch_and(!lane.queued(), AcqRel);
        }
        let Some(owned) = slow.owned.take() else {
            // A chain's own close has done it.
            return;
        };
        if slow.reclaim {
            slow.owned = Some(owned);
            drop(slow);
            return self.closed(None, wakers);
        }
        if self.state.load(Acquire) & BORROWED != 0 {
            let error = park_number(owned, &mut slow.owned)
                .err()
                .and_then(|e| e.raw_os_error());
            drop(slow);
            return self.closed(error, wakers);
        }
        drop(slow);
        match current::try_driver() {
            Some(driver) if !driver.is_closed() => driver.close_fd(self.clone(), owned),
            _ => {
                drop(owned);
                self.closed(None, wakers);
            }
        }
    }

    /// The kernel has let go of the descriptor: whoever awaits the close hears so.
    pub(crate) fn closed(&self, error: Option<i32>, wakers: &mut Vec<Waker>) {
        let mut slow = self.slow();
        self.state.fetch_or(CLOSING | CLOSED, AcqRel);
        if let Some(errno) = error
            && slow.closers.is_empty()
        {
            let error = io::Error::from_raw_os_error(errno);
            tracing::warn!(fd = self.raw, %error, "closing in the background failed");
        }
        slow.close_error = error;
        wakers.append(&mut slow.closers);
    }

    /// A chain is about to close the descriptor by its own entry: nothing else begins.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is closing already; `ResourceBusy` if another thread's ring may have entries for
    /// the number: they would meet its next owner.
    pub(crate) fn begin_chained_close(&self, driver: u32) -> io::Result<()> {
        let slow = self.slow();
        if slow.rings.iter().any(|r| r.id() != driver) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another thread's ring uses this descriptor: close it with close() instead of in a chain",
            ));
        }
        let mut state = self.state.load(Relaxed);
        loop {
            if state & CLOSING != 0 {
                return Err(closed_error());
            }
            match self
                .state
                .compare_exchange_weak(state, (state + 1) | CLOSING, AcqRel, Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(seen) => state = seen,
            }
        }
    }

    /// The close entry of a chain has completed. `ran`: it reached the descriptor.
    pub(crate) fn end_chained_close(self: &Arc<Self>, ran: bool, error: Option<i32>) {
        if ran {
            if let Some(owned) = self.slow().owned.take() {
                // The entry has closed the number; it must not be closed again.
                let _ = owned.into_raw_fd();
            }
            let mut wakers = Vec::new();
            self.closed(error, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
            self.cancel_everywhere();
        } else if self.slow().closers.is_empty() && !self.slow().reclaim {
            self.state.fetch_and(!CLOSING, AcqRel);
        } else {
            // Somebody called close() meanwhile: now it is theirs to do.
            self.cancel_everywhere();
        }
    }

    fn poll_closed(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut slow = self.slow();
        if self.is_closed() {
            return Poll::Ready(match slow.close_error.take() {
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                None => Ok(()),
            });
        }
        if !slow.closers.iter().any(|w| w.will_wake(cx.waker())) {
            slow.closers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Closes the file but keeps its number taken, for those who borrowed it: a handle to nothing takes
/// its place until `keep` is dropped.
fn park_number(mut owned: OwnedFd, keep: &mut Option<OwnedFd>) -> io::Result<()> {
    let nothing = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    rustix::io::dup3(&nothing, &mut owned, rustix::io::DupFlags::CLOEXEC)?;
    *keep = Some(owned);
    Ok(())
}

/// What an operation on a closed descriptor answers.
pub(crate) fn closed_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
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

/// An open descriptor that operations run on; the handle behind every socket, pipe and file here.
///
/// Dropping it closes the descriptor in the background: what is in flight is cancelled first. It can
/// be shared between threads; each runs its operations on its own ring.
///
/// # Examples
///
/// ```
/// use annulet_driver::Fd;
/// let fd = Fd::new(std::fs::File::open("/dev/null")?.into());
/// assert!(!fd.is_closed());
/// # std::io::Result::Ok(())
/// ```
pub struct Fd {
    shared: FdRef,
}

impl Fd {
    /// Takes a descriptor over. Blocking or not (`O_NONBLOCK`) makes no difference.
    pub fn new(owned: OwnedFd) -> Fd {
        let shared = match current::try_driver() {
            Some(driver) => driver.renew_fd(owned),
            None => Arc::new(Shared::new(owned)),
        };
        Fd { shared }
    }

    pub(crate) fn allocate(owned: OwnedFd) -> FdRef {
        Arc::new(Shared::new(owned))
    }

    pub(crate) fn shared(&self) -> &FdRef {
        &self.shared
    }

    /// Calls `f` with the descriptor, which stays open meanwhile: a close waits.
    ///
    /// For short system calls such as socket options. Cheaper than [`as_fd`](AsFd::as_fd), which ties the number up
    /// for as long as the handle lives.
    ///
    /// # Errors
    ///
    /// `EBADF` if the descriptor is closed; what `f` returns.
    pub fn with<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        /// Counts out even if `f` panics.
        struct Counted<'a>(&'a FdRef);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                if self.0.finish() {
                    let mut wakers = Vec::new();
                    self.0.last_out(&mut wakers);
                    wakers.into_iter().for_each(Waker::wake);
                }
            }
        }
        if self.shared.begin(None) != Begin::Go {
            return Err(closed_error());
        }
        let counted = Counted(&self.shared);
        // SAFETY: counted in, so the number is not given up before `counted` is dropped, after `f`.
        f(unsafe { BorrowedFd::borrow_raw(counted.0.raw) })
    }

    /// Ends everything in flight on the descriptor, then closes it.
    ///
    /// Every pending operation resolves as cancelled (`ECANCELED`, see
    /// [`is_cancelled`](crate::is_cancelled)) before this does; one begun later fails with `EBADF` and
    /// does no I/O. Closing twice, or from many tasks and threads, is fine: one closes, all resolve.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports; the descriptor is gone all the same. Only the first to await hears it.
    ///
    /// # Cancel safety
    ///
    /// The close begins when this is called. A dropped future leaves it to finish in the background.
    pub fn close(&self) -> Close {
        self.shared.close();
        Close {
            shared: Some(self.shared.clone()),
        }
    }

    /// Says whether closing the descriptor may block, as it does for a socket with `SO_LINGER`.
    ///
    /// Then the close is left to a worker of the kernel's: `IORING_OP_CLOSE` otherwise runs, and blocks, on the
    /// thread that submits it, as Linux 6.18 has it. `false` by default.
    pub fn set_lingers(&self, lingers: bool) {
        if lingers {
            self.shared.state.fetch_or(LINGERS, AcqRel);
        } else {
            self.shared.state.fetch_and(!LINGERS, AcqRel);
        }
    }

    /// Whether [`close`](Fd::close) has been called.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closing()
    }

    /// Ends everything in flight, then gives the descriptor back instead of closing it, with what was
    /// received for futures that were dropped.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the descriptor is closed.
    pub async fn reclaim(self) -> io::Result<(OwnedFd, Kept)> {
        {
            let mut slow = self.shared.slow();
            if self.shared.is_closing() {
                return Err(closed_error());
            }
            slow.reclaim = true;
        }
        self.close().await?;
        let mut slow = self.shared.slow();
        let kept = std::mem::take(&mut slow.kept);
        slow.owned
            .take()
            .map(|owned| (owned, kept))
            .ok_or_else(closed_error)
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl AsRawFd for Fd {
    /// The number. It may belong to another file once the descriptor is closed.
    fn as_raw_fd(&self) -> RawFd {
        self.shared.raw
    }
}

impl AsFd for Fd {
    /// Borrows the descriptor. Its number stays taken for as long as this handle lives, even when it
    /// is closed meanwhile.
    ///
    /// # Panics
    ///
    /// If the descriptor is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        let old = self.shared.state.fetch_or(BORROWED, AcqRel);
        assert!(old & CLOSING == 0, "as_fd on a descriptor that is closed");
        // SAFETY: `BORROWED` was set before `CLOSING`, so a close parks the number instead of freeing
        // it (`park_number`), and `Shared` holds it until this handle, which the borrow outlives not,
        // is gone.
        unsafe { BorrowedFd::borrow_raw(self.shared.raw) }
    }
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

/// The future of [`Fd::close`].
#[derive(Debug)]
#[must_use = "awaiting tells when the descriptor is closed, and whether that went well"]
pub struct Close {
    shared: Option<FdRef>,
}

impl Future for Close {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(shared) = &self.shared else {
            return Poll::Ready(Ok(()));
        };
        let done = shared.poll_closed(cx);
        if done.is_ready() {
            self.shared = None;
        }
        done
    }
}
