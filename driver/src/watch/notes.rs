//! What is known of a watched descriptor, and who waits to know more.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use super::Trigger;
use super::interest::{BITS, END, Interest, Ready, WAYS};

/// The cache of a [`Watch`](super::Watch): its poll writes to it, its waiters read it. On one thread.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(super) trigger: Trigger,
    /// What the watch's poll is armed for; 0: none is.
    armed: Cell<u32>,
    /// What ended it, until somebody was told.
    error: Cell<Option<i32>>,
    ways: [Way; WAYS],
    waiters: RefCell<Vec<Waiter>>,
    next_id: Cell<u64>,
}

/// One way to be ready.
#[derive(Debug, Default)]
struct Way {
    /// The bits it was last found ready with; 0: not, as far as is known.
    bits: Cell<u32>,
    /// How often it became ready.
    edges: Cell<u32>,
    /// How many of these were told; edge-triggered only.
    told: Cell<u32>,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    interest: Interest,
    waker: Waker,
}

/// What somebody was told: it is readiness as of then that they may clear.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub(super) interest: Interest,
    edges: [u32; WAYS],
    /// What the descriptor was ready for.
    pub ready: Ready,
}

impl Notes {
    pub(super) fn new(trigger: Trigger) -> Notes {
        Notes {
            trigger,
            armed: Cell::new(0),
            error: Cell::new(None),
            ways: Default::default(),
            waiters: RefCell::default(),
            next_id: Cell::new(0),
        }
    }

    // --- the poll's side --------------------------------------------------------------------------

    /// A completion of the watch's poll: an event, or why it has ended. One that was dropped for another is not heard.
    pub(crate) fn take_note(&self, result: i32, more: bool, wakers: &mut Vec<Waker>) {
        if !more {
            // A full completion queue ends it, among others. Who waits arms it anew.
            self.armed.set(0);
        }
        match u32::try_from(result) {
            Ok(bits) => self.set(bits),
            // Its driver shuts down: whoever waits on another one goes on there.
            Err(_) if -result == libc::ECANCELED => {}
            Err(_) => self.error.set(Some(-result)),
        }
        let mut waiters = self.waiters.borrow_mut();
        if more {
            let bits = result.cast_unsigned();
            for waiter in waiters.extract_if(.., |w| answers(w.interest, bits)) {
                wakers.push(waiter.waker);
            }
        } else {
            wakers.extend(waiters.drain(..).map(|waiter| waiter.waker));
        }
    }

    fn set(&self, bits: u32) {
        for (way, of_way) in self.ways.iter().zip(BITS) {
            let bits = bits & (of_way | END);
            if bits != 0 {
                way.bits.set(bits);
                way.edges.set(way.edges.get().wrapping_add(1));
            }
        }
    }

    // --- the watch's side -------------------------------------------------------------------------

    pub(super) fn armed(&self) -> u32 {
        self.armed.get()
    }

    /// A poll is armed for `mask` now.
    pub(super) fn arm(&self, mask: u32) {
        self.armed.set(mask);
    }

    pub(super) fn take_error(&self) -> Option<i32> {
        self.error.take()
    }

    /// What of `interest` is ready, as far as is known.
    #[inline]
    pub(super) fn look(&self, interest: Interest) -> Option<Told> {
        let mut told = Told {
            interest,
            edges: [0; WAYS],
            ready: Ready(0),
        };
        for at in interest.ways() {
            let way = &self.ways[at];
            told.edges[at] = way.edges.get();
            if self.trigger == Trigger::Level || way.told.get() != way.edges.get() {
                told.ready.0 |= way.bits.get();
            }
        }
        (told.ready.0 != 0).then_some(told)
    }

    /// Edge-triggered: what was told is not told again.
    pub(super) fn consume(&self, told: &Told) {
        for at in told.interest.ways() {
            self.ways[at].told.set(told.edges[at]);
        }
    }

    /// It is not ready any more, unless it has become so since `told`.
    pub(super) fn clear(&self, told: &Told) {
        for at in told.interest.ways() {
            if self.ways[at].edges.get() == told.edges[at] {
                self.ways[at].bits.set(0);
            }
        }
    }

    /// What `poll(2)` says of `interest` now.
    pub(super) fn correct(&self, interest: Interest, bits: u32) {
        for at in interest.ways() {
            self.ways[at].bits.set(bits & (BITS[at] | END));
        }
    }

    // --- who waits --------------------------------------------------------------------------------

    /// Has `waker` woken when `interest` is answered. What it replaces is the caller's to drop.
    pub(super) fn sit(&self, seat: &mut Option<u64>, interest: Interest, waker: Waker) -> Waker {
        let mut waiters = self.waiters.borrow_mut();
        let seated = waiters.iter_mut().find(|w| Some(w.id) == *seat);
        if let Some(waiter) = seated {
            waiter.interest = interest;
            return std::mem::replace(&mut waiter.waker, waker);
        }
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        *seat = Some(id);
        waiters.push(Waiter {
            id,
            interest,
            waker,
        });
        Waker::noop().clone()
    }

    /// Nobody waits in that seat any more.
    pub(super) fn leave(&self, seat: Option<u64>) -> Option<Waker> {
        let id = seat?;
        let mut waiters = self.waiters.borrow_mut();
        let at = waiters.iter().position(|w| w.id == id)?;
        Some(waiters.remove(at).waker)
    }
}

fn answers(interest: Interest, bits: u32) -> bool {
    bits & (interest.mask() | END) != 0
}
