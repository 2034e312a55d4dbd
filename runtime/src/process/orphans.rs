//! Children that were dropped before they were waited for: reaped by one thread, which lives while there are any.
//!
//! Not by a task: its runtime may be gone, or not run, when the child ends. The thread sleeps in `epoll_wait(2)` on the
//! children's pidfds. A child that is added while it sleeps wakes it when it ends; nothing else has to.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::epoll;
use slab::Slab;

use super::child::Held;

static ORPHANS: Mutex<Orphans> = Mutex::new(Orphans {
    children: Slab::new(),
    epoll: None,
});

struct Orphans {
    children: Slab<Held>,
    /// While the thread runs.
    epoll: Option<Arc<OwnedFd>>,
}

fn orphans() -> MutexGuard<'static, Orphans> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the child reaped when it ends.
pub(super) fn adopt(child: Held) {
    let mut orphans = orphans();
    let key = orphans.children.insert(child);
    let Some(epoll) = &orphans.epoll else {
        if let Err(error) = orphans.start() {
            // It stays in the list, and is looked after with the next one.
            tracing::warn!(%error, "a child that was dropped is not reaped for now");
        }
        return;
    };
    if let Err(error) = watch(epoll, key, &orphans.children[key]) {
        tracing::warn!(%error, "a child that was dropped will not be reaped");
        orphans.children.remove(key);
    }
}

impl Orphans {
    fn start(&mut self) -> io::Result<()> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        for (key, child) in &self.children {
            watch(&epoll, key, child)?;
        }
        let watched = epoll.clone();
        let thread = thread::Builder::new().name("annulet-orphans".into());
        thread.spawn(move || reap(&watched))?;
        self.epoll = Some(epoll);
        Ok(())
    }

    /// Reaps the child if it has ended.
    fn try_reap(&mut self, epoll: &OwnedFd, key: usize) {
        let Some(child) = self.children.get_mut(key) else {
            return;
        };
        match child.child.try_wait() {
            Ok(None) => return,
            Ok(Some(_)) => {}
            Err(error) => {
                tracing::warn!(%error, "a child that was dropped was not there to be reaped");
            }
        }
        // A fork's copy of the pidfd would keep it in the set.
        let _ = child.pidfd.with(|pidfd| Ok(epoll::delete(epoll, pidfd)?));
        self.children.remove(key);
    }
}

fn watch(epoll: &OwnedFd, key: usize, child: &Held) -> io::Result<()> {
    let data = epoll::EventData::new_u64(key as u64);
    let add = |pidfd: std::os::fd::BorrowedFd<'_>| {
        Ok(epoll::add(epoll, pidfd, data, epoll::EventFlags::IN)?)
    };
    child.pidfd.with(add)
}

/// The thread.
fn reap(epoll: &OwnedFd) {
    let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; 32];
    loop {
        // Interrupted, nothing has happened.
        let (events, _) = epoll::wait(epoll, &mut room, None).unwrap_or_default();
        let mut orphans = orphans();
        for event in events {
            // The keys are those of the list.
            orphans.try_reap(epoll, event.data.u64() as usize);
        }
        if orphans.children.is_empty() {
            orphans.epoll = None;
            return;
        }
    }
}
