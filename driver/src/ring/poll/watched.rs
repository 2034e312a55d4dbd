//! One descriptor that requests wait for: what it is armed for in its set, and what is known of it.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::carry::IN;
use super::requests::Key;

/// What is told without being asked for.
pub(super) const ALWAYS: u32 = (libc::POLLERR | libc::POLLHUP) as u32;
/// After these a short receive need not be the last.
const UNSURE: u32 = ALWAYS | (libc::EPOLLRDHUP | libc::EPOLLPRI) as u32;
/// What a descriptor that stays in the set is armed for at least.
const STAYING: u32 = IN | UNSURE;
/// So many events in a row that nobody waited for, and it leaves the set.
pub(super) const UNHEARD: u8 = 16;

#[derive(Debug, Default)]
pub(super) struct Watched {
    /// It is in the set, as far as we know.
    pub(super) known: bool,
    /// What it is armed for.
    pub(super) armed: u32,
    pub(super) waiting: Vec<(Key, u32)>,
    /// Whose the number was when it was last waited for.
    pub(super) identity: u64,
    /// It is armed for good.
    pub(super) stays: bool,
    /// A receive has taken all there was, and nothing was told since.
    pub(super) drained: bool,
    /// What a short receive means is not certain any more.
    pub(super) unsure: bool,
    /// Events in a row that nobody waited for.
    pub(super) unheard: u8,
}

impl Watched {
    pub(super) fn wanted(&self) -> u32 {
        self.waiting.iter().fold(0, |all, (_, events)| all | events)
    }

    /// Forgets all that was known of the number's file. Whether it is in the set is for the next arming to find out.
    pub(super) fn is_another(&mut self, identity: u64, stays: bool) {
        self.identity = identity;
        self.stays = stays;
        self.armed = 0;
        self.drained = false;
        self.unsure = false;
        self.unheard = 0;
    }

    /// Arms it for what is wanted, if it is not. Arming tells of what is ready already.
    pub(super) fn arm(&mut self, set: &OwnedFd, fd: RawFd) -> Result<(), Errno> {
        let mut wanted = self.wanted();
        if wanted & !self.armed == 0 {
            return Ok(());
        }
        let mode = if self.stays {
            wanted |= self.armed | STAYING;
            EventFlags::ET
        } else {
            EventFlags::ONESHOT
        };
        let flags = EventFlags::from_bits_retain(wanted) | mode;
        let done = control(set, fd, flags, &mut self.known);
        self.armed = if done.is_ok() { wanted } else { 0 };
        done
    }

    /// Takes in what was told of it, and moves those whom it concerns.
    pub(super) fn hear(&mut self, events: u32, concerned: &mut Vec<(Key, u32)>) {
        if !self.stays {
            self.armed = 0;
        }
        self.drained &= events & STAYING == 0;
        self.unsure |= events & UNSURE != 0;
        let told = |&mut (_, wanted): &mut (Key, u32)| events & (wanted | ALWAYS) != 0;
        concerned.extend(self.waiting.extract_if(.., told));
        self.unheard = if concerned.is_empty() {
            self.unheard.saturating_add(1)
        } else {
            0
        };
    }
}

/// Puts a descriptor into a set, or changes what it is armed for; `known` is what we believe of it, and no more: a
/// number that was closed is not in the set any more, and one that was copied may be.
pub(super) fn control(
    set: &OwnedFd,
    fd: RawFd,
    flags: EventFlags,
    known: &mut bool,
) -> Result<(), Errno> {
    let data = EventData::new_u64(fd as u64);
    let (add, change) = (
        || epoll::add(set, borrow(&fd), data, flags),
        || epoll::modify(set, borrow(&fd), data, flags),
    );
    let done = if *known {
        change().or_else(|errno| {
            if errno == Errno::NOENT {
                add()
            } else {
                Err(errno)
            }
        })
    } else {
        add().or_else(|errno| {
            if errno == Errno::EXIST {
                change()
            } else {
                Err(errno)
            }
        })
    };
    *known = done.is_ok();
    done
}

pub(super) fn borrow(fd: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: the number is passed to `epoll_ctl` and `poll` alone, which answer `EBADF` if it is no descriptor (as the
    // kernel does for an entry with such a number). It is not -1: no request waits for that.
    unsafe { BorrowedFd::borrow_raw(*fd) }
}
