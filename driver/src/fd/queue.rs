//! The queues for a descriptor's lanes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::task::Waker;

use super::shared::{CLOSING, COUNT, Lane, Rare, Shared, Waiter};
use crate::guarded::wake_all;

static NEXT_WAITER: AtomicU64 = AtomicU64::new(1);

impl Shared {
    /// Gives a lane up: hands it to the first in the queue, or frees it.
    #[inline]
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
        // Two statements: the lock must not be held when user code is called.
        let next = self.hand_on(self.slow().rare(), lane);
        wake_all(next);
    }

    /// [`release`](Shared::release), and out of the count: what held both goes at once.
    #[inline]
    pub(crate) fn leave_lane(self: &Arc<Self>, lane: Lane) {
        let mut state = self.state.load(Relaxed);
        while state & (lane.queued() | CLOSING) == 0 {
            debug_assert!(state & COUNT != 0, "an operation finished twice");
            match self.state.compare_exchange_weak(
                state,
                (state & !lane.busy()) - 1,
                AcqRel,
                Relaxed,
            ) {
                Ok(_) => return,
                Err(seen) => state = seen,
            }
        }
        self.release(lane);
        self.finish_here();
    }

    /// Hands a held lane to the first waiter; the lane stays busy on its behalf.
    fn hand_on(&self, rare: &mut Rare, lane: Lane) -> Option<Waker> {
        let queue = &mut rare.waiting[lane as usize];
        let first = queue.pop_front();
        let empty = queue.is_empty();
        rare.granted[lane as usize] = first.as_ref().map(|w| w.id);
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
        slow.rare().waiting[lane as usize].push_back(Waiter {
            id,
            waker: waker.clone(),
        });
        Some(id)
    }

    /// Whether waiter `id` was handed its lane; if not, `waker` is the one to wake.
    pub(crate) fn granted(&self, lane: Lane, id: u64, waker: &Waker) -> bool {
        let mut slow = self.slow();
        let rare = slow.rare();
        if rare.granted[lane as usize] == Some(id) {
            rare.granted[lane as usize] = None;
            return true;
        }
        let waiter = rare.waiting[lane as usize].iter_mut().find(|w| w.id == id);
        let replaced = waiter.map(|w| std::mem::replace(&mut w.waker, waker.clone()));
        // Dropping a waker may run anything: not under the lock.
        drop(slow);
        drop(replaced);
        false
    }

    /// Takes waiter `id` out of the queue; a lane it was handed meanwhile goes on to the next.
    pub(crate) fn leave(&self, lane: Lane, id: u64) {
        let mut slow = self.slow();
        let rare = slow.rare();
        let queue = &mut rare.waiting[lane as usize];
        if let Some(at) = queue.iter().position(|w| w.id == id) {
            let waiter = queue.remove(at);
            if queue.is_empty() {
                self.state.fetch_and(!lane.queued(), AcqRel);
            }
            drop(slow);
            drop(waiter);
            return;
        }
        if rare.granted[lane as usize] == Some(id) {
            rare.granted[lane as usize] = None;
            let next = self.hand_on(rare, lane);
            drop(slow);
            wake_all(next);
        }
    }

    /// A close here is to wake `waker`, until [`look_away`](Shared::look_away): who calls this waits for another
    /// descriptor's lane, as waiter `id`, and must look at [`is_closing`](Shared::is_closing) afterwards.
    pub(crate) fn watch_close(&self, id: u64, waker: &Waker) {
        let mut slow = self.slow();
        let elsewhere = &mut slow.rare().elsewhere;
        let known = elsewhere.iter_mut().find(|w| w.id == id);
        let waker = waker.clone();
        let replaced = match known {
            Some(waiter) => Some(std::mem::replace(&mut waiter.waker, waker)),
            None => {
                elsewhere.push(Waiter { id, waker });
                None
            }
        };
        drop(slow);
        drop(replaced);
    }

    /// Undoes [`watch_close`](Shared::watch_close).
    pub(crate) fn look_away(&self, id: u64) {
        let mut slow = self.slow();
        let elsewhere = &mut slow.rare().elsewhere;
        let at = elsewhere.iter().position(|w| w.id == id);
        let waiter = at.map(|at| elsewhere.swap_remove(at));
        drop(slow);
        drop(waiter);
    }
}
