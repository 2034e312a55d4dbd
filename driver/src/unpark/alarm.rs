//! How a poke ends a sleep: the word that says where the thread sleeps.
//!
//! A thread that waits for its ring is woken by way of the ring: an eventfd is written to, which the ring watches. A
//! thread with nothing in flight waits for other threads only, and sleeps at the word itself, a futex: nothing of the ring
//! is then in the way of a wake.
//!
//! # The protocol
//!
//! 1. The word rests at `BY_RING`. Whoever pokes puts `POKED` there, by a swap, and does what the value before asks for: the
//!    eventfd written (`BY_RING`), the futex woken (`AT_WORD`), nothing (`POKED`: someone has poked before, and the owner
//!    has yet to hear of it).
//! 2. To sleep at the word the owner exchanges `BY_RING` for `AT_WORD`. If it finds `POKED`, the eventfd was or will be
//!    written to, so it goes to its ring, which tells of that at once.
//! 3. Out of its sleep, and when its ring tells of the eventfd, the owner swaps `BY_RING` back, and only then looks at what
//!    others have left for it.
//! 4. So every poke either ends the sleep it met, or makes the next one end: after `POKED` the owner always comes through 3,
//!    and no poke is between its swap and its write when the owner sleeps at the word.
//! 5. All of it is swaps of one word, so what was written before a poke is seen by whoever swaps it back, also if
//!    that poke found another's.
//!
//! Messages from other rings come by the ring, past the word. So who wants to send one says so and pokes, and the owner
//! sleeps at its word no more.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const BY_RING: u32 = 0;
const AT_WORD: u32 = 1;
const POKED: u32 = 2;

#[derive(Debug)]
pub(super) struct Alarm {
    word: AtomicU32,
    /// What ends the sleep may come by the ring without a word.
    ring_only: AtomicBool,
}

impl Alarm {
    pub(super) fn new() -> Alarm {
        Alarm {
            word: AtomicU32::new(BY_RING),
            ring_only: AtomicBool::new(false),
        }
    }

    /// Step 1, from any thread. `true`: the eventfd is to be written to.
    #[inline]
    pub(super) fn set_off(&self) -> bool {
        let before = self.word.swap(POKED, Ordering::AcqRel);
        if before == AT_WORD {
            wake(&self.word);
        }
        before == BY_RING
    }

    /// Steps 2 and 3, for the owner. `None`: it is not to sleep here. Else, whether it was poked; a signal ends it, too.
    #[inline]
    pub(super) fn sleep(&self) -> Option<bool> {
        // Whoever says so pokes after. So if it is not seen here, that poke is met by the exchange, or ends this sleep.
        if self.ring_only.load(Ordering::Relaxed)
            || self
                .word
                .compare_exchange(BY_RING, AT_WORD, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
        {
            return None;
        }
        wait(&self.word, AT_WORD);
        Some(self.reset())
    }

    /// Step 3, for the owner: whether it was poked.
    pub(super) fn reset(&self) -> bool {
        self.word.swap(BY_RING, Ordering::AcqRel) == POKED
    }

    /// From now on sleeps are the ring's. `true`: the one that may have begun is to be ended by a poke.
    pub(super) fn use_ring_only(&self) -> bool {
        !self.ring_only.swap(true, Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
fn wait(word: &AtomicU32, value: u32) {
    use rustix::thread::futex;
    // It was changed before (EAGAIN), or a signal came (EINTR): either way the sleep is over.
    let _ = futex::wait(word, futex::Flags::PRIVATE, value, None);
}

#[cfg(not(loom))]
fn wake(word: &AtomicU32) {
    use rustix::thread::futex;
    // Nothing can fail: the word is there.
    let _ = futex::wake(word, futex::Flags::PRIVATE, 1);
}

/// The model's futex has no queue: who waits looks again and again.
#[cfg(loom)]
fn wait(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Relaxed) == value {
        loom::thread::yield_now();
    }
}

#[cfg(loom)]
fn wake(_word: &AtomicU32) {}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// An alarm, and the eventfd that the ring watches.
    struct Sleeper {
        alarm: Alarm,
        written: AtomicBool,
        /// What others have left: a bit each.
        left: AtomicU32,
        /// A message to the ring.
        message: AtomicBool,
    }

    impl Sleeper {
        fn new() -> Arc<Sleeper> {
            Arc::new(Sleeper {
                alarm: Alarm::new(),
                written: AtomicBool::new(false),
                left: AtomicU32::new(0),
                message: AtomicBool::new(false),
            })
        }

        fn poke(&self) {
            if self.alarm.set_off() {
                self.written.swap(true, Ordering::AcqRel);
            }
        }

        fn leave(&self, what: u32) {
            self.left.fetch_or(what, Ordering::Relaxed);
            self.poke();
        }

        fn sleep_by_ring(&self) {
            while !self.written.swap(false, Ordering::AcqRel) {
                if self.message.load(Ordering::Acquire) {
                    return;
                }
                thread::yield_now();
            }
            self.alarm.reset();
        }
    }

    /// Where the owner sleeps first; then in turns.
    #[derive(Clone, Copy)]
    enum Sleep {
        AtWord,
        ByRing,
    }

    /// A wake that is lost leaves the owner asleep for ever, which the model reports.
    fn owner_hears_of(pokers: &'static [u32], first: Sleep) {
        loom::model(move || {
            let sleeper = Sleeper::new();
            let others: Vec<_> = pokers
                .iter()
                .map(|what| {
                    let sleeper = Arc::clone(&sleeper);
                    thread::spawn(move || sleeper.leave(*what))
                })
                .collect();
            let all = pokers.iter().sum();
            let mut next = first;
            while sleeper.left.load(Ordering::Relaxed) != all {
                next = match next {
                    Sleep::AtWord if sleeper.alarm.sleep().is_some() => Sleep::ByRing,
                    _ => {
                        sleeper.sleep_by_ring();
                        Sleep::AtWord
                    }
                };
            }
            for other in others {
                other.join().unwrap();
            }
        });
    }

    #[test]
    fn loom_no_poke_is_lost_on_a_thread_asleep_at_its_word() {
        owner_hears_of(&[1, 2], Sleep::AtWord);
    }

    #[test]
    fn loom_no_poke_is_lost_on_a_thread_asleep_in_its_ring() {
        owner_hears_of(&[1, 2], Sleep::ByRing);
    }

    #[test]
    fn loom_a_message_by_the_ring_finds_its_thread_there() {
        loom::model(|| {
            let sleeper = Sleeper::new();
            let other = {
                let sleeper = Arc::clone(&sleeper);
                thread::spawn(move || {
                    if sleeper.alarm.use_ring_only() {
                        sleeper.poke();
                    }
                    sleeper.message.store(true, Ordering::Release);
                })
            };
            while !sleeper.message.load(Ordering::Acquire) {
                if sleeper.alarm.sleep().is_none() {
                    sleeper.sleep_by_ring();
                }
            }
            other.join().unwrap();
        });
    }
}
