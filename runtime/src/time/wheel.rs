//! The timer wheel: pure logic over numbers, so that tests can step it. It reads no clock and calls nobody.
//!
//! Time is nanoseconds since an epoch of the owner's. Eleven levels of 64 slots hold every `u64` deadline: a timer lies
//! on the level of the highest six-bit digit in which its deadline differs from the wheel's time, in the slot that this
//! digit names (Varghese and Lauck's hierarchical wheel, with the digits of one number instead of eleven hands). So:
//!
//! 1. All timers of one level are due before all of the next, and slots within a level are due in their order: the
//!    first occupied slot of the lowest occupied level is found by two bit scans.
//! 2. As time advances, slots that have begun are emptied; their timers are due, or move to a lower level.
//! 3. Each timer keeps its exact deadline. The slots only sort roughly; nothing is rounded, nothing fires early.
//! 4. *When to advance* is the wheel's to say: at the last of the deadlines that lie within the slack of the first, so that
//!    timers of about the same time cost one wake, and a lone one is not late for the sake of others.
//!
//! Timers are entries of a slab, chained per slot by index. An entry outlives its firing, until its owner removes it.

use slab::Slab;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 64usize.div_ceil(BITS as usize);

/// The end of a chain.
const NIL: u32 = u32::MAX;

/// How many timers are looked at for the next time to advance. Is the first slot's chain longer, it is sorted further by
/// waking at its start: at most one early wake a level, instead of a walk at every park. Are there more within the slack,
/// all of that is waited for.
const SCAN_MAX: u32 = 64;

/// Names a timer, from [`Wheel::insert`] until [`Wheel::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Slot { level: u8, slot: u8 },
    Fired,
}

#[derive(Debug)]
struct Timer<T> {
    deadline: u64,
    /// Orders timers of one deadline.
    order: u64,
    prev: u32,
    next: u32,
    place: Place,
    value: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// Bit `i`: slot `i` is not empty.
    occupied: u64,
    heads: [u32; SLOTS],
}

/// What is known of the earliest deadline, so that parking again and again does not walk the same chain.
#[derive(Clone, Copy, Debug)]
enum Next {
    Unknown,
    /// No deadline is before `earliest`; the wheel should be advanced at `at`. There is at least one timer.
    Known {
        earliest: u64,
        at: u64,
    },
}

/// Timers with a value each, given back as they fire.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// How much later than its deadline a timer may be for the sake of others.
    slack: u64,
    /// The time it was last advanced to. Every slot that begins before is empty.
    now: u64,
    timers: Slab<Timer<T>>,
    levels: Box<[Level; LEVELS]>,
    /// Bit `i`: level `i` is not empty.
    occupied: u16,
    armed: usize,
    next: Next,
    /// Kept for its capacity: the batch being fired.
    due: Vec<(u64, u64, u32)>,
}

impl<T> Wheel<T> {
    pub(crate) fn new(slack: u64) -> Self {
        Self {
            slack,
            now: 0,
            timers: Slab::new(),
            levels: Box::new(
                [Level {
                    occupied: 0,
                    heads: [NIL; SLOTS],
                }; LEVELS],
            ),
            occupied: 0,
            armed: 0,
            next: Next::Unknown,
            due: Vec::new(),
        }
    }

    /// The time it was last advanced to.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// How many timers have not fired.
    pub(crate) fn armed(&self) -> usize {
        self.armed
    }

    /// Arms a timer. One whose deadline has passed fires at the next advance. Of equal deadlines the lower `order` fires
    /// first.
    pub(crate) fn insert(&mut self, deadline: u64, order: u64, value: T) -> Key {
        let index = self.timers.insert(Timer {
            deadline,
            order,
            prev: NIL,
            next: NIL,
            place: Place::Fired,
            value: Some(value),
        });
        let index = u32::try_from(index).ok().filter(|&index| index != NIL);
        let index = index.expect("fewer than four billion timers");
        self.arm(index);
        Key(index)
    }

