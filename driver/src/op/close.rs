//! `IORING_OP_CLOSE`: `close(2)`.
//!
//! [`CloseOwned`] is the last step of every close: nothing is in flight on the descriptor any more. [`CloseFd`]
//! is for chains, where the kernel itself runs it after the members before it.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use io_uring::{opcode, squeue, types};

use super::{OnDrop, Op, Operation, Origin, Success};
use crate::cancel::cancelled;
use crate::current;
use crate::fd::{Fd, FdRef, Shared};
use crate::guarded::wake_all;

/// Closes a descriptor that is in nobody's use, and tells those who await that.
#[derive(Debug)]
pub(crate) struct CloseOwned {
    shared: Option<FdRef>,
    owned: Option<OwnedFd>,
}

impl CloseOwned {
    pub(crate) fn new(shared: FdRef, owned: OwnedFd) -> CloseOwned {
        CloseOwned {
            shared: Some(shared),
            owned: Some(owned),
        }
    }
}

/// Gives up a number that the kernel has closed; one it has not (the entry was cancelled) is closed here.
fn closed(owned: OwnedFd, result: &io::Result<Success>) -> Option<i32> {
    let error = result.as_ref().err().and_then(io::Error::raw_os_error);
    if error == Some(libc::ECANCELED) {
        drop(owned);
        return None;
    }
    let _ = owned.into_raw_fd();
    error
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for CloseOwned {
    type Output = ();
    const OPCODE: u8 = opcode::Close::CODE;
    const NAME: &'static str = "IORING_OP_CLOSE";

    fn on_drop(&self) -> OnDrop {
        OnDrop::Keep
    }

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        let raw = self.owned.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        close_entry(raw, self.shared.as_deref())
    }

    fn complete(self, result: io::Result<Success>) {
        self.discard(result, Origin::NOWHERE);
    }

    fn discard(mut self, result: io::Result<Success>, _origin: Origin<'_>) {
        let error = self.owned.take().and_then(|owned| closed(owned, &result));
        let Some(shared) = self.shared.take() else {
            return;
        };
        let mut wakers = Vec::new();
        shared.closed(error, &mut wakers);
        wake_all(wakers);
        shared.give_up();
    }
}

/// The entry of a close; one that may block is left to a worker of the kernel's.
fn close_entry(raw: RawFd, shared: Option<&Shared>) -> squeue::Entry {
    let entry = opcode::Close::new(types::Fd(raw)).build();
    if shared.is_some_and(Shared::lingers) {
        entry.flags(squeue::Flags::ASYNC)
    } else {
        entry
    }
}

/// Closes a descriptor as a member of a chain.
///
/// From the chain's start nothing else begins on the descriptor. If a member before it fails, the descriptor
/// stays open and usable. Outside a chain use [`Fd::close`].
#[derive(Debug)]
pub struct CloseFd {
    shared: FdRef,
    begun: bool,
}

impl CloseFd {
    /// Closes `fd` after the members before it.
    ///
    /// Operations beside the chain are cancelled once it is closed. The descriptor must not be lent out
    /// ([`as_fd`](std::os::fd::AsFd::as_fd), [`Fd::with`]), nor in use by another chain or another thread
    /// (`ResourceBusy`), nor by a member after this one (`InvalidInput`).
    pub fn of(fd: &Fd) -> Op<CloseFd> {
        Op::new(CloseFd {
            shared: fd.shared().clone(),
            begun: false,
        })
    }

    fn end(&mut self, result: &io::Result<Success>) {
        if !std::mem::take(&mut self.begun) {
            return;
        }
        let error = result.as_ref().err().and_then(io::Error::raw_os_error);
        let ran = error != Some(libc::ECANCELED);
        self.shared.end_chained_close(ran, error.filter(|_| ran));
        self.shared.finish_here();
    }
}

impl Drop for CloseFd {
    /// Its chain was refused after this member was sealed.
    fn drop(&mut self) {
        self.end(&Err(cancelled()));
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Operation for CloseFd {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::Close::CODE;
    const NAME: &'static str = "IORING_OP_CLOSE";

    fn closes(&self) -> Option<RawFd> {
        Some(self.shared.raw())
    }

    fn seal(&mut self, _fd: RawFd, own: u32) -> io::Result<()> {
        let driver = current::driver(Self::NAME);
        self.shared.begin_chained_close(&driver, own)?;
        self.begun = true;
        Ok(())
    }

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        close_entry(self.shared.raw(), Some(&self.shared))
    }

    fn complete(mut self, result: io::Result<Success>) -> io::Result<()> {
        self.end(&result);
        result.map(drop)
    }

    fn discard(mut self, result: io::Result<Success>, _origin: Origin<'_>) {
        self.end(&result);
    }
}
