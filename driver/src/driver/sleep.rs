//! The sleep of a thread whose ring has nothing to wait for. How others end it: `unpark/alarm.rs`.

use super::Driver;
use super::metrics::add;

impl Driver {
    /// A thread that waits for other threads only, nothing being in flight, sleeps where they reach it sooner than by way of
    /// its ring. Not for a time: timers are the more exact in the ring, where the kernel allows itself no slack.
    ///
    /// `false`: it is to go to its ring.
    #[inline]
    pub(super) fn sleep_for_others(&self) -> bool {
        {
            let core = &mut *self.core();
            let waits = core.slots.in_flight() > 0
                || !core.batch.is_empty()
                || !core.backlog.is_empty()
                || core.ring.has_completions()
                || core.ring.wants_enter();
            if waits || !core.watching || self.is_closed() {
                return false;
            }
        }
        let Some((poked, mail)) = self.inner.remote.sleep() else {
            return false;
        };
        add(&self.inner.counts.sleeps, 1);
        add(&self.inner.counts.pokes, u64::from(poked));
        self.take_in(mail);
        self.wake_ready();
        true
    }
}
