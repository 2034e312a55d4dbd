//! What a task promises on one thread and across several; the interleavings are `loom_tests.rs`'.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use super::*;

/// Counts its pokes.
#[derive(Default)]
struct Pokes(AtomicUsize);

impl Unpark for Pokes {
    fn unpark(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn local() -> Local {
    Local::new(Arc::new(Pokes::default()))
}

/// Runs what there is to run, also what comes from other threads meanwhile.
fn run(local: &Local) {
    local.enter(|| {
        loop {
            local.drain_inbox();
            if local.run_slice(256, None).polled == 0 {
                break;
            }
        }
    });
}

fn poll_now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn result<T>(handle: &mut JoinHandle<T>) -> Result<T, JoinError> {
    match poll_now(handle) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the task is not finished"),
    }
}

/// Says on which thread it was dropped.
struct DropsOn(Arc<Mutex<Vec<ThreadId>>>);

impl Drop for DropsOn {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

/// Calls the closure when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Never ready; shows its waker.
fn leak_waker(to: &Rc<RefCell<Option<Waker>>>) -> impl Future<Output = ()> + use<> {
    let to = Rc::clone(to);
    poll_fn(move |cx| {
        *to.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    })
}

#[test]
fn a_handle_gives_the_output() {
    let local = local();
    let mut handle = local.spawn(async { String::from("tea") });
    assert!(!handle.is_finished());
    run(&local);
    assert!(handle.is_finished());
    assert_eq!(result(&mut handle).unwrap(), "tea");
    assert_eq!(local.live(), 0);
}

#[test]
fn tasks_run_first_in_first_out_and_a_yield_goes_to_the_back() {
    let local = local();
    let seen = Rc::new(RefCell::new(Vec::new()));
    for task in 0..3 {
        let seen = Rc::clone(&seen);
        drop(local.spawn(async move {
            for round in 0..2 {
                seen.borrow_mut().push((round, task));
                yield_now().await;
            }
        }));
    }
    run(&local);
    assert_eq!(
        *seen.borrow(),
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    );
}

#[test]
fn a_slice_ends_at_its_budget() {
    let local = local();
    drop(local.spawn(async {
        loop {
            yield_now().await;
        }
    }));
    let slice = local.enter(|| local.run_slice(100, None));
    assert_eq!(slice.polled, 100);
    assert!(local.has_runnable());
}

#[test]
fn many_wakes_before_a_poll_are_one_poll() {
    let local = local();
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    drop(local.spawn(poll_fn(move |cx| {
        counted.set(counted.get() + 1);
        if counted.get() < 3 {
            cx.waker().wake_by_ref();
            let copy = cx.waker().clone();
            copy.wake();
        }
        Poll::<()>::Pending
    })));
    run(&local);
    assert_eq!(polls.get(), 3);
}

#[test]
fn a_panic_goes_to_the_handle_and_the_others_go_on() {
    let local = local();
    let mut bad = local.spawn(async { panic!("no more tea") });
    let mut good = local.spawn(async { 7 });
    run(&local);
    assert_eq!(result(&mut good).unwrap(), 7);
    let error: JoinError = result::<()>(&mut bad).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.to_string(), "task panicked: no more tea");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
}

#[test]
fn a_panicking_destructor_of_a_future_leaves_output_and_thread_alone() {
    struct Bad(u32);
    impl Future for Bad {
        type Output = u32;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
            if self.0 == 0 {
                Poll::Pending
            } else {
                Poll::Ready(self.0)
            }
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("future's destructor");
        }
    }

    let local = local();
    let mut ready = local.spawn(Bad(7));
    let mut aborted = local.spawn(Bad(0));
    let mut left = local.spawn(Bad(0));
    aborted.abort();
    run(&local);
    assert_eq!(result(&mut ready).unwrap(), 7);
    assert!(result(&mut aborted).unwrap_err().is_panic());
    local.shutdown();
    assert!(result(&mut left).unwrap_err().is_panic());
}

#[test]
fn a_panicking_destructor_of_an_output_harms_nobody() {
    #[derive(Debug)]
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("output's destructor");
        }
    }

    let local = local();
    let kept = local.spawn(async { Bad });
    drop(local.spawn(async { Bad }));
    run(&local);
    drop(kept);
    assert_eq!(local.live(), 0);
}

