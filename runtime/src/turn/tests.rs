//! The loop over parks without I/O: one that sleeps on a condition variable, and one that only counts.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Waker;
use std::thread;
use std::time::Instant;

use super::*;
use crate::task::{spawn, yield_now};
use crate::time::{sleep, sleep_until, timeout};

/// Sleeps on a condition variable; the flag makes its unpark stick.
#[derive(Default)]
struct Sleeper {
    poked: Arc<Poked>,
}

#[derive(Default)]
struct Poked {
    flag: Mutex<bool>,
    bell: Condvar,
}

impl Unpark for Poked {
    fn unpark(&self) {
        *self.flag.lock().unwrap() = true;
        self.bell.notify_one();
    }
}

impl Park for Sleeper {
    fn turn(&self, wait: Wait) -> io::Result<()> {
        let mut flag = self.poked.flag.lock().unwrap();
        match wait {
            Wait::No => {}
            Wait::AtMost(None) => {
                flag = self.poked.bell.wait_while(flag, |poked| !*poked).unwrap();
            }
            Wait::AtMost(Some(time)) => {
                (flag, _) = self
                    .poked
                    .bell
                    .wait_timeout_while(flag, time, |poked| !*poked)
                    .unwrap();
            }
        }
        *flag = false;
        Ok(())
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.poked) as Arc<dyn Unpark>
    }
}

/// Moves a manual clock instead of sleeping, and writes down what it was asked for.
struct Simulated {
    ns: Rc<Cell<u64>>,
    waits: Rc<RefCell<Vec<Wait>>>,
}

impl Unpark for () {
    fn unpark(&self) {}
}

impl Park for Simulated {
    fn turn(&self, wait: Wait) -> io::Result<()> {
        self.waits.borrow_mut().push(wait);
        match wait {
            Wait::No => Ok(()),
            Wait::AtMost(Some(time)) => {
                self.ns.set(self.ns.get() + time.as_nanos() as u64);
                Ok(())
            }
            Wait::AtMost(None) => Err(io::Error::other("asleep for ever")),
        }
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(())
    }
}

fn real() -> Core<Sleeper> {
    Core::new(
        Sleeper::default(),
        Clock::system(),
        DEFAULT_BUDGET,
        DEFAULT_SLACK,
    )
}

