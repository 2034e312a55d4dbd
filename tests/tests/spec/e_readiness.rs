//! Section E: readiness, for descriptors that others own and for loops that others run.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use annulet_tests::{
    Ring, driver, metrics, poll_now, raise_usr1, skip, spec, submitted, until, usr1_fd,
    within_a_turn,
};
use runtime::io::{AsyncFd, Interest};
use runtime::signal::unix::{SignalKind, signal};
use runtime::time::{Sleep, sleep, timeout};
use runtime::{Fd, Op, Runtime, op};
use rustix::event::{EventfdFlags, PollFd, PollFlags, epoll, eventfd};
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

spec! {
    async e1_what_nobody_drains_is_told_again_and_again;
    async e1_every_byte_read_by_hand_is_told_and_no_report_is_stale;
    async e1_an_attempt_that_would_block_is_waited_for_and_then_told;
    async e1_a_clear_hides_nothing_that_came_after_its_guard;
    async e1_an_edge_is_told_once_and_the_next_one_too;
    async e1_an_edge_told_to_a_dropped_future_is_told_to_the_next;
    async e2_interest_moves_from_writing_to_reading_to_none_without_a_stale_event;
    async e3_a_closed_peer_is_readable_until_its_end_is_read_then_silent;
    async e4_both_sockets_of_a_pair_are_filled_and_drained_in_order;
    async e5_eight_watchers_of_a_closed_descriptor_are_silent_and_its_peer_hears;
    async e5_a_descriptor_closed_behind_its_watchers_is_silent;
    async e5_a_watch_that_is_dropped_or_given_back_holds_nothing;
    e5_a_watch_dropped_outside_its_runtime_holds_nothing;
    e6_two_runtimes_watch_one_descriptor_and_both_are_told;
    e6_a_watcher_in_a_runtime_that_is_not_running_holds_nothing_back;
    e6_a_watch_goes_on_in_another_runtime_of_its_thread;
    async e7_an_eventfd_is_told;
    async e7_a_timerfd_is_told;
    async e7_inotify_is_told;
    alone async e7_a_signalfd_is_told;
    async e7_a_file_is_ready_always;
    e8_run_once_is_one_round_and_returns;
    e8_a_foreign_epoll_loop_misses_no_completion;
    e8_a_foreign_epoll_loop_misses_no_wake_from_another_thread;
    e8_a_foreign_epoll_loop_misses_no_timer;
    e8_a_foreign_epoll_loop_misses_nothing_done_between_its_rounds;
    e8_another_runtime_is_the_foreign_loop;
    e8_the_descriptor_is_readable_until_a_round_and_no_longer;
    e8_a_runtime_that_is_not_embedded_says_what_to_do on kernel;
    async e8_an_epoll_set_is_changed_and_waited_for_through_the_ring;
    async e8_an_epoll_set_is_watched_by_readiness;
    e8_without_their_opcodes_a_set_is_changed_by_a_call_and_its_wait_refused;
    e9_a_descriptor_added_from_another_thread_in_mid_wait_is_told;
    alone async e10_a_signal_during_each_of_a_thousand_pipe_events_is_counted;
    alone e11_all_that_is_ready_runs_once_and_in_order;
    alone async e11_so_it_does_in_block_on;
    async e1_ten_thousand_events_for_nobody_are_one_note;
    async e1_a_poll_that_a_full_queue_ends_is_armed_anew on tiny;
}

/// `IORING_OP_EPOLL_CTL` and `IORING_OP_EPOLL_WAIT`.
const EPOLL_CTL: u8 = 29;
const EPOLL_WAIT: u8 = 59;

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    for end in [&ours, &theirs] {
        end.set_nonblocking(true).unwrap();
    }
    (ours, theirs)
}

/// Writes until there is no room.
fn fill(mut end: &UnixStream, mut next: impl FnMut() -> u8) -> Vec<u8> {
    let mut sent = Vec::new();
    loop {
        let byte = next();
        match end.write(&[byte; 64]) {
            Ok(n) => sent.extend(std::iter::repeat_n(byte, n)),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return sent;
            }
        }
    }
}

async fn e1_what_nobody_drains_is_told_again_and_again(_: Ring) {
    let (ours, mut theirs) = pair();
    let ours = AsyncFd::new(ours);
    theirs.write_all(b"x").unwrap();
    for _ in 0..100 {
        assert!(ours.readable().await.unwrap().ready().is_readable());
    }
    for _ in 0..100 {
        ours.readable().await.unwrap().retain_ready();
    }
}

async fn e1_every_byte_read_by_hand_is_told_and_no_report_is_stale(_: Ring) {
    let (ours, mut theirs) = pair();
    let ours = AsyncFd::new(ours);
    for round in 0..100 {
        let bytes = round % 3 + 1;
        for _ in 0..bytes {
            theirs.write_all(b"x").unwrap();
        }
        for _ in 0..bytes {
            let guard = ours.readable().await.unwrap();
            // The guard does not hear of it: a report that was not true would fail here.
            guard.inner().read_exact(&mut [0]).unwrap();
        }
        let mut next = ours.readable();
        assert!(poll_now(&mut next).await.is_pending());
        submitted().await;
        submitted().await;
        assert!(poll_now(&mut next).await.is_pending(), "stale");
    }
}

