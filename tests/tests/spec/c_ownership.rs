//! Section C: ownership and shutdown. Each of these fails in at least one known runtime.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::task::{Poll, Waker};
use std::time::Duration;

use annulet_tests::{
    Arena, Dropping, Ring, fds, forget_on_purpose, in_fork, metrics, pipe, poll_now, poll_once,
    resident_bytes, skip, socket_pair, spec, submitted, threads, until,
};
use runtime::{CancelToken, Fd, Handle, JoinHandle, Op, Runtime, op};

spec! {
    c1_no_buffer_is_written_after_it_was_freed;
    c2_nor_when_cancelled_first;
    c3_a_forgotten_read_never_writes_into_what_is_no_longer_its;
    alone c4_a_dropped_runtime_drops_every_future_and_closes_every_descriptor;
    async c5_every_cancel_reaches_the_kernel;
    alone c6_memory_is_flat_over_a_million_tasks on kernel;
    async c7_a_panic_is_told_to_its_handle_and_nobody_else;
    c7_a_panic_of_the_main_future_leaves_the_runtime_usable;
    c8_a_drop_may_spawn_wake_and_do_io;
    c8_a_drop_may_drop_another_runtime_and_build_one;
    async c8_a_buffer_nobody_waits_for_may_begin_an_operation_as_it_is_dropped;
    async c9_no_completion_of_ten_thousand_is_lost;
    c10_a_waker_outlives_its_task_and_its_runtime;
    c10_wakes_from_other_threads_race_with_the_runtimes_end;
    alone c11_the_child_of_a_fork_builds_its_own_runtime;
    alone c11_an_inherited_runtime_refuses_to_run_in_the_child;
    alone c11_dropping_an_inherited_runtime_in_the_child_hurts_nobody;
}

const READS: usize = 64;
const MIB: usize = 1 << 20;

/// A file for 64 reads, each past the page cache, so that it takes its time. Removed in the end.
struct SlowFile {
    path: PathBuf,
    read: usize,
}