fn simulated() -> (Core<Simulated>, Rc<RefCell<Vec<Wait>>>) {
    let (ns, waits) = (Rc::default(), Rc::default());
    let park = Simulated {
        ns: Rc::clone(&ns),
        waits: Rc::clone(&waits),
    };
    let core = Core::new(park, Clock::manual(ns), DEFAULT_BUDGET, DEFAULT_SLACK);
    (core, waits)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

#[test]
fn block_on_gives_the_output_and_may_borrow() {
    let core = real();
    let text = String::from("tea");
    assert_eq!(core.block_on(async { text.len() }).unwrap(), 3);
    assert_eq!(core.block_on(async { text.as_str() }).unwrap(), "tea");
}

#[test]
fn the_main_future_is_polled_only_when_woken() {
    let (core, _) = simulated();
    let polls = Cell::new(0);
    let output = core.block_on(async {
        let beside = spawn(async {
            for _ in 0..1000 {
                yield_now().await;
            }
        });
        let mut beside = std::pin::pin!(beside);
        poll_fn(|cx| {
            polls.set(polls.get() + 1);
            beside.as_mut().poll(cx)
        })
        .await
    });
    output.unwrap().unwrap();
    assert_eq!(polls.get(), 2);
}

#[test]
fn a_main_future_that_wakes_itself_starves_no_task() {
    let (core, _) = simulated();
    let rounds = core
        .block_on(async {
            let done = Rc::new(Cell::new(false));
            let task = Rc::clone(&done);
            drop(spawn(async move {
                for _ in 0..100 {
                    yield_now().await;
                }
                task.set(true);
            }));
            let mut rounds = 0;
            while !done.get() {
                rounds += 1;
                yield_now().await;
            }
            rounds
        })
        .unwrap();
    assert!(
        (100..=102).contains(&rounds),
        "main and task take turns: {rounds}"
    );
}

#[test]
fn a_thousand_yields_are_a_handful_of_turns_and_no_sleep() {
    let (core, waits) = simulated();
    core.block_on(async {
        for _ in 0..1000 {
            yield_now().await;
        }
    })
    .unwrap();
    assert_eq!(*waits.borrow(), [Wait::No; 3]);
    let counters = core.counters();
    assert_eq!(
        (counters.polls, counters.slices, counters.sleeps),
        (1001, 4, 0)
    );
}

#[test]
fn a_timer_beside_a_task_that_wakes_itself_fires_within_a_slice() {
    let (core, _) = simulated();
    let ns = Rc::clone(&core.park().ns);
    let late = core
        .block_on(async {
            let yielder = spawn(async move {
                loop {
                    // A poll takes a microsecond.
                    ns.set(ns.get() + 1000);
                    yield_now().await;
                }
            });
            let deadline = crate::time::now() + Duration::from_millis(10);
            sleep_until(deadline).await;
            yielder.abort();
            crate::time::now() - deadline
        })
        .unwrap();
    let slice = Duration::from_micros(u64::from(DEFAULT_BUDGET) + 2);
    assert!(late <= slice, "{late:?}");
}

#[test]
fn sleeping_is_exact_and_costs_one_turn() {
    let (core, waits) = simulated();
    core.block_on(async {
        let start = crate::time::now();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(crate::time::now() - start, Duration::from_millis(1));
    })
    .unwrap();
    assert_eq!(
        *waits.borrow(),
        [Wait::AtMost(Some(Duration::from_millis(1)))]
    );
}

#[test]
fn timers_of_about_the_same_time_cost_one_sleep_and_a_lone_one_is_exact() {
    let (core, waits) = simulated();
    core.block_on(async {
        let start = crate::time::now();
        let task = |us| {
            spawn(async move {
                sleep_until(start + Duration::from_micros(us)).await;
                crate::time::now() - start
            })
        };
        // One alone; a crowd within the slack of its first; one behind it.
        let ends = [1_000, 2_000, 2_020, 2_050, 2_051].map(task);
        let mut woken = Vec::new();
        for end in ends {
            woken.push(end.await.unwrap().as_micros());
        }
        assert_eq!(woken, [1_000, 2_050, 2_050, 2_050, 2_051]);
    })
    .unwrap();
    assert_eq!(waits.borrow().len(), 3);
}

#[test]
fn sleeps_interleave_by_due_time_and_equal_ones_by_creation() {
    let (core, _) = simulated();
    let seen = Rc::new(RefCell::new(Vec::new()));
    core.block_on(async {
        let task = |name: &'static str, times: u32, ms: u64| {
            let seen = Rc::clone(&seen);
            spawn(async move {
                for i in 0..times {
                    sleep(Duration::from_millis(ms)).await;
                    seen.borrow_mut().push((name, i));
                }
            })
        };
        let (a, b) = (task("40", 3, 40), task("100", 2, 100));
        a.await.unwrap();
        b.await.unwrap();

        let due = crate::time::now() + Duration::from_millis(5);
        // Made in one order, polled in the other.
        let sleeps: Vec<_> = (0..10).map(|i| (i, sleep_until(due))).collect();
        let mut handles = Vec::new();
        for (i, sleep) in sleeps.into_iter().rev() {
            let seen = Rc::clone(&seen);
            handles.push(spawn(async move {
                sleep.await;
                seen.borrow_mut().push(("same", i));
            }));
        }
        for handle in handles {
            handle.await.unwrap();
        }
    })
    .unwrap();
    let mut expected = vec![("40", 0), ("40", 1), ("100", 0), ("40", 2), ("100", 1)];
    expected.extend((0..10).map(|i| ("same", i)));
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn a_wake_from_another_thread_ends_the_sleep() {
    let core = real();
    for _ in 0..200 {
        let mut other = None;
        core.block_on(poll_fn(|cx| {
            if other.is_some() {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            other = Some(thread::spawn(move || waker.wake()));
            Poll::Pending
        }))
        .unwrap();
        other.unwrap().join().unwrap();
    }
}

#[test]
fn a_spawn_from_another_thread_ends_the_sleep() {
    let core = real();
    let remote = core.remote();
    let slot = Arc::new(Mutex::new(None::<Waker>));
    let there = Arc::clone(&slot);
    let other = thread::spawn(move || {
        let mut waker = None;
        while waker.is_none() {
            waker = there.lock().unwrap().take();
            thread::yield_now();
        }
        remote.spawn(async move { waker.unwrap().wake() })
    });
    let mut polls = 0;
    core.block_on(poll_fn(|cx| {
        polls += 1;
        *slot.lock().unwrap() = Some(cx.waker().clone());
        if polls == 1 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }))
    .unwrap();
    core.block_on(other.join().unwrap()).unwrap().unwrap();
}

#[test]
fn two_runtimes_await_each_other() {
    let here = real();
    let remote = here.remote();
    let (send, receive) = std::sync::mpsc::channel();
    let there = thread::spawn(move || {
        let there = real();
        send.send(there.remote()).unwrap();
        there.block_on(remote.spawn_with(|| async {
            sleep(Duration::from_millis(1)).await;
            1
        }))
    });
    let remote = receive.recv().unwrap();
    let abandoned = remote.spawn(pending::<()>());
    let answer = here.block_on(async {
        // The other runtime goes away as soon as it has its answer, and says so.
        abandoned.await.unwrap_err().is_cancelled()
    });
    assert!(answer.unwrap());
    assert_eq!(there.join().unwrap().unwrap().unwrap(), 1);
}

#[test]
fn a_nested_block_on_says_so() {
    let core = real();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        core.block_on(async { real().block_on(async {}) }).unwrap()
    }));
    assert!(message(&*panic.unwrap_err()).contains("inside `block_on`"));
    core.block_on(async {}).unwrap();
}

