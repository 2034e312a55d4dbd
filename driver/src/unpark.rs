//! Reaching a driver from another thread.
//!
//! [`Remote`] is the only part of a driver that crosses threads. It holds a mailbox (what only the driver's own thread
//! can do, see [`Mail`]), an eventfd the driver's ring watches with one multishot poll, and a word at which a thread sleeps
//! that waits for nothing of its ring ([`alarm`]). A poke is a write to the eventfd, or wakes who sleeps at the word. It is
//! sticky: one that comes before the driver sleeps ends that sleep at once.
//! When the driver shuts down mailbox and eventfd are taken away, under their locks: a late poke does nothing.

mod alarm;

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use rustix::event::{EventfdFlags, eventfd};

use self::alarm::Alarm;
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
    alarm: Alarm,
    /// `None` once the driver is gone.
    ends: RwLock<Option<Ends>>,
    mailbox: Mutex<Vec<Mail>>,
    /// There is something in the mailbox. Set before the poke, which publishes it.
    has_mail: AtomicBool,
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
            alarm: Alarm::new(),
            ends: RwLock::new(Some(ends)),
            mailbox: Mutex::default(),
            has_mail: AtomicBool::new(false),
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

    /// The ring's descriptor, for messages: from now on the thread sleeps nowhere else.
    pub(crate) fn ring_for_messages(&self) -> Option<Arc<OwnedFd>> {
        if self.inner.alarm.use_ring_only() {
            self.poke();
        }
        self.ring()
    }

    /// The same for whoever waits for it himself, on the driver's own thread: it does not sleep, so nobody is to wake it.
    pub(crate) fn ring_to_wait_for(&self) -> Option<Arc<OwnedFd>> {
        self.inner.alarm.use_ring_only();
        self.ring()
    }

    /// The ring's descriptor.
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
            self.inner.has_mail.store(true, Ordering::Relaxed);
            drop(mailbox);
            drop(ends);
            self.poke();
        }
        there
    }

    /// What has come, if the driver was poked; it answers each poke it is told of.
    pub(crate) fn answer(&self) -> Vec<Mail> {
        self.inner.alarm.reset();
        self.take_mail()
    }

    /// Sleeps until poked, if nothing else is to end that. `None`: the driver is to go to its ring. Else, whether it was
    /// poked, and what has come.
    pub(crate) fn sleep(&self) -> Option<(bool, Vec<Mail>)> {
        let poked = self.inner.alarm.sleep()?;
        Some((poked, self.take_mail()))
    }

    #[inline]
    fn take_mail(&self) -> Vec<Mail> {
        if !self.inner.has_mail.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut mailbox = self
            .inner
            .mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.inner.has_mail.store(false, Ordering::Relaxed);
        std::mem::take(&mut *mailbox)
    }

    /// Ends the driver's sleep, or its next one.
    pub(crate) fn poke(&self) {
        if self.inner.alarm.set_off()
            && let Some(ends) = &*self.ends()
        {
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
