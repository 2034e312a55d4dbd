//! Chains: who starts when, and what becomes of the rest when one fails.
//!
//! The kernel's rules, seen on Linux 6.18: a chain with a member that cannot be begun at all (an unknown opcode, a
//! deadline that stands alone, flags nobody knows) is cancelled whole, earlier members too. A member that fails, or a
//! read, write or splice that is short, cancels all behind it; behind a hard link the rest goes on. A `LINK_TIMEOUT`
//! belongs to the entry before it: it completes after that entry if that was in time, before it if it was not.

use io_uring::opcode;

use super::PollRing;
use super::carry::{self, Outcome};
use super::entry::Entry;
use super::requests::{Key, State};
use crate::ring::{Completion, MORE};

impl PollRing {
    /// Takes over what is staged.
    pub(super) fn submit(&mut self) {
        self.events_before = self.events;
        let mut staged = std::mem::take(&mut self.staged);
        for chain in staged.chunk_by_mut(|before, _| before.links()) {
            self.submit_chain(chain);
        }
        staged.clear();
        self.staged = staged;
    }

    fn submit_chain(&mut self, chain: &mut [Entry]) {
        if !self.begins(chain) {
            return;
        }
        let limits = |at: usize| at > 0 && chain[at].opcode == opcode::LinkTimeout::CODE;
        let mut before: Option<Key> = None;
        for (at, entry) in chain.iter().enumerate() {
            let key = self.requests.insert(*entry, self.events_before);
            let linked = before.and_then(|before| self.requests.find(before));
            match linked {
                None => self.starts.push_back(key),
                Some(before) if limits(at) => before.limit = Some(key),
                Some(before) => before.next = Some(key),
            }
            if !limits(at) {
                before = Some(key);
            }
        }
    }

    /// Whether a chain can begin. If not, each wrong member is told what is wrong with it.
    fn begins(&mut self, chain: &mut [Entry]) -> bool {
        let is_limit = |entry: &Entry| entry.opcode == opcode::LinkTimeout::CODE;
        let mut after_limit = true;
        let mut wrong = Vec::new();
        for (at, entry) in chain.iter_mut().enumerate() {
            let lonely = is_limit(entry) && after_limit;
            after_limit = is_limit(entry);
            if lonely || !self.carries.has(entry.opcode) {
                wrong.push((at, -libc::EINVAL));
            } else if let Err(errno) = carry::prepare(entry) {
                wrong.push((at, errno));
            }
        }
        if wrong.is_empty() {
            return true;
        }
        for (at, entry) in chain.iter().enumerate() {
            let own = wrong.iter().find(|(wrong, _)| *wrong == at);
            self.post(entry, own.map_or(-libc::ECANCELED, |(_, errno)| *errno), 0);
        }
        false
    }

    /// Starts what is to be started, and what that brings on.
    pub(super) fn start_all(&mut self) {
        loop {
            while let Some(key) = self.starts.pop_front() {
                self.start(key);
            }
            if !self.count() {
                return;
            }
        }
    }

    fn start(&mut self, key: Key) {
        let Some(request) = self.requests.find(key) else {
            return;
        };
        request.state = State::Starting;
        if let Some(limit) = request.limit {
            self.arm_limit(limit, key);
        }
        self.attempt(key);
    }

    fn arm_limit(&mut self, limit: Key, of: Key) {
        let Some(request) = self.requests.find(limit) else {
            return;
        };
        let at = carry::time_of(&request.entry);
        request.state = State::Limiting(self.timers.arm(at, limit), of);
    }

    /// Tries a request, for the first time or once more.
    pub(super) fn attempt(&mut self, key: Key) {
        match carry::carry(self, key) {
            Outcome::Done(result) => self.finish(key, result),
            Outcome::Picked(result, flags) => self.finish_with(key, result, flags),
            Outcome::Wait(fd, events) => self.wait_for(key, fd, events),
            Outcome::Watch(fd, events) => self.watch_for(key, fd, events),
            Outcome::Work(work) => {
                let rows = self.requests.find(key).map(|request| &request.rows);
                let job = self.workers.start(key, work, rows);
                self.set_state(key, State::Working(job));
            }
            Outcome::Sleep(until) => {
                let timer = self.timers.arm(until, key);
                self.set_state(key, State::Sleeping(timer));
            }
            Outcome::Word(at) => self.set_state(key, State::AtWord(at)),
            Outcome::Gone => {}
        }
    }

    pub(super) fn set_state(&mut self, key: Key, state: State) {
        if let Some(request) = self.requests.find(key) {
            request.state = state;
        }
    }

    /// One of several completions.
    pub(super) fn tell(&mut self, key: Key, result: i32, flags: u32) {
        if let Some(request) = self.requests.find(key) {
            let entry = request.entry;
            self.post(&entry, result, flags | MORE);
        }
    }

