//! Section D: fairness and timers. Counted in polls, turns and system calls, never in time: machines are noisy.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use annulet_tests::{Ring, metrics, poll_now, poll_once, socket_pair, spec, submitted};
use runtime::io::{AsyncFd, Interest};
use runtime::time::{MissedTickBehavior, interval_at, sleep, sleep_until, timeout, timeout_at};
use runtime::{Op, op, yield_now};
use rustix::time::{ClockId, clock_gettime};

spec! {
    d1_a_timer_fires_within_a_slice_beside_a_self_waking_task;
    d2_a_read_resolves_within_a_slice_beside_a_self_waking_task;
    async d3_tasks_run_beside_a_self_waking_main_future;
    async d4_a_thousand_yields_make_no_system_call_each;
    async d4_a_round_trip_enters_the_kernel_twice_at_most;
    async d5_sleeps_end_in_the_order_they_are_due;
    async d5_equal_due_times_fire_in_order_of_creation;
    async d6_a_sleep_is_never_early;
    async d6_a_dropped_sleep_is_gone;
    async d6_a_reset_sleep_moves;
    async d7_a_timer_costs_the_same_beside_a_hundred_thousand on kernel;
    async d8_missed_ticks_are_made_up_in_a_burst;
    async d8_missed_ticks_delay_the_rest;
    async d8_missed_ticks_are_skipped;
    async d9_the_future_wins_when_it_is_ready_with_its_deadline;
    async d10_nine_watchers_of_one_descriptor_are_served_once_a_round;
    async d10_so_are_nine_with_a_watch_each;
    async d10_so_are_nine_that_make_attempts;
    d10_one_that_is_alone_keeps_no_timer_and_no_completion_back;
    d10_nor_does_one_that_reads_and_writes_what_is_always_ready;
}

const BUDGET: u32 = 64;

/// Lets time pass without giving anybody a turn.
fn hog_until(instant: Instant) {
    while Instant::now() < instant {
        std::hint::spin_loop();
    }
}

/// Wakes itself for ever, and counts its polls from when `begin` says so until `end` is set.
async fn hog(mut begin: impl FnMut() -> bool, end: Rc<Cell<bool>>) -> u32 {
    while !begin() {
        yield_now().await;
    }
    let mut polls = 0;
    while !end.get() {
        polls += 1;
        yield_now().await;
    }
    polls
}

/// One slice may be running, and the woken task comes behind the others.
const A_SLICE: u32 = BUDGET + 2;

fn d1_a_timer_fires_within_a_slice_beside_a_self_waking_task(ring: Ring) {
    let runtime = ring.builder().budget(BUDGET).build().unwrap();
    runtime.block_on(async {
        // Each comes due at another place in a slice.
        for _ in 0..10 {
            let due = Instant::now() + Duration::from_millis(10);
            let fired = Rc::new(Cell::new(false));
            let seen = fired.clone();
            let timer = runtime::spawn(async move {
                sleep_until(due).await;
                seen.set(true);
            });
            let hog = runtime::spawn(hog(move || Instant::now() >= due, fired));
            let polls = hog.await.unwrap();
            assert!(polls <= A_SLICE, "{polls} polls after it was due");
            timer.await.unwrap();
        }
    });
}

fn d2_a_read_resolves_within_a_slice_beside_a_self_waking_task(ring: Ring) {
    let runtime = ring.builder().budget(BUDGET).build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = socket_pair();
        let resolved = Rc::new(Cell::new(false));
        let seen = resolved.clone();
        let reader = runtime::spawn(async move {
            let (got, _) = Op::on(&ours, op::Recv::new([0; 8])).await;
            seen.set(true);
            got.unwrap()
        });
        submitted().await;
        // A timer in the company, as the third of those who must not be starved.
        let timer = runtime::spawn(sleep(Duration::from_millis(10)));
        let mut rounds = 0;
        let send = move || {
            rounds += 1;
            rounds == 10_000 && rustix::io::write(&theirs, b"now").is_ok()
        };
        let polls = runtime::spawn(hog(send, resolved)).await.unwrap();
        assert!(polls <= A_SLICE, "{polls} polls after the data came");
        assert_eq!(reader.await.unwrap(), 3);
        timer.await.unwrap();
    });
}

async fn d3_tasks_run_beside_a_self_waking_main_future(_: Ring) {
    let ran = Rc::new(Cell::new(false));
    let seen = ran.clone();
    drop(runtime::spawn(async move {
        Op::new(op::Nop::new()).await.unwrap();
        seen.set(true);
    }));
    let mut polls = 0;
    while !ran.get() {
        polls += 1;
        assert!(polls < 10_000, "the task never ran");
        yield_now().await;
    }
}