async fn e1_an_attempt_that_would_block_is_waited_for_and_then_told(_: Ring) {
    let (ours, mut theirs) = pair();
    let ours = AsyncFd::new(ours);
    let mut read = 0;
    for _ in 0..100 {
        theirs.write_all(b"xy").unwrap();
        while read < 2 {
            let mut guard = ours.readable().await.unwrap();
            if let Ok(n) = guard.try_io(|ours| ours.inner().read(&mut [0])) {
                read += n.unwrap();
            }
        }
        read = 0;
        let mut next = Box::pin(ours.async_io(Interest::READABLE, |mut ours| ours.read(&mut [0])));
        assert!(poll_now(&mut next).await.is_pending());
        submitted().await;
        assert!(poll_now(&mut next).await.is_pending(), "nothing is there");
        theirs.write_all(b"z").unwrap();
        assert_eq!(next.await.unwrap(), 1);
    }
}

async fn e1_a_clear_hides_nothing_that_came_after_its_guard(_: Ring) {
    let (ours, mut theirs) = pair();
    let ours = AsyncFd::new(ours);
    for _ in 0..10 {
        theirs.write_all(b"x").unwrap();
        let mut guard = ours.readable().await.unwrap();
        guard.inner().read_exact(&mut [0]).unwrap();
        theirs.write_all(b"y").unwrap();
        submitted().await;
        submitted().await;
        guard.clear_ready();
        drop(guard);
        let guard = ours.readable().await.unwrap();
        guard.inner().read_exact(&mut [0]).unwrap();
    }
}

async fn e1_an_edge_is_told_once_and_the_next_one_too(_: Ring) {
    let (ours, mut theirs) = pair();
    let ours = AsyncFd::edge_triggered(ours);
    for round in 0..10 {
        theirs.write_all(b"x").unwrap();
        drop(ours.readable().await.unwrap());
        let mut again = ours.readable();
        assert!(poll_now(&mut again).await.is_pending());
        submitted().await;
        assert!(poll_now(&mut again).await.is_pending(), "round {round}");
        // Unread bytes and all: a change is a change.
        theirs.write_all(b"y").unwrap();
        drop(again.await.unwrap());
        let n = ours.async_io(Interest::READABLE, |mut ours| ours.read(&mut [0; 8]));
        assert_eq!(n.await.unwrap(), 2);
    }
}

async fn e1_an_edge_told_to_a_dropped_future_is_told_to_the_next(_: Ring) {
    let (ours, mut theirs) = pair();
    let ours = AsyncFd::edge_triggered(ours);
    let mut dropped = ours.readable();
    assert!(poll_now(&mut dropped).await.is_pending());
    theirs.write_all(b"x").unwrap();
    submitted().await;
    submitted().await;
    drop(dropped);
    drop(within_a_turn(ours.readable()).await.unwrap());
}

async fn e2_interest_moves_from_writing_to_reading_to_none_without_a_stale_event(_: Ring) {
    let (ours, mut theirs) = pair();
    let ours = AsyncFd::new(ours);
    for _ in 0..10 {
        let ready = ours.writable().await.unwrap().ready();
        assert!(ready.is_writable() && !ready.is_readable());
        // Armed for both by now, and room to write all the time.
        let mut readable = ours.readable();
        assert!(poll_now(&mut readable).await.is_pending());
        submitted().await;
        assert!(poll_now(&mut readable).await.is_pending(), "stale");
        theirs.write_all(b"x").unwrap();
        let ready = readable.await.unwrap().ready();
        assert!(ready.is_readable() && !ready.is_writable());
        // Nobody is interested while more comes, and goes.
        theirs.write_all(b"yz").unwrap();
        submitted().await;
        ours.inner().read_exact(&mut [0; 3]).unwrap();
        let mut readable = ours.readable();
        assert!(poll_now(&mut readable).await.is_pending());
        submitted().await;
        submitted().await;
        assert!(poll_now(&mut readable).await.is_pending(), "stale");
    }
    assert_eq!(metrics().in_flight, 1, "one poll, whatever is asked");
}

async fn e3_a_closed_peer_is_readable_until_its_end_is_read_then_silent(_: Ring) {
    let (ours, mut theirs) = pair();
    let ours = AsyncFd::new(ours);
    theirs.write_all(b"last words").unwrap();
    drop(theirs);
    let mut bytes = Vec::new();
    loop {
        let guard = ours.readable().await.unwrap();
        assert!(guard.ready().is_readable() && guard.ready().is_read_closed());
        let mut byte = [0];
        if guard.inner().read(&mut byte).unwrap() == 0 {
            break;
        }
        bytes.push(byte[0]);
    }
    assert_eq!(bytes, b"last words");
    // The end stays readable for who asks; who does not ask hears nothing.
    assert!(ours.readable().await.unwrap().ready().is_readable());
    submitted().await;
    let before = metrics().completions;
    for _ in 0..10 {
        submitted().await;
    }
    assert_eq!(metrics().completions, before + 10);
    drop(ours);
    submitted().await;
    assert_eq!(metrics().in_flight, 0);
}

