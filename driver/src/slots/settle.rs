//! What completions mean to their slots.

use std::task::Waker;

use super::slot::{Deadline, Of, Phase};
use super::{Done, Key, Settled, Slots};
use crate::cancel::is_cancelled;
use crate::fd::NONE;
use crate::op::{Ended, Success};
use crate::ring::Completion;

impl Slots {
    /// Notes a completion in its slot.
    #[inline]
    pub(crate) fn settle(&mut self, completion: Completion) -> Settled {
        let (key, of) = Key::from_user_data(completion.user_data);
        let Some(slot) = self.slot_mut(key) else {
            return Settled::Noted;
        };
        match of {
            Of::Operation => {}
            Of::Timeout => return self.settle_timeout(key, completion.result),
            Of::Cancel => {
                let early = completion.result == -libc::ENOENT && slot.phase == Phase::InFlight;
                return if early {
                    Settled::NotFound(key)
                } else {
                    Settled::Noted
                };
            }
        }
        debug_assert!(
            slot.phase == Phase::InFlight,
            "a completion after the last one"
        );
        if completion.more() {
            return match slot.notes {
                true if slot.orphaned => Settled::Noted,
                true => Settled::ToNote(key),
                false => self.settle_more(key, completion),
            };
        }
        slot.result = completion.result;
        slot.flags = completion.flags;
        slot.phase = Phase::Done;
        if slot.listed {
            self.unlist(key.index);
        }
        self.in_flight -= 1;
        let slot = &mut self.slab[key.index as usize];
        if slot.orphaned {
            return Settled::Orphan(key);
        }
        if slot.notes {
            return Settled::ToNote(key);
        }
        let waker = slot.waker.take();
        let last_out = slot.fd.as_ref().filter(|fd| fd.finish()).cloned();
        if slot.rare == NONE && last_out.is_none() {
            return waker.map_or(Settled::Noted, Settled::Wake);
        }
        Settled::Done(Done {
            waker,
            last_out,
            ..self.done(key)
        })
    }

    fn settle_more(&mut self, key: Key, completion: Completion) -> Settled {
        let value = completion.result.cast_unsigned();
        let success = Success {
            value,
            flags: completion.flags,
            ended: Ended::Itself,
        };
        self.rare_mut(key).more.push_back(success);
        let waker = self.slab[key.index as usize].waker.take();
        waker.map_or(Settled::Noted, Settled::Wake)
    }

    /// Has an operation note its completion itself.
    pub(crate) fn note(&mut self, key: Key, completion: Completion, wakers: &mut Vec<Waker>) {
        let Some((cell, note)) = self.slot(key).map(|s| (s.cell, s.vtable.note)) else {
            return;
        };
        if let Some(note) = note {
            // SAFETY: the operation is in its cell: what has completed last was only just settled, and is taken out by
            // its future later. We borrow all slots mutably, and `note` reaches none.
            unsafe { note(cell.as_ptr(), completion.result, completion.more(), wakers) };
        }
    }

    fn settle_timeout(&mut self, key: Key, result: i32) -> Settled {
        self.in_flight -= 1;
        let slot = &self.slab[key.index as usize];
        if self.rare(slot).is_some_and(|rare| rare.timer) {
            return self.settle_timer(key, result);
        }
        let slot = &mut self.slab[key.index as usize];
        // It fired and did not find the operation, which was on its way to a worker and may block there.
        if result == -libc::ENOENT && slot.phase == Phase::InFlight && !slot.cancelled {
            slot.deadline = Deadline::Fired;
            return Settled::NotFound(key);
        }
        // It answers ECANCELED if the operation won, ENOENT if something else ended that while the time ran out;
        // ETIME, or what cancelling answered, if it fired. A cancel whose operation has ended was first, too.
        let won = matches!(-result, libc::ECANCELED | libc::ENOENT)
            || (slot.phase == Phase::Done && slot.cancelled);
        slot.deadline = if won { Deadline::Over } else { Deadline::Fired };
        if slot.phase == Phase::Spent {
            self.slab.remove(key.index as usize);
        }
        Settled::Noted
    }

    /// A timer that is not linked to its operation has fired, or was cancelled.
    fn settle_timer(&mut self, key: Key, result: i32) -> Settled {
        let slot = &mut self.slab[key.index as usize];
        let fired = result == -libc::ETIME && slot.phase == Phase::InFlight && !slot.cancelled;
        slot.deadline = if fired {
            Deadline::Fired
        } else {
            Deadline::Over
        };
        if fired {
            Settled::OutOfTime(key)
        } else {
            Settled::Noted
        }
    }

    /// What follows a last completion, besides the waking.
    pub(super) fn done(&mut self, key: Key) -> Done {
        let cancel_next = self.next_to_cancel(key);
        let second = self.take_second(key);
        let slot = &self.slab[key.index as usize];
        let has_timer = self.rare(slot).is_some_and(|rare| rare.timer);
        let timer = (has_timer && slot.deadline == Deadline::Armed).then_some(key);
        // It may have run out of time first, or failed by itself.
        let cancelled = slot.cancelled && slot.outcome().is_err_and(|error| is_cancelled(&error));
        let token = self
            .rare
            .get_mut(slot.rare as usize)
            .and_then(|rare| rare.token.take());
        Done {
            waker: None,
            last_out: None,
            cancel_next,
            second,
            timer,
            token,
            cancelled,
        }
    }

    /// The member after `key`, if it or a later one is to be cancelled: a member that has not started
    /// cannot be found by a cancel (`ENOENT`), so cancels walk down the chain as it advances.
    fn next_to_cancel(&self, key: Key) -> Option<Key> {
        let chain_next = |key| self.rare(self.slot(key)?)?.chain_next;
        let next = chain_next(key)?;
        let mut at = Some(next);
        while let Some(key) = at {
            let slot = self.slot(key)?;
            if slot.phase == Phase::InFlight && slot.cancelled {
                return Some(next);
            }
            at = chain_next(key);
        }
        None
    }
}