#[test]
fn a_payload_that_panics_when_dropped_harms_nobody() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("payload's destructor");
        }
    }

    let local = local();
    let kept = local.spawn(async { std::panic::panic_any(Bad) });
    drop(local.spawn(async { std::panic::panic_any(Bad) }));
    run(&local);
    drop::<JoinHandle<()>>(kept);
    assert_eq!(local.live(), 0);
}

#[test]
fn dropping_the_handle_detaches_the_task() {
    let local = local();
    let done = Rc::new(Cell::new(false));
    let task = Rc::clone(&done);
    drop(local.spawn(async move {
        yield_now().await;
        task.set(true);
    }));
    run(&local);
    assert!(done.get());
}

#[test]
fn an_unwanted_output_is_dropped_once_whoever_goes_first() {
    let local = local();
    let dropped = Arc::default();
    drop(local.spawn({
        let output = DropsOn(Arc::clone(&dropped));
        async move { output }
    }));
    let late = local.spawn({
        let output = DropsOn(Arc::clone(&dropped));
        async move { output }
    });
    run(&local);
    assert_eq!(dropped.lock().unwrap().len(), 1);
    drop(late);
    assert_eq!(*dropped.lock().unwrap(), [thread::current().id(); 2]);
}

#[test]
fn abort_drops_the_future_and_says_cancelled() {
    let local = local();
    let dropped: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
    let inside = DropsOn(Arc::clone(&dropped));
    let mut handle = local.spawn(async move {
        let _inside = inside;
        pending::<()>().await;
    });
    run(&local);
    handle.abort();
    handle.abort();
    assert!(dropped.lock().unwrap().is_empty());
    run(&local);
    assert_eq!(dropped.lock().unwrap().len(), 1);
    let error = result(&mut handle).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.to_string(), "task was cancelled");
    handle.abort();
}

#[test]
fn a_task_that_aborts_itself_ends_at_its_next_await() {
    let local = local();
    let own = Rc::new(RefCell::new(None::<AbortHandle>));
    let mut handle = local.spawn({
        let own = Rc::clone(&own);
        async move {
            own.borrow().as_ref().unwrap().abort();
            yield_now().await;
            unreachable!("polled after its abort");
        }
    });
    *own.borrow_mut() = Some(handle.abort_handle());
    run(&local);
    assert!(result::<()>(&mut handle).unwrap_err().is_cancelled());
}

#[test]
fn an_abort_after_the_end_changes_nothing() {
    let local = local();
    let mut handle = local.spawn(async { 1 });
    let abort = handle.abort_handle();
    run(&local);
    abort.abort();
    thread::spawn(move || {
        abort.abort();
        assert!(abort.is_finished());
    })
    .join()
    .unwrap();
    run(&local);
    assert_eq!(result(&mut handle).unwrap(), 1);
}

#[test]
fn a_handle_is_awaited_and_aborted_from_another_thread() {
    let local = local();
    let mut seven = local.spawn(async { 7 });
    let stuck = local.spawn(pending::<()>());
    let (local_done, aborted) = mpsc::channel();
    let other = thread::spawn(move || {
        stuck.abort();
        local_done.send(stuck).unwrap();
        loop {
            if let Poll::Ready(result) = poll_now(&mut seven) {
                return result.unwrap();
            }
            thread::yield_now();
        }
    });
    let mut stuck = aborted.recv().unwrap();
    run(&local);
    assert_eq!(other.join().unwrap(), 7);
    assert!(result(&mut stuck).unwrap_err().is_cancelled());
}

#[test]
fn whoever_polled_a_handle_last_is_woken_be_it_a_task_or_not() {
    struct Wakes(AtomicUsize);
    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    for foreign_last in [true, false] {
        let local = local();
        let shown = Rc::new(RefCell::new(None));
        let handle = Rc::clone(&shown);
        let mut joiner = local.spawn(poll_fn(move |cx| {
            let mut handle = handle.borrow_mut();
            let handle: &mut JoinHandle<u32> = handle.as_mut().unwrap();
            Pin::new(handle).poll(cx)
        }));
        *shown.borrow_mut() = Some(local.spawn(async { 7 }));
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        let by_task = || assert_eq!(local.run_slice(1, None).polled, 1);
        let by_another = || {
            let waker = Waker::from(Arc::clone(&wakes));
            let mut handle = shown.borrow_mut();
            let handle = Pin::new(handle.as_mut().unwrap());
            assert!(handle.poll(&mut Context::from_waker(&waker)).is_pending());
        };
        local.enter(|| {
            if foreign_last {
                by_task();
                by_another();
            } else {
                by_another();
                by_task();
            }
        });
        run(&local);
        if foreign_last {
            assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        }
        assert_eq!(result(&mut joiner).unwrap().unwrap(), 7);
        drop(shown);
        assert_eq!(Arc::strong_count(&wakes), 1, "a waker was kept");
    }
}

