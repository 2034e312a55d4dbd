//! One turn of a driver: stage, enter, reap, settle, wake.
//!
//! No borrow of the driver lives across a call into anything that may run user code: wakers are collected and
//! called at the end, orphans are taken out before they are discarded.

use std::io;
use std::slice;

use io_uring::squeue::Flags;

use super::metrics::add;
use super::{Core, Driver, IGNORE, WAKE};
use crate::fd::{FdRef, Lane};
use crate::guarded::wake_all;
use crate::op::{cancel_entry, watch_entry};
use crate::ring::{Completion, Sqe, Wait};
use crate::slots::{Done, Key, Settled};
use crate::unpark::Mail;

/// So often a turn enters the kernel for what is left of deferred work.
const HELPINGS: u32 = 16;

/// What is to follow a completion.
enum Follow {
    Poked(Completion),
    Settled(Settled),
}

impl Core {
    /// Adds an entry to the group that [`Driver::stage_group`] hands over as a whole.
    #[inline]
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

impl Driver {
    // --- staging --------------------------------------------------------------------------------

    /// Stages the group put together by [`Core::stage_later`], whole.
    ///
    /// No room: what is staged goes to the kernel first. Still none (the kernel wants its completions reaped):
    /// the group waits in the backlog.
    pub(crate) fn stage_group(&self, core: &mut Core) {
        add(&self.inner.counts.staged, core.group.len() as u64);
        if core.backlog.is_empty() && core.ring.stage(&core.group) {
            core.group.clear();
        } else {
            self.make_room(core);
        }
    }

    /// As [`stage_group`](Driver::stage_group), for an entry that stands alone.
    #[inline]
    pub(crate) fn stage_one(&self, core: &mut Core, sqe: Sqe) {
        add(&self.inner.counts.staged, 1);
        if !core.backlog.is_empty() || !core.ring.stage(slice::from_ref(&sqe)) {
            core.stage_later(sqe);
            self.make_room(core);
        }
    }

    #[cold]
    fn make_room(&self, core: &mut Core) {
        let mut staged = false;
        if core.backlog.is_empty() {
            // An error here will come again, to the turn, which reports it.
            let _ = self.enter_again(core);
            staged = core.ring.stage(&core.group);
        }
        if !staged {
            core.backlog.extend(core.group.drain(..));
        }
        core.group.clear();
    }

    pub(super) fn stage_alone(&self, sqe: Sqe) {
        self.stage_one(&mut self.core(), sqe);
    }

    /// Watches the eventfd by which other threads end this driver's sleep.
    pub(super) fn watch(&self) {
        if let Some(raw) = self.inner.remote.raw_poke() {
            self.core().watching = true;
            self.stage_alone(watch_entry(raw));
        }
    }

    // --- the turn -------------------------------------------------------------------------------

    /// Hands over what is staged, sleeps if `wait` says so and nothing has completed yet, then settles and
    /// wakes what has completed. Enters the kernel only if there is something to hand over, to collect or to
    /// sleep for.
    ///
    /// # Errors
    ///
    /// What `io_uring_enter(2)` cannot recover from: the ring is not this thread's (after a fork). `ResourceBusy` where it
    /// is called by what this driver calls in the midst of a turn, the destructor of a buffer: what is to be settled after
    /// that would come out of its order.
    pub fn turn(&self, wait: Wait) -> io::Result<()> {
        if self.inner.following.get() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.inner.attempts.refill();
        if wait == Wait::AtMost(None) && self.sleep_for_others() {
            return Ok(());
        }
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
            self.enter_again(core)?;
            if core.backlog.len() == before {
                // The kernel takes nothing before it is rid of completions.
                wait = Wait::No;
                break;
            }
        }
        self.collect(core);
        if !core.batch.is_empty() {
            wait = Wait::No;
        }
        if wait != Wait::No || core.ring.wants_enter() {
            add(&self.inner.counts.sleeps, u64::from(wait != Wait::No));
            self.enter_ring(core, wait)?;
            self.have_the_rest(core)?;
        }
        Ok(())
    }

    /// An enter runs no more than some twenty pieces of deferred work. A disk that has completed more would be fed in
    /// helpings: what it has done is collected before it is given more to do. So are receives, for each helping of which
    /// there are buffers to pick.
    #[inline]
    fn have_the_rest(&self, core: &mut Core) -> io::Result<()> {
        let mut helpings = HELPINGS;
        while helpings > 0 && core.ring.has_deferred() {
            helpings -= 1;
            add(&self.inner.counts.enters, 1);
            self.collect(core);
            self.inner.chunks.publish();
            core.ring.enter(Wait::No)?;
        }
        Ok(())
    }

    /// Moves what has completed out of the ring, behind what was before and is not settled yet.
    #[inline]
    fn collect(&self, core: &mut Core) {
        let before = core.batch.len();
        core.ring.reap(&mut core.batch);
        self.inner.chunks.reaped(&mut core.batch[before..]);
    }

    /// Enters before what completed is settled: for what may be received now, too, there are to be buffers.
    fn enter_again(&self, core: &mut Core) -> io::Result<()> {
        self.collect(core);
        self.enter_ring(core, Wait::No)
    }

    fn enter_ring(&self, core: &mut Core, wait: Wait) -> io::Result<()> {
        self.inner.attempts.entered(self.inner.counts.staged.get());
        self.inner.chunks.publish();
        let done = core.ring.enter(wait);
        add(
            &self.inner.counts.enters,
            u64::from(!core.ring.looked_away()),
        );
        done
    }

