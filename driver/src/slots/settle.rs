//! What completions mean to their slots.

use std::mem;
use std::task::Waker;

use super::slot::{Deadline, Of, Phase};
use super::{Done, Key, Settled, Slots};
use crate::cancel::is_cancelled;
use crate::fd::NONE;
use crate::op::{Ended, Success};
use crate::ring::{COPIED, Completion};

impl Slots {
    /// Notes an operation's own completion in its slot; who is to be woken for it goes into `wakers`.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        key: Key,
        completion: &Completion,
        wakers: &mut Vec<Waker>,
    ) -> Option<Settled> {
        let slot = self.table.at_mut(key.index)?;
        let expected = slot.generation == key.generation && slot.phase == Phase::InFlight;
        if !expected || completion.is_of_several() || !slot.ends_plainly() {
            return self.settle_other(completion, wakers);
        }
        // As in `last`, where there is nothing else to see to.
        slot.land(completion);
        if let Some(waker) = slot.waker.take() {
            wakers.push(waker);
        }
        let mut last = false;
        if let Some(fd) = &slot.fd {
            if mem::take(&mut slot.listed) {
                fd.set_head(NONE);
            }
            last = fd.finish();
        }
        self.in_flight -= 1;
        last.then(|| self.settle_rare(key, true))
    }

    /// What an operation's last completion means; its result is noted. `counted`: its descriptor counts it still.
    fn last(
        &mut self,
        key: Key,
        completion: &Completion,
        counted: bool,
        wakers: &mut Vec<Waker>,
    ) -> Option<Settled> {
        let mut slot = &mut self.table[key.index];
        slot.phase = Phase::Done;
        self.in_flight -= 1;
        if slot.listed {
            self.unlist(key.index);
            slot = &mut self.table[key.index];
        }
        if slot.orphaned {
            return Some(Settled::Orphan(key, counted));
        }
        if slot.notes {
            self.note(key, completion, wakers);
            return None;
        }
        let last = counted && slot.fd.as_ref().is_some_and(|fd| fd.finish());
        if let Some(waker) = slot.waker.take() {
            wakers.push(waker);
        }
        (slot.rare != NONE || last).then(|| self.settle_rare(key, last))
    }

    /// The last completion of an operation that holds more than its descriptor, or of its descriptor's last.
    #[cold]
    fn settle_rare(&mut self, key: Key, last: bool) -> Settled {
        let fd = &self.table[key.index].fd;
        let last_out = fd.as_ref().filter(|_| last).cloned();
        Settled::Done(Done {
            last_out,
            ..self.done(key)
        })
    }

    /// As [`settle`](Slots::settle), for any completion: also one that is not its operation's only one, or has more to
    /// follow than a waking.
    #[cold]
    pub(crate) fn settle_other(
        &mut self,
        completion: &Completion,
        wakers: &mut Vec<Waker>,
    ) -> Option<Settled> {
        let (key, of) = Key::from_user_data(completion.user_data);
        let slot = self.slot_mut(key)?;
        match of {
            Of::Operation if !completion.is_of_several() => {
                slot.land(completion);
                self.last(key, completion, true, wakers)
            }
            Of::Timeout => self.settle_timeout(key, completion.result),
            Of::Cancel => {
                let early = completion.result == -libc::ENOENT && slot.phase == Phase::InFlight;
                early.then_some(Settled::NotFound(key))
            }
            Of::Operation if slot.notes => {
                if !slot.orphaned {
                    self.note(key, completion, wakers);
                }
                None
            }
            Of::Operation if slot.vtable.will_go_on.is_some() => {
                self.settle_sent(key, completion, wakers)
            }
            Of::Operation => {
                wakers.extend(slot.waker.take());
                let most = slot.vtable.untaken;
                let more = &mut self.rare_mut(key).more;
                more.push_back(Success {
                    value: completion.result.cast_unsigned(),
                    flags: completion.flags,
                    ended: Ended::Itself,
                });
                (more.len() == most).then_some(Settled::Full(key))
            }
        }
    }

    /// Has an operation note its completion itself.
    fn note(&mut self, key: Key, completion: &Completion, wakers: &mut Vec<Waker>) {
        let slot = &self.table[key.index];
        let (cell, note) = (slot.cell, slot.vtable.note);
        if let Some(note) = note {
            // SAFETY: the operation is in its cell: what has completed last was only just settled, and is taken out by
            // its future later. We borrow all slots mutably, and `note` reaches none.
            unsafe { note(cell.as_ptr(), completion.result, completion.more(), wakers) };
        }
    }

    /// One of the two completions of a send that did not copy: its result, or the notification.
    ///
    /// The kernel posts the result first. Should it ever not, neither is taken for the last one before both have come.
    fn settle_sent(
        &mut self,
        key: Key,
        completion: &Completion,
        wakers: &mut Vec<Waker>,
    ) -> Option<Settled> {
        let slot = &mut self.table[key.index];
        if completion.is_notification() {
            let copied = completion.was_copied();
            self.notified += 1;
            self.copied += u64::from(copied);
            slot.flags = completion.flags | if copied { COPIED } else { 0 };
            if slot.phase == Phase::Sent {
                return self.last(key, completion, false, wakers);
            }
            self.rare_mut(key).notified = true;
            return None;
        }
        slot.result = completion.result;
        let rare = slot.rare;
        if self
            .rare
            .get(rare as usize)
            .is_some_and(|rare| rare.notified)
        {
            return self.last(key, completion, true, wakers);
        }
        let slot = &mut self.table[key.index];
        slot.phase = Phase::Sent;
        slot.flags = completion.flags;
        let goes_on = match slot.vtable.will_go_on {
            // SAFETY: the operation is in its cell, which the kernel reads only; we borrow all slots mutably, so nobody
            // else borrows the operation.
            Some(ask) if !slot.orphaned => unsafe { ask(slot.cell.as_ptr(), &slot.outcome()) },
            _ => false,
        };
        let lane = if goes_on { None } else { slot.lane.take() };
        let fd = slot.fd.clone();
        if slot.listed {
            self.unlist(key.index);
        }
        Some(Settled::Done(Done {
            off: fd.map(|fd| (fd, lane)),
            ..self.done(key)
        }))
    }

    /// Sends whose buffer the kernel was given to read from, and of these the ones it copied after all.
    pub(crate) fn notified(&self) -> (u64, u64) {
        (self.notified, self.copied)
    }

    fn settle_timeout(&mut self, key: Key, result: i32) -> Option<Settled> {
        self.in_flight -= 1;
        let slot = &self.table[key.index];
        if self.rare(slot).is_some_and(|rare| rare.timer) {
            return self.settle_timer(key, result);
        }
        let slot = &mut self.table[key.index];
        // It fired and did not find the operation, which was on its way to a worker and may block there.
        if result == -libc::ENOENT && slot.phase == Phase::InFlight && !slot.cancelled {
            slot.deadline = Deadline::Fired;
            return Some(Settled::NotFound(key));
        }
        // It answers ECANCELED if the operation won, ENOENT if something else ended that while the time ran out;
        // ETIME, or what cancelling answered, if it fired. A cancel whose operation has ended was first, too.
        let won = matches!(-result, libc::ECANCELED | libc::ENOENT)
            || (matches!(slot.phase, Phase::Sent | Phase::Done) && slot.cancelled);
        slot.deadline = if won { Deadline::Over } else { Deadline::Fired };
        if slot.phase == Phase::Spent {
            self.table.free(key.index);
        }
        None
    }

    /// A timer that is not linked to its operation has fired, or was cancelled.
    fn settle_timer(&mut self, key: Key, result: i32) -> Option<Settled> {
        let slot = &mut self.table[key.index];
        let fired = result == -libc::ETIME && slot.phase == Phase::InFlight && !slot.cancelled;
        slot.deadline = if fired {
            Deadline::Fired
        } else {
            Deadline::Over
        };
        fired.then_some(Settled::OutOfTime(key))
    }

    /// What follows a last completion, besides the waking.
    pub(super) fn done(&mut self, key: Key) -> Done {
        let cancel_next = self.next_to_cancel(key);
        let second = self.take_second(key);
        let slot = &self.table[key.index];
        let has_timer = self.rare(slot).is_some_and(|rare| rare.timer);
        let timer = (has_timer && slot.deadline == Deadline::Armed).then_some(key);
        // It may have run out of time first, or failed by itself.
        let cancelled = slot.cancelled && slot.outcome().is_err_and(|error| is_cancelled(&error));
        let token = self
            .rare
            .get_mut(slot.rare as usize)
            .and_then(|rare| rare.token.take());
        Done {
            last_out: None,
            cancel_next,
            off: second,
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

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

    use super::super::Look;
    use super::*;
    use crate::op::SendZc;

    const RESULT: (i32, u32) = (4, 1 << 1);
    const NOTIFICATION: (i32, u32) = (COPIED.cast_signed(), 1 << 3);

    /// The kernel says these two things of a send, in that order.
    fn told(slots: &mut Slots, key: Key, said: [(i32, u32); 2]) {
        for (at, (result, flags)) in said.into_iter().enumerate() {
            assert_eq!(slots.in_flight(), 1, "it has ended after {at}");
            let completion = Completion {
                user_data: key.user_data(),
                result,
                flags,
            };
            slots.settle(key, &completion, &mut Vec::new());
        }
        assert_eq!(slots.in_flight(), 0);
    }

    #[test]
    fn a_send_without_a_copy_has_ended_when_both_its_completions_have_come() {
        let mut slots = Slots::new();
        // In turns: what one leaves in its slot is nothing to the next.
        for said in [[RESULT, NOTIFICATION], [NOTIFICATION, RESULT]].repeat(2) {
            let send = ManuallyDrop::new(SendZc::new(vec![7_u8; 4]));
            // SAFETY: it is not used, and not dropped, any more.
            let (key, _) =
                unsafe { slots.insert(&raw const *send, None, false, None, false, None) };
            told(&mut slots, key, said);
            let taken = match slots.look(key, Waker::noop()) {
                // SAFETY: it was inserted as such.
                Look::Done(landed) => unsafe { landed.take_out::<SendZc<Vec<u8>>>() },
                // SAFETY: as above.
                _ => unsafe { slots.take_out::<SendZc<Vec<u8>>>(key) },
            };
            assert_eq!(taken.result.unwrap().value, 4);
        }
        assert_eq!(slots.notified(), (4, 4));
    }
}
