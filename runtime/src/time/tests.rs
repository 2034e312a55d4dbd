//! The wheel against a sorted map, and what its users promise, under a clock that stands still until it is moved.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, pending, ready};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream;
use proptest::prelude::*;

use super::timers::Timers;
use super::wheel::{Key, Wheel};
use super::*;

const MS: Duration = Duration::from_millis(1);

/// Advances and gives what fired.
fn fired(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
    let mut fired = Vec::new();
    wheel.advance(now, |value| fired.push(value));
    fired
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Remove(usize),
    Reset(usize, u64),
    Advance(u64),
    AdvanceToNext,
}

/// Distances of every magnitude, so that every level is met.
fn distance() -> impl Strategy<Value = u64> {
    (0u32..64, any::<u64>()).prop_map(|(bits, value)| value >> bits)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => distance().prop_map(Step::Insert),
        // Deadlines in a crowd, to meet ties and crowded slots.
        4 => (0u64..200).prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Remove),
        2 => (any::<usize>(), distance()).prop_map(|(which, to)| Step::Reset(which, to)),
        2 => distance().prop_map(Step::Advance),
        2 => (0u64..300).prop_map(Step::Advance),
        3 => Just(Step::AdvanceToNext),
    ]
}

/// The wheel beside a map that does the same the slow way.
#[derive(Default)]
struct Model {
    slack: u64,
    now: u64,
    order: u64,
    /// By deadline and order.
    armed: BTreeMap<(u64, u64), Key>,
    /// Every timer not removed, with its entry above, if any.
    keys: Vec<(Key, Option<(u64, u64)>)>,
}

impl Model {
    fn step(&mut self, wheel: &mut Wheel<u64>, step: Step) {
        match step {
            Step::Insert(distance) => {
                let entry = self.entry(distance);
                let key = wheel.insert(entry.0, entry.1, entry.1);
                self.armed.insert(entry, key);
                self.keys.push((key, Some(entry)));
            }
            Step::Remove(which) if !self.keys.is_empty() => {
                let (key, entry) = self.keys.swap_remove(which % self.keys.len());
                let value = wheel.remove(key);
                assert_eq!(value.is_some(), entry.is_some());
                entry.map(|entry| self.armed.remove(&entry));
            }
            Step::Reset(which, distance) if !self.keys.is_empty() => {
                let which = which % self.keys.len();
                let entry = self.entry(distance);
                let (key, old) = &mut self.keys[which];
                if let Some(old) = old.replace(entry) {
                    self.armed.remove(&old);
                }
                wheel.reset(*key, entry.0, entry.1);
                *wheel.value_mut(*key) = Some(entry.1);
                self.armed.insert(entry, *key);
            }
            Step::Advance(distance) => self.advance(wheel, self.now.saturating_add(distance)),
            Step::AdvanceToNext => {
                if let Some(next) = wheel.next_advance() {
                    self.advance(wheel, next);
                }
            }
            Step::Remove(_) | Step::Reset(..) => {}
        }
        self.check(wheel);
    }

    /// Around now, also in the past.
    fn entry(&mut self, distance: u64) -> (u64, u64) {
        self.order += 1;
        (
            self.now.saturating_sub(50).saturating_add(distance),
            self.order,
        )
    }

    fn advance(&mut self, wheel: &mut Wheel<u64>, now: u64) {
        self.now = self.now.max(now);
        let later = self.armed.split_off(&(self.now, u64::MAX));
        let due = std::mem::replace(&mut self.armed, later);
        let expected: Vec<u64> = due.keys().map(|&(_, order)| order).collect();
        assert_eq!(fired(wheel, now), expected);
        for (_, entry) in &mut self.keys {
            *entry = entry.filter(|entry| !due.contains_key(entry));
        }
    }