#[test]
fn an_output_may_be_dropped_on_the_thread_of_its_handle() {
    let local = local();
    let dropped = Arc::default();
    let output = DropsOn(Arc::clone(&dropped));
    let handle = local.spawn(async move { output });
    run(&local);
    let there = thread::spawn(move || {
        drop(handle);
        thread::current().id()
    });
    assert_eq!([there.join().unwrap()], dropped.lock().unwrap()[..]);
}

#[test]
fn a_waker_outlives_its_task_and_its_executor() {
    let local = local();
    let slot = Rc::default();
    let mut done = local.spawn(leak_waker(&slot));
    run(&local);
    let waker = slot.borrow_mut().take().unwrap();
    done.abort();
    run(&local);
    assert!(result(&mut done).unwrap_err().is_cancelled());
    drop(done);
    waker.wake_by_ref();
    let copy = waker.clone();
    local.enter(|| copy.wake());
    assert!(!local.has_runnable());

    drop(local.spawn(leak_waker(&slot)));
    run(&local);
    let second = slot.borrow_mut().take().unwrap();
    drop(local);
    second.wake_by_ref();
    let other = thread::spawn(move || {
        drop(waker.clone());
        waker.wake();
        second.wake_by_ref();
        second
    });
    drop(other.join().unwrap());
}

#[test]
fn a_waker_of_a_dead_executor_does_not_reach_the_next_one() {
    let slot: Rc<RefCell<Option<Waker>>> = Rc::default();
    for _ in 0..100 {
        let local = local();
        let old = slot.borrow_mut().take();
        drop(local.spawn(leak_waker(&slot)));
        run(&local);
        if let Some(old) = old {
            local.enter(|| old.wake());
            assert!(!local.has_runnable());
        }
    }
}