    /// Moves a timer, fired or not, to another deadline; a value that is still there stays.
    pub(crate) fn reset(&mut self, key: Key, deadline: u64, order: u64) {
        self.disarm(key.0);
        let timer = &mut self.timers[key.0 as usize];
        timer.deadline = deadline;
        timer.order = order;
        self.arm(key.0);
    }

    /// Forgets a timer, fired or not, and gives back its value if it did not fire.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.disarm(key.0);
        self.timers.remove(key.0 as usize).value
    }

    /// Whether the wheel has been advanced to the deadline. It then fired, or, armed too late, does so next time.
    pub(crate) fn is_due(&self, key: Key) -> bool {
        self.timers[key.0 as usize].deadline <= self.now
    }

    /// The value of a timer; `None` if it fired and got no new one.
    pub(crate) fn value_mut(&mut self, key: Key) -> &mut Option<T> {
        &mut self.timers[key.0 as usize].value
    }

    /// When to advance next: at the last deadline within the slack of the earliest; that is the earliest itself if it
    /// stands alone. If very many timers share its slot, the slot's start counts as the earliest: that may be too early, but
    /// parts them. `None`: nothing is armed.
    pub(crate) fn next_advance(&mut self) -> Option<u64> {
        if let Next::Known { at, .. } = self.next
            && self.armed > 0
        {
            return Some(at);
        }
        let (level, slot) = self.first_slot()?;
        let mut seen = 0;
        let (earliest, at) = match self.earliest_of(level, slot, &mut seen) {
            Some(earliest) => (earliest, self.last_within_slack(earliest, seen)),
            None => {
                let start = self.slot_start(level, slot);
                (start, start.saturating_add(self.slack))
            }
        };
        self.next = Next::Known { earliest, at };
        Some(at)
    }

    /// The earliest deadline in a slot that is not empty; `None` if there are too many to look at.
    fn earliest_of(&self, level: usize, slot: usize, seen: &mut u32) -> Option<u64> {
        let mut earliest = u64::MAX;
        for deadline in self.chain(level, slot) {
            if *seen == SCAN_MAX {
                return None;
            }
            *seen += 1;
            earliest = earliest.min(deadline);
        }
        Some(earliest)
    }

    /// The last deadline within the slack of the earliest, or the end of the slack if there are too many to look at.
    fn last_within_slack(&self, earliest: u64, mut seen: u32) -> u64 {
        let end = earliest.saturating_add(self.slack);
        let mut last = earliest;
        let mut levels = self.occupied;
        while levels != 0 {
            let level = levels.trailing_zeros() as usize;
            levels &= levels - 1;
            let mut slots = self.levels[level].occupied;
            while slots != 0 {
                let slot = slots.trailing_zeros() as usize;
                slots &= slots - 1;
                if self.slot_start(level, slot) > end {
                    return last;
                }
                for deadline in self.chain(level, slot) {
                    if seen > 2 * SCAN_MAX {
                        return end;
                    }
                    seen += 1;
                    if deadline <= end {
                        last = last.max(deadline);
                    }
                }
            }
        }
        last
    }

    /// The deadlines in a slot.
    fn chain(&self, level: usize, slot: usize) -> impl Iterator<Item = u64> {
        let mut at = self.levels[level].heads[slot];
        std::iter::from_fn(move || {
            let timer = self.timers.get(at as usize)?;
            at = timer.next;
            Some(timer.deadline)
        })
    }

    /// Advances the time (never back) and gives `fire` the value of each timer whose deadline has come, in the order of
    /// their deadlines.
    pub(crate) fn advance(&mut self, now: u64, mut fire: impl FnMut(T)) {
        let now = now.max(self.now);
        let mut due = std::mem::take(&mut self.due);
        let mut moving = NIL;
        while let Some((level, slot)) = self.first_slot() {
            if self.slot_start(level, slot) > now {
                break;
            }
            let mut at = self.take_slot(level, slot);
            while at != NIL {
                let timer = &mut self.timers[at as usize];
                let next = timer.next;
                timer.place = Place::Fired;
                if timer.deadline <= now {
                    due.push((timer.deadline, timer.order, at));
                } else {
                    timer.next = moving;
                    moving = at;
                }
                self.armed -= 1;
                at = next;
            }
        }
        self.now = now;
        // Placed anew only now, by the new time: so a timer moves once an advance, however far that goes.
        while moving != NIL {
            let at = moving;
            moving = self.timers[at as usize].next;
            self.arm(at);
        }
        if !due.is_empty() {
            due.sort_unstable();
            for (_, _, index) in due.drain(..) {
                if let Some(value) = self.timers[index as usize].value.take() {
                    fire(value);
                }
            }
        }
        self.due = due;
    }

    /// Level and slot for a deadline, by the wheel's time.
    fn place_of(&self, deadline: u64) -> (usize, usize) {
        let deadline = deadline.max(self.now);
        let differs = (deadline ^ self.now) | 1;
        let level = (u64::BITS - 1 - differs.leading_zeros()) / BITS;
        let slot = (deadline >> (level * BITS)) as usize % SLOTS;
        (level as usize, slot)
    }

    /// The slot whose timers are due before all others.
    fn first_slot(&self) -> Option<(usize, usize)> {
        if self.occupied == 0 {
            return None;
        }
        let level = self.occupied.trailing_zeros() as usize;
        Some((level, self.levels[level].occupied.trailing_zeros() as usize))
    }

    /// The first nanosecond that belongs to a slot ahead.
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * BITS;
        let above = self
            .now
            .checked_shr(shift + BITS)
            .map_or(0, |digits| digits << (shift + BITS));
        above | (slot as u64) << shift
    }

    fn arm(&mut self, index: u32) {
        let deadline = self.timers[index as usize].deadline;
        let (level, slot) = self.place_of(deadline);
        let head = std::mem::replace(&mut self.levels[level].heads[slot], index);
        self.levels[level].occupied |= 1 << slot;
        self.occupied |= 1 << level;
        if head != NIL {
            self.timers[head as usize].prev = index;
        }
        let timer = &mut self.timers[index as usize];
        timer.prev = NIL;
        timer.next = head;
        timer.place = Place::Slot {
            level: level as u8,
            slot: slot as u8,
        };
        self.armed += 1;
        self.next = match self.next {
            _ if self.armed == 1 => Next::Known {
                earliest: deadline,
                at: deadline,
            },
            Next::Known { earliest, at } => self.next_with(deadline, earliest, at),
            Next::Unknown => Next::Unknown,
        };
    }

    /// What is known once a deadline has come to the others.
    fn next_with(&self, deadline: u64, earliest: u64, at: u64) -> Next {
        let end = deadline.min(earliest).saturating_add(self.slack);
        if deadline >= earliest {
            let at = if deadline <= end {
                at.max(deadline)
            } else {
                at
            };
            Next::Known { earliest, at }
        } else if at <= end {
            Next::Known {
                earliest: deadline,
                at,
            }
        } else if earliest > end {
            Next::Known {
                earliest: deadline,
                at: deadline,
            }
        } else {
            Next::Unknown
        }
    }

    fn disarm(&mut self, index: u32) {
        let timer = &mut self.timers[index as usize];
        let Place::Slot { level, slot } = timer.place else {
            return;
        };
        let (level, slot) = (usize::from(level), usize::from(slot));
        timer.place = Place::Fired;
        let (prev, next, deadline) = (timer.prev, timer.next, timer.deadline);
        if next != NIL {
            self.timers[next as usize].prev = prev;
        }
        if prev != NIL {
            self.timers[prev as usize].next = next;
        } else {
            self.levels[level].heads[slot] = next;
            if next == NIL {
                self.vacate(level, slot);
            }
        }
        self.armed -= 1;
        if let Next::Known { at, .. } = self.next
            && deadline <= at
        {
            self.next = Next::Unknown;
        }
    }

    /// Takes a slot's whole chain.
    fn take_slot(&mut self, level: usize, slot: usize) -> u32 {
        self.next = Next::Unknown;
        self.vacate(level, slot);
        std::mem::replace(&mut self.levels[level].heads[slot], NIL)
    }

    fn vacate(&mut self, level: usize, slot: usize) {
        self.levels[level].occupied &= !(1 << slot);
        if self.levels[level].occupied == 0 {
            self.occupied &= !(1 << level);
        }
    }
}