impl SlowFile {
    fn new(ring: Ring, name: &str, read: usize) -> Option<SlowFile> {
        let name = format!("{name}-{}-{}", ring.name, std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let file = SlowFile { path, read };
        let mut content = File::create(&file.path).expect("a file in the target directory");
        for _ in 0..READS {
            content
                .write_all(&vec![0x11; read])
                .expect("room for the file");
        }
        content.sync_all().expect("the file is on its disk");
        match file.direct() {
            Ok(_) => Some(file),
            Err(error) => {
                skip(&format!("no O_DIRECT in the target directory: {error}"));
                None
            }
        }
    }

    fn direct(&self) -> std::io::Result<File> {
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(&self.path)
    }

    fn offset(&self, index: usize) -> u64 {
        (index * self.read) as u64
    }

    /// Reads here and there by hand: the disk gets to it after what it was asked for before.
    fn read_by_hand(&self) {
        let arena = Arena::new(1, self.read);
        let (file, mut buf) = (self.direct().unwrap(), arena.take());
        for index in (0..READS).step_by(8) {
            file.read_exact_at(&mut buf, self.offset(index)).unwrap();
        }
    }
}

impl Drop for SlowFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Drops 64 reads in flight, half of them with the runtime, and asserts that no buffer is written to once it is free.
/// Returns how many were in flight when the runtime began to go.
fn drop_reads_in_flight(
    ring: Ring,
    file: &SlowFile,
    arena: &Arena,
    token: Option<&CancelToken>,
) -> usize {
    let runtime = ring.runtime();
    runtime.block_on(async {
        let direct = Rc::new(Fd::new(file.direct().unwrap().into()));
        let mut ours = Vec::new();
        for index in 0..READS {
            let read = op::Read::at(arena.take(), file.offset(index));
            let mut read = Op::on(&direct, read);
            if let Some(token) = token {
                read = read.cancel_with(token);
            }
            let first = poll_now(&mut read).await;
            assert!(first.is_pending(), "a read is ready before it is submitted");
            if index % 2 == 0 {
                ours.push(read);
            } else {
                drop(runtime::spawn(async move { read.await.0 }));
            }
        }
        submitted().await;
        if let Some(token) = token {
            drop(token.cancel());
        }
        drop(ours);
    });
    // Nothing else may hold the driver: what the runtime frees shows only then.
    let in_flight = runtime.metrics().driver.in_flight;
    drop(runtime);
    assert_eq!(arena.freed(), READS, "buffers that were never freed");
    file.read_by_hand();
    assert_eq!(
        arena.spoiled(),
        0,
        "buffers written to after they were freed"
    );
    in_flight
}

fn c1_no_buffer_is_written_after_it_was_freed(ring: Ring) {
    let Some(file) = SlowFile::new(ring, "c1", MIB) else {
        return;
    };
    let arena = Arena::new(READS, MIB);
    // A disk may be so quick that nothing is in flight any more; not every time.
    let caught = (0..20).any(|_| drop_reads_in_flight(ring, &file, &arena, None) > 0);
    assert!(caught, "no read was in flight: nothing was shown");
}

fn c2_nor_when_cancelled_first(ring: Ring) {
    // Smaller than in C1: fifty rounds of those would be a test of the disk.
    const READ: usize = 128 * 1024;
    let Some(file) = SlowFile::new(ring, "c2", READ) else {
        return;
    };
    let arena = Arena::new(READS, READ);
    let in_flight: usize = (0..50)
        .map(|_| drop_reads_in_flight(ring, &file, &arena, Some(&CancelToken::new())))
        .sum();
    assert!(in_flight > 0, "no read was in flight: nothing was shown");
}

fn c3_a_forgotten_read_never_writes_into_what_is_no_longer_its(ring: Ring) {
    const SIZE: usize = 4096;
    let arena = Arena::new(2, SIZE);
    let runtime = ring.runtime();
    let driver = runtime.driver().clone();
    let (theirs, theirs_late) = runtime.block_on(async {
        let (ours, theirs) = socket_pair();
        let (ours_late, theirs_late) = socket_pair();
        // The future's own memory is freed without its destructor, with a buffer inside it, and one elsewhere.
        let mut inside = Box::new(ManuallyDrop::new(Op::on(&ours, op::Recv::new([0; SIZE]))));
        assert!(poll_now(&mut **inside).await.is_pending());
        let mut late = Box::new(ManuallyDrop::new(Op::on(
            &ours_late,
            op::Recv::new(arena.take()),
        )));
        assert!(poll_now(&mut **late).await.is_pending());
        submitted().await;
        drop((inside, late));
        // Whose operations' memory is now leaked.
        forget_on_purpose(annulet_tests::driver());
        // Most likely where the futures were.
        let next: Vec<Box<[u8; size_of::<Op<op::Recv<[u8; SIZE]>>>()]>> =
            (0..64).map(|_| Box::new([0xa5; _])).collect();
        let completions = metrics().completions;
        let sent = rustix::net::send(&theirs, &[1; SIZE], rustix::net::SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(SIZE));
        // The forgotten receive, and whatever the awaiting itself brings.
        until(|| metrics().completions > completions).await;
        submitted().await;
        assert!(
            next.iter()
                .all(|bytes| bytes.iter().all(|byte| *byte == 0xa5))
        );
        // Forgotten handles would close their descriptors; these are dropped, and close.
        (theirs, theirs_late)
    });
    drop(runtime);
    assert_eq!(driver.metrics().in_flight, 0);
    // Now it arrives, for a read that is no more.
    let sent = rustix::net::send(&theirs_late, &[1; SIZE], rustix::net::SendFlags::NOSIGNAL);
    assert_eq!(
        sent,
        Err(rustix::io::Errno::PIPE),
        "somebody still holds the other end"
    );
    drop(theirs);
    assert_eq!(arena.spoiled(), 0);
}

fn c4_a_dropped_runtime_drops_every_future_and_closes_every_descriptor(ring: Ring) {
    let before = (fds(), threads());
    let alive = Rc::new(());
    let runtime = ring.runtime();
    let mut handles = Vec::new();
    for _ in 0..10 {
        let held = alive.clone();
        handles.push(runtime.spawn(async move {
            let (ours, theirs) = socket_pair();
            let (read, write) = pipe();
            let (listener, _) = annulet_tests::tcp_listener();
            let _held = (held, theirs, write);
            let mut recv = Op::on(&ours, op::Recv::new(vec![0; 64]));
            let mut read = Op::on(&read, op::Read::new(vec![0; 64]));
            let mut accept = Op::on(&listener, op::Accept::new());
            let mut timeout = Op::new(op::Timeout::new(Duration::from_secs(3600)));
            assert!(poll_now(&mut recv).await.is_pending());
            assert!(poll_now(&mut read).await.is_pending());
            assert!(poll_now(&mut accept).await.is_pending());
            assert!(poll_now(&mut timeout).await.is_pending());
            runtime::time::sleep(Duration::from_secs(3600)).await;
        }));
    }
    runtime.block_on(until(|| metrics().in_flight >= 40));
    runtime.block_on(submitted());
    drop(runtime);
    assert_eq!(Rc::strong_count(&alive), 1, "futures outlived the runtime");
    for mut handle in handles {
        let Poll::Ready(ended) = poll_once(&mut handle) else {
            panic!("the handle is not told")
        };
        assert!(ended.unwrap_err().is_cancelled());
    }
    assert_eq!((fds(), threads()), before);
}

async fn c5_every_cancel_reaches_the_kernel(_: Ring) {
    let hour = Duration::from_secs(3600);
    let (ours, _theirs) = socket_pair();
    let mut ops = Vec::new();
    let mut polls = Vec::new();
    for _ in 0..50 {
        let mut op = Op::new(op::Timeout::new(hour));
        assert!(poll_now(&mut op).await.is_pending());
        ops.push(op);
        let mut op = Op::on(&ours, op::PollAdd::new(op::Events(libc::POLLIN as u32))).timeout(hour);
        assert!(poll_now(&mut op).await.is_pending());
        polls.push(op);
    }
    submitted().await;
    assert!(metrics().in_flight >= 100);
    drop((ops, polls));
    // A bounded number of turns: a cancel a turn would be slow already.
    for _ in 0..100 {
        if metrics().in_flight == 0 {
            break;
        }
        submitted().await;
    }
    let left = metrics();
    assert_eq!(
        (left.in_flight, left.live, left.backlog),
        (0, 0, 0),
        "{left:?}"
    );
}

fn c6_memory_is_flat_over_a_million_tasks(ring: Ring) {
    let runtime = ring.runtime();
    let woken = Rc::new(Cell::new(false));
    let tasks: Vec<JoinHandle<()>> = (0..100_000)
        .map(|_| {
            let woken = woken.clone();
            runtime.spawn(poll_fn(move |_| {
                if woken.get() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }))
        })
        .collect();
    runtime.block_on(runtime::yield_now());
    runtime.block_on(submitted());
    assert_eq!(runtime.metrics().tasks, 100_000);
    tasks.iter().for_each(JoinHandle::abort);
    runtime.block_on(async {
        for task in tasks {
            assert!(task.await.unwrap_err().is_cancelled());
        }
    });
    assert_eq!(runtime.metrics().tasks, 0);
    let some = |count| async move {
        let mut tasks = Vec::with_capacity(1000);
        for _ in 0..count / 1000 {
            tasks.extend((0..1000).map(|n| runtime::spawn(async move { n })));
            for (n, task) in tasks.drain(..).enumerate() {
                assert_eq!(task.await.unwrap(), n);
            }
        }
    };
    runtime.block_on(some(10_000));
    let before = resident_bytes();
    runtime.block_on(some(1_000_000));
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < MIB / 2, "a million tasks left {grown} bytes");
    assert_eq!(runtime.metrics().tasks, 0);
}

