//! The protocols of `inbox.rs` and `state.rs` under every interleaving that loom finds.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p annulet --lib --release loom_`.
//! That a cell was freed shows in the unparker: every cell keeps it alive through the executor's shared part.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;

/// What the owner sleeps on. It sticks, as an unparker must.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Bell {
    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.bell.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Unpark for Bell {
    fn unpark(&self) {
        *self.rung.lock().unwrap() = true;
        self.bell.notify_one();
    }
}

fn bell_and_local() -> (Arc<Bell>, Local) {
    let bell = Arc::new(Bell::default());
    let local = Local::new(Arc::clone(&bell) as Arc<dyn Unpark>);
    (bell, local)
}

/// The owner's loop: it deadlocks, which loom reports, if a wake is lost.
fn run_until_idle(local: &Local, bell: &Bell) {
    local.enter(|| {
        while local.live() > 0 {
            local.run_slice(8, None);
            local.drain_inbox();
            if local.live() > 0 && !local.has_runnable() && local.announce_sleep() {
                bell.wait();
                local.awake();
            }
        }
    });
}

/// Pending until polled `polls` times; shows its waker at the first.
fn polled(polls: usize, waker: &Rc<RefCell<Option<Waker>>>) -> impl Future<Output = usize> + use<> {
    let waker = Rc::clone(waker);
    let mut count = 0;
    poll_fn(move |cx| {
        count += 1;
        if count == polls {
            return Poll::Ready(count);
        }
        waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        Poll::Pending
    })
}

