//! Operations linked: the kernel runs one after the other, without a turn between them.
//!
//! A chain is staged whole, by one tail store; it is never split over two submissions. Each member has a slot
//! of its own and gives a result of its own. A soft chain breaks where a member fails (or falls short: a read
//! that reads less than it was asked for, a receive or send with `MSG_WAITALL`): the members after it answer
//! `ECANCELED`. A hard chain runs on.
//!
//! A chain takes the directions of all its members before it starts, all or none, so two chains cannot wait for
//! each other. Members on the same direction of one descriptor share it, and the last one gives it up.

mod seats;
mod tuple;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use io_uring::squeue::Flags;

use self::seats::{Seats, give_back, gives_up, take_seats};
use crate::cancel::{TokenSeat, cancelled};
use crate::current;
use crate::driver::Driver;
use crate::fd::{FdRef, Lane};
use crate::op::{FDS, GivesUp, Op, Operation, Refused, SEATS, Seat, Which};
use crate::slots::Key;

/// Links the operations of a tuple, two to eight of them: each starts when the one before it has succeeded.
///
/// If one fails or falls short, those after it resolve as cancelled ([`is_cancelled`](crate::is_cancelled)) and do nothing.
/// To the kernel these are no failures: of what is done with names (unlink, rename, make directory, link, status,
/// attributes; but opening), and to files as a whole (sync, allocate, truncate). Whoever renames only what was synced
/// awaits the sync. The result is a tuple of all results.
///
/// A member's deadline counts from the member's own start.
///
/// # Cancel safety
///
/// A dropped chain is cancelled: members that had not started do nothing.
pub fn chain<L: Links>(links: L) -> Chain<L> {
    Chain::new(links, Flags::IO_LINK)
}

/// As [`chain`], but each operation starts when the one before it has ended, however it ended.
///
/// # Cancel safety
///
/// A dropped chain is cancelled member by member, as each starts when the one before it has ended, also when that was
/// cancelled. So one that need not wait for anything may still do its work.
pub fn hard_chain<L: Links>(links: L) -> Chain<L> {
    Chain::new(links, Flags::IO_HARDLINK)
}

/// A tuple of operations that can be linked.
pub trait Links: tuple::Tuple {}

/// The future of [`chain`] and [`hard_chain`].
#[must_use = "a chain does nothing until it is awaited"]
pub struct Chain<L: Links> {
    members: L::Members,
    link: Flags,
    stage: Stage,
}

enum Stage {
    /// Not in the kernel yet; perhaps queued for a direction: which member's, and the place in the queue.
    Starting(Option<(FdRef, Lane, u64)>),
    Running,
}

/// A member and, once it has one, its result.
#[doc(hidden)]
#[allow(
    missing_debug_implementations,
    reason = "sealed: nobody outside names it"
)]
pub struct Link<T: Operation> {
    op: Op<T>,
    token_seat: TokenSeat,
    output: Option<T::Output>,
}

/// What a chain needs of a member, whatever its type.
trait Member {
    fn admit(&mut self, driver: &Driver) -> io::Result<()>;
    /// How many entries it takes.
    fn entries(&self) -> usize;
    fn seat(&self, which: Which) -> Option<Seat<'_>>;
    fn closes(&self) -> Option<RawFd>;
    fn seal(&mut self, own: u32) -> io::Result<()>;
    fn place(&mut self, driver: &Driver, gives_up: GivesUp, link: Flags) -> Option<Key>;
    fn is_cancelled(&self) -> bool;
    fn cancel_if_closing(&self, driver: &Driver);
    /// The chain queues (or no longer): a cancel by the member's token must wake it.
    fn queue_by_token(&mut self, waker: Option<&Waker>);
    /// Gives it a result without any I/O.
    fn end(&mut self, error: io::Error);
    /// Whether it has its result.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool;
}