async fn c7_a_panic_is_told_to_its_handle_and_nobody_else(_: Ring) {
    let others: Vec<_> = (0..10)
        .map(|n| {
            runtime::spawn(async move {
                submitted().await;
                n
            })
        })
        .collect();
    let panics: JoinHandle<()> = runtime::spawn(async {
        submitted().await;
        panic!("no more tea");
    });
    let error = panics.await.unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.to_string(), "task panicked: no more tea");
    for (n, other) in others.into_iter().enumerate() {
        assert_eq!(other.await.unwrap(), n);
    }
    // One that nobody asks about is not heard of.
    drop(runtime::spawn(async { panic!("unheard") }));
    submitted().await;
}

fn c7_a_panic_of_the_main_future_leaves_the_runtime_usable(ring: Ring) {
    let runtime = ring.runtime();
    let task = runtime.spawn(async {
        submitted().await;
        7
    });
    let panics = std::panic::AssertUnwindSafe(|| runtime.block_on(async { panic!("main") }));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(runtime.block_on(task).unwrap(), 7);
}

/// A future that never ends, and does something when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce() + Unpin> Future for OnDrop<F> {
    type Output = ();
    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

/// What is documented: a task spawned by a destructor while the runtime goes is dropped unpolled; a wake is a no-op; an
/// operation begun there is ended with the others.
fn c8_a_drop_may_spawn_wake_and_do_io(ring: Ring) {
    let runtime = ring.runtime();
    let driver = runtime.driver().clone();
    let spawned: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    let polled = Rc::new(Cell::new(false));
    let did = Rc::new(Cell::new(0));
    let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
    let other = waker.clone();
    drop(runtime.spawn(poll_fn(move |cx| {
        *other.borrow_mut() = Some(cx.waker().clone());
        Poll::<()>::Pending
    })));
    let act = {
        let (spawned, polled, did) = (spawned.clone(), polled.clone(), did.clone());
        move || {
            did.set(did.get() + 1);
            let polled = polled.clone();
            *spawned.borrow_mut() = Some(runtime::spawn(async move { polled.set(true) }));
            let waker = waker.borrow().clone().expect("the other task has run");
            waker.wake_by_ref();
            waker.wake();
            let (ours, theirs) = socket_pair();
            let mut recv = Op::on(&ours, op::Recv::new(vec![0; 64]));
            assert!(poll_once(&mut recv).is_pending());
            let mut nop = Op::new(op::Nop::new());
            assert!(poll_once(&mut nop).is_pending());
            drop(theirs.close());
            drop(Handle::current().spawn(async {}));
            did.set(did.get() + 1);
        }
    };
    drop(runtime.spawn(OnDrop(Some(act))));
    runtime.block_on(submitted());
    drop(runtime);
    assert_eq!(did.get(), 2, "the destructor did not come to its end");
    assert!(!polled.get());
    let mut spawned = spawned.take().expect("it was spawned");
    let Poll::Ready(Err(error)) = poll_once(&mut spawned) else {
        panic!("it must be dropped")
    };
    assert!(error.is_cancelled());
    assert_eq!((driver.metrics().in_flight, driver.metrics().live), (0, 0));
}

