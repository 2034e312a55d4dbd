//! The requests a ring has taken and not completed, and how they hang together.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use slab::Slab;

use super::entry::Entry;
use super::files::Rows;
use super::futex::AtWord;
use super::timers::TimerId;
use super::workers::Job;

/// A request's place, told apart from others that had the place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    index: usize,
    stamp: u64,
}

/// Where a request is.
#[derive(Debug)]
pub(super) enum State {
    /// It waits for those before it in its chain; or it is a deadline whose operation does.
    Linked,
    /// It is about to be started.
    Starting,
    /// It waits for its descriptor.
    Waiting(i32),
    /// It is told each time its descriptor becomes ready.
    Watching(i32),
    /// A thread waits for it at its word of memory.
    AtWord(AtWord),
    /// A worker has it.
    Working(Arc<Job>),
    /// It waits for a time.
    Sleeping(TimerId),
    /// It is the deadline of the request with that key.
    Limiting(TimerId, Key),
}

/// What a request has done already that wants all of it (`MSG_WAITALL`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Bytes moved.
    pub(super) done: u32,
    /// Something did not fit: its chain breaks.
    pub(super) cut: bool,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) entry: Entry,
    pub(super) state: State,
    /// The next of its chain.
    pub(super) next: Option<Key>,
    /// Its `LINK_TIMEOUT`.
    pub(super) limit: Option<Key>,
    pub(super) progress: Progress,
    /// Completions there were when it was submitted.
    pub(super) since: u64,
    /// The one before it, still there, with the same number.
    namesake: Option<Key>,
    /// What its start changed on its descriptor is put back at its end.
    pub(super) undo: Option<super::carry::Undo>,
    /// What it has named by rows.
    pub(super) rows: Rows,
    /// It was looked whether its memory lies in the row that it names.
    pub(super) looked: bool,
}

/// Numbers are the slots', not a stranger's: nobody aims them at one bucket.
#[derive(Debug, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, number: u64) {
        // The table takes bits from both ends, so the high ones have to reach the low ones: the golden ratio's do.
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    slab: Slab<(u64, Request)>,
    stamps: u64,
    /// By `user_data`; of several with the same the last, which [leads](Request::namesake) to the others.
    numbers: HashMap<u64, Key, BuildHasherDefault<NumberHasher>>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Takes a request over, when there have been so many completions.
    pub(super) fn insert(&mut self, entry: Entry, since: u64) -> Key {
        self.stamps += 1;
        let stamp = self.stamps;
        let user_data = entry.user_data;
        let request = Request {
            entry,
            state: State::Linked,
            next: None,
            limit: None,
            progress: Progress::default(),
            since,
            namesake: None,
            undo: None,
            rows: [None, None],
            looked: false,
        };
        let index = self.slab.insert((stamp, request));
        let key = Key { index, stamp };
        let namesake = self.numbers.insert(user_data, key);
        self.slab[index].1.namesake = namesake;
        key
    }

    pub(super) fn find(&mut self, key: Key) -> Option<&mut Request> {
        let (stamp, request) = self.slab.get_mut(key.index)?;
        (*stamp == key.stamp).then_some(request)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Request> {
        self.find(key)?;
        let (_, request) = self.slab.remove(key.index);
        let number = request.entry.user_data;
        match (self.numbers.get(&number).copied(), request.namesake) {
            (Some(last), None) if last == key => {
                self.numbers.remove(&number);
            }
            (Some(last), Some(before)) if last == key => {
                self.numbers.insert(number, before);
            }
            (last, before) => self.lead_past(last, key, before),
        }
        Some(request)
    }

    /// Has the one behind `key`, which is gone, lead to the one before it.
    fn lead_past(&mut self, last: Option<Key>, key: Key, before: Option<Key>) {
        let mut next = last.and_then(|last| self.find(last));
        while let Some(request) = next {
            if request.namesake == Some(key) {
                request.namesake = before;
                return;
            }
            let namesake = request.namesake;
            next = namesake.and_then(|namesake| self.find(namesake));
        }
    }

    /// The last with that number.
    pub(super) fn with_number(&self, user_data: u64) -> Option<Key> {
        self.numbers.get(&user_data).copied()
    }

    /// The one with the same number that was there before it.
    pub(super) fn namesake(&mut self, key: Key) -> Option<Key> {
        self.find(key)?.namesake
    }

    /// All of them, oldest first.
    pub(super) fn keys(&self) -> Vec<Key> {
        let keys = self.slab.iter().map(|(index, (stamp, _))| Key {
            index,
            stamp: *stamp,
        });
        let mut keys: Vec<Key> = keys.collect();
        keys.sort_unstable_by_key(|key| key.stamp);
        keys
    }
}
