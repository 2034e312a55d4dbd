//! Datagrams, on every ring. Options, segments and conversions are tested in `annulet-net`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use annulet_tests::{
    Ring, closed_elsewhere, fds, metrics, poll_now, spec, submitted, until, within_a_turn,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use runtime::net::UdpSocket;
use runtime::{Op, is_cancelled, op};

spec! {
    async closing_a_udp_socket_ends_its_receives_in_the_order_of_their_calls;
    async a_receive_times_out_and_the_socket_goes_on;
    async a_datagram_that_is_there_is_received_at_once;
    async a_receive_dropped_as_it_completes_leaves_its_datagram_to_the_next;
    async each_datagram_reaches_one_of_several_tasks;
    alone async a_dropped_udp_socket_leaves_nothing_open;
    datagrams_arrive_whole_and_in_order_whatever_receives_are_dropped;
}

async fn pair() -> (UdpSocket, UdpSocket) {
    let one = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let two = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    one.connect(two.local_addr().unwrap()).await.unwrap();
    two.connect(one.local_addr().unwrap()).await.unwrap();
    (one, two)
}

async fn closing_a_udp_socket_ends_its_receives_in_the_order_of_their_calls(_: Ring) {
    let (one, _two) = pair().await;
    let one = Rc::new(one);
    let (mut first, mut second) = (one.recv_from([0; 8]), one.recv([0; 8]));
    assert!(poll_now(&mut first).await.is_pending());
    assert!(poll_now(&mut second).await.is_pending());
    submitted().await;
    let closing = one.clone();
    let closed = closed_elsewhere(move || closing.close()).await;
    assert!(is_cancelled(&within_a_turn(first).await.0.unwrap_err()));
    assert!(is_cancelled(&within_a_turn(second).await.0.unwrap_err()));
    closed.await.unwrap().unwrap();
    assert!(one.send("x").await.0.is_err());
}

async fn a_receive_times_out_and_the_socket_goes_on(_: Ring) {
    let (one, two) = pair().await;
    for _ in 0..3 {
        let limited = one.recv_from([0; 8]).timeout(Duration::from_millis(1));
        let error = limited.await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
    two.send("late").await.0.unwrap();
    let (result, _) = one.recv_from([0; 8]).await;
    assert_eq!(result.unwrap(), (4, two.local_addr().unwrap()));
}

async fn a_datagram_that_is_there_is_received_at_once(_: Ring) {
    let (one, two) = pair().await;
    for text in ["one", "", "three"] {
        two.send(text).await.0.unwrap();
        let (result, buf) = within_a_turn(one.recv(Vec::with_capacity(64))).await;
        assert_eq!((result.unwrap(), &buf[..]), (text.len(), text.as_bytes()));
    }
}

async fn a_receive_dropped_as_it_completes_leaves_its_datagram_to_the_next(_: Ring) {
    let (one, two) = pair().await;
    let peer = two.local_addr().unwrap();
    for round in 0..10 {
        two.send(vec![round; 10]).await.0.unwrap();
        let mut recv = one.recv(vec![0; 64]);
        assert!(poll_now(&mut recv).await.is_pending());
        submitted().await;
        let landed = metrics();
        assert_eq!((landed.in_flight, landed.live), (0, 1), "not landed");
        drop(recv);
        let (result, buf) = within_a_turn(one.recv_from(Vec::with_capacity(64))).await;
        assert_eq!(result.unwrap(), (10, peer));
        assert_eq!(buf, [round; 10]);
    }
}

async fn each_datagram_reaches_one_of_several_tasks(_: Ring) {
    const TASKS: usize = 8;
    let (one, two) = pair().await;
    let (one, seen) = (Rc::new(one), Rc::new(Cell::new(0_u64)));
    let waiting = Rc::new(Cell::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (one, seen, waiting) = (one.clone(), seen.clone(), waiting.clone());
            runtime::spawn(async move {
                let mut recv = one.recv([0; 1]);
                assert!(poll_now(&mut recv).await.is_pending());
                waiting.set(waiting.get() + 1);
                let (result, [bit]) = recv.await;
                assert_eq!(result.unwrap(), 1);
                seen.set(seen.get() ^ (1 << bit));
            })
        })
        .collect();
    until(|| waiting.get() == TASKS).await;
    for bit in 0..TASKS as u8 {
        two.send([bit]).await.0.unwrap();
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(seen.get(), (1 << TASKS) - 1);
}

async fn a_dropped_udp_socket_leaves_nothing_open(_: Ring) {
    let before = fds();
    for sent in [false, true] {
        let (one, two) = pair().await;
        let mut recv = one.recv_from(vec![0; 8]);
        assert!(poll_now(&mut recv).await.is_pending());
        submitted().await;
        if sent {
            two.send("x").await.0.unwrap();
        }
        drop((one, two));
        drop(recv);
        until(|| metrics().live == 0).await;
        assert_eq!(fds(), before);
    }
}

/// What the property's player does next.
#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    /// Begins a receive of a kind and drops it: at once, or when the kernel has it.
    Drop(Kind, bool),
    /// Receives, if there is something, within no time at all.
    Hurry(Kind),
    Receive(Kind),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    From,
    Vectored,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Plain), Just(Kind::From), Just(Kind::Vectored)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![Just(0), 1..2000_usize].prop_map(Step::Send),
        3 => (kind(), any::<bool>()).prop_map(|(kind, submitted)| Step::Drop(kind, submitted)),
        1 => kind().prop_map(Step::Hurry),
        2 => kind().prop_map(Step::Receive),
    ]
}

