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
//! | `PROMPT` | unless it lingers, closing does not block: a call does it | `set_prompt` | never |
//! | `CLOSING` | no operation begins any more | `close` | a chain whose close did not run |
//! | `CALLED` | `close` was called: not only a chain is about to close | `close` | never |
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
//!
//! [`shared`] counts, [`queue`] queues, [`closing`] closes, [`hint`] guesses, [`registered`] is known to the ring; the
//! handle, and the lines of unsafe code that lend its descriptor out and give its memory up, are here.
#![allow(unsafe_code, reason = "lends the descriptor out as BorrowedFd")]

mod closing;
mod hint;
mod queue;
mod registered;
mod shared;

use std::fmt;
use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::task::{Context, Poll};

pub(crate) use self::closing::closed_error;
pub(crate) use self::hint::Advice;
pub use self::hint::Tried;
pub use self::shared::Lane;
use self::shared::{BORROWED, CLOSING, LINGERS, PROMPT};
pub(crate) use self::shared::{Begin, NONE, Shared};
use crate::current;
use crate::kept::Kept;

/// What a slot, or an operation not yet started, holds of a descriptor.
pub(crate) type FdRef = Arc<Shared>;

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
    /// Given up by `drop` only.
    shared: ManuallyDrop<FdRef>,
}

impl Fd {
    /// Takes a descriptor over. Blocking or not (`O_NONBLOCK`) makes no difference.
    pub fn new(owned: OwnedFd) -> Fd {
        let shared = match current::try_driver() {
            Some(driver) => driver.renew_fd(owned),
            None => Arc::new(Shared::new(owned)),
        };
        Fd {
            shared: ManuallyDrop::new(shared),
        }
    }

    /// No descriptor, only a lane to queue for.
    pub(crate) fn lane_only() -> FdRef {
        Arc::new(Shared::lane_only())
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
                self.0.finish_here();
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
            shared: Some(FdRef::clone(&self.shared)),
        }
    }

    /// Says whether closing the descriptor may block, as it does for a socket with `SO_LINGER`.
    ///
    /// Then the close is left to a worker of the kernel's: `IORING_OP_CLOSE` otherwise runs, and blocks, on the
    /// thread that submits it, as Linux 6.18 has it. `false` by default; a descriptor that was lent out by
    /// [`as_fd`](AsFd::as_fd) is asked itself when it is closed.
    pub fn set_lingers(&self, lingers: bool) {
        if lingers {
            self.shared.state.fetch_or(LINGERS, AcqRel);
        } else {
            self.shared.state.fetch_and(!LINGERS, AcqRel);
        }
    }

    /// Says that a `close(2)` of the descriptor does not block unless it [lingers](Fd::set_lingers), as it is with sockets.
    ///
    /// It is then closed by a call, as soon as nothing is in flight on it any more, instead of by the ring. `false` by
    /// default.
    pub fn set_prompt(&self) {
        self.shared.state.fetch_or(PROMPT, AcqRel);
    }

    /// Whether closing it may block: [`set_lingers`](Fd::set_lingers) said so, or
    /// [`as_fd`](AsFd::as_fd) was called, so that anybody may have set the option.
    ///
    /// Sockets that a listener accepts inherit the option from it.
    pub fn may_linger(&self) -> bool {
        self.shared.state.load(Acquire) & (LINGERS | BORROWED) != 0
    }

    /// From how many bytes on sends go without a copy ([`Send`](crate::op::Send), [`SendAll`](crate::op::SendAll),
    /// [`SendMsg`](crate::op::SendMsg), [`SendTo`](crate::op::SendTo), [`Writev`](crate::op::Writev)); `None`, the default:
    /// none do. For TCP and UDP sockets.
    ///
    /// Such a send resolves later, when the kernel no longer reads its buffer; [`SendZc`](crate::op::SendZc) tells when
    /// that is. It is undone where it proves to be of no use: where the kernel says of a send that it has copied after
    /// all, or cannot do without. Where the ring does not have it, sends copy.
    pub fn set_zero_copy(&self, least: Option<usize>) {
        self.shared.set_zero_copy(least);
    }

    /// Does what this thread's driver was set up to have done with the sockets of streams and datagrams made on it
    /// ([`Setup::zero_copy`](crate::Setup::zero_copy)).
    pub fn set_default_zero_copy(&self) {
        let default = current::try_driver().and_then(|driver| driver.default_zero_copy());
        if default.is_some() {
            self.set_zero_copy(default);
        }
    }

    /// What [`set_zero_copy`](Fd::set_zero_copy) set, if it was not undone.
    pub fn zero_copy(&self) -> Option<usize> {
        match self.shared.zero_copy() {
            usize::MAX => None,
            least => Some(least),
        }
    }

    /// Whether bytes, a connection or an error wait here that arrived for a dropped read or accept: the next one is
    /// served from them. What goes past reading, a [`Splice`](crate::op::Splice), is refused until then.
    pub fn has_kept(&self) -> bool {
        self.shared.has_kept()
    }

    /// Puts bytes back that were read: the next read is served from them, before anything else.
    ///
    /// For who has read on, from a stream of bytes.
    #[doc(hidden)]
    pub fn unread(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.shared.keep(|kept| kept.put_back(bytes));
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
        let kept = slow.take_kept();
        slow.owned
            .take()
            .map(|owned| (owned, kept))
            .ok_or_else(closed_error)
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.shared.close();
        // SAFETY: the handle is being dropped: nobody uses it any more.
        let shared = unsafe { ManuallyDrop::take(&mut self.shared) };
        shared.give_up();
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
