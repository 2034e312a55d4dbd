//! Section F: threads. What concerns groups of runtimes comes with them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use annulet_tests::{
    Ring, block_usr1, fds, metrics, resident_bytes, send_usr1, socket_pair, spec, submitted,
    threads, until, wait_for_usr1,
};
use runtime::buf::Arena;
use runtime::net::UnixStream;
use runtime::task::{JoinSet, spawn_blocking};
use runtime::time::{sleep, timeout};
use runtime::{DriverMetrics, Fd, Handle, Op, op};
use rustix::thread::gettid;

spec! {
    async f1_no_wake_of_a_hundred_threads_is_lost;
    f2_request_and_reply_across_runtimes;
    async f3_a_task_spawned_onto_another_thread_is_awaited_here;
    async f3_a_task_on_another_thread_is_aborted_from_here;
    f3_a_spawn_onto_a_runtime_that_is_gone_says_so;
    async f5_a_wake_from_a_thread_without_a_runtime_arrives;
    alone f5_a_wake_from_a_signal_handling_thread_arrives;
    f5_a_wake_from_a_destructor_at_thread_exit_arrives;
    f5_a_runtime_in_a_destructor_at_thread_exit_works_as_elsewhere;
    alone f6_a_hundred_runtimes_in_turn_leave_nothing;
    f7_a_thread_with_nothing_in_flight_is_woken_past_its_ring;
    f7_a_message_by_the_ring_wakes_a_thread_with_nothing_in_flight;
    f7_a_thread_with_nothing_in_flight_takes_in_what_others_ask_of_it;
}