fn c8_a_drop_may_drop_another_runtime_and_build_one(ring: Ring) {
    let inner = ring.runtime();
    let inner_driver = inner.driver().clone();
    drop(inner.spawn(async {
        let (ours, _theirs) = socket_pair();
        let _ = Op::on(&ours, op::Recv::new(vec![0; 64])).await;
    }));
    inner.block_on(submitted());
    let runtime = ring.runtime();
    let built = Rc::new(Cell::new(0));
    let seen = built.clone();
    drop(runtime.spawn(OnDrop(Some(move || {
        drop(inner);
        let third = ring.runtime();
        seen.set(third.block_on(async { runtime::spawn(async { 7 }).await.unwrap() }));
        // The runtime that goes is the current one again.
        drop(runtime::spawn(pending::<()>()));
    }))));
    runtime.block_on(submitted());
    drop(runtime);
    assert_eq!(built.get(), 7);
    assert_eq!(inner_driver.metrics().in_flight, 0);
}

async fn c8_a_buffer_nobody_waits_for_may_begin_an_operation_as_it_is_dropped(_: Ring) {
    for has_completed in [false, true] {
        let (ours, theirs) = socket_pair();
        let done = Rc::new(Cell::new(false));
        let told = done.clone();
        let buf = Dropping::new(8, move || {
            let mut nop = Op::new(op::Nop::new());
            // It is staged as it is polled, and finds nothing borrowed.
            assert!(poll_once(&mut nop).is_pending());
            drop(runtime::spawn(async move {
                nop.await.unwrap();
                told.set(true);
            }));
        });
        let mut receive = Op::on(&ours, op::RecvExact::new(buf));
        assert!(poll_now(&mut receive).await.is_pending());
        submitted().await;
        if has_completed {
            let sent = Op::on(&theirs, op::SendAll::new(vec![7; 8])).await;
            sent.0.unwrap();
            submitted().await;
        }
        drop(receive);
        assert!(!done.get());
        submitted().await;
        submitted().await;
        assert_eq!(metrics().panics, 0);
        until(|| done.get()).await;
    }
}

async fn c9_no_completion_of_ten_thousand_is_lost(_: Ring) {
    let mut nops: Vec<_> = (0..10_000).map(|_| Op::new(op::Nop::new())).collect();
    for nop in &mut nops {
        assert!(poll_now(nop).await.is_pending());
    }
    for nop in nops {
        nop.await.unwrap();
    }
    assert!(metrics().completions >= 10_000);
    assert_eq!((metrics().in_flight, metrics().live), (0, 0));
}

async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