    /// Hands over what is staged, and has the kernel do what it has put off, but settles nothing.
    pub(crate) fn hand_over(&self) {
        // The entries; what they led to, as deferred work; and what that led to.
        for _ in 0..3 {
            let mut core = self.core();
            core.flush_backlog();
            if self.is_closed() || !core.ring.wants_enter() {
                return;
            }
            // An error here will come again, to the turn, which reports it.
            let _ = self.enter_again(&mut core);
        }
    }

    /// Moves what has completed out of the ring, settles it in that order, then wakes.
    ///
    /// Most completions mean no more than a waking, and are settled under one borrow. What something else has to follow
    /// ends it for the time that takes.
    fn reap(&self) {
        let mut batch = {
            let core = &mut *self.core();
            self.collect(core);
            std::mem::take(&mut core.batch)
        };
        add(&self.inner.counts.completions, batch.len() as u64);
        let mut rest = batch.iter();
        while let Some(what) = self.settle_some(&mut rest) {
            self.follow(what);
        }
        batch.clear();
        let mut core = self.core();
        // What was collected meanwhile, to make room in a queue, is for the next turn.
        if core.batch.is_empty() {
            core.batch = batch;
        }
        drop(core);
        self.wake_ready();
    }

    pub(super) fn wake_ready(&self) {
        let mut ready = std::mem::take(&mut *self.inner.ready.borrow_mut());
        let panics = wake_all(ready.drain(..));
        if panics > 0 {
            add(&self.inner.counts.panics, panics);
            tracing::error!(panics, "wakers panicked");
        }
        let mut slot = self.inner.ready.borrow_mut();
        if slot.is_empty() {
            *slot = ready;
        }
    }

    /// Settles completions until something else than a waking is to follow one.
    fn settle_some(&self, batch: &mut slice::Iter<'_, Completion>) -> Option<Follow> {
        let core = &mut *self.core();
        let wakers = &mut *self.inner.ready.borrow_mut();
        for completion in batch {
            let settled = match (
                Key::of_operation(completion.user_data),
                completion.user_data,
            ) {
                (Some(key), _) => core.slots.settle(key, completion, wakers),
                (None, IGNORE) => None,
                (None, WAKE) => return Some(Follow::Poked(*completion)),
                (None, _) => core.slots.settle_other(completion, wakers),
            };
            if let Some(settled) = settled {
                return Some(Follow::Settled(settled));
            }
        }
        None
    }

    #[cold]
    fn follow(&self, what: Follow) {
        self.inner.following.set(true);
        match what {
            Follow::Poked(completion) => self.poked(completion),
            Follow::Settled(Settled::Done(done)) => self.finish(done),
            Follow::Settled(Settled::Orphan(key, counted)) => self.discard(key, counted),
            Follow::Settled(
                Settled::Full(key) | Settled::NotFound(key) | Settled::OutOfTime(key),
            ) => {
                self.stage_cancel(key);
            }
        }
        self.inner.following.set(false);
    }

    /// Does what has to follow an operation's last completion.
    fn finish(&self, done: Done) {
        let mut ready = self.inner.ready.borrow_mut();
        if let Some((token, flight)) = done.token {
            token.ended(flight, done.cancelled, &mut ready);
        }
        drop(ready);
        if let Some(key) = done.timer {
            self.stage_alone(cancel_entry(key.timeout_user_data(), IGNORE));
        }
        if let Some(key) = done.cancel_next {
            self.cancel(key);
        }
        if let Some(fd) = done.last_out {
            self.last_out(fd);
        }
        if let Some((fd, lane)) = done.off {
            if let Some(lane) = lane {
                fd.release(lane);
            }
            if fd.finish() {
                self.last_out(fd);
            }
        }
    }

    fn last_out(&self, fd: FdRef) {
        let mut wakers = Vec::new();
        fd.last_out(&mut wakers);
        self.inner.ready.borrow_mut().append(&mut wakers);
        fd.give_up();
    }

    /// Gives back what a completion brought that nobody waits for, then lets go of its descriptor.
    pub(super) fn discard(&self, key: Key, counted: bool) {
        let Some(mut orphan) = self.core().slots.take_orphan(key, counted) else {
            return;
        };
        add(&self.inner.counts.discarded, 1);
        if !orphan.discard_quietly(counted) {
            add(&self.inner.counts.panics, 1);
            tracing::error!("a buffer panicked when it was dropped");
        }
        if let Some(done) = orphan.done.take() {
            self.finish(done);
        }
        let (fd, lane) = (orphan.fd.take(), orphan.lane.take());
        let group = orphan.group.take();
        self.core().slots.give_back(&orphan);
        if let Some(group) = group {
            group.release(Lane::Write);
        }
        let Some(fd) = fd else {
            return;
        };
        if let Some(lane) = lane {
            fd.release(lane);
        }
        if counted && fd.finish() {
            self.last_out(fd);
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
        self.take_in(self.inner.remote.answer());
    }

    pub(super) fn take_in(&self, mail: Vec<Mail>) {
        for mail in mail {
            match mail {
                Mail::Cancel(fd) => self.cancel_fd(&fd),
                Mail::Close(fd) => {
                    fd.leave_table_of(self);
                    self.last_out(fd);
                }
                Mail::ForgetRegion(index) => self.forget_region(index),
            }
        }
    }
}