fn first_poll(local: &Local, waker: &Rc<RefCell<Option<Waker>>>) -> Waker {
    local.enter(|| local.run_slice(8, None));
    waker.borrow_mut().take().unwrap()
}

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn loom_no_wake_is_lost_between_push_and_sleep() {
    loom::model(|| {
        let (bell, local) = bell_and_local();
        let slot = Rc::default();
        drop(local.spawn(polled(2, &slot)));
        let waker = first_poll(&local, &slot);
        let other = thread::spawn(move || waker.wake());
        run_until_idle(&local, &bell);
        other.join().unwrap();
        drop(local);
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_no_wake_is_lost_behind_another_ones() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (bell, local) = bell_and_local();
        let (a, b) = (Rc::default(), Rc::default());
        drop(local.spawn(polled(2, &a)));
        drop(local.spawn(polled(2, &b)));
        let a = first_poll(&local, &a);
        let b = b.borrow_mut().take().unwrap();
        let others = [a, b].map(|waker| thread::spawn(move || waker.wake()));
        run_until_idle(&local, &bell);
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn loom_what_the_waker_wrote_is_seen_by_the_poll() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (bell, local) = bell_and_local();
        let told = Arc::new(AtomicUsize::new(0));
        let slot = Rc::new(RefCell::new(None::<Waker>));
        let (seen, shown) = (Arc::clone(&told), Rc::clone(&slot));
        let mut first = true;
        drop(local.spawn(poll_fn(move |cx| {
            if std::mem::take(&mut first) {
                *shown.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            // Relaxed: it is the wakes that must carry the order.
            if seen.load(Ordering::Relaxed) >= 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })));
        let waker = first_poll(&local, &slot);
        let other = thread::spawn(move || {
            for _ in 0..2 {
                told.fetch_add(1, Ordering::Relaxed);
                waker.wake_by_ref();
            }
        });
        run_until_idle(&local, &bell);
        other.join().unwrap();
    });
}

#[test]
fn loom_wakes_here_and_there_against_run_and_completion() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (bell, local) = bell_and_local();
        let slot = Rc::default();
        let mut handle = local.spawn(polled(2, &slot));
        let waker = first_poll(&local, &slot);
        let here = local.enter(|| waker.clone());
        let other = thread::spawn(move || {
            waker.wake_by_ref();
            let copy = waker.clone();
            drop(waker);
            copy.wake();
        });
        local.enter(|| here.wake());
        run_until_idle(&local, &bell);
        let joined = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(joined, Poll::Ready(Ok(2))));
        other.join().unwrap();
        drop((handle, local));
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_closing_against_waking_frees_everything() {
    loom::model(|| {
        let (bell, local) = bell_and_local();
        let slot = Rc::default();
        let handle = local.spawn(polled(3, &slot));
        let waker = first_poll(&local, &slot);
        let other = thread::spawn(move || {
            waker.wake_by_ref();
            waker.wake();
        });
        drop(local);
        assert!(handle.is_finished());
        drop(handle);
        other.join().unwrap();
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_closing_against_spawning_ends_the_task_either_way() {
    loom::model(|| {
        let (bell, local) = bell_and_local();
        let remote = local.remote();
        let drops = Arc::new(AtomicUsize::new(0));
        let inside = Counted(Arc::clone(&drops));
        let other = thread::spawn(move || {
            let handle = remote.spawn(async move {
                let _inside = inside;
                pending::<()>().await;
            });
            block_on(handle).unwrap_err().is_cancelled()
        });
        drop(local);
        assert!(other.join().unwrap());
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_a_remote_spawn_wakes_the_sleeper() {
    loom::model(|| {
        let (bell, local) = bell_and_local();
        let remote = local.remote();
        let slot = Rc::default();
        drop(local.spawn(polled(2, &slot)));
        let waker = first_poll(&local, &slot);
        let other = thread::spawn(move || drop(remote.spawn(async move { waker.wake() })));
        run_until_idle(&local, &bell);
        other.join().unwrap();
    });
}

#[test]
fn loom_awaiting_a_handle_against_completion() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (bell, local) = bell_and_local();
        let handle = local.spawn(async { 7 });
        let other = thread::spawn(move || assert_eq!(block_on(handle).unwrap(), 7));
        run_until_idle(&local, &bell);
        other.join().unwrap();
        drop(local);
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_changing_the_joiners_waker_against_completion() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (bell, local) = bell_and_local();
        let handle = local.spawn(async { 7 });
        let other = thread::spawn(move || {
            let mut handle = pin!(handle);
            let early = handle
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            let output = match early {
                Poll::Ready(output) => output,
                Poll::Pending => block_on(handle),
            };
            assert_eq!(output.unwrap(), 7);
        });
        run_until_idle(&local, &bell);
        other.join().unwrap();
    });
}

/// A handle that another task has polled on the owner thread, where no bit says that it left a waker. That task is over.
fn polled_here(local: &Local) -> JoinHandle<u32> {
    let handle = Rc::new(RefCell::new(None));
    let shown = Rc::clone(&handle);
    let joiner = local.spawn(poll_fn(move |cx| {
        let mut handle = shown.borrow_mut();
        let handle: &mut JoinHandle<u32> = handle.as_mut().unwrap();
        assert!(Pin::new(handle).poll(cx).is_pending());
        Poll::Ready(())
    }));
    handle.replace(Some(local.spawn(async { 7 })));
    local.enter(|| local.run_slice(1, None));
    assert!(joiner.is_finished());
    handle.take().unwrap()
}

#[test]
fn loom_a_handle_that_left_its_waker_here_is_awaited_elsewhere_against_completion() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (bell, local) = bell_and_local();
        let handle = polled_here(&local);
        let other = thread::spawn(move || assert_eq!(block_on(handle).unwrap(), 7));
        run_until_idle(&local, &bell);
        other.join().unwrap();
        drop(local);
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_a_task_of_another_thread_awaits_a_handle_that_left_its_waker_here() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (bell, local) = bell_and_local();
        let handle = polled_here(&local);
        let other = thread::spawn(move || {
            let (bell, local) = bell_and_local();
            let task = local.spawn(async { assert_eq!(handle.await.unwrap(), 7) });
            run_until_idle(&local, &bell);
            assert!(task.is_finished());
        });
        run_until_idle(&local, &bell);
        other.join().unwrap();
        drop(local);
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_a_handle_that_left_its_waker_here_is_dropped_elsewhere_against_completion() {
    loom::model(|| {
        let (bell, local) = bell_and_local();
        let handle = polled_here(&local);
        let other = thread::spawn(move || drop(handle));
        run_until_idle(&local, &bell);
        other.join().unwrap();
        drop(local);
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_dropping_a_handle_against_completion_drops_the_output_once() {
    loom::model(|| {
        let (bell, local) = bell_and_local();
        let drops = Arc::new(AtomicUsize::new(0));
        let output = Counted(Arc::clone(&drops));
        let handle = local.spawn(async move { output });
        let other = thread::spawn(move || {
            let mut handle = handle;
            let mut cx = Context::from_waker(Waker::noop());
            // Leaves a waker, or takes the output, or comes too late for either.
            drop(Pin::new(&mut handle).poll(&mut cx));
            drop(handle);
        });
        run_until_idle(&local, &bell);
        other.join().unwrap();
        drop(local);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_aborting_from_elsewhere_against_run_and_sleep() {
    loom::model(|| {
        let (bell, local) = bell_and_local();
        let handle = local.spawn(pending::<()>());
        let other = thread::spawn(move || {
            handle.abort();
            handle
        });
        run_until_idle(&local, &bell);
        let handle = other.join().unwrap();
        assert!(block_on(handle).unwrap_err().is_cancelled());
        drop(local);
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}

#[test]
fn loom_the_last_waker_is_dropped_elsewhere() {
    loom::model(|| {
        let (bell, local) = bell_and_local();
        let slot = Rc::default();
        let handle = local.spawn(polled(2, &slot));
        let waker = first_poll(&local, &slot);
        let other = thread::spawn(move || {
            drop(waker.clone());
            drop(waker);
        });
        handle.abort();
        drop(handle);
        drop(local);
        other.join().unwrap();
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}