impl<T: Operation> Member for Link<T> {
    fn admit(&mut self, driver: &Driver) -> io::Result<()> {
        match self.op.admit(driver, false) {
            Ok(()) => Ok(()),
            Err(Refused::Error(error)) => Err(error),
            Err(Refused::Fallback(_)) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn entries(&self) -> usize {
        1 + usize::from(self.op.has_deadline())
    }

    fn seat(&self, which: Which) -> Option<Seat<'_>> {
        self.op.seat(which)
    }

    fn closes(&self) -> Option<RawFd> {
        self.op.closes()
    }

    fn seal(&mut self, own: u32) -> io::Result<()> {
        self.op.seal(own)
    }

    fn place(&mut self, driver: &Driver, gives_up: GivesUp, link: Flags) -> Option<Key> {
        self.op.place(driver.clone(), gives_up, Some(link), None)
    }

    fn is_cancelled(&self) -> bool {
        self.op.token_is_cancelled()
    }

    fn cancel_if_closing(&self, driver: &Driver) {
        if let Some((_, key)) = self.op.flight() {
            driver.cancel_if_closing(key);
        }
    }

    fn queue_by_token(&mut self, waker: Option<&Waker>) {
        self.op.queue_by_token(&mut self.token_seat, waker);
    }

    fn end(&mut self, error: io::Error) {
        self.output = self.op.end(Err(error));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if self.output.is_none()
            && let Poll::Ready(output) = self.op.poll_flight(cx)
        {
            self.output = Some(output);
        }
        self.output.is_some()
    }
}

type Members<'a, 'b> = &'a mut [&'b mut dyn Member];

impl<L: Links> Chain<L> {
    fn new(links: L, link: Flags) -> Chain<L> {
        Chain {
            members: links.into_members(),
            link,
            stage: Stage::Starting(None),
        }
    }

    /// Takes all directions and stages the chain. `false`: it has to wait for a direction.
    fn start(&mut self, cx: &mut Context<'_>) -> bool {
        let queued = match &mut self.stage {
            Stage::Running => return true,
            Stage::Starting(queued) => queued.take(),
        };
        let driver = current::driver("a chain");
        let mut cancelled = driver.is_closed();
        L::with(&mut self.members, &mut |members| {
            for member in members.iter_mut() {
                cancelled |= member.is_cancelled();
                member.queue_by_token(None);
            }
        });
        let mut granted = None;
        let mut waits = None;
        if let Some((fd, lane, id)) = queued {
            if fd.is_closing() || cancelled {
                fd.leave(lane, id);
            } else if fd.granted(lane, id, cx.waker()) {
                granted = Some((fd, lane));
            } else {
                waits = Some((fd, lane, id));
            }
        }
        let link = self.link;
        L::with(&mut self.members, &mut |members| {
            if waits.is_none() {
                waits = launch(members, link, granted.take(), &driver, cx);
            }
            if waits.is_some() {
                members
                    .iter_mut()
                    .for_each(|member| member.queue_by_token(Some(cx.waker())));
            }
        });
        let starts = waits.is_none();
        self.stage = if starts {
            Stage::Running
        } else {
            Stage::Starting(waits)
        };
        starts
    }
}

/// Stages the chain, or ends it with errors; returns the queue it has to wait in if a direction is busy.
fn launch(
    members: Members<'_, '_>,
    link: Flags,
    granted: Option<(FdRef, Lane)>,
    driver: &Driver,
    cx: &mut Context<'_>,
) -> Option<(FdRef, Lane, u64)> {
    // Also when it has queued: its token may have been cancelled meanwhile.
    if !admit(members, driver) {
        if let Some((fd, lane)) = granted {
            fd.release(lane);
        }
        return None;
    }
    match take_seats(members, granted) {
        Seats::Taken => {}
        Seats::Refused(at, error) => {
            end_all(members, at, error);
            return None;
        }
        Seats::Busy(fd, lane) => match fd.enqueue(lane, cx.waker()) {
            // A close that came before this call woke nobody here.
            Some(id) if fd.is_closing() => {
                fd.leave(lane, id);
                return launch(members, link, None, driver, cx);
            }
            Some(id) => return Some((fd, lane, id)),
            None => return launch(members, link, Some((fd, lane)), driver, cx),
        },
    }
    for at in 0..members.len() {
        if let Err(error) = seal(members, at) {
            give_back(members, members.len() * SEATS);
            end_all(members, at, error);
            return None;
        }
    }
    place_all(members, driver, link);
    None
}