fn datagrams_arrive_whole_and_in_order_whatever_receives_are_dropped(ring: Ring) {
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let steps = prop::collection::vec(step(), 1..60);
    let property = |steps| {
        ring.block_on(|_| play(steps));
        Ok(())
    };
    TestRunner::new(config).run(&steps, property).unwrap();
}

/// Room for any datagram.
const ROOM: usize = 2048;

struct Player {
    receiver: UdpSocket,
    peer: SocketAddr,
    /// Sent, and not received yet.
    expected: VecDeque<Vec<u8>>,
}

impl Player {
    /// Checks what has been received, if anything has.
    fn received(&mut self, result: io::Result<(usize, Option<SocketAddr>)>, buf: &[u8]) {
        let (len, peer) = match result {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return,
            other => other.unwrap(),
        };
        let expected = self.expected.pop_front().expect("more than was sent");
        assert_eq!((len, buf), (expected.len(), &expected[..]));
        assert!(peer.is_none_or(|peer| peer == self.peer));
    }

    async fn receive(&mut self, kind: Kind, how: How) {
        let room = Vec::with_capacity(ROOM);
        match kind {
            Kind::Plain => {
                let recv = self.receiver.recv(room);
                if let Some((result, buf)) = how.run(recv).await {
                    self.received(result.map(|len| (len, None)), &buf);
                }
            }
            Kind::From => {
                let recv = self.receiver.recv_from(room);
                if let Some((result, buf)) = how.run(recv).await {
                    self.received(result.map(|(len, peer)| (len, Some(peer))), &buf);
                }
            }
            Kind::Vectored => {
                let recv = self.receiver.recv_vectored([Vec::with_capacity(7), room]);
                if let Some((result, bufs)) = how.run(recv).await {
                    let told = result.map(|message| {
                        let peer = message.peer.and_then(|peer| peer.as_socket());
                        (message.len, peer)
                    });
                    self.received(told, &bufs.concat());
                }
            }
        }
    }
}

/// What becomes of a receive.
#[derive(Clone, Copy, Debug)]
enum How {
    Awaited,
    /// Given up at once, or when the kernel has it; unless it is ready by then.
    Dropped {
        submitted: bool,
    },
    Hurried,
}

impl How {
    async fn run<T: op::Operation>(self, mut recv: Op<T>) -> Option<T::Output> {
        match self {
            How::Awaited => Some(recv.await),
            How::Hurried => Some(recv.timeout(Duration::from_nanos(1)).await),
            How::Dropped { submitted: waits } => match poll_now(&mut recv).await {
                Poll::Ready(output) => Some(output),
                Poll::Pending => {
                    if waits {
                        submitted().await;
                    }
                    None
                }
            },
        }
    }
}

async fn play(steps: Vec<Step>) {
    let (receiver, sender) = pair().await;
    let peer = sender.local_addr().unwrap();
    let mut player = Player {
        receiver,
        peer,
        expected: VecDeque::new(),
    };
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            // The kernel's buffer must hold what nobody has received.
            Step::Send(_) if player.expected.len() >= 16 => {}
            Step::Send(len) => {
                let datagram: Vec<u8> = (0..len).map(|at| (number * 31 + at) as u8).collect();
                sender.send(datagram.clone()).await.0.unwrap();
                player.expected.push_back(datagram);
            }
            Step::Receive(_) if player.expected.is_empty() => {}
            Step::Receive(kind) => player.receive(kind, How::Awaited).await,
            Step::Hurry(kind) => player.receive(kind, How::Hurried).await,
            Step::Drop(kind, submitted) => player.receive(kind, How::Dropped { submitted }).await,
        }
    }
    while !player.expected.is_empty() {
        player.receive(Kind::From, How::Awaited).await;
    }
}
