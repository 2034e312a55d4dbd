//! Reaching a driver from another thread.
//!
//! [`Remote`] is the only part of a driver that crosses threads. It holds a mailbox (what only the driver's own thread
//! can do, see [`Mail`]) and an eventfd the driver's ring watches with one multishot poll. A
//! poke is a write to it: sticky, so a poke that comes before the driver sleeps ends that sleep at once.
//! When the driver shuts down both are taken away, under their locks: a late poke does nothing.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use rustix::event::{EventfdFlags, eventfd};

use crate::fd::FdRef;

/// What another thread asks of a driver.
#[derive(Debug)]
pub(crate) enum Mail {
    /// To cancel everything it has in flight on a descriptor.
    Cancel(FdRef),
    /// To close a descriptor that its ring knows, and that nothing is in flight on.
    Close(FdRef),
    /// To have its ring forget a region of memory.
    ForgetRegion(u16),
}

/// A driver as seen from other threads.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: u32,
    /// `None` once the driver is gone.
    ends: RwLock<Option<Ends>>,
    mailbox: Mutex<Vec<Mail>>,
}

#[derive(Debug)]
struct Ends {
    poke: OwnedFd,
    /// A duplicate of the ring's descriptor, to send messages to.
    ring: Option<Arc<OwnedFd>>,
}

impl Remote {
    pub(crate) fn new(id: u32, ring: Option<BorrowedFd<'_>>) -> std::io::Result<Remote> {
        let poke = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ring = ring
            .map(|ring| ring.try_clone_to_owned())
            .transpose()?
            .map(Arc::new);
        let ends = Ends { poke, ring };
        let inner = Inner {
            id,
            ends: RwLock::new(Some(ends)),
            mailbox: Mutex::default(),
        };
        Ok(Remote {
            inner: Arc::new(inner),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.inner.id
    }

    fn ends(&self) -> RwLockReadGuard<'_, Option<Ends>> {
        self.inner
            .ends
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.ends().is_some()
    }

    /// The eventfd's number, for the driver's own poll.
    pub(crate) fn raw_poke(&self) -> Option<RawFd> {
        self.ends().as_ref().map(|ends| ends.poke.as_raw_fd())
    }

    /// The ring's descriptor, for messages.
    pub(crate) fn ring(&self) -> Option<Arc<OwnedFd>> {
        self.ends().as_ref().and_then(|ends| ends.ring.clone())
    }

    /// Asks the driver to cancel everything it has in flight on `fd`; one that is gone has nothing in flight.
    pub(crate) fn cancel_fd(&self, fd: FdRef) {
        self.send(Mail::Cancel(fd));
    }

    /// Asks the driver to have its ring forget a region; one that is gone has no ring.
    pub(crate) fn forget_region(&self, index: u16) {
        self.send(Mail::ForgetRegion(index));
    }

    /// Asks the driver to close a descriptor; `false` if it is gone.
    pub(crate) fn close(&self, fd: FdRef) -> bool {
        self.send(Mail::Close(fd))
    }

    /// `false`: the driver is gone.
    fn send(&self, mail: Mail) -> bool {
        // Held, so that a shutdown empties the box after this, not before.
        let ends = self.ends();
        let there = ends.is_some();
        if there {
            let mut mailbox = self
                .inner
                .mailbox
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            mailbox.push(mail);
            drop(mailbox);
            drop(ends);
            self.poke();
        }
        there
    }

    pub(crate) fn take_mail(&self) -> Vec<Mail> {
        std::mem::take(
            &mut *self
                .inner
                .mailbox
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Ends the driver's sleep, or its next one.
    pub(crate) fn poke(&self) {
        if let Some(ends) = &*self.ends() {
            // EAGAIN: the counter is full, so the poll has long fired. Nothing else can fail.
            let _ = rustix::io::write(&ends.poke, &1u64.to_ne_bytes());
        }
    }

    /// The driver is gone: pokes and mail are dropped from now on.
    pub(crate) fn shut(&self) {
        *self
            .inner
            .ends
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
        for mail in self.take_mail() {
            if let Mail::Close(fd) = mail {
                fd.close_without_table();
            }
        }
    }
}

/// Ends a driver's sleep, from any thread; see [`Driver::unparker`](crate::Driver::unparker).
#[derive(Clone, Debug)]
pub struct Unparker(pub(crate) Remote);

impl Unparker {
    /// Ends the driver's current sleep, or the next one if it is awake. Harmless once it is gone.
    pub fn unpark(&self) {
        self.0.poke();
    }
}