async fn e4_both_sockets_of_a_pair_are_filled_and_drained_in_order(_: Ring) {
    let (a, b) = pair();
    let mut counter = 0u8;
    let mut next = || {
        counter = counter.wrapping_add(1);
        counter
    };
    let sent = [fill(&a, &mut next), fill(&b, &mut next)];
    let (a, b) = (Rc::new(AsyncFd::new(a)), Rc::new(AsyncFd::new(b)));
    for end in [&a, &b] {
        let mut writable = end.writable();
        assert!(poll_now(&mut writable).await.is_pending());
        submitted().await;
        assert!(poll_now(&mut writable).await.is_pending(), "it is full");
    }
    // Each end is drained while the other waits for room.
    let drain = |end: Rc<AsyncFd<UnixStream>>, len: usize| {
        runtime::spawn(async move {
            let mut got = Vec::new();
            while got.len() < len {
                let mut buf = [0; 1000];
                let read = end.async_io(Interest::READABLE, |mut end| end.read(&mut buf));
                let n = read.await.unwrap();
                got.extend_from_slice(&buf[..n]);
            }
            got
        })
    };
    let room = |end: Rc<AsyncFd<UnixStream>>| {
        runtime::spawn(async move { end.writable().await.unwrap().ready().is_writable() })
    };
    let rooms = [room(a.clone()), room(b.clone())];
    let drained = [drain(b, sent[0].len()), drain(a, sent[1].len())];
    for (task, sent) in drained.into_iter().zip(sent) {
        assert_eq!(task.await.unwrap(), sent);
    }
    for room in rooms {
        assert!(room.await.unwrap());
    }
}

/// The peer of a socket that is closed for good hears of it at once.
async fn assert_hears(peer: &AsyncFd<UnixStream>) {
    let both = Interest::READABLE | Interest::WRITABLE;
    let ready = peer.ready(both).await.unwrap().ready();
    assert!(ready.is_readable() && ready.is_writable() && ready.is_write_closed());
}

async fn e5_eight_watchers_of_a_closed_descriptor_are_silent_and_its_peer_hears(_: Ring) {
    let (ours, theirs) = pair();
    let peer = AsyncFd::new(theirs);
    assert!(!peer.writable().await.unwrap().ready().is_write_closed());
    let ours = Rc::new(ours);
    let told = Rc::new(Cell::new(0));
    let watchers: Vec<_> = (0..8)
        .map(|_| {
            let (watch, told) = (AsyncFd::new(ours.clone()), told.clone());
            runtime::spawn(async move {
                let _ = watch.readable().await;
                told.set(told.get() + 1);
            })
        })
        .collect();
    submitted().await;
    assert_eq!(metrics().in_flight, 9);
    // The owner closes it: what watches goes first.
    for watcher in watchers {
        watcher.abort();
        assert!(watcher.await.unwrap_err().is_cancelled());
    }
    drop(ours);
    assert_hears(&peer).await;
    submitted().await;
    assert_eq!(told.get(), 0);
    // The peer's, if a full queue has not ended that.
    assert!(metrics().in_flight <= 1);
}

async fn e5_a_descriptor_closed_behind_its_watchers_is_silent(_: Ring) {
    let (ours, theirs) = pair();
    let peer = AsyncFd::new(theirs);
    let ours = Rc::new(Fd::new(ours.into()));
    let watches: Vec<_> = (0..8).map(|_| AsyncFd::new(ours.clone())).collect();
    let mut waits: Vec<_> = watches.iter().map(AsyncFd::readable).collect();
    for wait in &mut waits {
        assert!(poll_now(wait).await.is_pending());
    }
    submitted().await;
    let before = metrics().completions;
    ours.close().await.unwrap();
    submitted().await;
    // The close and the two entries of ours that do nothing: no watcher was told anything.
    assert_eq!(metrics().completions, before + 2);
    drop(waits);
    drop(watches);
    assert_hears(&peer).await;
}

async fn e5_a_watch_that_is_dropped_or_given_back_holds_nothing(_: Ring) {
    for give_back in [false, true] {
        let (ours, theirs) = pair();
        let ours = AsyncFd::new(ours);
        let mut wait = ours.readable();
        assert!(poll_now(&mut wait).await.is_pending());
        submitted().await;
        drop(wait);
        if give_back {
            drop(ours.into_inner());
        } else {
            drop(ours);
        }
        // No turn of the loop in between.
        assert_eq!((&theirs).read(&mut [0]).unwrap(), 0);
    }
    // The same before the kernel has heard of the poll.
    let (ours, theirs) = pair();
    let ours = AsyncFd::new(ours);
    assert!(poll_now(&mut ours.readable()).await.is_pending());
    drop(ours);
    assert_eq!((&theirs).read(&mut [0]).unwrap(), 0);
    submitted().await;
    assert_eq!(metrics().live, 0);
}

fn e5_a_watch_dropped_outside_its_runtime_holds_nothing(ring: Ring) {
    let runtime = ring.runtime();
    let (ours, theirs) = pair();
    let ours = AsyncFd::new(ours);
    runtime.block_on(async {
        assert!(poll_now(&mut ours.readable()).await.is_pending());
        submitted().await;
    });
    drop(ours);
    assert_eq!((&theirs).read(&mut [0]).unwrap(), 0);
    let (ours, theirs) = pair();
    let ours = AsyncFd::new(ours);
    runtime.block_on(async { assert!(poll_now(&mut ours.readable()).await.is_pending()) });
    drop(runtime);
    drop(ours);
    assert_eq!((&theirs).read(&mut [0]).unwrap(), 0);
}

