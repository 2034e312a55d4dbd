//! G6: serial groups.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read as _};
use std::rc::Rc;
use std::time::Duration;

use annulet_tests::{Ring, metrics, pipe, poll_now, spec, submitted, until, within_a_turn};
use proptest::prelude::{Strategy, any, prop, proptest};
use proptest::test_runner::Config;
use runtime::{CancelToken, Fd, Op, SerialGroup, is_cancelled, op};

spec! {
    async g6_two_operations_of_a_group_never_overlap;
    async g6_groups_are_independent;
    async g6_they_run_in_the_order_of_their_first_polls;
    async g6_a_dropped_member_frees_the_group_at_its_last_completion;
    async g6_a_member_that_waits_is_cancelled_and_leaves_its_place;
    async g6_a_members_deadline_covers_its_waiting;
    async g6_closing_the_descriptor_ends_a_member_that_waits;
    async g6_a_whole_write_holds_its_group_over_all_its_rounds;
    async g6_a_chain_holds_its_group_to_its_end;
    async g6_a_member_without_anything_to_do_holds_nobody_up;
    g6_a_runtime_that_ends_leaves_the_group_free;
    g6_members_on_two_threads_never_overlap;
    g6_whatever_the_delays_a_groups_members_follow_one_another;
}

/// A read that ends when its pipe is written to.
struct Slow {
    reader: Rc<Fd>,
    writer: Fd,
}

impl Slow {
    fn new() -> Slow {
        let (reader, writer) = pipe();
        Slow {
            reader: Rc::new(reader),
            writer,
        }
    }

    fn read(&self, group: &SerialGroup) -> Op<op::Read<[u8; 1]>> {
        Op::on(&self.reader, op::Read::new([0; 1])).in_group(group)
    }

    /// Lets one read end.
    async fn end(&self) {
        Op::on(&self.writer, op::WriteAll::new(*b"."))
            .await
            .0
            .unwrap();
    }
}

/// A member that is over as soon as it is its turn.
fn quick(group: &SerialGroup) -> Op<op::Nop> {
    Op::new(op::Nop::new()).in_group(group)
}

async fn g6_two_operations_of_a_group_never_overlap(_: Ring) {
    let (group, first) = (SerialGroup::new(), Slow::new());
    let mut one = first.read(&group);
    assert!(poll_now(&mut one).await.is_pending());
    let mut two = quick(&group);
    assert!(poll_now(&mut two).await.is_pending());
    submitted().await;
    // Two is not even staged, over any number of submissions.
    for _ in 0..10 {
        submitted().await;
        assert!(poll_now(&mut two).await.is_pending());
    }
    first.end().await;
    one.await.0.unwrap();
    two.await.unwrap();
}

async fn g6_groups_are_independent(_: Ring) {
    let first = Slow::new();
    let mut one = first.read(&SerialGroup::new());
    assert!(poll_now(&mut one).await.is_pending());
    within_a_turn(quick(&SerialGroup::new())).await.unwrap();
    within_a_turn(Op::new(op::Nop::new())).await.unwrap();
    first.end().await;
    one.await.0.unwrap();
}