    /// The last completion of a request. Its chain goes on, or ends.
    pub(super) fn finish(&mut self, key: Key, result: i32) {
        self.finish_with(key, result, 0);
    }

    fn finish_with(&mut self, key: Key, result: i32, flags: u32) {
        let Some(request) = self.requests.remove(key) else {
            return;
        };
        self.leave(key, &request.state);
        // A socket that is there, but for which there is no row, is no failure to the kernel's chains.
        let made = result >= 0 && request.entry.opcode == opcode::Socket::CODE;
        let result = self.bring(&request.entry, result);
        if carry::counts(&request.entry) {
            self.counts.retain(|(_, counting)| *counting != key);
        }
        if let Some(undo) = request.undo {
            undo.undo();
        }
        self.let_go_of(request.rows);
        let breaks = request.progress.cut || carry::fails(&request.entry, result);
        let fails = breaks && !made;
        if carry::notifies(&request.entry) {
            self.post(&request.entry, result, flags | MORE);
            let (result, flags) = carry::notification(&request.entry);
            self.post(&request.entry, result, flags);
        } else if fails || !request.entry.skips_success() {
            self.post(&request.entry, result, flags);
        }
        if let Some(limit) = request.limit {
            self.drop_limit(limit);
        }
        match request.next {
            Some(next) if fails && !request.entry.links_hard() => {
                self.cancel_rest(next, request.entry.skips_success());
            }
            Some(next) => {
                if let Some(request) = self.requests.find(next) {
                    request.since = self.events;
                }
                self.starts.push_back(next);
            }
            None => {}
        }
    }

    /// Whatever a request waited for, it does so no more.
    fn leave(&mut self, key: Key, state: &State) {
        match state {
            State::Waiting(fd) => self.watch.leave(*fd, key),
            State::Watching(fd) => self.watch.unwatch(*fd, key),
            State::Sleeping(timer) | State::Limiting(timer, _) => self.timers.disarm(*timer),
            State::AtWord(at) => self.futexes.is_idle(at),
            State::Working(job) => self.workers.is_over(job),
            State::Linked | State::Starting => {}
        }
    }

    /// The deadline of something that has ended.
    fn drop_limit(&mut self, limit: Key) {
        if let Some(request) = self.requests.remove(limit) {
            self.leave(limit, &request.state);
            if !request.entry.skips_success() {
                self.post(&request.entry, -libc::ECANCELED, 0);
            }
        }
    }

    /// Cancels what did not begin; behind one whose success would not have been told, in silence.
    fn cancel_rest(&mut self, first: Key, silent: bool) {
        let mut next = Some(first);
        while let Some(request) = next.and_then(|key| self.requests.remove(key)) {
            let limit = request.limit.and_then(|limit| self.requests.remove(limit));
            if !silent {
                self.post(&request.entry, -libc::ECANCELED, 0);
                if let Some(limit) = limit {
                    self.post(&limit.entry, -libc::ECANCELED, 0);
                }
            }
            next = request.next;
        }
    }

    fn post(&mut self, entry: &Entry, result: i32, flags: u32) {
        self.events += u64::from(!carry::passes(entry, result));
        self.completions.push_back(Completion {
            user_data: entry.user_data,
            result,
            flags,
        });
    }

    /// A time has come.
    pub(super) fn timer_fired(&mut self, key: Key) {
        let Some(request) = self.requests.find(key) else {
            return;
        };
        match request.state {
            State::Limiting(_, of) => self.limit_passed(key, of),
            _ if request.entry.opcode == opcode::Timeout::CODE => self.timeout_passed(key),
            _ => self.attempt(key),
        }
    }

    /// The deadline's completion comes first, then that of what it ended.
    fn limit_passed(&mut self, limit: Key, of: Key) {
        if let Some(request) = self.requests.find(of) {
            request.limit = None;
        }
        let Some(request) = self.requests.remove(limit) else {
            return;
        };
        let at = self.completions.len();
        // What it ended by its kind is told as a number.
        let (result, ended) = match self.cancel_one(of) {
            0 => (-libc::ETIME, true),
            other => (other, other > 0),
        };
        let told = Completion {
            user_data: request.entry.user_data,
            result,
            flags: 0,
        };
        self.events += 1;
        if ended {
            self.completions.insert(at, told);
        } else {
            self.completions.push_back(told);
        }
    }

    /// A worker reports.
    pub(super) fn worked(&mut self, key: Key, result: i32) {
        let request = self.requests.find(key);
        if request.is_some_and(|request| carry::tries_again(&request.entry, result)) {
            self.attempt(key);
        } else {
            self.finish(key, result);
        }
    }
}