#[test]
fn a_panic_of_the_main_future_comes_through_and_the_tasks_stay() {
    let core = real();
    let mut task = None;
    let panic = catch_unwind(AssertUnwindSafe(|| {
        core.block_on(async {
            task = Some(spawn(async {
                yield_now().await;
                7
            }));
            yield_now().await;
            panic!("no more tea");
        })
    }));
    assert_eq!(message(&*panic.unwrap_err()), "no more tea");
    assert_eq!(core.block_on(task.unwrap()).unwrap().unwrap(), 7);
}

#[test]
fn an_error_of_the_park_ends_block_on_and_nothing_else() {
    let (core, _) = simulated();
    let dropped = Rc::new(());
    let inside = Rc::clone(&dropped);
    let error = core.block_on(async move {
        let _inside = inside;
        pending::<()>().await;
    });
    assert_eq!(error.unwrap_err().to_string(), "asleep for ever");
    assert_eq!(Rc::strong_count(&dropped), 1);
    assert_eq!(core.block_on(async { 7 }).unwrap(), 7);
}

#[test]
fn run_once_is_one_round() {
    let (core, waits) = simulated();
    let steps = Rc::new(Cell::new(0));
    let count = Rc::clone(&steps);
    drop(core.spawn(async move {
        for _ in 0..300 {
            count.set(count.get() + 1);
            yield_now().await;
        }
        sleep(Duration::from_millis(3)).await;
        count.set(1000);
    }));
    assert!(core.run_once().unwrap());
    assert_eq!(steps.get(), 256);
    assert!(!core.run_once().unwrap());
    assert_eq!(core.until_next_timer(), Some(Duration::from_millis(3)));
    core.park()
        .turn(Wait::AtMost(Some(Duration::from_millis(3))))
        .unwrap();
    assert!(!core.run_once().unwrap());
    assert_eq!((steps.get(), core.live()), (1000, 0));
    assert_eq!(core.until_next_timer(), None);
    // Two turns a round, none of which may sleep: what has come, and what was staged.
    assert_eq!(waits.borrow().len(), 7);
}

