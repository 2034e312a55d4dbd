//! The ring's timers as a descriptor, for loops that are not its own: they sleep by the ring's descriptor alone.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::watch::MAIL;

/// A timerfd in the ring's set, armed for the next timer.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
    armed: Option<Instant>,
}

const OFF: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

impl Alarm {
    pub(super) fn new(set: BorrowedFd<'_>) -> io::Result<Alarm> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // What it tells is to look around, as the mailbox does.
        let data = epoll::EventData::new_u64(MAIL);
        epoll::add(set, &timer, data, epoll::EventFlags::IN)?;
        Ok(Alarm { timer, armed: None })
    }

    /// Arms it, if it is not, for `next`; one that rang is silent again.
    pub(super) fn set(&mut self, next: Option<Instant>) -> io::Result<()> {
        if self.armed == next {
            return Ok(());
        }
        self.armed = next;
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        // Zero would switch it off.
        let left = left.map(|left| left.max(Duration::from_nanos(1)));
        let value = left.map_or(OFF, |left| Timespec::try_from(left).unwrap_or(OFF));
        let setting = Itimerspec {
            it_interval: OFF,
            it_value: value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }
}