/// Counts posts from any thread, for one task to take.
#[derive(Default)]
struct Posts {
    count: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Posts {
    fn post(&self) {
        self.count.fetch_add(1, SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until there have been `count`.
    async fn reach(&self, count: usize) {
        std::future::poll_fn(|cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            if self.count.load(SeqCst) >= count {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

async fn f1_no_wake_of_a_hundred_threads_is_lost(_: Ring) {
    const THREADS: usize = 100;
    let all: Vec<_> = (0..THREADS).map(|_| Arc::new(Posts::default())).collect();
    let together = Arc::new(Posts::default());
    let posters: Vec<_> = all
        .iter()
        .map(|own| {
            let (own, together) = (own.clone(), together.clone());
            thread::spawn(move || {
                for _ in 0..100 {
                    own.post();
                    together.post();
                }
            })
        })
        .collect();
    let waiters: Vec<_> = all
        .into_iter()
        .map(|own| {
            runtime::spawn(async move {
                for count in 1..=100 {
                    own.reach(count).await;
                }
            })
        })
        .collect();
    together.reach(THREADS * 100).await;
    for waiter in waiters {
        waiter.await.unwrap();
    }
    posters
        .into_iter()
        .for_each(|poster| poster.join().unwrap());
}

/// A thread with a runtime that runs until it is told to end.
struct Elsewhere {
    handle: Handle,
    end: Arc<Posts>,
    thread: thread::JoinHandle<()>,
}

impl Elsewhere {
    fn start(ring: Ring) -> Elsewhere {
        let (send, receive) = mpsc::channel();
        let end = Arc::new(Posts::default());
        let ended = end.clone();
        let thread = thread::spawn(move || {
            // A hundred of them at a time: small ones.
            let runtime = ring.builder().entries(8).completions(16).build().unwrap();
            send.send(runtime.handle()).unwrap();
            runtime.block_on(ended.reach(1));
        });
        Elsewhere {
            handle: receive.recv().unwrap(),
            end,
            thread,
        }
    }

    fn stop(self) {
        self.end.post();
        self.thread.join().unwrap();
    }
}

fn f2_request_and_reply_across_runtimes(ring: Ring) {
    let all: Vec<_> = (0..100).map(|_| Elsewhere::start(ring)).collect();
    let handles: Vec<_> = all.iter().map(|one| one.handle.clone()).collect();
    let next = handles.clone();
    ring.runtime().block_on(async move {
        // Each asks its neighbour, which does some I/O for its answer.
        let asked: Vec<_> = handles
            .into_iter()
            .enumerate()
            .map(|(n, handle)| {
                let neighbour = next[(n + 1) % next.len()].clone();
                handle.spawn(async move {
                    for round in 0..10 {
                        let reply = neighbour.spawn_with(move || async move {
                            submitted().await;
                            round * 2
                        });
                        assert_eq!(reply.await.unwrap(), round * 2);
                    }
                    n
                })
            })
            .collect();
        for (n, reply) in asked.into_iter().enumerate() {
            assert_eq!(reply.await.unwrap(), n);
        }
    });
    all.into_iter().for_each(Elsewhere::stop);
}

async fn f3_a_task_spawned_onto_another_thread_is_awaited_here(ring: Ring) {
    let elsewhere = Elsewhere::start(ring);
    let here = thread::current().id();
    for n in 0..100 {
        let task = elsewhere.handle.spawn_with(move || {
            let local = Rc::new(n);
            async move {
                submitted().await;
                (*local, thread::current().id())
            }
        });
        let (output, there) = task.await.unwrap();
        assert_eq!(output, n);
        assert_ne!(there, here);
    }
    elsewhere.stop();
}

async fn f3_a_task_on_another_thread_is_aborted_from_here(ring: Ring) {
    let elsewhere = Elsewhere::start(ring);
    let (started, dropped) = (Arc::new(Posts::default()), Arc::new(Posts::default()));
    let (starts, drops) = (started.clone(), OnDrop(dropped.clone()));
    let task = elsewhere.handle.spawn_with(move || async move {
        let _drops = drops;
        let (ours, _theirs) = socket_pair();
        starts.post();
        Op::on(&ours, op::Recv::new([0; 8])).await.0.unwrap()
    });
    started.reach(1).await;
    task.abort();
    // The future goes on its own thread; then the handle knows.
    dropped.reach(1).await;
    assert!(task.await.unwrap_err().is_cancelled());
    elsewhere.stop();
}

struct OnDrop(Arc<Posts>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.post();
    }
}

fn f3_a_spawn_onto_a_runtime_that_is_gone_says_so(ring: Ring) {
    let handle = {
        let runtime = ring.runtime();
        runtime.handle()
    };
    let dropped = Arc::new(Posts::default());
    let drops = OnDrop(dropped.clone());
    let task = handle.spawn(async move { drop(drops) });
    assert_eq!(
        dropped.count.load(SeqCst),
        1,
        "the future is kept for nobody"
    );
    let error = ring.runtime().block_on(task).unwrap_err();
    assert!(error.is_cancelled());
}

async fn f5_a_wake_from_a_thread_without_a_runtime_arrives(_: Ring) {
    for _ in 0..100 {
        let posts = Arc::new(Posts::default());
        let post = posts.clone();
        let thread = thread::spawn(move || post.post());
        posts.reach(1).await;
        thread.join().unwrap();
    }
    // The thread slept at least once, and was woken.
    let posts = Arc::new(Posts::default());
    let (post, handle) = (posts.clone(), Handle::current());
    let before = metrics().pokes;
    let thread = thread::spawn(move || {
        // Until the waiting is under way: the spawned task runs before the thread can sleep again.
        while Arc::strong_count(&post) < 2 || post.waker.lock().unwrap().is_none() {
            thread::yield_now();
        }
        drop(handle.spawn(async {}));
        post.post();
    });
    posts.reach(1).await;
    thread.join().unwrap();
    assert!(metrics().pokes >= before);
}

fn f5_a_wake_from_a_signal_handling_thread_arrives(ring: Ring) {
    block_usr1();
    let posts = Arc::new(Posts::default());
    let post = posts.clone();
    let handler = thread::spawn(move || {
        for _ in 0..100 {
            wait_for_usr1();
            post.post();
        }
    });
    ring.runtime().block_on(async {
        for count in 1..=100 {
            send_usr1(&handler);
            posts.reach(count).await;
        }
    });
    handler.join().unwrap();
}

thread_local! {
    static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) };
}

struct AtExit {
    posts: Arc<Posts>,
    handle: Handle,
}

impl Drop for AtExit {
    fn drop(&mut self) {
        self.posts.post();
        let posts = self.posts.clone();
        drop(self.handle.spawn(async move { posts.post() }));
    }
}

fn f5_a_wake_from_a_destructor_at_thread_exit_arrives(ring: Ring) {
    let runtime = ring.runtime();
    let posts = Arc::new(Posts::default());
    let exit = |handle: Handle| {
        let posts = posts.clone();
        // Not scoped: a scope ends before the thread's destructors do.
        thread::spawn(move || AT_EXIT.set(Some(AtExit { posts, handle })))
    };
    let thread = exit(runtime.handle());
    runtime.block_on(posts.reach(2));
    thread.join().unwrap();
    // A thread that had a runtime of its own, with things on it.
    let handle = runtime.handle();
    let own = posts.clone();
    let thread = thread::spawn(move || {
        AT_EXIT.set(Some(AtExit { posts: own, handle }));
        ring.runtime().block_on(submitted());
    });
    runtime.block_on(posts.reach(4));
    thread.join().unwrap();
    // With the runtime gone it is a no-op; the spawned future is dropped.
    let handle = runtime.handle();
    drop(runtime);
    exit(handle).join().unwrap();
    assert_eq!(posts.count.load(SeqCst), 5);
}

thread_local! {
    static RUNS_AT_EXIT: RefCell<Option<RunsAtExit>> = const { RefCell::new(None) };
}

struct RunsAtExit(Ring, mpsc::Sender<()>);

impl Drop for RunsAtExit {
    fn drop(&mut self) {
        self.0.runtime().block_on(everything());
        self.1.send(()).unwrap();
    }
}

/// What goes by something of the thread's.
async fn everything() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all("chunk").await.0.unwrap();
    assert_eq!(theirs.recv().await.unwrap()[..], *b"chunk");
    sleep(Duration::from_micros(1)).await;
    timeout(Duration::from_secs(3600), submitted())
        .await
        .unwrap();
    assert_eq!(spawn_blocking(|| 7).await.unwrap(), 7);
    let mut tasks = JoinSet::new();
    tasks.spawn(async { 8 });
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), 8);
    drop(Arena::new(1, 1).buffer());
}

fn f5_a_runtime_in_a_destructor_at_thread_exit_works_as_elsewhere(ring: Ring) {
    for after_another in [false, true] {
        let (done, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            RUNS_AT_EXIT.set(Some(RunsAtExit(ring, done)));
            if after_another {
                // What is the thread's is made later, and so goes before.
                ring.runtime().block_on(everything());
            }
        });
        thread.join().unwrap();
        told.recv().unwrap();
    }
}