#[test]
#[should_panic(expected = "running already")]
fn run_once_in_a_task_of_its_own_panics() {
    let core = Rc::new(real());
    let inner = Rc::clone(&core);
    core.block_on(async move { inner.run_once() })
        .unwrap()
        .unwrap();
}

#[test]
fn run_once_in_a_task_of_another_is_a_round() {
    let (outer, inner) = (real(), real());
    let task = inner.spawn(async {
        let nested = real();
        let panic = catch_unwind(AssertUnwindSafe(|| nested.block_on(async {})));
        message(&*panic.unwrap_err())
    });
    outer
        .block_on(async {
            assert!(!inner.run_once().unwrap());
            assert!(task.is_finished());
            assert!(task.await.unwrap().contains("block_on"));
        })
        .unwrap();
}

#[test]
fn what_is_spawned_or_woken_after_a_round_unparks() {
    let core = real();
    let rung = || std::mem::take(&mut *core.park().poked.flag.lock().unwrap());
    assert!(!core.run_once().unwrap());
    assert!(!rung());
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let seat = Rc::clone(&waker);
    let task = core.spawn(poll_fn(move |cx| {
        if seat.replace(Some(cx.waker().clone())).is_some() {
            return Poll::Ready(());
        }
        Poll::Pending
    }));
    assert!(rung(), "spawned");
    assert!(!core.run_once().unwrap());
    assert!(!rung());
    waker.borrow().as_ref().unwrap().wake_by_ref();
    assert!(rung(), "woken");
    assert!(!core.run_once().unwrap());
    assert!(task.is_finished());
}

#[test]
fn a_sleep_moves_to_the_runtime_that_polls_it_and_outlives_any() {
    let (first, _) = simulated();
    let mut nap = sleep(Duration::from_millis(2));
    first
        .block_on(async { assert!(timeout(Duration::from_millis(1), &mut nap).await.is_err()) })
        .unwrap();
    drop(first);
    let (second, _) = simulated();
    second.block_on(&mut nap).unwrap();
    assert!(nap.is_elapsed());

    let mut rest = sleep(Duration::from_secs(1));
    second
        .block_on(async { assert!(timeout(Duration::ZERO, &mut rest).await.is_err()) })
        .unwrap();
    drop(second);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = std::pin::Pin::new(&mut rest).poll(&mut cx);
    }));
    assert!(message(&*panic.unwrap_err()).contains("block_on"));
    drop(rest);
}

#[test]
fn dropping_a_runtime_inside_another_one_leaves_that_one_current() {
    let outer = real();
    let inner = real();
    let spawned_by_drop = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&spawned_by_drop);
    struct SpawnOnDrop(Rc<RefCell<Option<JoinHandle<()>>>>);
    impl Drop for SpawnOnDrop {
        fn drop(&mut self) {
            *self.0.borrow_mut() = Some(spawn(async {}));
        }
    }
    let inside = SpawnOnDrop(slot);
    drop(inner.spawn(async move {
        let _inside = inside;
        pending::<()>().await;
    }));
    outer
        .block_on(async move {
            drop(inner);
            spawn(async {}).await.unwrap();
        })
        .unwrap();
    let refused = spawned_by_drop.borrow_mut().take().unwrap();
    assert!(outer.block_on(refused).unwrap().unwrap_err().is_cancelled());
}

#[test]
fn a_real_millisecond_is_not_early() {
    let core = real();
    for _ in 0..20 {
        let start = Instant::now();
        core.block_on(sleep(Duration::from_millis(1))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(1));
    }
}
