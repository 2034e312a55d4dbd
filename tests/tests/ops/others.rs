//! Operations that belong nowhere else.

use std::cell::RefCell;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use annulet_tests::driver;
use runtime::{Builder, Fd, Op, Runtime, op};
use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::case::{Case, SENT, blocked, endless, instant, operations};
use crate::pipes::NOT_A_SOCKET;
use crate::sockets::{Pair, pair, send_to};

operations! {
    close_alone: CloseFd;
    epoll_ctl: EpollCtl;
    epoll_wait: EpollWait;
    futex_wait: FutexWait;
    futex_wake: FutexWake;
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

/// An epoll set; one end of a pair; the other, which the first may hear from.
type Set = (Fd, Arc<OwnedFd>, UnixStream);

fn set() -> Set {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a set");
    let (member, theirs) = UnixStream::pair().expect("a socket pair");
    (Fd::new(set), Arc::new(member.into()), theirs)
}

fn set_with_member() -> Set {
    let (set, member, theirs) = set();
    let (data, flags) = (epoll::EventData::new_u64(7), epoll::EventFlags::IN);
    set.with(|set| Ok(epoll::add(set, &member, data, flags)?))
        .expect("it is added");
    (set, member, theirs)
}

fn no_set() -> Set {
    let (set, member, theirs) = set();
    drop(set);
    (NOT_A_SOCKET(), member, theirs)
}

fn epoll_ctl() -> Case<Set, Op<op::EpollCtl>> {
    instant(set, |(set, member, _), _| {
        let add = op::EpollCtl::add(member.clone(), op::Events::READ, 7);
        Op::on(set, add)
    })
    .on(|(set, ..)| set)
    .fails(libc::EINVAL, no_set)
    .once()
    .falls_back()
    .opens()
}

fn epoll_wait() -> Case<Set, Op<op::EpollWait>> {
    blocked(
        set_with_member,
        |(set, ..), _| {
            let events = op::EpollEvents::with_capacity(8);
            Op::on(set, op::EpollWait::new(events))
        },
        |(_, _, theirs)| {
            let mut theirs = theirs;
            theirs.write_all(&SENT).expect("there is room");
        },
    )
    .on(|(set, ..)| set)
    .gives(|(_, events)| events.iter().eq([(7, op::Events::READ)]))
    .fails(libc::EINVAL, no_set)
}

/// A word that nobody changes.
type Word = Arc<AtomicU32>;

/// Being woken is no state that the next one could find: the spec suite has that.
fn futex_wait() -> Case<Word, Op<op::FutexWait<Word>>> {
    endless(Word::default, |word, _| {
        Op::new(op::FutexWait::new(word.clone(), 0))
    })
}

fn futex_wake() -> Case<Word, Op<op::FutexWake<Word>>> {
    instant(Word::default, |word, _| {
        Op::new(op::FutexWake::new(word.clone(), 1))
    })
    .gives(|woken| woken.as_ref().is_ok_and(|n| *n == 0))
    .falls_back()
}

fn message_to_another_ring() -> Case<Runtime, Op<op::MsgRing>> {
    instant(
        || {
            // A message goes from ring to ring of one kind.
            let kind = driver().kind();
            Builder::new().driver(kind).build().expect("a ring")
        },
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
