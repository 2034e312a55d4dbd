//! The ring in user space: the same entries, carried out by non-blocking calls, epoll and a thread pool.
//!
//! For where io_uring is refused. Above the waist nobody can tell which ring it is; below, this one does with an entry
//! what the kernel would do:
//!
//! 1. [`enter`](PollRing::enter) takes the staged entries, chain by chain ([`chain`]), and starts the first of each.
//! 2. Starting one is trying it ([`carry`]). It is done at once; or it would wait for a descriptor, and is tried again
//!    when epoll says that it may go on ([`watch`]); or it may block (files, names), and a thread of the pool does it
//!    ([`workers`]); or it waits for a time ([`timers`]).
//! 3. What is done posts its completion, and its chain goes on, or is cancelled.
//!
//! Who owns what: the memory an entry points at is the slot's, as with the kernel, until the last completion. A worker
//! touches it only between taking its job and reporting it, and only the report completes the request; what may
//! block for ever there (opening a FIFO) works on copies instead, and can be given up. Readiness is a hint: whoever is
//! woken by it tries, and waits again if there is nothing, so that a descriptor closed behind our back, or a number that
//! belongs to another file by now, costs a call and nothing else.
//!
//! Nothing here is shared between threads but the workers' mailbox and the messages of other rings ([`messages`]).

mod alarm;
mod buffers;
mod cancel;
mod carry;
mod chain;
mod entry;
mod files;
mod futex;
mod messages;
mod registered;
mod requests;
mod runners;
mod timers;
pub(super) mod watch;
mod watched;
mod workers;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use self::alarm::Alarm;
use self::buffers::Groups;
use self::entry::Entry;
use self::files::Files;
use self::futex::Futexes;
use self::messages::Messages;
use self::registered::Regions;
use self::requests::{Key, Requests};
use self::timers::Timers;
use self::watch::Watch;
use self::workers::Workers;
use super::fork::Owner;
use super::probe::Support;
use super::registered::Free;
use super::{Completion, Setup, Sqe, Wait};

/// How long a worker is left alone that did not hear that it is to come back.
const AGAIN: Duration = Duration::from_millis(5);

/// A ring in user space; see the module's head.
pub(crate) struct PollRing {
    owner: Owner,
    /// What it says it carries out: all it does, less what it was told to leave out.
    support: Support,
    carries: Support,
    capacity: usize,
    staged: Vec<Entry>,
    requests: Requests,
    /// What is to be started, in order.
    starts: VecDeque<Key>,
    watch: Watch,
    timers: Timers,
    /// Where the ring is [embedded](Setup::embedded) in another's loop.
    alarm: Option<Alarm>,
    workers: Workers,
    futexes: Futexes,
    groups: Groups,
    files: Files,
    regions: Regions,
    /// Of the tables of files and memory.
    free: Free,
    messages: Messages,
    completions: VecDeque<Completion>,
    /// Completions there ever were, but for those of timeouts that passed; and how many when those were taken over that
    /// are being started.
    events: u64,
    events_before: u64,
    /// Timeouts that wait for events, too, and for how many there are to be.
    counts: Vec<(u64, Key)>,
    /// The last enter had completions enough and did not look further.
    looked_away: bool,
}

impl fmt::Debug for PollRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollRing")
            .field("requests", &self.requests.len())
            .finish_non_exhaustive()
    }
}

