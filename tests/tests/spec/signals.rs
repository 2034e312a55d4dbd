//! Signals: the listeners of `runtime::signal`. All of this is alone: a signal is the whole process's.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use annulet_tests::{Ring, fds, poll_now, poll_once, spec, submitted, threads, until};
use futures_lite::StreamExt;
use runtime::signal::ctrl_c;
use runtime::signal::unix::{Signal, SignalKind, signal};
use rustix::process::{getpid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::raise;

spec! {
    alone async e10_a_signal_raised_a_thousand_times_is_received_a_thousand_times;
    alone async e10_signals_that_nobody_waits_for_are_counted;
    alone async e10_queued_signals_are_counted_one_by_one;
    alone async a_signal_wakes_a_runtime_that_sleeps;
    alone async a_receive_dropped_a_thousand_times_loses_no_signal;
    alone async a_stream_of_signals_dropped_at_any_time_loses_none;
    alone async every_listener_gets_every_signal_of_its_kind;
    alone async what_is_too_much_to_count_delays_no_handler;
    alone listeners_work_in_several_runtimes_and_outlive_the_first;
    alone async a_listener_leaves_nothing_but_the_handler;
    alone async ctrl_c_is_an_interrupt_that_comes_while_it_is_awaited;
}

fn usr1() -> Signal {
    signal(SignalKind::user_defined1()).unwrap()
}

/// How often `listener` was told and has not said so yet.
async fn count(listener: &mut Signal) -> usize {
    let mut count = 0;
    loop {
        let mut recv = pin!(listener.recv());
        if poll_now(&mut recv).await.is_pending() {
            // Pipes are read as soon as they are asked: now there is an answer, or there was nothing.
            submitted().await;
            if poll_now(&mut recv).await.is_pending() {
                return count;
            }
        }
        count += 1;
    }
}

async fn e10_a_signal_raised_a_thousand_times_is_received_a_thousand_times(_: Ring) {
    let mut listener = usr1();
    for _ in 0..1_000 {
        raise(SIGUSR1).unwrap();
        assert_eq!(listener.recv().await, Some(()));
    }
    assert_eq!(count(&mut listener).await, 0);
}

async fn e10_signals_that_nobody_waits_for_are_counted(_: Ring) {
    let mut listener = usr1();
    for _ in 0..1_000 {
        raise(SIGUSR1).unwrap();
    }
    assert_eq!(count(&mut listener).await, 1_000);
}

async fn e10_queued_signals_are_counted_one_by_one(_: Ring) {
    let realtime = libc::SIGRTMIN() + 3;
    let mut listener = signal(SignalKind::from_raw(realtime)).unwrap();
    let senders: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || (0..250).for_each(|_| raise(realtime).unwrap())))
        .collect();
    for _ in 0..1_000 {
        listener.recv().await.unwrap();
    }
    senders.into_iter().for_each(|s| s.join().unwrap());
    assert_eq!(count(&mut listener).await, 0);
}

async fn a_signal_wakes_a_runtime_that_sleeps(_: Ring) {
    let mut listener = usr1();
    let (sleeps, is_asleep) = mpsc::channel::<()>();
    let sender = thread::spawn(move || {
        while is_asleep.recv().is_ok() {
            kill_process(getpid(), rustix::process::Signal::USR1).unwrap();
        }
    });
    for _ in 0..100 {
        let mut recv = pin!(listener.recv());
        assert!(poll_now(&mut recv).await.is_pending());
        sleeps.send(()).unwrap();
        recv.await.unwrap();
    }
    drop(sleeps);
    sender.join().unwrap();
}

async fn a_receive_dropped_a_thousand_times_loses_no_signal(_: Ring) {
    let mut listener = usr1();
    let mut received = 0;
    for round in 0..1_000 {
        if round % 2 == 0 {
            raise(SIGUSR1).unwrap();
        }
        let mut recv = pin!(listener.recv());
        received += usize::from(poll_now(&mut recv).await.is_ready());
        if round % 3 == 0 {
            submitted().await;
        }
    }
    assert_eq!(received + count(&mut listener).await, 500);
}