fn e6_two_runtimes_watch_one_descriptor_and_both_are_told(ring: Ring) {
    let (ours, mut theirs) = pair();
    let ours = Arc::new(ours);
    let (waits, waiting) = mpsc::channel();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (ours, waits) = (ours.clone(), waits.clone());
            std::thread::spawn(move || {
                ring.block_on(|_| async move {
                    let ours = AsyncFd::new(ours);
                    let mut wait = ours.readable();
                    assert!(poll_now(&mut wait).await.is_pending());
                    submitted().await;
                    waits.send(()).unwrap();
                    assert!(wait.await.unwrap().ready().is_readable());
                });
            })
        })
        .collect();
    for _ in 0..2 {
        waiting.recv().unwrap();
    }
    theirs.write_all(b"x").unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn e6_a_watcher_in_a_runtime_that_is_not_running_holds_nothing_back(ring: Ring) {
    let (ours, mut theirs) = pair();
    let ours = Rc::new(ours);
    let idle = ring.runtime();
    let idler = AsyncFd::new(ours.clone());
    idle.block_on(async {
        assert!(poll_now(&mut idler.readable()).await.is_pending());
        submitted().await;
    });
    let busy = ring.runtime();
    for _ in 0..100 {
        busy.block_on(async {
            let watch = AsyncFd::new(ours.clone());
            theirs.write_all(b"x").unwrap();
            let guard = watch.readable().await.unwrap();
            guard.inner().as_ref().read_exact(&mut [0]).unwrap();
        });
    }
    theirs.write_all(b"x").unwrap();
    // It has missed nothing either.
    idle.block_on(async { assert!(idler.readable().await.unwrap().ready().is_readable()) });
}

fn e6_a_watch_goes_on_in_another_runtime_of_its_thread(ring: Ring) {
    let (ours, mut theirs) = pair();
    let ours = AsyncFd::new(ours);
    let (first, second) = (ring.runtime(), ring.runtime());
    let wait = |runtime: &Runtime, theirs: &mut UnixStream| {
        runtime.block_on(async {
            let mut wait = ours.readable();
            assert!(poll_now(&mut wait).await.is_pending());
            submitted().await;
            // It may only have given way before.
            assert!(poll_now(&mut wait).await.is_pending());
            theirs.write_all(b"x").unwrap();
            wait.await.unwrap().inner().read_exact(&mut [0]).unwrap();
        });
    };
    wait(&first, &mut theirs);
    wait(&second, &mut theirs);
    wait(&first, &mut theirs);
    drop(first);
    wait(&second, &mut theirs);
    drop(ours);
}

async fn e7_an_eventfd_is_told(_: Ring) {
    let counter = AsyncFd::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
    for round in 1..=10u64 {
        let mut wait = counter.readable();
        assert!(poll_now(&mut wait).await.is_pending());
        submitted().await;
        for _ in 0..round {
            rustix::io::write(counter.inner(), &1u64.to_ne_bytes()).unwrap();
        }
        let mut count = [0; 8];
        let mut guard = wait.await.unwrap();
        let read = guard.try_io(|fd| Ok(rustix::io::read(fd.inner(), &mut count)?));
        assert_eq!(read.unwrap().unwrap(), 8);
        assert_eq!(u64::from_ne_bytes(count), round);
        assert!(counter.writable().await.unwrap().ready().is_writable());
    }
}

async fn e7_a_timerfd_is_told(_: Ring) {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).unwrap();
    let every = Timespec {
        tv_sec: 0,
        tv_nsec: 500_000,
    };
    let times = Itimerspec {
        it_interval: every,
        it_value: every,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times).unwrap();
    let timer = AsyncFd::new(timer);
    for _ in 0..5 {
        let mut ticks = [0; 8];
        let read = timer.async_io(Interest::READABLE, |fd| {
            Ok(rustix::io::read(fd, &mut ticks)?)
        });
        assert_eq!(read.await.unwrap(), 8);
        assert!(u64::from_ne_bytes(ticks) >= 1);
    }
}

