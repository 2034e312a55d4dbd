//! `IORING_OP_EPOLL_CTL`: changes what an epoll set waits for, as `epoll_ctl(2)` does.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use io_uring::{opcode, squeue, types};

use super::bind::answer;
use super::{Events, Operation, Success};

/// Adds a descriptor to an epoll set, changes what it is waited for, or removes it.
///
/// The flags of `epoll_ctl(2)` (`EPOLLET` and its like) are bits of [`Events`], too. Linux 5.6; without it, the plain call.
#[derive(Debug)]
pub struct EpollCtl {
    /// Held so that the number stays the descriptor's until the kernel has used it.
    target: Arc<OwnedFd>,
    op: i32,
    event: libc::epoll_event,
}

impl EpollCtl {
    /// Has the set wait for `target`; its events come with `data`.
    pub fn add(target: Arc<OwnedFd>, events: Events, data: u64) -> EpollCtl {
        EpollCtl::new(target, libc::EPOLL_CTL_ADD, events, data)
    }

    /// Changes what the set waits for.
    pub fn modify(target: Arc<OwnedFd>, events: Events, data: u64) -> EpollCtl {
        EpollCtl::new(target, libc::EPOLL_CTL_MOD, events, data)
    }

    /// Takes `target` out of the set.
    pub fn delete(target: Arc<OwnedFd>) -> EpollCtl {
        EpollCtl::new(target, libc::EPOLL_CTL_DEL, Events(0), 0)
    }

    fn new(target: Arc<OwnedFd>, op: i32, Events(events): Events, data: u64) -> EpollCtl {
        EpollCtl {
            target,
            op,
            event: libc::epoll_event { events, u64: data },
        }
    }
}

// SAFETY: the pointer is to the event in `self`, which stays where it is and is left alone.
unsafe impl Operation for EpollCtl {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::EpollCtl::CODE;
    const NAME: &'static str = "IORING_OP_EPOLL_CTL";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (target, event) = (types::Fd(self.target.as_raw_fd()), &raw const self.event);
        opcode::EpollCtl::new(types::Fd(fd), target, self.op, event.cast()).build()
    }

    fn fallback(&mut self, fd: RawFd) -> Option<io::Result<Success>> {
        let event = &raw mut self.event;
        // SAFETY: the event lives across the call.
        let result = unsafe { libc::epoll_ctl(fd, self.op, self.target.as_raw_fd(), event) };
        Some(answer(result))
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }
}
