//! Readiness: which requests wait for which descriptors, and epoll.
//!
//! A descriptor that requests wait for is armed for one event (`EPOLLONESHOT`) of the kinds they want together; the
//! event is a hint to try. Requests that want to be told each time (multishot polls) are in a second, edge-triggered
//! set, which the first one watches.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::PollRing;
use super::requests::{Key, State};

/// What stands in the set for the mailbox and for the second set, where others have their descriptor's number.
pub(super) const MAIL: u64 = u64::MAX;
const EDGES: u64 = u64::MAX - 1;
/// Events taken at once.
const ROOM: usize = 256;
/// What is told without being asked for.
const ALWAYS: u32 = (libc::POLLERR | libc::POLLHUP) as u32;

/// Something happened on a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    fd: RawFd,
    events: u32,
    edge: bool,
}

#[derive(Debug, Default)]
struct Watched {
    /// It is in the set, as far as we know.
    known: bool,
    /// What it is armed for.
    armed: u32,
    waiting: Vec<(Key, u32)>,
}

pub(super) struct Watch {
    set: OwnedFd,
    edges: OwnedFd,
    fds: HashMap<RawFd, Watched>,
    edge_fds: HashMap<RawFd, Watched>,
    ready: Vec<Ready>,
    /// Of one look at the set.
    events: Vec<epoll::Event>,
    mailed: bool,
}