async fn d4_a_thousand_yields_make_no_system_call_each(_: Ring) {
    submitted().await;
    let before = metrics().enters;
    for _ in 0..1000 {
        yield_now().await;
    }
    // A slice is 256 polls; with nothing staged not even its end needs one.
    let enters = metrics().enters - before;
    assert!(enters <= 1000 / 256 + 1, "{enters} enters for 1000 yields");
}

async fn d4_a_round_trip_enters_the_kernel_twice_at_most(_: Ring) {
    let (ours, theirs) = socket_pair();
    let echo = runtime::spawn(async move {
        let mut buf = vec![0; 64];
        loop {
            let (got, back) = Op::on(&theirs, op::Recv::new(buf)).await;
            if got.unwrap() == 0 {
                return;
            }
            buf = Op::on(&theirs, op::SendAll::new(back)).await.1;
        }
    });
    let mut buf = vec![7; 64];
    let mut round = async || {
        let (sent, back) = Op::on(&ours, op::SendAll::new(std::mem::take(&mut buf))).await;
        sent.unwrap();
        let (got, back) = Op::on(&ours, op::Recv::new(back)).await;
        assert_eq!(got.unwrap(), 64);
        buf = back;
    };
    round().await;
    let before = metrics().enters;
    for _ in 0..1000 {
        round().await;
    }
    let enters = metrics().enters - before;
    assert!(enters <= 2 * 1000, "{enters} enters for 1000 round trips");
    ours.close().await.unwrap();
    echo.await.unwrap();
}

type Log = Rc<RefCell<Vec<u64>>>;

/// A task that sleeps until `at_ms` after `start`, and then says so.
fn note_at(log: &Log, start: Instant, at_ms: u64) -> runtime::JoinHandle<()> {
    let log = log.clone();
    runtime::spawn(async move {
        sleep_until(start + Duration::from_millis(at_ms)).await;
        log.borrow_mut().push(at_ms);
    })
}

async fn d5_sleeps_end_in_the_order_they_are_due(_: Ring) {
    // 3 x 40 ms against 2 x 100 ms. All are armed at once: made in turn they are late on a busy machine.
    let dues = [40, 80, 120, 100, 200];
    let (log, start) = (Log::default(), Instant::now());
    for task in dues.map(|at_ms| note_at(&log, start, at_ms)) {
        task.await.unwrap();
    }
    assert_eq!(*log.borrow(), [40, 80, 100, 120, 200]);
    // And when the thread comes back so late that all are due.
    let (log, start) = (Log::default(), Instant::now());
    let tasks = dues.map(|at_ms| note_at(&log, start, at_ms / 10));
    yield_now().await;
    hog_until(start + Duration::from_millis(20));
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*log.borrow(), [4, 8, 10, 12, 20]);
}