impl PollRing {
    pub(crate) fn new(setup: &Setup) -> io::Result<PollRing> {
        let watch = Watch::new()?;
        let messages = Messages::new(watch.as_fd())?;
        let alarm = setup
            .embedded
            .then(|| Alarm::new(watch.as_fd()))
            .transpose()?;
        let missing = carry::missing();
        Ok(PollRing {
            owner: Owner::this(),
            support: Support::of(carry::OPCODES, &[&setup.without, missing].concat()),
            carries: Support::of(carry::OPCODES, missing),
            capacity: setup.entries.max(4).next_power_of_two() as usize,
            staged: Vec::new(),
            requests: Requests::default(),
            starts: VecDeque::new(),
            workers: Workers::new(&messages),
            futexes: Futexes::new(&messages),
            groups: Groups::default(),
            files: Files::default(),
            regions: Regions::default(),
            free: Free::default(),
            watch,
            alarm,
            timers: Timers::default(),
            messages,
            completions: VecDeque::new(),
            events: 0,
            events_before: 0,
            counts: Vec::new(),
            looked_away: false,
        })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn stage(&mut self, group: &[Sqe]) -> bool {
        if !self.owner.is_this() || self.capacity - self.staged.len() < group.len() {
            return false;
        }
        self.staged
            .extend(group.iter().map(|sqe| Entry::of(&sqe.entry, sqe.identity)));
        true
    }

    /// As a kernel has it: entries are staged, or something may have happened that only a call can tell.
    pub(crate) fn wants_enter(&mut self) -> bool {
        !self.owner.is_this() || !self.staged.is_empty() || !self.requests.is_empty()
    }

    pub(crate) fn has_completions(&mut self) -> bool {
        self.owner.is_this() && !self.completions.is_empty()
    }

    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if !self.owner.is_this() {
            return Err(io::Error::other(
                "the ring is that of the process this one was forked from: build another here",
            ));
        }
        self.submit();
        self.start_all();
        // What could be done at once leads to more that is staged; looking for events before that is a call for little.
        // Those who are ready wait no longer than one turn for it.
        self.looked_away = !self.looked_away && !self.completions.is_empty();
        if self.looked_away {
            self.fire();
        } else {
            let limit = self.sleep_of(wait);
            self.look(limit)?;
        }
        self.start_all();
        let next = self.next_time();
        self.alarm.as_mut().map_or(Ok(()), |alarm| alarm.set(next))
    }

    /// How long a look may take.
    fn sleep_of(&mut self, wait: Wait) -> Option<Duration> {
        let limit = match wait {
            Wait::AtMost(limit) if self.completions.is_empty() => self.longest_sleep(limit),
            _ => Some(Duration::ZERO),
        };
        if self.workers.interrupt_left() {
            Some(limit.unwrap_or(AGAIN).min(AGAIN))
        } else {
            limit
        }
    }

    pub(crate) fn reap(&mut self, batch: &mut Vec<Completion>) {
        if self.owner.is_this() {
            batch.extend(self.completions.drain(..));
        }
    }

    pub(crate) fn looked_away(&self) -> bool {
        self.looked_away
    }

    /// # Safety
    ///
    /// As for [`Ring::register_buffers`](super::Ring::register_buffers).
    pub(crate) unsafe fn register_buffers(
        &mut self,
        memory: u64,
        entries: u16,
        group: u16,
        flags: u16,
    ) -> io::Result<()> {
        // SAFETY: the caller's.
        unsafe { self.groups.register(memory, entries, group, flags) }
    }

    /// Ends what [`register_buffers`](PollRing::register_buffers) began.
    pub(crate) fn unregister_buffers(&mut self, group: u16) -> io::Result<()> {
        self.groups.unregister(group)
    }

    pub(in crate::ring) fn support(&self) -> &Support {
        &self.support
    }

    pub(crate) fn flags(&self) -> &str {
        "in user space: epoll and a thread pool"
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Makes a descriptor that is a duplicate of the ring's stand for it, where messages are sent to.
    pub(crate) fn known_as(&mut self, fd: RawFd) {
        self.messages.known_as(fd);
    }

    /// Whether entering without sleep would find something.
    pub(crate) fn has_news(&self) -> bool {
        !self.staged.is_empty()
            || watch::poll_now(self.watch.as_fd().as_raw_fd(), carry::IN) != 0
            || self.next_time().is_some_and(|at| at <= Instant::now())
    }

    /// When there is something to be done by then.
    fn next_time(&self) -> Option<Instant> {
        let (timer, idle) = (self.timers.next(), self.futexes.next());
        timer.into_iter().chain(idle).min()
    }

    /// Until the next timer, and no longer than `limit`.
    fn longest_sleep(&self, limit: Option<Duration>) -> Option<Duration> {
        let timer = self
            .next_time()
            .map(|at| at.saturating_duration_since(Instant::now()));
        match (limit, timer) {
            (Some(limit), Some(timer)) => Some(limit.min(timer)),
            (limit, timer) => limit.or(timer),
        }
    }

    /// Takes in all that has happened: descriptors that are ready, what workers and other rings report, timers.
    fn look(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let mut ready = self.watch.look(limit)?;
        for event in ready.drain(..) {
            self.is_ready(event);
        }
        self.watch.put_back(ready);
        self.take_messages();
        self.fire();
        self.workers.interrupt_left();
        Ok(())
    }

    fn fire(&mut self) {
        if self.next_time().is_none() {
            return;
        }
        let now = Instant::now();
        self.futexes.end_idle(now);
        while let Some(key) = self.timers.pop_due(now) {
            self.timer_fired(key);
        }
    }
}