fn f6_a_hundred_runtimes_in_turn_leave_nothing(ring: Ring) {
    let one = || {
        let runtime = ring.runtime();
        let blocked = runtime.spawn(async {
            let (ours, _theirs) = socket_pair();
            Op::on(&ours, op::Recv::new(vec![0; 4096])).await.0
        });
        runtime.block_on(async {
            runtime::spawn(submitted()).await.unwrap();
            until(|| metrics().in_flight > 0).await;
            submitted().await;
        });
        drop(runtime);
        drop(blocked);
    };
    (0..20).for_each(|_| one());
    let (before, resident) = ((fds(), threads()), resident_bytes());
    (0..100).for_each(|_| one());
    assert_eq!((fds(), threads()), before);
    let grown = resident_bytes().saturating_sub(resident);
    assert!(grown < 512 * 1024, "a hundred runtimes left {grown} bytes");
}

/// A runtime on a thread of its own that waits for posts alone, and tells what it has counted.
struct Sleeper {
    /// The driver's counters, at first and at last.
    thread: thread::JoinHandle<(DriverMetrics, DriverMetrics)>,
    tid: i32,
    /// A message to its ring.
    message: Box<dyn Fn() -> op::MsgRing + Send>,
    /// Its ring knows it, if that is possible.
    writer: Option<Fd>,
    posts: Arc<Posts>,
}