async fn d5_equal_due_times_fire_in_order_of_creation(_: Ring) {
    let (log, due) = (Log::default(), Instant::now() + Duration::from_millis(5));
    let mut sleeps: Vec<_> = (0..100).map(|n| (n, sleep_until(due))).collect();
    // Armed the other way round: it is the making that counts.
    sleeps.reverse();
    let tasks: Vec<_> = sleeps
        .into_iter()
        .map(|(n, sleep)| {
            let log = log.clone();
            runtime::spawn(async move {
                sleep.await;
                log.borrow_mut().push(n);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(
        log.borrow().iter().copied().eq(0..100),
        "{:?}",
        log.borrow()
    );
}

async fn d6_a_sleep_is_never_early(_: Ring) {
    for step in 0..100u64 {
        let duration = Duration::from_nanos(step * step * 700);
        let made = Instant::now();
        sleep(duration).await;
        assert!(Instant::now() >= made + duration, "a sleep of {duration:?}");
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

async fn d6_a_dropped_sleep_is_gone(_: Ring) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let due = Instant::now() + Duration::from_millis(2);
    let mut dropped = sleep_until(due);
    assert!(
        Future::poll(
            std::pin::Pin::new(&mut dropped),
            &mut Context::from_waker(&waker)
        )
        .is_pending()
    );
    let held = Arc::strong_count(&woken);
    drop(dropped);
    assert_eq!(
        Arc::strong_count(&woken),
        held - 1,
        "the timer is there still"
    );
    sleep_until(due + Duration::from_millis(1)).await;
    assert_eq!(woken.0.load(Relaxed), 0);
}

async fn d6_a_reset_sleep_moves(_: Ring) {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let log = Log::default();
    let mut later = sleep_until(at(2));
    let mut sooner = sleep_until(at(3_600_000));
    assert!(poll_now(&mut later).await.is_pending());
    assert!(poll_now(&mut sooner).await.is_pending());
    later.reset(at(20));
    sooner.reset(at(4));
    let tasks = [(later, 20), (sooner, 4)].map(|(sleep, ms)| {
        let log = log.clone();
        runtime::spawn(async move {
            sleep.await;
            log.borrow_mut().push(ms);
        })
    });
    note_at(&log, start, 10).await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*log.borrow(), [4, 10, 20]);
    assert!(Instant::now() >= at(20));
    // Also one that has fired.
    let mut again = sleep_until(start);
    assert!(poll_now(&mut again).await.is_ready());
    let due = Instant::now() + Duration::from_millis(1);
    again.reset(due);
    again.await;
    assert!(Instant::now() >= due);
}

/// The processor's time that arming and dropping a timer takes this thread, the best of a few goes.
fn cost_of_a_timer() -> f64 {
    let cpu = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let once = |_| {
        let begin = cpu();
        for ms in 0..2000 {
            assert!(poll_once(&mut sleep(Duration::from_millis(10_000 + ms))).is_pending());
        }
        cpu() - begin
    };
    (0..10).map(once).fold(f64::INFINITY, f64::min)
}

async fn d7_a_timer_costs_the_same_beside_a_hundred_thousand(_: Ring) {
    let alone = cost_of_a_timer();
    let mut others: Vec<_> = (0..100_000)
        .map(|n| sleep(Duration::from_millis(5_000 + n % 60_000)))
        .collect();
    for other in &mut others {
        assert!(poll_once(other).is_pending());
    }
    let crowded = cost_of_a_timer();
    // A walk over the others would be a matter of thousands.
    assert!(
        crowded < alone * 20.0,
        "{alone} s alone, {crowded} s in a crowd"
    );
    let enters = metrics().enters;
    drop(others);
    assert_eq!(metrics().enters, enters);
}

const PERIOD: Duration = Duration::from_millis(20);

/// An interval whose owner asks for the tick at one period only after three and a half; what it was due at, and the
/// start.
async fn late_ticks(behavior: MissedTickBehavior) -> (runtime::time::Interval, Instant) {
    let start = Instant::now();
    let mut ticks = interval_at(start, PERIOD);
    ticks.set_missed_tick_behavior(behavior);
    assert_eq!(ticks.tick().await, start);
    hog_until(start + PERIOD * 7 / 2);
    assert_eq!(ticks.tick().await, start + PERIOD);
    (ticks, start)
}

async fn d8_missed_ticks_are_made_up_in_a_burst(_: Ring) {
    let (mut ticks, start) = late_ticks(MissedTickBehavior::Burst).await;
    assert_eq!(
        poll_once(&mut Box::pin(ticks.tick())),
        Poll::Ready(start + PERIOD * 2)
    );
    assert_eq!(
        poll_once(&mut Box::pin(ticks.tick())),
        Poll::Ready(start + PERIOD * 3)
    );
    assert_eq!(ticks.tick().await, start + PERIOD * 4);
    assert!(Instant::now() >= start + PERIOD * 4);
}

async fn d8_missed_ticks_delay_the_rest(_: Ring) {
    let (mut ticks, start) = late_ticks(MissedTickBehavior::Delay).await;
    let given = Instant::now();
    let due = ticks.tick().await;
    assert!(
        due >= start + PERIOD * 9 / 2 && due <= given + PERIOD,
        "{:?}",
        due - start
    );
    assert!(Instant::now() >= due);
}

async fn d8_missed_ticks_are_skipped(_: Ring) {
    let (mut ticks, start) = late_ticks(MissedTickBehavior::Skip).await;
    let due = ticks.tick().await;
    assert!(due >= start + PERIOD * 4, "{:?}", due - start);
    assert_eq!((due - start).as_nanos() % PERIOD.as_nanos(), 0);
    assert!(Instant::now() >= due);
}

async fn d9_the_future_wins_when_it_is_ready_with_its_deadline(_: Ring) {
    let past = Instant::now();
    assert_eq!(timeout_at(past, async { 7 }).await, Ok(7));
    assert!(
        timeout_at(past, std::future::pending::<()>())
            .await
            .is_err()
    );
    // Both come to be while nobody looks.
    let (ours, theirs) = socket_pair();
    let due = Instant::now() + Duration::from_millis(1);
    let mut late = Box::pin(timeout_at(due, Op::on(&ours, op::Recv::new([0; 8]))));
    assert!(poll_now(&mut late).await.is_pending());
    submitted().await;
    rustix::io::write(&theirs, b"now").unwrap();
    hog_until(due);
    submitted().await;
    let (got, _) = late.await.expect("the future was ready");
    assert_eq!(got.unwrap(), 3);
    assert!(
        timeout(Duration::from_millis(1), std::future::pending::<()>())
            .await
            .is_err()
    );
}

/// Nine tasks, each of which logs its number whenever its `serve` has ended once more.
async fn nine<F: Future<Output = ()>>(serve: impl Fn(usize) -> F + Clone + 'static) {
    const ROUNDS: usize = 100;
    let log = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = (0..9)
        .map(|n| {
            let (serve, log) = (serve.clone(), log.clone());
            runtime::spawn(async move {
                for _ in 0..ROUNDS {
                    serve(n).await;
                    log.borrow_mut().push(n);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for round in log.borrow().chunks(9) {
        let mut served = round.to_vec();
        served.sort_unstable();
        assert_eq!(served, (0..9).collect::<Vec<_>>());
    }
}

/// A socket with something to read that nobody will.
fn ready_for_ever() -> Rc<UnixStream> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    Rc::new(ours)
}

async fn d10_nine_watchers_of_one_descriptor_are_served_once_a_round(_: Ring) {
    let watch = Rc::new(AsyncFd::new(ready_for_ever()));
    nine(move |_| {
        let watch = watch.clone();
        async move { drop(watch.readable().await.unwrap()) }
    })
    .await;
}

async fn d10_so_are_nine_with_a_watch_each(_: Ring) {
    let fd = ready_for_ever();
    let watches: Rc<[_]> = (0..9).map(|_| AsyncFd::new(fd.clone())).collect();
    nine(move |n| {
        let watches = watches.clone();
        async move { watches[n].readable().await.unwrap().retain_ready() }
    })
    .await;
}

async fn d10_so_are_nine_that_make_attempts(_: Ring) {
    let watch = Rc::new(AsyncFd::new(ready_for_ever()));
    nine(move |_| {
        let watch = watch.clone();
        async move {
            watch
                .async_io(Interest::READABLE, |_| Ok(()))
                .await
                .unwrap();
        }
    })
    .await;
}

fn d10_one_that_is_alone_keeps_no_timer_and_no_completion_back(ring: Ring) {
    let runtime = ring.builder().budget(BUDGET).build().unwrap();
    runtime.block_on(async {
        let watch = AsyncFd::new(ready_for_ever());
        watch.readable().await.unwrap().retain_ready();
        for _ in 0..10 {
            let fired = Rc::new(Cell::new(false));
            let seen = fired.clone();
            let due = Instant::now() + Duration::from_millis(2);
            let others = runtime::spawn(async move {
                sleep_until(due).await;
                submitted().await;
                seen.set(true);
            });
            let mut events = 0;
            while !fired.get() {
                watch.readable().await.unwrap().retain_ready();
                events += u32::from(Instant::now() >= due);
            }
            // A slice until the timer is seen, and one for each turn that the completion takes.
            assert!(events <= 4 * A_SLICE, "{events} events after it was due");
            others.await.unwrap();
        }
    });
}

fn d10_nor_does_one_that_reads_and_writes_what_is_always_ready(ring: Ring) {
    let runtime = ring.builder().budget(BUDGET).build().unwrap();
    runtime.block_on(async {
        let (reader, writer) = runtime::fs::pipe().unwrap();
        for _ in 0..10 {
            let fired = Rc::new(Cell::new(false));
            let seen = fired.clone();
            let due = Instant::now() + Duration::from_millis(2);
            let timer = runtime::spawn(async move {
                sleep_until(due).await;
                submitted().await;
                seen.set(true);
            });
            let begun = Rc::new(Cell::new(false));
            let begin = begun.clone();
            let other = runtime::spawn(hog(move || begin.get(), fired.clone()));
            let (mut rounds, mut late) = (0, 0);
            while !fired.get() {
                begun.set(true);
                writer.write_all([7; 8]).await.0.unwrap();
                reader.read_exact([0; 8]).await.0.unwrap();
                rounds += 1;
                late += u32::from(Instant::now() >= due);
            }
            timer.await.unwrap();
            // 128 attempts a turn, two a round; then a turn of the ring's, and one for each completion of the timer's.
            assert!(late <= 4 * (64 + 2), "{late} rounds after it was due");
            let polls = other.await.unwrap();
            assert!(
                polls * (64 + 2) + 64 >= rounds,
                "{polls} polls beside {rounds} rounds"
            );
        }
    });
}