async fn g6_they_run_in_the_order_of_their_first_polls(_: Ring) {
    let (group, order) = (SerialGroup::new(), Rc::new(RefCell::new(Vec::new())));
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let (op, order) = (quick(&group), order.clone());
            runtime::spawn(async move {
                op.await.unwrap();
                order.borrow_mut().push(n);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.borrow(), (0..50).collect::<Vec<_>>());
}

async fn g6_a_dropped_member_frees_the_group_at_its_last_completion(_: Ring) {
    let (group, first) = (SerialGroup::new(), Slow::new());
    let mut one = first.read(&group);
    assert!(poll_now(&mut one).await.is_pending());
    submitted().await;
    // A read runs on when it is dropped.
    drop(one);
    let mut two = quick(&group);
    for _ in 0..10 {
        submitted().await;
        assert!(poll_now(&mut two).await.is_pending());
    }
    first.end().await;
    two.await.unwrap();
    // One that is cancelled when it is dropped.
    let mut poll = Op::on(&first.reader, op::PollAdd::new(op::Events::READ)).in_group(&group);
    first.read(&SerialGroup::new()).await.0.unwrap();
    assert!(poll_now(&mut poll).await.is_pending());
    submitted().await;
    drop(poll);
    let mut two = quick(&group);
    assert!(
        poll_now(&mut two).await.is_pending(),
        "the cancel is not even submitted"
    );
    two.await.unwrap();
}

async fn g6_a_member_that_waits_is_cancelled_and_leaves_its_place(_: Ring) {
    let (group, first, token) = (SerialGroup::new(), Slow::new(), CancelToken::new());
    let mut one = first.read(&group);
    assert!(poll_now(&mut one).await.is_pending());
    let two = runtime::spawn(quick(&group).cancel_with(&token));
    let mut dropped = quick(&group);
    assert!(poll_now(&mut dropped).await.is_pending());
    let three = runtime::spawn(quick(&group));
    runtime::yield_now().await;
    let report = token.cancel().await;
    assert_eq!((report.cancelled, report.completed), (1, 0));
    assert!(is_cancelled(
        &within_a_turn(two).await.unwrap().unwrap_err()
    ));
    drop(dropped);
    first.end().await;
    one.await.0.unwrap();
    three.await.unwrap().unwrap();
    // Handed the group, and dropped before it knew.
    let mut one = first.read(&group);
    assert!(poll_now(&mut one).await.is_pending());
    let mut dropped = quick(&group);
    assert!(poll_now(&mut dropped).await.is_pending());
    first.end().await;
    one.await.0.unwrap();
    drop(dropped);
    quick(&group).await.unwrap();
}

async fn g6_a_members_deadline_covers_its_waiting(_: Ring) {
    let (group, first) = (SerialGroup::new(), Slow::new());
    let mut one = first.read(&group);
    assert!(poll_now(&mut one).await.is_pending());
    let late = Slow::new();
    let late = late.read(&group).timeout(Duration::from_millis(1)).await;
    assert_eq!(late.0.unwrap_err().kind(), ErrorKind::TimedOut);
    first.end().await;
    one.await.0.unwrap();
    quick(&group).await.unwrap();
}

async fn g6_closing_the_descriptor_ends_a_member_that_waits(_: Ring) {
    let (group, first, second) = (SerialGroup::new(), Slow::new(), Slow::new());
    let mut one = first.read(&group);
    assert!(poll_now(&mut one).await.is_pending());
    let two = runtime::spawn(second.read(&group));
    runtime::yield_now().await;
    second.reader.close().await.unwrap();
    let error = within_a_turn(two).await.unwrap().0.unwrap_err();
    assert!(is_cancelled(&error), "{error}");
    // And of the one that has the group.
    let three = runtime::spawn(quick(&group));
    runtime::yield_now().await;
    first.reader.close().await.unwrap();
    assert!(is_cancelled(&one.await.0.unwrap_err()));
    three.await.unwrap().unwrap();
}

async fn g6_a_whole_write_holds_its_group_over_all_its_rounds(_: Ring) {
    const ALL: usize = 1 << 20;
    let (reader, writer) = pipe();
    let group = SerialGroup::new();
    let all = Op::on(&writer, op::WriteAll::new(vec![7; ALL])).in_group(&group);
    let writing = runtime::spawn(all);
    runtime::yield_now().await;
    let next = runtime::spawn(quick(&group));
    let mut left = ALL;
    while left > 0 {
        // The pipe holds the last 64 KiB.
        assert!(
            !next.is_finished() || left <= 1 << 16,
            "{left} bytes are left"
        );
        let (read, _) = Op::on(&reader, op::Read::new(vec![0; 8192])).await;
        left -= read.unwrap();
    }
    writing.await.unwrap().0.unwrap();
    next.await.unwrap().unwrap();
}

async fn g6_a_chain_holds_its_group_to_its_end(_: Ring) {
    let (group, first, second) = (SerialGroup::new(), Slow::new(), Slow::new());
    let chain = runtime::chain((first.read(&group), second.read(&group)));
    let chain = runtime::spawn(chain);
    runtime::yield_now().await;
    let next = runtime::spawn(quick(&group));
    let ended = Rc::new(Cell::new(0));
    for slow in [&first, &second] {
        for _ in 0..10 {
            submitted().await;
        }
        assert!(!next.is_finished(), "after {} members", ended.get());
        slow.end().await;
        ended.set(ended.get() + 1);
    }
    let (one, two) = chain.await.unwrap();
    one.0.unwrap();
    two.0.unwrap();
    next.await.unwrap().unwrap();
    // A chain waits for its group, and gives it back when it is dropped.
    let mut one = first.read(&group);
    assert!(poll_now(&mut one).await.is_pending());
    let mut chain = runtime::chain((quick(&group), quick(&group)));
    assert!(poll_now(&mut chain).await.is_pending());
    let waits = runtime::spawn(runtime::chain((quick(&group), quick(&group))));
    runtime::yield_now().await;
    drop(chain);
    first.end().await;
    one.await.0.unwrap();
    let (a, b) = waits.await.unwrap();
    a.unwrap();
    b.unwrap();
}

async fn g6_a_member_without_anything_to_do_holds_nobody_up(_: Ring) {
    let (group, slow) = (SerialGroup::new(), Slow::new());
    Op::on(&slow.writer, op::WriteAll::new([]))
        .in_group(&group)
        .await
        .0
        .unwrap();
    // Refused, closed: neither keeps the group.
    let refused = Op::on(&slow.reader, op::Read::new([])).in_group(&group);
    assert!(refused.await.0.is_err());
    slow.reader.close().await.unwrap();
    assert!(slow.read(&group).await.0.is_err());
    within_a_turn(quick(&group)).await.unwrap();
    assert_eq!(metrics().in_flight, 0);
}

fn g6_a_runtime_that_ends_leaves_the_group_free(ring: Ring) {
    let group = SerialGroup::new();
    let slow = Slow::new();
    let runtime = ring.runtime();
    runtime.block_on(async {
        let (one, two) = (slow.read(&group), quick(&group));
        runtime::spawn(one);
        runtime::spawn(two);
        submitted().await;
    });
    drop(runtime);
    ring.runtime().block_on(async {
        quick(&group).await.unwrap();
    });
}

fn g6_members_on_two_threads_never_overlap(ring: Ring) {
    const WHOLE: usize = 200_000;
    const EACH: usize = 10;
    let group = SerialGroup::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let copy = writer.try_clone().unwrap();
    std::thread::scope(|scope| {
        for (letter, writer) in [(1, writer), (2, copy)] {
            let group = &group;
            scope.spawn(move || {
                // Two descriptors: it is not the lane that keeps the writes apart.
                let fd = Fd::new(writer.into());
                ring.runtime().block_on(async {
                    for _ in 0..EACH {
                        let all = op::WriteAll::new(vec![letter; WHOLE]);
                        Op::on(&fd, all).in_group(group).await.0.unwrap();
                    }
                });
            });
        }
        let mut whole = vec![0; WHOLE];
        for _ in 0..2 * EACH {
            reader.read_exact(&mut whole).unwrap();
            assert!(
                whole.iter().all(|byte| *byte == whole[0]),
                "two writes overlapped"
            );
        }
    });
}

/// What becomes of a member of the random test.
#[derive(Clone, Debug)]
struct Member {
    group: usize,
    /// When something happens to it: after those with a smaller one.
    delay: u8,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Awaited,
    Dropped,
    Cancelled,
    Closed,
}

fn member() -> impl Strategy<Value = Member> {
    let fate = prop::sample::select(vec![
        Fate::Awaited,
        Fate::Awaited,
        Fate::Awaited,
        Fate::Dropped,
        Fate::Cancelled,
        Fate::Closed,
    ]);
    (0..3_usize, any::<u8>(), fate).prop_map(|(group, delay, fate)| Member { group, delay, fate })
}

/// Whether the member's read is in flight.
fn flies(member: &Slow) -> bool {
    !format!("{:?}", member.reader).contains("in_flight: 0")
}

async fn run(members: Vec<Member>) {
    let groups = [(); 3].map(|()| SerialGroup::new());
    let order = Rc::new(RefCell::new(vec![Vec::new(); 3]));
    let slows: Vec<_> = members.iter().map(|_| Slow::new()).collect();
    let tokens: Vec<_> = members.iter().map(|_| CancelToken::new()).collect();
    let mut tasks: Vec<_> = (0..members.len())
        .map(|n| {
            let (group, order) = (members[n].group, order.clone());
            let read = slows[n].read(&groups[group]).cancel_with(&tokens[n]);
            Some(runtime::spawn(async move {
                if read.await.0.is_ok() {
                    order.borrow_mut()[group].push(n);
                }
            }))
        })
        .collect();
    let mut turns: Vec<usize> = (0..members.len()).collect();
    turns.sort_by_key(|n| members[*n].delay);
    for n in turns {
        runtime::yield_now().await;
        match members[n].fate {
            Fate::Awaited => slows[n].end().await,
            Fate::Dropped => {
                if let Some(task) = tasks[n].take() {
                    task.abort();
                    let _ = task.await;
                }
                slows[n].end().await;
            }
            Fate::Cancelled => drop(tokens[n].cancel()),
            Fate::Closed => drop(slows[n].reader.close()),
        }
        for _ in 0..3 {
            submitted().await;
            for group in 0..3 {
                let in_flight = (0..members.len())
                    .filter(|n| members[*n].group == group && flies(&slows[*n]))
                    .count();
                assert!(in_flight <= 1, "{in_flight} of a group at once");
            }
        }
    }
    for task in tasks.into_iter().flatten() {
        task.await.unwrap();
    }
    let orders = order.take();
    for (group, order) in groups.iter().zip(orders) {
        assert!(order.is_sorted(), "{order:?}");
        quick(group).await.unwrap();
    }
    // What runs on for nobody ends with its pipe.
    drop(slows);
    until(|| metrics().in_flight == 0).await;
}

fn g6_whatever_the_delays_a_groups_members_follow_one_another(ring: Ring) {
    let config = Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    };
    proptest!(config, |(members in prop::collection::vec(member(), 1..24))| {
        ring.runtime().block_on(run(members));
    });
}