impl Sleeper {
    /// Until so many posts have come.
    fn start(ring: Ring, count: usize) -> Sleeper {
        let (tell, told) = mpsc::channel();
        let posts = Arc::new(Posts::default());
        let post = posts.clone();
        let thread = thread::spawn(move || {
            let runtime = ring.runtime();
            runtime.block_on(async {
                let writer = Fd::new(std::io::pipe().unwrap().1.into());
                let _ = writer.register();
                // What is staged when a driver begins is the kernel's.
                submitted().await;
                let unparker = runtime.driver().unparker();
                let message = Box::new(move || op::MsgRing::wake(&unparker));
                let tid = gettid().as_raw_nonzero().get();
                tell.send((tid, message, writer)).unwrap();
                let before = metrics();
                for count in 1..=count {
                    post.reach(count).await;
                }
                (before, metrics())
            })
        });
        let (tid, message, writer) = told.recv().unwrap();
        Sleeper {
            thread,
            tid,
            message,
            writer: Some(writer),
            posts,
        }
    }

    /// Waits until it sleeps, wherever that is.
    fn sleeps(&self) {
        let path = format!("/proc/self/task/{}/syscall", self.tid);
        // It may also wait for memory, in other calls.
        let calls = [
            libc::SYS_futex,
            libc::SYS_io_uring_enter,
            libc::SYS_epoll_pwait,
        ];
        let asleep = |now: String| {
            calls
                .iter()
                .any(|call| now.starts_with(&format!("{call} ")))
        };
        while std::fs::read_to_string(&path).is_ok_and(|now| !asleep(now)) {
            thread::yield_now();
        }
    }
}

fn f7_a_thread_with_nothing_in_flight_is_woken_past_its_ring(ring: Ring) {
    let sleeper = Sleeper::start(ring, 100);
    for _ in 0..100 {
        sleeper.sleeps();
        sleeper.posts.post();
    }
    let (before, after) = sleeper.thread.join().unwrap();
    if !ring.name.starts_with("poll") {
        // Not past it by each of them: it may have waited for the allocator instead, and been poked on its way to sleep.
        assert!(after.enters < before.enters + 100);
        assert!(after.pokes > before.pokes);
    }
}

fn f7_a_message_by_the_ring_wakes_a_thread_with_nothing_in_flight(ring: Ring) {
    let sleeper = Sleeper::start(ring, 1);
    ring.runtime().block_on(async {
        for _ in 0..2 {
            sleeper.sleeps();
            Op::new((sleeper.message)()).await.unwrap();
        }
        sleeper.sleeps();
        sleeper.posts.post();
    });
    let (before, after) = sleeper.thread.join().unwrap();
    // It was told that messages are to come, of both, and of the post: of some while it was still awake.
    assert!(after.pokes > before.pokes, "{before:?}, {after:?}");
}

fn f7_a_thread_with_nothing_in_flight_takes_in_what_others_ask_of_it(ring: Ring) {
    let mut sleeper = Sleeper::start(ring, 1);
    let writer = sleeper.writer.take().unwrap();
    sleeper.sleeps();
    // Its ring holds the file until that thread has had it let go.
    ring.runtime()
        .block_on(async { writer.close().await.unwrap() });
    sleeper.posts.post();
    sleeper.thread.join().unwrap();
}