async fn e7_inotify_is_told(ring: Ring) {
    let name = format!("annulet-e7-{}-{}", std::process::id(), ring.name);
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir(&dir).unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, &dir, inotify::WatchFlags::CREATE).unwrap();
    let watch = AsyncFd::new(watch);
    for n in 0..10 {
        let mut wait = watch.readable();
        assert!(poll_now(&mut wait).await.is_pending());
        submitted().await;
        std::fs::write(dir.join(format!("{n}")), "").unwrap();
        let guard = wait.await.unwrap();
        let mut buf = [std::mem::MaybeUninit::uninit(); 512];
        let mut events = inotify::Reader::new(guard.inner(), &mut buf);
        let event = events.next().unwrap();
        let name = event.file_name().unwrap().to_str().unwrap();
        assert_eq!(name, format!("{n}"));
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

async fn e7_a_signalfd_is_told(_: Ring) {
    let signals = AsyncFd::new(usr1_fd());
    for _ in 0..10 {
        let mut wait = signals.readable();
        assert!(poll_now(&mut wait).await.is_pending());
        submitted().await;
        raise_usr1();
        let mut guard = wait.await.unwrap();
        let mut info = [0; 128];
        let read = guard.try_io(|fd| Ok(rustix::io::read(fd.inner(), &mut info)?));
        assert_eq!(read.unwrap().unwrap(), 128);
        assert_eq!(u32::from_ne_bytes(info[..4].try_into().unwrap()), 10);
        // That was all: the next wait is a wait.
        let read = guard.try_io(|fd| Ok(rustix::io::read(fd.inner(), &mut info)?));
        assert!(read.is_err());
    }
}

async fn e7_a_file_is_ready_always(_: Ring) {
    // As with poll(2), and unlike with epoll, a file is ready always.
    let file = AsyncFd::new(std::fs::File::open("/proc/self/exe").unwrap());
    for _ in 0..3 {
        assert!(file.readable().await.unwrap().ready().is_readable());
    }
}

fn e9_a_descriptor_added_from_another_thread_in_mid_wait_is_told(ring: Ring) {
    let runtime = ring.runtime();
    let handle = runtime.handle();
    let (ours, mut theirs) = pair();
    let (waits, waiting) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        waiting.recv().unwrap();
        let read = handle.spawn_with(move || async move {
            let ours = AsyncFd::new(ours);
            let mut byte = [0];
            let read = ours.async_io(Interest::READABLE, |mut ours| ours.read(&mut byte));
            assert_eq!(read.await.unwrap(), 1);
            byte[0]
        });
        theirs.write_all(b"!").unwrap();
        read
    });
    runtime.block_on(async {
        let (end, ended) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(false)));
        let done = ended.clone();
        let slot = end.clone();
        // The thread sleeps in the kernel when the other one begins: nothing but that will wake it.
        waits.send(()).unwrap();
        let joined = runtime::task::spawn_blocking(move || thread.join().unwrap());
        let task = runtime::spawn(async move {
            *slot.borrow_mut() = Some(joined.await.unwrap().await.unwrap());
            done.set(true);
        });
        task.await.unwrap();
        assert!(ended.get());
        assert_eq!(end.take(), Some(b'!'));
    });
}

async fn e1_ten_thousand_events_for_nobody_are_one_note(_: Ring) {
    let counter = AsyncFd::edge_triggered(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
    let mut wait = pin!(counter.readable());
    assert!(poll_now(&mut wait).await.is_pending());
    for _ in 0..10_000 {
        rustix::io::write(counter.inner(), &1u64.to_ne_bytes()).unwrap();
        submitted().await;
    }
    assert!(poll_now(&mut wait).await.is_ready());
    assert!(poll_now(&mut counter.readable()).await.is_pending());
}

async fn e1_a_poll_that_a_full_queue_ends_is_armed_anew(_: Ring) {
    let counters: Vec<_> = (0..100)
        .map(|_| AsyncFd::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap()))
        .collect();
    for _ in 0..20 {
        let mut waits: Vec<_> = counters.iter().map(AsyncFd::readable).collect();
        for wait in &mut waits {
            assert!(poll_now(wait).await.is_pending());
        }
        submitted().await;
        for counter in &counters {
            rustix::io::write(counter.inner(), &1u64.to_ne_bytes()).unwrap();
        }
        for wait in waits {
            let mut guard = wait.await.unwrap();
            let read = guard
                .try_io(|fd: &AsyncFd<OwnedFd>| Ok(rustix::io::read(fd.inner(), &mut [0; 8])?));
            assert_eq!(read.unwrap().unwrap(), 8);
            // That was all: the next wait is a wait.
            let read = guard
                .try_io(|fd: &AsyncFd<OwnedFd>| Ok(rustix::io::read(fd.inner(), &mut [0; 8])?));
            assert!(read.is_err());
        }
    }
    until(|| metrics().in_flight <= counters.len()).await;
}

// --- E8: loops that others run ----------------------------------------------------------------------

fn e8_run_once_is_one_round_and_returns(ring: Ring) {
    let runtime = ring.builder().budget(64).build().unwrap();
    let polls = Rc::new(Cell::new(0));
    let count = polls.clone();
    let (ours, mut theirs) = pair();
    let task = runtime.spawn(async move {
        for _ in 0..100 {
            count.set(count.get() + 1);
            runtime::yield_now().await;
        }
        let ours = AsyncFd::new(ours);
        drop(ours.readable().await.unwrap());
    });
    assert!(runtime.run_once().unwrap().more);
    assert_eq!(polls.get(), 64);
    while runtime.run_once().unwrap().more {}
    assert_eq!(polls.get(), 100);
    let sleeps = runtime.metrics().driver.sleeps;
    let round = runtime.run_once().unwrap();
    assert!(!round.more);
    assert_eq!((round.next_timer, round.timeout()), (None, None));
    theirs.write_all(b"x").unwrap();
    for _ in 0..3 {
        let _ = runtime.run_once().unwrap();
    }
    assert!(task.is_finished());
    assert_eq!(runtime.metrics().driver.sleeps, sleeps);
}

/// A runtime with a descriptor to wait for.
fn embedded(ring: Ring) -> Runtime {
    ring.builder().embedded(true).build().unwrap()
}

/// A plain epoll loop, with the runtime and one descriptor of its own in it.
struct Foreign<'a> {
    epoll: OwnedFd,
    runtime: &'a Runtime,
    bell: OwnedFd,
}