fn borrow(fd: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: the number is passed to `epoll_ctl` and `poll` alone, which answer `EBADF` if it is no descriptor (as the
    // kernel does for an entry with such a number). It is not -1: no request waits for that.
    unsafe { BorrowedFd::borrow_raw(*fd) }
}

impl Watch {
    pub(super) fn new() -> io::Result<Watch> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let edges = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&set, &edges, EventData::new_u64(EDGES), EventFlags::IN)?;
        Ok(Watch {
            set,
            edges,
            fds: HashMap::new(),
            edge_fds: HashMap::new(),
            ready: Vec::new(),
            events: Vec::with_capacity(ROOM),
            mailed: false,
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    pub(super) fn take_mailed(&mut self) -> bool {
        std::mem::take(&mut self.mailed)
    }

    /// Sleeps for at most `limit`, and says what is ready.
    pub(super) fn look(&mut self, limit: Option<Duration>) -> io::Result<Vec<Ready>> {
        let mut ready = std::mem::take(&mut self.ready);
        let mut edges = false;
        wait(&self.set, &mut self.events, limit)?;
        for event in self.events.drain(..) {
            match { event.data }.u64() {
                MAIL => self.mailed = true,
                EDGES => edges = true,
                fd => ready.push(Ready {
                    fd: fd as RawFd,
                    events: { event.flags }.bits(),
                    edge: false,
                }),
            }
        }
        if edges {
            wait(&self.edges, &mut self.events, Some(Duration::ZERO))?;
            ready.extend(self.events.drain(..).map(|event| Ready {
                fd: { event.data }.u64() as RawFd,
                events: { event.flags }.bits(),
                edge: true,
            }));
        }
        Ok(ready)
    }

    /// Gives back the list that [`look`](Watch::look) filled, for its room.
    pub(super) fn put_back(&mut self, ready: Vec<Ready>) {
        self.ready = ready;
    }

    fn wait_for(&mut self, fd: RawFd, key: Key, events: u32) -> Result<(), Errno> {
        let watched = self.fds.entry(fd).or_default();
        watched.waiting.push((key, events));
        let done = watched.arm(&self.set, fd);
        if done.is_err() {
            watched.waiting.pop();
        }
        done
    }

    fn watch_for(&mut self, fd: RawFd, key: Key, events: u32) -> Result<(), Errno> {
        let watched = self.edge_fds.entry(fd).or_default();
        watched.waiting.push((key, events));
        let flags = EventFlags::from_bits_retain(watched.wanted()) | EventFlags::ET;
        let done = control(&self.edges, fd, flags, &mut watched.known);
        if done.is_err() {
            watched.waiting.pop();
        }
        done
    }

    pub(super) fn leave(&mut self, fd: RawFd, key: Key) {
        if let Some(watched) = self.fds.get_mut(&fd) {
            watched.waiting.retain(|(waiting, _)| *waiting != key);
            if watched.waiting.is_empty() {
                // The number may be another file's when it is waited for again, and that one is in no set.
                watched.armed = 0;
            }
        }
    }

    pub(super) fn unwatch(&mut self, fd: RawFd, key: Key) {
        let Some(watched) = self.edge_fds.get_mut(&fd) else {
            return;
        };
        watched.waiting.retain(|(waiting, _)| *waiting != key);
        if watched.waiting.is_empty() {
            self.edge_fds.remove(&fd);
            // Gone with its file already, if it fails.
            let _ = epoll::delete(&self.edges, borrow(&fd));
        }
    }

    /// The number is given back: what is known of it ends.
    pub(super) fn forget(&mut self, fd: RawFd) {
        if let Some(watched) = self.fds.get_mut(&fd) {
            if watched.known {
                let _ = epoll::delete(&self.set, borrow(&fd));
            }
            watched.known = false;
            watched.armed = 0;
            if watched.waiting.is_empty() {
                self.fds.remove(&fd);
            }
        }
    }
}

fn wait(set: &OwnedFd, events: &mut Vec<epoll::Event>, limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.map(|limit| {
        Timespec::try_from(limit).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        })
    });
    match epoll::wait(set, rustix::buffer::spare_capacity(events), limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Puts a descriptor into a set, or changes what it is armed for; `known` is what we believe of it, and no more: a
/// number that was closed is not in the set any more, and one that was copied may be.
fn control(set: &OwnedFd, fd: RawFd, flags: EventFlags, known: &mut bool) -> Result<(), Errno> {
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

impl Watched {
    fn wanted(&self) -> u32 {
        self.waiting.iter().fold(0, |all, (_, events)| all | events)
    }

    /// Arms it for what is wanted, if it is not.
    fn arm(&mut self, set: &OwnedFd, fd: RawFd) -> Result<(), Errno> {
        let wanted = self.wanted();
        if wanted & !self.armed == 0 {
            return Ok(());
        }
        let flags = EventFlags::from_bits_retain(wanted) | EventFlags::ONESHOT;
        let done = control(set, fd, flags, &mut self.known);
        self.armed = if done.is_ok() { wanted } else { 0 };
        done
    }

    fn concerned(&self, events: u32) -> Vec<Key> {
        let told = self
            .waiting
            .iter()
            .filter(|(_, wanted)| events & (wanted | ALWAYS) != 0);
        told.map(|(key, _)| *key).collect()
    }
}

impl PollRing {
    /// Has a request tried again when its descriptor is ready.
    pub(super) fn wait_for(&mut self, key: Key, fd: RawFd, events: u32) {
        match self.watch.wait_for(fd, key, events) {
            Ok(()) => self.set_state(key, State::Waiting(fd)),
            Err(errno) => self.finish(key, -errno.raw_os_error()),
        }
    }

    /// Has a request told each time its descriptor becomes ready.
    pub(super) fn watch_for(&mut self, key: Key, fd: RawFd, events: u32) {
        match self.watch.watch_for(fd, key, events) {
            Ok(()) => self.set_state(key, State::Watching(fd)),
            // A file: it is ready, and never becomes so.
            Err(Errno::PERM) => {
                self.set_state(key, State::Watching(fd));
                self.edge(key, events);
            }
            Err(errno) => self.finish(key, -errno.raw_os_error()),
        }
    }

    pub(super) fn is_ready(&mut self, ready: Ready) {
        if ready.edge {
            return self.is_edge(ready);
        }
        let Some(watched) = self.watch.fds.get_mut(&ready.fd) else {
            return;
        };
        watched.armed = 0;
        let concerned = watched.concerned(ready.events);
        watched.waiting.retain(|(key, _)| !concerned.contains(key));
        for key in concerned {
            self.set_state(key, State::Starting);
            self.attempt(key);
        }
        // Those who were not concerned wait on.
        if let Some(watched) = self.watch.fds.get_mut(&ready.fd)
            && watched.arm(&self.watch.set, ready.fd).is_err()
        {
            let waiting = std::mem::take(&mut watched.waiting);
            for (key, _) in waiting {
                self.attempt(key);
            }
        }
    }

    fn is_edge(&mut self, ready: Ready) {
        let Some(watched) = self.watch.edge_fds.get(&ready.fd) else {
            return;
        };
        for (key, wanted) in watched.waiting.clone() {
            let events = ready.events & (wanted | ALWAYS);
            if events != 0 {
                self.edge(key, events);
            }
        }
    }
}

/// What a descriptor is ready for now, of `events`.
pub(super) fn poll_now(fd: RawFd, events: u32) -> i32 {
    let mut poll = libc::pollfd {
        fd,
        events: events as i16,
        revents: 0,
    };
    // SAFETY: one structure, that outlives the call.
    let n = unsafe { libc::poll(&raw mut poll, 1, 0) };
    match n {
        _ if fd < 0 || poll.revents & libc::POLLNVAL != 0 => -libc::EBADF,
        1.. => i32::from(poll.revents as u16),
        _ => 0,
    }
}