async fn a_stream_of_signals_dropped_at_any_time_loses_none(_: Ring) {
    let mut listener = usr1();
    let mut received = 0;
    for round in 0..300 {
        let mut stream = listener.stream();
        raise(SIGUSR1).unwrap();
        for _ in 0..round % 4 {
            let item = poll_now(&mut stream.next()).await;
            received += usize::from(item.is_ready());
            submitted().await;
        }
    }
    assert_ne!(received, 0);
    assert_eq!(received + count(&mut listener).await, 300);
}

async fn every_listener_gets_every_signal_of_its_kind(_: Ring) {
    let (mut one, mut other) = (usr1(), usr1());
    let mut usr2 = signal(SignalKind::user_defined2()).unwrap();
    raise(SIGUSR1).unwrap();
    raise(SIGUSR1).unwrap();
    raise(SIGUSR2).unwrap();
    assert_eq!(count(&mut one).await, 2);
    drop(one);
    raise(SIGUSR1).unwrap();
    assert_eq!(count(&mut other).await, 3);
    assert_eq!(count(&mut usr2).await, 1);
    // One that begins to listen has missed what was.
    assert_eq!(count(&mut usr1()).await, 0);
}

async fn what_is_too_much_to_count_delays_no_handler(_: Ring) {
    let mut listener = usr1();
    for _ in 0..70_000 {
        raise(SIGUSR1).unwrap();
    }
    assert_eq!(count(&mut listener).await, 65_536);
    raise(SIGUSR1).unwrap();
    assert_eq!(count(&mut listener).await, 1);
}

fn listeners_work_in_several_runtimes_and_outlive_the_first(ring: Ring) {
    let first = ring.runtime();
    let mut moves = first.block_on(async {
        let mut listener = usr1();
        // In flight when its runtime ends.
        assert!(poll_now(&mut pin!(listener.recv())).await.is_pending());
        submitted().await;
        listener
    });
    let (ready, is_ready) = mpsc::channel();
    let others: Vec<_> = (0..2)
        .map(|_| {
            let ready = ready.clone();
            thread::spawn(move || {
                ring.runtime().block_on(async {
                    let mut listener = usr1();
                    {
                        let mut recv = pin!(listener.recv());
                        assert!(poll_now(&mut recv).await.is_pending());
                        ready.send(()).unwrap();
                        recv.await.unwrap();
                    }
                    listener.recv().await.unwrap();
                });
            })
        })
        .collect();
    others.iter().for_each(|_| is_ready.recv().unwrap());
    first.block_on(async {
        raise(SIGUSR1).unwrap();
        usr1()
    });
    drop(first);
    raise(SIGUSR1).unwrap();
    others.into_iter().for_each(|other| other.join().unwrap());
    ring.runtime().block_on(async {
        moves.recv().await.unwrap();
        moves.recv().await.unwrap();
        assert_eq!(count(&mut moves).await, 0);
    });
}

async fn a_listener_leaves_nothing_but_the_handler(_: Ring) {
    let before = (fds(), threads());
    let mut listeners = [usr1(), signal(SignalKind::terminate()).unwrap()];
    assert_eq!(threads(), before.1);
    raise(SIGTERM).unwrap();
    listeners[1].recv().await.unwrap();
    assert!(poll_now(&mut pin!(listeners[0].recv())).await.is_pending());
    drop(listeners);
    until(|| fds() == before.0).await;
    // This would end the process otherwise.
    raise(SIGTERM).unwrap();
    raise(SIGUSR1).unwrap();
}

async fn ctrl_c_is_an_interrupt_that_comes_while_it_is_awaited(_: Ring) {
    let pressed = Rc::new(Cell::new(0));
    let mut waiting = pin!(async {
        ctrl_c().await.unwrap();
        pressed.set(pressed.get() + 1);
    });
    assert!(poll_now(&mut waiting).await.is_pending());
    let _hangup = signal(SignalKind::hangup()).unwrap();
    raise(SIGHUP).unwrap();
    submitted().await;
    assert!(poll_now(&mut waiting).await.is_pending());
    raise(SIGINT).unwrap();
    waiting.await;
    assert_eq!(pressed.get(), 1);
    // Between two of them.
    raise(SIGINT).unwrap();
    let mut next = Box::pin(ctrl_c());
    assert!(poll_now(&mut next).await.is_pending());
    submitted().await;
    assert!(poll_once(&mut next).is_pending());
}