impl<'a> Foreign<'a> {
    fn new(runtime: &'a Runtime) -> Foreign<'a> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let bell = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let fds = [runtime.wait_fd().unwrap(), bell.as_fd()];
        for (n, fd) in (0..).zip(fds) {
            let data = epoll::EventData::new_u64(n);
            epoll::add(&epoll, fd, data, epoll::EventFlags::IN).unwrap();
        }
        Foreign {
            epoll,
            runtime,
            bell,
        }
    }

    /// Until `done`; `rung` is called when the loop's own descriptor is readable. It sleeps as long as it was told: what
    /// is missed hangs it.
    fn drive(&self, done: impl Fn() -> bool, mut rung: impl FnMut()) {
        let nothing = epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        };
        while !done() {
            let round = self.runtime.run_once().unwrap();
            if done() {
                return;
            }
            let mut events = [nothing; 4];
            let timeout = round.timeout().map(|t| Timespec::try_from(t).unwrap());
            let n = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Ok(n) => n,
                Err(Errno::INTR) => 0,
                Err(errno) => panic!("{errno}"),
            };
            if events[..n].iter().any(|event| event.data.u64() == 1) {
                rustix::io::read(&self.bell, &mut [0; 8]).unwrap();
                rung();
            }
        }
    }
}

/// A thread that sends every byte back.
fn echo(mut end: UnixStream) -> std::thread::JoinHandle<()> {
    end.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        let mut byte = [0];
        while end.read(&mut byte).unwrap() > 0 {
            end.write_all(&byte).unwrap();
        }
    })
}

async fn ping(end: Fd, rounds: u32) {
    for _ in 0..rounds {
        Op::on(&end, op::Send::new([7])).await.0.unwrap();
        assert_eq!(Op::on(&end, op::Recv::new([0])).await.1, [7]);
    }
}

fn e8_a_foreign_epoll_loop_misses_no_completion(ring: Ring) {
    let runtime = embedded(ring);
    let foreign = Foreign::new(&runtime);
    let (ours, theirs) = pair();
    let echo = echo(theirs);
    let task = runtime.spawn(ping(Fd::new(ours.into()), 2_000));
    foreign.drive(|| task.is_finished(), || {});
    echo.join().unwrap();
    // The same by readiness.
    let (ours, theirs) = pair();
    let echo = self::echo(theirs);
    let task = runtime.spawn(async move {
        let ours = AsyncFd::new(ours);
        for _ in 0..2_000 {
            ours.inner().write_all(b"x").unwrap();
            let read = ours.async_io(Interest::READABLE, |mut ours| ours.read(&mut [0]));
            assert_eq!(read.await.unwrap(), 1);
        }
    });
    foreign.drive(|| task.is_finished(), || {});
    echo.join().unwrap();
    // Of an eventfd that another thread writes to, too.
    let counter = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
    let answer = eventfd(0, EventfdFlags::empty()).unwrap();
    let (asked, answered) = (counter.clone(), answer.try_clone().unwrap());
    let thread = std::thread::spawn(move || {
        for _ in 0..2_000 {
            rustix::io::write(&asked, &1u64.to_ne_bytes()).unwrap();
            rustix::io::read(&answered, &mut [0; 8]).unwrap();
        }
    });
    let task = runtime.spawn(async move {
        let counter = AsyncFd::new(counter);
        for _ in 0..2_000 {
            let read = |fd: &Arc<OwnedFd>| Ok(rustix::io::read(fd, &mut [0; 8])?);
            counter.async_io(Interest::READABLE, read).await.unwrap();
            rustix::io::write(&answer, &1u64.to_ne_bytes()).unwrap();
        }
    });
    foreign.drive(|| task.is_finished(), || {});
    thread.join().unwrap();
}

fn e8_a_foreign_epoll_loop_misses_no_wake_from_another_thread(ring: Ring) {
    const ROUNDS: u32 = 2_000;
    let runtime = embedded(ring);
    let foreign = Foreign::new(&runtime);
    let handle = runtime.handle();
    let (ran, has_run) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        for n in 0..ROUNDS {
            let ran = ran.clone();
            drop(handle.spawn(async move { ran.send(n).unwrap() }));
            assert_eq!(has_run.recv().unwrap(), n);
        }
    });
    foreign.drive(
        || thread.is_finished() || runtime.metrics().spawned == u64::from(ROUNDS),
        || {},
    );
    thread.join().unwrap();
}

fn e8_a_foreign_epoll_loop_misses_no_timer(ring: Ring) {
    let runtime = embedded(ring);
    let foreign = Foreign::new(&runtime);
    let task = runtime.spawn(async {
        for n in 0..20 {
            let begun = Instant::now();
            sleep(Duration::from_micros(n * 100)).await;
            assert!(begun.elapsed() >= Duration::from_micros(n * 100));
        }
    });
    foreign.drive(|| task.is_finished(), || {});
}

