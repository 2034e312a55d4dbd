//! `IORING_OP_EPOLL_WAIT`: waits for events of an epoll set, as `epoll_wait(2)` does.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::{Events, Operation, Success};

/// Events of an epoll set, and room for them.
///
/// # Examples
///
/// ```
/// let events = annulet_driver::op::EpollEvents::with_capacity(64);
/// assert_eq!(events.iter().count(), 0);
/// ```
#[derive(Clone)]
pub struct EpollEvents {
    /// All of the room is initialised; the first `len` are events.
    room: Vec<libc::epoll_event>,
    len: usize,
}

impl EpollEvents {
    /// Room for `capacity` events at once; 0 is refused when it is waited with.
    pub fn with_capacity(capacity: usize) -> EpollEvents {
        EpollEvents {
            room: vec![libc::epoll_event { events: 0, u64: 0 }; capacity],
            len: 0,
        }
    }

    /// What came of the last wait: the number a descriptor was added with, and what it is ready for.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Events)> {
        self.room[..self.len]
            .iter()
            .map(|event| (event.u64, Events(event.events)))
    }
}

impl std::fmt::Debug for EpollEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Waits for events of an epoll set, at least one.
///
/// Linux 6.15.
#[derive(Debug)]
pub struct EpollWait {
    events: EpollEvents,
}

impl EpollWait {
    /// As many events as `events` has room for; what was in it is forgotten.
    pub fn new(events: EpollEvents) -> EpollWait {
        EpollWait { events }
    }
}

// SAFETY: the pointer is into the vector's allocation, which `self` owns, leaves alone until the operation has completed,
// and has initialised; the count is its length, capped.
unsafe impl Operation for EpollWait {
    type Output = (io::Result<usize>, EpollEvents);
    const OPCODE: u8 = opcode::EpollWait::CODE;
    const NAME: &'static str = "IORING_OP_EPOLL_WAIT";
    const SINCE: &'static str = "6.15";

    fn check(&mut self) -> io::Result<()> {
        self.events.len = 0;
        if self.events.room.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is no room for any event",
            ));
        }
        Ok(())
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let count = u32::try_from(self.events.room.len()).unwrap_or(u32::MAX);
        // The kernel takes no more than an `int` of them at once, less their size (`EP_MAX_EVENTS`).
        let count = count.min((i32::MAX as u32) / size_of::<libc::epoll_event>() as u32);
        opcode::EpollWait::new(types::Fd(fd), self.events.room.as_mut_ptr().cast(), count).build()
    }

    fn complete(mut self, result: io::Result<Success>) -> Self::Output {
        let result = result.map(|success| success.value as usize);
        if let Ok(count) = result {
            self.events.len = count.min(self.events.room.len());
        }
        (result, self.events)
    }
}