fn c10_a_waker_outlives_its_task_and_its_runtime(ring: Ring) {
    let runtime = ring.runtime();
    let (ended, main) = runtime.block_on(async {
        let ended = runtime::spawn(own_waker()).await.unwrap();
        ended.wake_by_ref();
        // What comes into the place of the ended task is not woken in its stead.
        let polls = Rc::new(Cell::new(0));
        let seen = polls.clone();
        drop(runtime::spawn(poll_fn(move |_| {
            seen.set(seen.get() + 1);
            Poll::<()>::Pending
        })));
        submitted().await;
        ended.wake_by_ref();
        std::thread::scope(|scope| {
            let again = ended.clone();
            scope.spawn(move || again.wake());
        });
        submitted().await;
        assert_eq!(polls.get(), 1);
        (ended, own_waker().await)
    });
    let blocked = Rc::new(RefCell::new(None));
    let out = blocked.clone();
    drop(runtime.spawn(async move {
        *out.borrow_mut() = Some(own_waker().await);
        pending::<()>().await;
    }));
    runtime.block_on(submitted());
    drop(runtime);
    let blocked = blocked.take().expect("the task has run");
    for waker in [ended, main, blocked] {
        waker.wake_by_ref();
        let elsewhere = waker.clone();
        std::thread::spawn(move || {
            elsewhere.wake_by_ref();
            elsewhere.wake();
        })
        .join()
        .unwrap();
        waker.wake();
    }
}

fn c10_wakes_from_other_threads_race_with_the_runtimes_end(ring: Ring) {
    for _ in 0..50 {
        let runtime = ring.runtime();
        let start = Arc::new(Barrier::new(4));
        let waker = Rc::new(RefCell::new(None));
        let out = waker.clone();
        drop(runtime.spawn(async move {
            *out.borrow_mut() = Some(own_waker().await);
            loop {
                runtime::yield_now().await;
            }
        }));
        runtime.block_on(runtime::yield_now());
        let waker = waker.take().expect("the task has run");
        let handle = runtime.handle();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (start, waker, handle) = (start.clone(), waker.clone(), handle.clone());
                std::thread::spawn(move || {
                    start.wait();
                    for _ in 0..100 {
                        waker.wake_by_ref();
                        drop(waker.clone());
                        drop(handle.spawn(async {}));
                    }
                })
            })
            .collect();
        start.wait();
        drop(runtime);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        waker.wake();
    }
}

/// A byte through a new socket pair.
async fn ping() {
    let (ours, theirs) = socket_pair();
    assert_eq!(Op::on(&theirs, op::Send::new([7; 1])).await.0.unwrap(), 1);
    let (got, byte) = Op::on(&ours, op::Recv::new([0; 1])).await;
    assert_eq!((got.unwrap(), byte), (1, [7]));
}

/// A runtime with a receive in flight, what it will receive from, and where it then says so.
fn busy_runtime(ring: Ring) -> (Runtime, Fd, JoinHandle<usize>) {
    let runtime = ring.runtime();
    let (ours, theirs) = runtime.block_on(async { socket_pair() });
    let task = runtime.spawn(async move { Op::on(&ours, op::Recv::new([0; 8])).await.0.unwrap() });
    runtime.block_on(submitted());
    runtime.block_on(submitted());
    (runtime, theirs, task)
}

fn assert_unhurt((runtime, theirs, task): (Runtime, Fd, JoinHandle<usize>)) {
    runtime.block_on(async {
        assert_eq!(Op::on(&theirs, op::Send::new([1; 3])).await.0.unwrap(), 3);
        assert_eq!(task.await.unwrap(), 3);
        ping().await;
    });
}

fn c11_the_child_of_a_fork_builds_its_own_runtime(ring: Ring) {
    let busy = busy_runtime(ring);
    let ended = in_fork(|| {
        let own = ring.runtime();
        own.block_on(ping());
        assert_eq!(
            own.block_on(async { runtime::spawn(async { 7 }).await.unwrap() }),
            7
        );
        drop(own);
    });
    assert_eq!(ended, Some(0));
    assert_unhurt(busy);
}

fn c11_an_inherited_runtime_refuses_to_run_in_the_child(ring: Ring) {
    let busy = busy_runtime(ring);
    let ended = in_fork(|| {
        let run = std::panic::AssertUnwindSafe(|| busy.0.block_on(ping()));
        let message = std::panic::catch_unwind(run).unwrap_err();
        let message = message.downcast_ref::<String>().expect("a message");
        assert!(
            message.contains("cannot use its ring any more"),
            "{message}"
        );
        ring.runtime().block_on(ping());
    });
    assert_eq!(ended, Some(0));
    assert_unhurt(busy);
}

fn c11_dropping_an_inherited_runtime_in_the_child_hurts_nobody(ring: Ring) {
    let mut busy = Some(busy_runtime(ring));
    let ended = in_fork(|| {
        // Likely mapped where the inherited ring was.
        let own = ring.runtime();
        drop(busy.take());
        own.block_on(ping());
    });
    assert_eq!(ended, Some(0));
    assert_unhurt(busy.expect("the parent's own"));
}