fn e8_a_foreign_epoll_loop_misses_nothing_done_between_its_rounds(ring: Ring) {
    let runtime = embedded(ring);
    let foreign = Foreign::new(&runtime);
    let ring_bell = || {
        rustix::io::write(&foreign.bell, &1u64.to_ne_bytes()).unwrap();
    };
    let woken = Rc::new(RefCell::new(None::<Waker>));
    let rounds = Rc::new(Cell::new(0));
    let (seat, count) = (woken.clone(), rounds.clone());
    let task = runtime.spawn(poll_fn(move |cx| {
        *seat.borrow_mut() = Some(cx.waker().clone());
        count.set(count.get() + 1);
        if count.get() > 1_000 {
            return Poll::Ready(());
        }
        Poll::Pending
    }));
    ring_bell();
    // What the loop does for its own descriptor wakes a task, and spawns another.
    let rung = || {
        if let Some(waker) = &*woken.borrow() {
            waker.wake_by_ref();
        }
        drop(runtime.spawn(async {}));
        ring_bell();
    };
    foreign.drive(|| task.is_finished(), rung);
    assert_eq!(rounds.get(), 1_001);
    assert_eq!(runtime.metrics().tasks, 0, "all that was spawned has run");
}

fn e8_another_runtime_is_the_foreign_loop(ring: Ring) {
    let (outer, inner) = (ring.runtime(), embedded(ring));
    let (ours, theirs) = pair();
    let echo = echo(theirs);
    let task = inner.spawn(async move {
        ping(Fd::new(ours.into()), 1_000).await;
        sleep(Duration::from_millis(1)).await;
    });
    outer.block_on(async {
        let bell = AsyncFd::new(inner.wait_fd().unwrap());
        loop {
            let round = inner.run_once().unwrap();
            if task.is_finished() {
                break;
            }
            match round.timeout() {
                Some(limit) => drop(timeout(limit, bell.readable()).await),
                None => drop(bell.readable().await.unwrap()),
            }
        }
    });
    echo.join().unwrap();
}

fn e8_the_descriptor_is_readable_until_a_round_and_no_longer(ring: Ring) {
    let runtime = embedded(ring);
    let readable = |limit: Option<&Timespec>| {
        let fd = runtime.wait_fd().unwrap();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        loop {
            match rustix::event::poll(&mut fds, limit) {
                Ok(n) => return n == 1,
                Err(errno) => assert_eq!(errno, Errno::INTR),
            }
        }
    };
    for _ in 0..100 {
        while runtime.run_once().unwrap().more {}
        assert!(!readable(Some(&Timespec::default())));
        let task = runtime.spawn(async {});
        for _ in 0..3 {
            assert!(readable(None));
        }
        while runtime.run_once().unwrap().more {}
        assert!(task.is_finished());
    }
}

fn e8_a_runtime_that_is_not_embedded_says_what_to_do(ring: Ring) {
    let error = ring.runtime().wait_fd().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("embedded"), "{error}");
}

/// An epoll set with an eventfd in it, which is number 7.
async fn epoll_set() -> (Fd, Arc<OwnedFd>) {
    let set = Fd::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
    let counter = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
    let add = op::EpollCtl::add(counter.clone(), op::Events::READ, 7);
    Op::on(&set, add).await.unwrap();
    (set, counter)
}

async fn e8_an_epoll_set_is_changed_and_waited_for_through_the_ring(_: Ring) {
    let (set, counter) = epoll_set().await;
    if !driver().supports(EPOLL_WAIT) {
        return skip("no IORING_OP_EPOLL_WAIT");
    }
    let add = op::EpollCtl::add(counter.clone(), op::Events::READ, 8);
    let error = Op::on(&set, add).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    let mut events = op::EpollEvents::with_capacity(4);
    for _ in 0..10 {
        let mut wait = Op::on(&set, op::EpollWait::new(events));
        assert!(poll_now(&mut wait).await.is_pending());
        submitted().await;
        rustix::io::write(&counter, &1u64.to_ne_bytes()).unwrap();
        let (count, got) = wait.await;
        assert_eq!(count.unwrap(), 1);
        assert_eq!(got.iter().collect::<Vec<_>>(), [(7, op::Events::READ)]);
        rustix::io::read(&counter, &mut [0; 8]).unwrap();
        events = got;
    }
    let wait = Op::on(&set, op::EpollWait::new(events)).timeout(Duration::from_millis(1));
    let (result, events) = wait.await;
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(events.iter().count(), 0);
    // One that is dropped takes no event with it: they are level-triggered here.
    let mut dropped = Op::on(&set, op::EpollWait::new(events));
    assert!(poll_now(&mut dropped).await.is_pending());
    submitted().await;
    drop(dropped);
    rustix::io::write(&counter, &1u64.to_ne_bytes()).unwrap();
    let modify = op::EpollCtl::modify(counter.clone(), op::Events::READ, 9);
    Op::on(&set, modify).await.unwrap();
    let wait = Op::on(&set, op::EpollWait::new(op::EpollEvents::with_capacity(1)));
    assert_eq!(wait.await.1.iter().next(), Some((9, op::Events::READ)));
    let delete = op::EpollCtl::delete(counter);
    Op::on(&set, delete).await.unwrap();
    let nothing = op::EpollWait::new(op::EpollEvents::with_capacity(0));
    let error = Op::on(&set, nothing).await.0.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

async fn e8_an_epoll_set_is_watched_by_readiness(_: Ring) {
    let (set, counter) = epoll_set().await;
    let set = AsyncFd::new(set);
    for _ in 0..10 {
        let mut wait = set.readable();
        assert!(poll_now(&mut wait).await.is_pending());
        submitted().await;
        rustix::io::write(&counter, &1u64.to_ne_bytes()).unwrap();
        let guard = wait.await.unwrap();
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }];
        let none = Some(&Timespec::default()).copied();
        assert_eq!(
            epoll::wait(guard.inner(), &mut events, none.as_ref()),
            Ok(1)
        );
        assert_eq!({ events[0].data }.u64(), 7);
        rustix::io::read(&counter, &mut [0; 8]).unwrap();
    }
}

