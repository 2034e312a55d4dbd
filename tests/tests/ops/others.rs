//! Operations that belong nowhere else.

use std::cell::RefCell;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use runtime::{Fd, Op, Runtime, op};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::case::{Case, blocked, endless, instant, operations};
use crate::sockets::{Pair, pair, send_to};

operations! {
    close_alone: CloseFd;
    message_to_another_ring: MsgRing;
    nop: Nop;
    poll: PollAdd;
    timeout_in_an_hour: Timeout;
    timeout_in_a_moment: Timeout;
    waitid_by_pid: WaitId;
    waitid_by_pidfd: WaitId;
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

/// A child that ends with its input.
struct Cat {
    child: RefCell<Child>,
    pidfd: Fd,
}

impl Cat {
    fn new() -> Cat {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn();
        let child = child.expect("there is a cat");
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("it is our child");
        Cat {
            child: RefCell::new(child),
            pidfd: Fd::new(pidfd),
        }
    }

    fn end(&self) {
        drop(self.child.borrow_mut().stdin.take());
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        self.end();
        let _ = self.child.get_mut().wait();
    }
}

fn waitid_by_pid() -> Case<Cat, Op<op::WaitId>> {
    blocked(
        Cat::new,
        |cat, _| Op::new(op::WaitId::pid(cat.child.borrow().id())),
        Cat::end,
    )
    .gives(|result| result.as_ref().is_ok_and(ExitStatus::success))
}

fn waitid_by_pidfd() -> Case<Cat, Op<op::WaitId>> {
    blocked(
        Cat::new,
        |cat, _| Op::on(&cat.pidfd, op::WaitId::pidfd()),
        Cat::end,
    )
    .on(|cat| &cat.pidfd)
    .gives(|result| result.as_ref().is_ok_and(ExitStatus::success))
}
