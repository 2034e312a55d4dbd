//! Readiness: which requests wait for which descriptors, and epoll.
//!
//! A descriptor that requests wait for is armed for one event (`EPOLLONESHOT`) of the kinds they want together; the
//! event is a hint to try. Requests that want to be told each time (multishot polls) are in a second, edge-triggered
//! set, which the first one watches.
//!
//! TCP connections *stay* in the first set, edge-triggered, and are armed once. That takes two things. We have to know
//! whose a number is (its [identity](crate::ring::Sqe::on)): a number that was closed and given out again is in no set,
//! and a request that took it to be there would wait for ever. And whoever waits has to have seen the socket empty, or
//! full, after it was put there: then what comes next is an edge. The answer `EAGAIN` says so; for receives, so does one
//! of less than there was room for, and the next need not even be tried before it waits. That is not so at the end of
//! the stream, or where urgent data cuts it, so one that ever told of such a thing (`unsure`) is always tried.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::PollRing;
use super::carry::{is_tcp, says_whose};
use super::requests::{Key, State};
use super::watched::{ALWAYS, UNHEARD, Watched, borrow, control};

/// What stands in the set for the mailbox and for the second set, where others have their descriptor's number.
pub(super) const MAIL: u64 = u64::MAX;
const EDGES: u64 = u64::MAX - 1;
/// Events taken at once.
const ROOM: usize = 256;
/// Something happened on a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    fd: RawFd,
    events: u32,
    edge: bool,
}

pub(super) struct Watch {
    set: OwnedFd,
    edges: OwnedFd,
    /// By number.
    fds: Vec<Watched>,
    edge_fds: HashMap<RawFd, Watched>,
    ready: Vec<Ready>,
    /// Whom an event concerns, while they are told.
    concerned: Vec<(Key, u32)>,
    /// Of one look at the set.
    events: Vec<epoll::Event>,
    mailed: bool,
}

impl Watch {
    pub(super) fn new() -> io::Result<Watch> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let edges = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&set, &edges, EventData::new_u64(EDGES), EventFlags::IN)?;
        Ok(Watch {
            set,
            edges,
            fds: Vec::new(),
            edge_fds: HashMap::new(),
            ready: Vec::new(),
            concerned: Vec::new(),
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

    fn at(&mut self, fd: RawFd) -> Option<&mut Watched> {
        self.fds.get_mut(usize::try_from(fd).ok()?)
    }

    fn wait_for(&mut self, fd: RawFd, key: Key, events: u32, identity: u64) -> Result<(), Errno> {
        let at = usize::try_from(fd).map_err(|_| Errno::BADF)?;
        if at >= self.fds.len() {
            self.fds.resize_with(at + 1, Watched::default);
        }
        let watched = &mut self.fds[at];
        if watched.identity != identity {
            watched.is_another(identity, identity != 0 && is_tcp(fd));
        }
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
        if let Some(watched) = self.at(fd) {
            watched.waiting.retain(|(waiting, _)| *waiting != key);
            if watched.waiting.is_empty() && !watched.stays {
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
        let Some(watched) = usize::try_from(fd).ok().and_then(|at| self.fds.get_mut(at)) else {
            return;
        };
        if watched.known {
            let _ = epoll::delete(&self.set, borrow(&fd));
        }
        watched.known = false;
        watched.is_another(0, false);
    }

    /// Whether a receive is known to find nothing.
    pub(super) fn is_drained(&mut self, fd: RawFd, identity: u64) -> bool {
        let watched = self.at(fd);
        watched.is_some_and(|watched| watched.drained && watched.identity == identity)
    }

    /// A receive got less than it had room for.
    pub(super) fn drained(&mut self, fd: RawFd, identity: u64) {
        if let Some(watched) = self.at(fd)
            && watched.stays
            && watched.identity == identity
        {
            watched.drained = !watched.unsure;
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

impl PollRing {
    /// Has a request tried again when its descriptor is ready.
    pub(super) fn wait_for(&mut self, key: Key, fd: RawFd, events: u32) {
        let request = self.requests.find(key);
        let whose = request.map_or(0, |request| says_whose(&request.entry, fd));
        match self.watch.wait_for(fd, key, events, whose) {
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
        let mut concerned = std::mem::take(&mut self.watch.concerned);
        let Some(watched) = self.watch.at(ready.fd) else {
            return;
        };
        watched.hear(ready.events, &mut concerned);
        if watched.stays && watched.unheard >= UNHEARD {
            // Its owner has left us, or it is a copy of what once had the number.
            self.watch.forget(ready.fd);
        }
        for (key, _) in concerned.drain(..) {
            self.set_state(key, State::Starting);
            self.attempt(key);
        }
        self.watch.concerned = concerned;
        // Those who were not concerned wait on.
        if let Ok(at) = usize::try_from(ready.fd)
            && let Some(watched) = self.watch.fds.get_mut(at)
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
        let mut concerned = std::mem::take(&mut self.watch.concerned);
        concerned.extend_from_slice(&watched.waiting);
        for (key, wanted) in concerned.drain(..) {
            let events = ready.events & (wanted | ALWAYS);
            if events != 0 {
                self.edge(key, events);
            }
        }
        self.watch.concerned = concerned;
    }
}

/// What a descriptor is ready for now, of `events`.
pub(in crate::ring) fn poll_now(fd: RawFd, events: u32) -> i32 {
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
