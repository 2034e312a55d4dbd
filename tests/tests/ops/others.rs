//! Operations that belong nowhere else.

use std::time::Duration;

use runtime::{Fd, Op, Runtime, op};

use crate::case::{Case, blocked, endless, instant, operations};
use crate::sockets::{Pair, pair, send_to};

operations! {
    close_alone: CloseFd;
    message_to_another_ring: MsgRing;
    nop: Nop;
    poll: PollAdd;
    timeout_in_an_hour: Timeout;
    timeout_in_a_moment: Timeout;
}

fn close_alone() -> Case<Fd, Op<op::CloseFd>> {
    instant(|| pair().0, |ours, _| op::CloseFd::of(ours)).once()
}

fn message_to_another_ring() -> Case<Runtime, Op<op::MsgRing>> {
    instant(
        || Runtime::new().expect("a ring"),
        |other, _| Op::new(op::MsgRing::wake(&other.driver().unparker())),
    )
    .opens()
}

fn nop() -> Case<(), Op<op::Nop>> {
    instant(|| (), |(), _| Op::new(op::Nop::new()))
}

fn poll() -> Case<Pair, Op<op::PollAdd>> {
    blocked(
        pair,
        |(ours, _), _| Op::on(ours, op::PollAdd::new(op::Events::READ)),
        send_to,
    )
    .on(|(ours, _)| ours)
    .gives(|result| result.as_ref().is_ok_and(|e| e.contains(op::Events::READ)))
}

fn timeout_in_an_hour() -> Case<(), Op<op::Timeout>> {
    endless(
        || (),
        |(), _| Op::new(op::Timeout::new(Duration::from_secs(3600))),
    )
}

fn timeout_in_a_moment() -> Case<(), Op<op::Timeout>> {
    instant(
        || (),
        |(), _| Op::new(op::Timeout::new(Duration::from_micros(50))),
    )
}