#[test]
fn wakes_from_a_hundred_threads_all_arrive() {
    const THREADS: usize = 100;
    let local = local();
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let polled = Rc::new(Cell::new(0));
    for _ in 0..THREADS {
        let (wakers, polled) = (Rc::clone(&wakers), Rc::clone(&polled));
        let mut first = true;
        drop(local.spawn(poll_fn(move |cx| {
            if std::mem::take(&mut first) {
                wakers.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            polled.set(polled.get() + 1);
            Poll::Ready(())
        })));
    }
    run(&local);
    let threads: Vec<_> = wakers
        .borrow_mut()
        .drain(..)
        .map(|waker| thread::spawn(move || waker.wake()))
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    run(&local);
    assert_eq!((polled.get(), local.live()), (THREADS, 0));
}

#[test]
fn a_remote_spawn_runs_and_is_dropped_on_the_owners_thread() {
    let local = local();
    let remote = local.remote();
    let dropped = Arc::default();
    let inside = DropsOn(Arc::clone(&dropped));
    let there = thread::spawn(move || {
        remote.spawn(async move {
            let _inside = inside;
            thread::current().id()
        })
    });
    let mut handle = there.join().unwrap();
    run(&local);
    assert_eq!(result(&mut handle).unwrap(), thread::current().id());
    assert_eq!(*dropped.lock().unwrap(), [thread::current().id()]);
}

#[test]
fn what_other_threads_leave_is_taken_in_the_order_it_came() {
    let local = local();
    let remote = local.remote();
    let (send, receive) = mpsc::channel();
    for i in 0..10 {
        let send = send.clone();
        drop(remote.spawn(async move { send.send(i).unwrap() }));
    }
    run(&local);
    assert!(receive.try_iter().eq(0..10));
}

#[test]
fn a_remote_spawn_may_make_a_future_that_is_not_send() {
    let local = local();
    let remote = local.remote();
    let make = || {
        let shared = Rc::new(Cell::new(1));
        async move {
            yield_now().await;
            shared.get()
        }
    };
    let mut handle = thread::spawn(move || remote.spawn_with(make))
        .join()
        .unwrap();
    run(&local);
    assert_eq!(result(&mut handle).unwrap(), 1);
}

#[test]
fn a_remote_task_aborted_here_before_it_arrived_ends() {
    let local = local();
    let mut handle = local
        .remote()
        .spawn(async { unreachable!("aborted before") });
    local.enter(|| handle.abort());
    run(&local);
    assert!(result::<()>(&mut handle).unwrap_err().is_cancelled());
    assert_eq!(local.live(), 0);
}

#[test]
fn a_closed_executor_refuses_and_says_cancelled() {
    let local = local();
    let remote = local.remote();
    let dropped = Arc::default();
    let waiting = DropsOn(Arc::clone(&dropped));
    let mut in_the_inbox = remote.spawn(async move { drop(waiting) });
    local.shutdown();
    let refused = DropsOn(Arc::clone(&dropped));
    let mut too_late = remote.spawn(async move { drop(refused) });
    let mut here = local.spawn(async {});
    drop(local);
    let mut far_too_late = remote.spawn(async {});
    for handle in [
        &mut in_the_inbox,
        &mut too_late,
        &mut here,
        &mut far_too_late,
    ] {
        assert!(result(handle).unwrap_err().is_cancelled());
    }
    assert_eq!(dropped.lock().unwrap().len(), 2);
}

#[test]
fn shutdown_drops_every_future_also_after_panics_spawns_and_wakes_in_destructors() {
    const TASKS: usize = 64;
    let local = local();
    let dropped = Rc::new(Cell::new(0));
    let wakers = Rc::new(RefCell::new(Vec::<Waker>::new()));
    let late = Rc::new(RefCell::new(Vec::new()));
    for task in 0..TASKS {
        let (dropped, wakers, late) = (Rc::clone(&dropped), Rc::clone(&wakers), Rc::clone(&late));
        let all = Rc::clone(&wakers);
        let inside = OnDrop(move || {
            dropped.set(dropped.get() + 1);
            all.borrow().iter().for_each(Waker::wake_by_ref);
            late.borrow_mut()
                .push(spawn(async { unreachable!("polled in a shutdown") }));
            assert_ne!(task % 2, 0, "every other destructor panics");
        });
        drop(local.spawn(async move {
            let _inside = inside;
            poll_fn(|cx| {
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        }));
    }
    run(&local);
    local.shutdown();
    assert_eq!((dropped.get(), local.live()), (TASKS, 0));
    for mut handle in late.borrow_mut().drain(..) {
        assert!(result::<()>(&mut handle).unwrap_err().is_cancelled());
    }
}

#[test]
fn whichever_tasks_end_first_the_others_stay_until_they_end_or_are_dropped() {
    const TASKS: usize = 60;
    let local = local();
    let wakers = Rc::new(RefCell::new(Vec::<Option<Waker>>::new()));
    let drops = Rc::new(RefCell::new([0; TASKS]));
    for task in 0..TASKS {
        let (wakers, drops) = (Rc::clone(&wakers), Rc::clone(&drops));
        let inside = OnDrop(move || drops.borrow_mut()[task] += 1);
        let mut first = true;
        drop(local.spawn(poll_fn(move |cx| {
            let _inside = &inside;
            if std::mem::take(&mut first) {
                wakers.borrow_mut().push(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(())
        })));
    }
    run(&local);
    // From the middle, from both ends, and all but a few.
    for step in [7, 5, 2] {
        for task in (0..TASKS).filter(|task| task % step == step / 2) {
            let waker = wakers.borrow_mut()[task].take();
            local.enter(|| waker.into_iter().for_each(Waker::wake));
        }
        run(&local);
        let waiting = wakers.borrow().iter().flatten().count();
        assert_eq!(local.live(), waiting);
        for (waker, dropped) in wakers.borrow().iter().zip(*drops.borrow()) {
            assert_eq!(dropped, usize::from(waker.is_none()));
        }
    }
    assert_ne!(local.live(), 0);
    local.shutdown();
    assert_eq!((local.live(), *drops.borrow()), (0, [1; TASKS]));
}

#[test]
fn a_hundred_thousand_tasks_live_at_once() {
    const TASKS: usize = 100_000;
    let local = local();
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let mut handles: Vec<_> = (0..TASKS)
        .map(|i| {
            let wakers = Rc::clone(&wakers);
            let mut first = true;
            local.spawn(poll_fn(move |cx| {
                if std::mem::take(&mut first) {
                    wakers.borrow_mut().push(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(i)
            }))
        })
        .collect();
    run(&local);
    assert_eq!(local.live(), TASKS);
    local.enter(|| wakers.borrow_mut().drain(..).for_each(Waker::wake));
    run(&local);
    for (i, handle) in handles.iter_mut().enumerate() {
        assert_eq!(result(handle).unwrap(), i);
    }
}

#[test]
fn recycled_memory_serves_only_its_own_size() {
    fn filled<const N: usize>(local: &Local, byte: u8) -> JoinHandle<bool> {
        let bytes = [byte; N];
        local.spawn(async move {
            yield_now().await;
            std::hint::black_box(&bytes).iter().all(|&is| is == byte)
        })
    }

    let local = local();
    for round in 0..3 {
        let mut handles = Vec::new();
        for byte in 0..100 {
            handles.push(filled::<8>(&local, byte + round));
            handles.push(filled::<900>(&local, byte));
            handles.push(filled::<50>(&local, byte));
            handles.push(filled::<100>(&local, !byte));
            handles.push(filled::<5000>(&local, byte + round));
            handles.push(filled::<400>(&local, !byte));
        }
        run(&local);
        // Inside, for only there is the memory kept.
        local.enter(|| assert!(handles.iter_mut().all(|handle| result(handle).unwrap())));
    }
}

#[test]
fn every_cell_is_freed_once_wherever_its_last_reference_goes() {
    // The cells keep the executor's shared part alive, and that the unparker: gone means that all were freed.
    let pokes = Arc::new(Pokes::default());
    let local = Local::new(Arc::clone(&pokes) as Arc<dyn Unpark>);
    let slot = Rc::default();
    let mut kept = Vec::new();
    for _ in 0..100 {
        kept.push(local.spawn(leak_waker(&slot)));
        run(&local);
        let waker = slot.borrow_mut().take().unwrap();
        let copies = local.enter(|| [waker.clone(), waker.clone()]);
        let [here, there] = copies;
        thread::spawn(move || drop((waker.clone(), waker, there)))
            .join()
            .unwrap();
        local.enter(|| drop(here));
        drop(local.remote().spawn(async {}));
        drop(local.spawn(async {}));
    }
    drop(local);
    assert_eq!(Arc::strong_count(&pokes), 2);
    let half = kept.split_off(50);
    thread::spawn(move || drop(half)).join().unwrap();
    assert_eq!(Arc::strong_count(&pokes), 2);
    drop(kept);
    assert_eq!(Arc::strong_count(&pokes), 1);
}

#[test]
fn a_sleeper_is_poked_once_and_one_who_is_awake_never() {
    let pokes = Arc::new(Pokes::default());
    let local = Local::new(Arc::clone(&pokes) as Arc<dyn Unpark>);
    let remote = local.remote();
    let poked = || pokes.0.load(Ordering::SeqCst);

    drop(remote.spawn(async {}));
    assert_eq!(poked(), 0);
    assert!(!local.announce_sleep(), "there is something in the inbox");
    run(&local);

    assert!(local.announce_sleep());
    for _ in 0..10 {
        drop(remote.spawn(async {}));
    }
    assert_eq!(poked(), 1);
    local.awake();
    run(&local);
    drop(remote.spawn(async {}));
    assert_eq!(poked(), 1);
}

#[test]
fn a_task_cannot_run_its_own_executor() {
    let local = Rc::new(local());
    let inner = Rc::clone(&local);
    let mut handle = local.spawn(async move {
        inner.run_slice(1, None);
    });
    run(&local);
    assert!(result(&mut handle).unwrap_err().is_panic());
    // The handle has the payload; nothing keeps the executor, for the future is gone.
    assert_eq!(Rc::strong_count(&local), 1);
}

#[test]
fn spawn_outside_of_a_runtime_says_what_to_write() {
    let panic = thread::spawn(|| drop(spawn(async {}))).join().unwrap_err();
    let message = panic
        .downcast_ref::<String>()
        .map_or_else(|| *panic.downcast_ref::<&str>().unwrap(), String::as_str);
    assert!(
        message.contains("`spawn`") && message.contains("block_on"),
        "{message}"
    );
    assert!(try_spawn(async {}).is_err());
    assert!(try_current().is_none());
}

#[test]
fn handles_are_send_and_sync_as_their_output_is() {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<JoinHandle<u8>>();
    send_and_sync::<JoinHandle<Cell<u8>>>();
    send_and_sync::<AbortHandle>();
    send_and_sync::<Remote>();
    send_and_sync::<JoinError>();
}