    fn check(&self, wheel: &mut Wheel<u64>) {
        assert_eq!(wheel.armed(), self.armed.len());
        let earliest = self.armed.keys().next().map(|&(deadline, _)| deadline);
        let next = wheel.next_advance();
        assert_eq!(next.is_some(), earliest.is_some());
        if let (Some(next), Some(earliest)) = (next, earliest) {
            let end = earliest.saturating_add(self.slack);
            assert!(next <= end, "{next} would be late for {earliest}");
            // Ahead, or due already: never a wake that changes nothing.
            assert!(next > wheel.now() || earliest <= wheel.now());
            if self.order <= 64 && earliest > wheel.now() {
                // Never so many that a slot is not looked through: one wake for all within the slack, and no later. (What
                // is due already is fired at once, with all else that is.)
                let (&(last, _), _) = self.armed.range(..=(end, u64::MAX)).next_back().unwrap();
                assert_eq!(next, last, "for {earliest} and what is within {end}");
            }
        }
        for (key, entry) in &self.keys {
            let due = entry.is_none_or(|(deadline, _)| deadline <= wheel.now());
            assert_eq!(wheel.is_due(*key), due);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_wheel_does_what_a_sorted_map_does(
        slack in prop_oneof![Just(0), Just(50), distance()],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut wheel = Wheel::new(slack);
        let mut model = Model { slack, ..Model::default() };
        for step in steps {
            model.step(&mut wheel, step);
        }
        model.advance(&mut wheel, u64::MAX);
        prop_assert_eq!(wheel.armed(), 0);
    }
}

#[test]
fn a_crowded_slot_is_reached_by_few_early_wakes() {
    let mut wheel = Wheel::new(0);
    let second = 1_000_000_000;
    for i in 0..10_000 {
        wheel.insert(second + i * 1000, i, i);
    }
    let mut wakes = 0;
    let mut now = 0;
    while now < second {
        now = wheel.next_advance().unwrap();
        wakes += 1;
        let batch = fired(&mut wheel, now);
        assert!(batch.is_empty() || (now == second && batch == [0]));
    }
    assert!(wakes <= 6, "{wakes}");
}

#[test]
fn a_crowd_within_the_slack_is_fired_by_few_wakes_and_not_late() {
    let us = 1_000;
    for count in [2, 60, 10_000] {
        let mut wheel = Wheel::new(50 * us);
        // Gone before, so that nothing is known of the others as they came.
        wheel.insert(us, 0, us);
        for i in 0..count {
            let deadline = 7_000 * us + i * 50 * us / (count - 1);
            wheel.insert(deadline, i, deadline);
        }
        assert_eq!(fired(&mut wheel, us), [us]);
        let mut wakes = 0;
        while let Some(now) = wheel.next_advance() {
            wakes += 1;
            for deadline in fired(&mut wheel, now) {
                assert!(now - deadline <= 50 * us);
            }
        }
        assert!(wakes <= if count <= 64 { 1 } else { 3 }, "{count}: {wakes}");
    }
}

#[test]
fn deadlines_at_the_end_of_time_are_kept() {
    let mut wheel = Wheel::new(0);
    wheel.insert(u64::MAX, 0, 0);
    wheel.insert(u64::MAX - 1, 1, 1);
    assert_eq!(fired(&mut wheel, u64::MAX - 2), []);
    assert_eq!(wheel.next_advance(), Some(u64::MAX - 1));
    assert_eq!(fired(&mut wheel, u64::MAX), [1, 0]);
    wheel.insert(0, 2, 2);
    assert_eq!(wheel.next_advance(), Some(0));
    assert_eq!(fired(&mut wheel, 7), [2]);
}

// ------------------------------------------------------------------------------------- futures

/// Timers under a clock of their own.
struct Stopwatch {
    ns: Rc<Cell<u64>>,
    timers: Rc<Timers>,
}

impl Stopwatch {
    fn new() -> Self {
        let ns = Rc::new(Cell::new(0));
        let timers = Timers::new(Clock::manual(Rc::clone(&ns)), Duration::ZERO);
        Self { ns, timers }
    }

    fn now(&self) -> Instant {
        self.timers.clock().now()
    }

    fn advance(&self, by: Duration) {
        self.ns.set(self.ns.get() + by.as_nanos() as u64);
        self.timers.enter(|| self.timers.fire());
    }

    fn poll<F: Future + Unpin>(&self, future: &mut F) -> Poll<F::Output> {
        self.poll_with(future, Waker::noop())
    }

    fn poll_with<F: Future + Unpin>(&self, future: &mut F, waker: &Waker) -> Poll<F::Output> {
        self.timers
            .enter(|| Pin::new(future).poll(&mut Context::from_waker(waker)))
    }
}

/// Counts wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_sleep_ends_at_its_deadline_and_not_before() {
    let watch = Stopwatch::new();
    let mut nap = watch.timers.enter(|| sleep(MS));
    assert_eq!(nap.deadline(), watch.now() + MS);
    assert!(watch.poll(&mut nap).is_pending() && !nap.is_elapsed());
    watch.advance(MS - Duration::from_nanos(1));
    assert!(watch.poll(&mut nap).is_pending());
    assert_eq!(watch.timers.until_next(None), Some(Duration::from_nanos(1)));
    watch.advance(Duration::from_nanos(1));
    assert!(nap.is_elapsed());
    assert!(watch.poll(&mut nap).is_ready() && watch.poll(&mut nap).is_ready());
    assert_eq!(watch.timers.armed(), 0);
}

#[test]
fn dropping_a_sleep_takes_it_out_and_resetting_moves_it() {
    let watch = Stopwatch::new();
    let start = watch.now();
    let mut gone = watch.timers.enter(|| sleep(MS));
    let mut moved = watch.timers.enter(|| sleep(MS));
    assert!(watch.poll(&mut gone).is_pending() && watch.poll(&mut moved).is_pending());
    drop(gone);
    assert_eq!(watch.timers.armed(), 1);
    moved.reset(start + 5 * MS);
    watch.advance(2 * MS);
    assert!(!moved.is_elapsed());
    moved.reset(start + 3 * MS);
    watch.advance(MS);
    assert!(moved.is_elapsed() && watch.poll(&mut moved).is_ready());
    moved.reset(start + 4 * MS);
    assert!(watch.poll(&mut moved).is_pending());
    watch.advance(MS);
    assert!(watch.poll(&mut moved).is_ready());
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_kept_and_woken() {
    let watch = Stopwatch::new();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut nap = watch.timers.enter(|| sleep(MS));
    assert!(watch.poll_with(&mut nap, &waker).is_pending());
    let count = Arc::strong_count(&wakes);
    let other = Waker::from(Arc::new(Wakes::default()));
    for _ in 0..3 {
        assert!(watch.poll_with(&mut nap, &waker).is_pending());
        assert_eq!(Arc::strong_count(&wakes), count);
    }
    assert!(watch.poll_with(&mut nap, &other).is_pending());
    assert_eq!(Arc::strong_count(&wakes), count - 1);
    watch.advance(MS);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "the last waker counts");
}

#[test]
fn wakers_may_do_anything_with_the_timers() {
    /// Drops a sleep, and makes one, as it is woken.
    struct Meddler(RefCell<Option<Sleep>>, Rc<Timers>);
    thread_local!(static MEDDLER: RefCell<Option<Rc<Meddler>>> = const { RefCell::new(None) });
    struct Meddle;
    impl Wake for Meddle {
        fn wake(self: Arc<Self>) {
            let meddler = MEDDLER.take().unwrap();
            drop(meddler.0.take());
            let mut nap = sleep(MS);
            meddler.1.enter(|| {
                assert!(
                    Pin::new(&mut nap)
                        .poll(&mut Context::from_waker(Waker::noop()))
                        .is_pending()
                );
            });
            panic!("and fails");
        }
    }

    let watch = Stopwatch::new();
    let wakes = Arc::new(Wakes::default());
    let (mut first, mut second, mut third) = watch
        .timers
        .enter(|| (sleep(MS), sleep(2 * MS), sleep(2 * MS)));
    assert!(
        watch
            .poll_with(&mut first, &Waker::from(Arc::new(Meddle)))
            .is_pending()
    );
    assert!(watch.poll(&mut second).is_pending());
    assert!(
        watch
            .poll_with(&mut third, &Waker::from(Arc::clone(&wakes)))
            .is_pending()
    );
    MEDDLER.set(Some(Rc::new(Meddler(
        RefCell::new(Some(second)),
        Rc::clone(&watch.timers),
    ))));
    watch.advance(2 * MS);
    assert_eq!(
        wakes.0.load(Ordering::Relaxed),
        1,
        "a waker that panics keeps no other asleep"
    );
    assert_eq!(watch.timers.armed(), 0);
}

#[test]
fn durations_without_an_instant_are_far_away() {
    let watch = Stopwatch::new();
    let mut nap = watch.timers.enter(|| sleep(Duration::MAX));
    assert!(watch.poll(&mut nap).is_pending());
    watch.advance(Duration::from_secs(86_400 * 365));
    assert!(watch.poll(&mut nap).is_pending());
    assert!(nap.deadline() > watch.now() + Duration::from_secs(86_400 * 365 * 90));
}

#[test]
fn the_future_wins_when_both_are_ready() {
    let watch = Stopwatch::new();
    let past = watch.now();
    watch.advance(MS);
    let mut both = timeout_at(past, ready(7));
    assert_eq!(watch.poll(&mut both), Poll::Ready(Ok(7)));

    let mut both = watch.timers.enter(|| timeout(MS, sleep(MS)));
    assert!(watch.poll(&mut both).is_pending());
    watch.advance(MS);
    assert_eq!(watch.poll(&mut both), Poll::Ready(Ok(())));
}

#[test]
fn a_timeout_elapses_and_is_an_io_error() {
    let watch = Stopwatch::new();
    let mut never = watch.timers.enter(|| timeout(MS, pending::<()>()));
    assert!(watch.poll(&mut never).is_pending());
    watch.advance(MS);
    let Poll::Ready(Err(elapsed)) = watch.poll(&mut never) else {
        panic!("not elapsed")
    };
    assert_eq!(io::Error::from(elapsed).kind(), io::ErrorKind::TimedOut);
}

/// Ticks for as long as they are ready; in milliseconds since `start`.
fn ticks(watch: &Stopwatch, interval: &mut Interval, start: Instant) -> Vec<u128> {
    let mut ticks = Vec::new();
    while let Poll::Ready(Some(tick)) = watch
        .timers
        .enter(|| Pin::new(&mut *interval).poll_next(&mut Context::from_waker(Waker::noop())))
    {
        ticks.push((tick - start).as_millis());
    }
    ticks
}

fn interval_missing(behavior: MissedTickBehavior) -> [Vec<u128>; 4] {
    let watch = Stopwatch::new();
    let start = watch.now();
    let mut interval = interval_at(start, 100 * MS);
    interval.set_missed_tick_behavior(behavior);
    let mut seen = || ticks(&watch, &mut interval, start);
    let first = seen();
    watch.advance(350 * MS);
    let late = seen();
    watch.advance(50 * MS);
    let at_400 = seen();
    watch.advance(50 * MS);
    [first, late, at_400, seen()]
}

#[test]
fn missed_ticks_follow_the_chosen_policy() {
    use MissedTickBehavior::{Burst, Delay, Skip};
    assert_eq!(
        interval_missing(Burst),
        [vec![0], vec![100, 200, 300], vec![400], vec![]]
    );
    assert_eq!(
        interval_missing(Delay),
        [vec![0], vec![100], vec![], vec![450]]
    );
    assert_eq!(
        interval_missing(Skip),
        [vec![0], vec![100], vec![400], vec![]]
    );
}

#[test]
fn a_little_lateness_shifts_no_tick() {
    for behavior in [
        MissedTickBehavior::Burst,
        MissedTickBehavior::Delay,
        MissedTickBehavior::Skip,
    ] {
        let watch = Stopwatch::new();
        let start = watch.now();
        let mut interval = interval_at(start, 100 * MS);
        interval.set_missed_tick_behavior(behavior);
        let mut all = ticks(&watch, &mut interval, start);
        for _ in 0..3 {
            watch.advance(101 * MS);
            all.extend(ticks(&watch, &mut interval, start));
        }
        assert_eq!(all, [0, 100, 200, 300]);
    }
}

#[test]
fn an_interval_can_be_moved() {
    let watch = Stopwatch::new();
    let start = watch.now();
    let mut interval = watch.timers.enter(|| interval(10 * MS));
    assert_eq!(ticks(&watch, &mut interval, start), [0]);
    watch.advance(5 * MS);
    watch.timers.enter(|| interval.reset());
    watch.advance(9 * MS);
    assert_eq!(ticks(&watch, &mut interval, start), []);
    watch.advance(MS);
    assert_eq!(ticks(&watch, &mut interval, start), [15]);
    watch.timers.enter(|| interval.reset_immediately());
    assert_eq!(ticks(&watch, &mut interval, start), [15]);
}

#[test]
#[should_panic(expected = "must not be zero")]
fn a_period_of_zero_is_refused() {
    drop(interval(Duration::ZERO));
}