fn e8_without_their_opcodes_a_set_is_changed_by_a_call_and_its_wait_refused(ring: Ring) {
    let builder = ring.builder().without([EPOLL_CTL, EPOLL_WAIT]);
    builder.build().unwrap().block_on(async {
        let (set, _counter) = epoll_set().await;
        let events = op::EpollEvents::with_capacity(4);
        let error = Op::on(&set, op::EpollWait::new(events))
            .await
            .0
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("6.15"), "{error}");
    });
}

// --- E10, E11: signals among the rest ---------------------------------------------------------------

async fn e10_a_signal_during_each_of_a_thousand_pipe_events_is_counted(_: Ring) {
    const EVENTS: usize = 1_000;
    let mut listener = signal(SignalKind::user_defined1()).unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let reader = AsyncFd::new(reader);
    let heard = runtime::spawn(async move {
        for _ in 0..EVENTS {
            listener.recv().await.unwrap();
        }
        listener
    });
    for _ in 0..EVENTS {
        writer.write_all(b"x").unwrap();
        let read = reader.async_io(Interest::READABLE, |mut pipe| {
            // In the midst of the event.
            raise_usr1();
            pipe.read(&mut [0; 2])
        });
        assert_eq!(read.await.unwrap(), 1);
    }
    let mut listener = heard.await.unwrap();
    let mut more = pin!(listener.recv());
    assert!(poll_now(&mut more).await.is_pending());
    submitted().await;
    assert!(
        poll_now(&mut more).await.is_pending(),
        "told once too often"
    );
}

/// What logs its name when it has run, once for each kind of thing that can be ready.
struct Kinds {
    log: Rc<RefCell<Vec<&'static str>>>,
    timer: Rc<RefCell<Pin<Box<Sleep>>>>,
    theirs: UnixStream,
}

impl Kinds {
    /// Tasks that wait for a timer, a signal and a descriptor, to be spawned by `spawn`.
    fn wait(spawn: impl Fn(Pin<Box<dyn Future<Output = ()>>>)) -> Kinds {
        let log = Rc::new(RefCell::new(Vec::new()));
        let timer = Rc::new(RefCell::new(Box::pin(sleep(Duration::from_secs(3600)))));
        let (ours, theirs) = pair();
        // Their places in the run queue are not those in which they have to run.
        let seen = log.clone();
        spawn(Box::pin(async move {
            drop(AsyncFd::new(ours).readable().await.unwrap());
            seen.borrow_mut().push("descriptor");
        }));
        let seen = log.clone();
        spawn(Box::pin(async move {
            let mut listener = signal(SignalKind::user_defined1()).unwrap();
            listener.recv().await.unwrap();
            seen.borrow_mut().push("signal");
        }));
        let (seen, due) = (log.clone(), timer.clone());
        spawn(Box::pin(async move {
            poll_fn(|cx| due.borrow_mut().as_mut().poll(cx)).await;
            seen.borrow_mut().push("timer");
        }));
        Kinds { log, timer, theirs }
    }

    fn says(&self, name: &'static str) -> impl Future<Output = ()> + 'static {
        let log = self.log.clone();
        async move { log.borrow_mut().push(name) }
    }

    /// Makes all of it ready, without giving anybody a turn.
    fn make_ready(&mut self) {
        let due = Instant::now() + Duration::from_millis(1);
        self.timer.borrow_mut().as_mut().reset(due);
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        raise_usr1();
        self.theirs.write_all(b"x").unwrap();
    }
}

const ORDER: [&str; 4] = ["immediate", "timer", "signal", "descriptor"];

fn e11_all_that_is_ready_runs_once_and_in_order(ring: Ring) {
    let runtime = ring.runtime();
    let mut kinds = Kinds::wait(|task| drop(runtime.spawn(task)));
    for _ in 0..3 {
        let _ = runtime.run_once().unwrap();
    }
    kinds.make_ready();
    drop(runtime.spawn(kinds.says("immediate")));
    let _ = runtime.run_once().unwrap();
    assert_eq!(*kinds.log.borrow(), ORDER, "all in one round");
    for _ in 0..3 {
        let _ = runtime.run_once().unwrap();
    }
    assert_eq!(*kinds.log.borrow(), ORDER, "and once");
}

async fn e11_so_it_does_in_block_on(_: Ring) {
    let mut kinds = Kinds::wait(|task| drop(runtime::spawn(task)));
    until(|| metrics().in_flight >= 2).await;
    submitted().await;
    kinds.make_ready();
    drop(runtime::spawn(kinds.says("immediate")));
    until(|| kinds.log.borrow().len() == 4).await;
    submitted().await;
    assert_eq!(*kinds.log.borrow(), ORDER);
}