/// Gives member `at` the last word before all are staged.
fn seal(members: Members<'_, '_>, at: usize) -> io::Result<()> {
    let Some(closes) = members[at].closes() else {
        return members[at].seal(0);
    };
    let on_it = |member: &&mut dyn Member, which| {
        member.seat(which).is_some_and(|(fd, _)| fd.raw() == closes)
    };
    let on = |members: &[&mut dyn Member]| -> usize {
        let seats = |m| FDS.iter().filter(|which| on_it(m, **which)).count();
        members.iter().map(seats).sum()
    };
    if on(&members[at + 1..]) > 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a member of the chain uses a descriptor that one before it closes",
        ));
    }
    let own = on(&members[..at]);
    members[at].seal(own as u32)
}

/// Puts all members into slots and stages them together.
fn place_all(members: Members<'_, '_>, driver: &Driver, link: Flags) {
    let mut previous: Option<Key> = None;
    for at in 0..members.len() {
        if previous.is_some() {
            driver.core().link_last(link);
        }
        let gives_up = gives_up(members, at);
        let key = members[at].place(driver, gives_up, link);
        if let (Some(from), Some(to)) = (previous, key) {
            driver.core().slots.link(from, to);
        }
        previous = key;
    }
    driver.stage_group(&mut driver.core());
    for member in members.iter() {
        member.cancel_if_closing(driver);
    }
}

/// Lets every member be refused before anything starts.
fn admit(members: Members<'_, '_>, driver: &Driver) -> bool {
    for at in 0..members.len() {
        if let Err(error) = members[at].admit(driver) {
            end_all(members, at, error);
            return false;
        }
    }
    let needed: usize = members.iter().map(|m| m.entries()).sum();
    if needed > driver.capacity() {
        let error = format!(
            "the chain takes {needed} entries, the submission queue has {}: build the runtime with more entries",
            driver.capacity()
        );
        end_all(
            members,
            0,
            io::Error::new(io::ErrorKind::InvalidInput, error),
        );
        return false;
    }
    true
}

/// Ends the chain before it started: member `at` with `error`, the others as cancelled.
fn end_all(members: Members<'_, '_>, at: usize, error: io::Error) {
    for (_, member) in members.iter_mut().enumerate().filter(|(i, _)| *i != at) {
        member.end(cancelled());
    }
    members[at].end(error);
}

impl<L: Links> Future for Chain<L> {
    type Output = L::Outputs;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<L::Outputs> {
        let this = &mut *self;
        if !this.start(cx) {
            return Poll::Pending;
        }
        let mut done = true;
        L::with(&mut this.members, &mut |members| {
            for member in members.iter_mut() {
                done &= member.poll(cx);
            }
        });
        if done {
            Poll::Ready(L::outputs(&mut this.members))
        } else {
            Poll::Pending
        }
    }
}

impl<L: Links> Unpin for Chain<L> {}

impl<L: Links> Drop for Chain<L> {
    fn drop(&mut self) {
        if let Stage::Starting(Some((fd, lane, id))) = &self.stage {
            fd.leave(*lane, *id);
            L::with(&mut self.members, &mut |members| {
                members
                    .iter_mut()
                    .for_each(|member| member.queue_by_token(None));
            });
        }
    }
}

impl<L: Links> fmt::Debug for Chain<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
