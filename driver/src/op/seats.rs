//! What an operation needs to itself before it starts, and how it waits for that.
//!
//! Three *seats* at most: its serial group, a lane of its descriptor, a lane of its second one. It takes them one
//! after another and keeps those it has while it queues for the next, so that whoever is first in a group or at a lane
//! is served first. All operations take them in the same order, the group and then the descriptors by address, so
//! none waits for another in a circle. (A chain, which has more of them, takes all or none.)
//!
//! Only when it has all of them is it counted in on its descriptors. While it queues it is counted nowhere, so that
//! it holds up no close; it has each of its descriptors wake it on a close instead.

use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::future::{Op, Phase, Waiting};
use super::{Operation, Success, Timeout};
use crate::cancel::{TokenSeat, cancelled};
use crate::current;
use crate::driver::Driver;
use crate::fd::{Begin, Fd, FdRef, Lane, closed_error};

/// A descriptor, and its lane if that is needed.
pub(crate) type Seat<'a> = (&'a FdRef, Option<Lane>);

/// The second descriptor of an operation that has two.
#[derive(Clone, Debug)]
pub struct Second {
    pub(crate) fd: FdRef,
    pub(crate) lane: Option<Lane>,
}

impl Second {
    /// `fd`, with the direction of it that the operation has to itself while in flight.
    pub(crate) fn of(fd: &Fd, lane: Option<Lane>) -> Second {
        Second {
            fd: fd.shared().clone(),
            lane,
        }
    }

    /// The number, for the entry: open until the operation's last completion.
    pub(crate) fn raw(&self) -> RawFd {
        self.fd.raw()
    }
}

/// One of an operation's seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Own,
    Second,
    Group,
}

/// How many seats an operation can have.
pub(crate) const SEATS: usize = 3;

/// Every seat.
pub(crate) const ALL: [Which; SEATS] = [Which::Group, Which::Own, Which::Second];

/// The seats that are descriptors, on which operations are counted.
pub(crate) const FDS: [Which; 2] = [Which::Own, Which::Second];

/// Which of its lanes an operation gives up when it has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GivesUp {
    pub(crate) own: Option<Lane>,
    pub(crate) second: Option<Lane>,
    pub(crate) group: bool,
}

/// What a read that goes past the bytes kept on its descriptor is answered.
pub(crate) fn kept_error() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "what an earlier, dropped read received waits on this descriptor: read it first",
    )
}

impl<T: Operation> Op<T> {
    /// One of its seats, before it is in flight.
    pub(crate) fn seat(&self, which: Which) -> Option<Seat<'_>> {
        let op = match &*self.phase {
            Phase::Idle(op) => op,
            Phase::Waiting(waiting) => &waiting.op,
            _ => return None,
        };
        self.seat_of(op, which)
    }

    fn seat_of<'a>(&'a self, op: &'a T, which: Which) -> Option<Seat<'a>> {
        match which {
            Which::Own => self.fd.as_ref().map(|fd| (fd, op.lane())),
            Which::Second if T::TWO => op.second().map(|second| (&second.fd, second.lane)),
            Which::Second => None,
            Which::Group => self.extras.group().map(|group| (group, Some(Lane::Write))),
        }
    }

    /// The order in which all operations take their seats.
    fn order(&self, op: &T) -> [Which; SEATS] {
        let place = |which| {
            let (fd, lane) = self.seat_of(op, which)?;
            Some((Arc::as_ptr(fd), lane.map(|lane| lane as usize)))
        };
        match (place(Which::Own), place(Which::Second)) {
            (Some(own), Some(second)) if second < own => [Which::Group, Which::Second, Which::Own],
            _ => ALL,
        }
    }

    pub(super) fn all_seats(&self, own: Option<Lane>) -> GivesUp {
        GivesUp {
            own,
            second: self.seat(Which::Second).and_then(|(_, lane)| lane),
            group: true,
        }
    }

    /// Whether a closer on another thread may not know yet that this driver uses the second descriptor.
    pub(super) fn second_is_foreign(&self, driver: &Driver) -> bool {
        self.seat(Which::Second)
            .is_some_and(|(fd, _)| !fd.is_home(driver.id()))
    }

    // --- counting -------------------------------------------------------------------------------

    /// Counts it in on `which` of its descriptors: all or, if one is closed, none.
    pub(super) fn count_in(
        &self,
        which: &[Which],
        begin: impl Fn(&FdRef, Option<Lane>) -> Begin,
    ) -> Begin {
        let mut kept = Begin::Go;
        for (at, seat) in which.iter().enumerate() {
            let Some((fd, lane)) = self.seat(*seat) else {
                continue;
            };
            match begin(fd, lane) {
                Begin::Closed => {
                    self.count_out(&which[..at]);
                    return Begin::Closed;
                }
                begun => kept = if begun == Begin::GoKept { begun } else { kept },
            }
        }
        kept
    }

    pub(super) fn count_out(&self, which: &[Which]) {
        for (fd, _) in which.iter().filter_map(|which| self.seat(*which)) {
            fd.finish_here();
        }
    }

    /// Gives up the lanes of `which` of its seats.
    pub(super) fn release(&self, which: &[Which]) {
        for (fd, lane) in which.iter().filter_map(|which| self.seat(*which)) {
            if let Some(lane) = lane {
                fd.release(lane);
            }
        }
    }

    /// Ends an operation that has its seats and is counted in, but goes into no slot.
    pub(super) fn end_seated(&mut self, result: io::Result<Success>) -> Option<T::Output> {
        self.release(&ALL);
        self.count_out(&FDS);
        self.end(result)
    }

    // --- waiting --------------------------------------------------------------------------------

    fn is_closing(&self) -> bool {
        let closing = |which| self.seat(which).is_some_and(|(fd, _)| fd.is_closing());
        FDS.into_iter().any(closing)
    }

    /// Takes the seats from the one at `from` on, or queues for the first that is taken. `late`: it has queued.
    pub(super) fn take_seats(
        &mut self,
        driver: Driver,
        from: usize,
        late: bool,
        cx: &mut Context<'_>,
    ) -> Option<T::Output> {
        let Phase::Idle(op) = &*self.phase else {
            return None;
        };
        for (at, which) in self.order(op).into_iter().enumerate().skip(from) {
            let Some((fd, Some(lane))) = self.seat(which) else {
                continue;
            };
            if let Some(id) = fd.enqueue(lane, cx.waker()) {
                return self.queue(at, lane, id, late, cx);
            }
        }
        self.go_seated(driver, late, cx)
    }

    /// It has all its seats: counts it in, and on with it. What is left of a deadline goes with the submission.
    pub(super) fn go_seated(
        &mut self,
        driver: Driver,
        late: bool,
        cx: &Context<'_>,
    ) -> Option<T::Output> {
        let begun = self.count_in(&FDS, |fd, lane| fd.begin_granted(lane));
        if begun == Begin::Closed {
            self.release(&ALL);
            return self.end(Err(if late { cancelled() } else { closed_error() }));
        }
        let kept = |which| match self.seat(which) {
            Some((fd, Some(Lane::Read))) => fd.has_kept(),
            _ => false,
        };
        if begun == Begin::GoKept && kept(Which::Second) {
            return self.end_seated(Err(kept_error()));
        }
        let lane = self.seat(Which::Own).and_then(|(_, lane)| lane);
        self.go(driver, lane, begun == Begin::GoKept, cx)
    }

    /// It queues for the lane at `at`, as waiter `id`.
    fn queue(
        &mut self,
        at: usize,
        lane: Lane,
        id: u64,
        late: bool,
        cx: &mut Context<'_>,
    ) -> Option<T::Output> {
        self.start_clock();
        let Phase::Idle(op) = std::mem::replace(&mut *self.phase, Phase::Done) else {
            return None;
        };
        let mut timer = self
            .extras
            .deadline()
            .map(|d| Box::pin(Op::new(Timeout::new(d.left()))));
        if let Some(timer) = &mut timer {
            // Starts its clock; it cannot be over yet.
            let _ = Pin::new(timer).poll(cx);
        }
        let token = self.extras.token();
        let token_seat = token.map_or(TokenSeat::NONE, |token| token.sit_down(cx.waker()));
        *self.phase = Phase::Waiting(Waiting {
            op,
            at: at as u8,
            lane,
            id,
            token_seat,
            timer,
        });
        self.watch_closes(cx);
        // A close that came before woke nobody here.
        if self.is_closing() {
            return self.end(Err(if late { cancelled() } else { closed_error() }));
        }
        None
    }

    /// A close of any descriptor of its own must wake it, whichever it queues at.
    fn watch_closes(&self, cx: &Context<'_>) {
        let Phase::Waiting(waiting) = &*self.phase else {
            return;
        };
        for fd in self.elsewhere(waiting) {
            fd.watch_close(waiting.id, cx.waker());
        }
    }

    /// Its descriptors, but for the one it queues at.
    fn elsewhere<'a>(&'a self, waiting: &'a Waiting<T>) -> impl Iterator<Item = &'a FdRef> {
        let queue = self.order(&waiting.op)[usize::from(waiting.at)];
        let others = FDS.into_iter().filter(move |which| *which != queue);
        others
            .filter_map(|which| self.seat_of(&waiting.op, which))
            .map(|(fd, _)| fd)
    }

    /// It waits no longer: it leaves its place in the queue, and gives up the seats it has.
    pub(super) fn leave(&self, waiting: &Waiting<T>) {
        self.stand_up(waiting);
        let order = self.order(&waiting.op);
        if let Some((fd, _)) = self.seat_of(&waiting.op, order[usize::from(waiting.at)]) {
            fd.leave(waiting.lane, waiting.id);
        }
        for which in &order[..usize::from(waiting.at)] {
            if let Some((fd, Some(lane))) = self.seat_of(&waiting.op, *which) {
                fd.release(lane);
            }
        }
    }

    /// Nobody needs to wake it any more.
    fn stand_up(&self, waiting: &Waiting<T>) {
        if let Some(token) = self.extras.token() {
            token.stand_up(waiting.token_seat);
        }
        for fd in self.elsewhere(waiting) {
            fd.look_away(waiting.id);
        }
    }

    /// A queued operation is polled: cancelled, closed, out of time, or handed its lane.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        let driver = current::driver(T::NAME);
        let closing = self.is_closing() || driver.is_closed();
        let Phase::Waiting(waiting) = &*self.phase else {
            return Poll::Pending;
        };
        if closing || self.token_is_cancelled() {
            return self.end_waiting(cancelled());
        }
        if let Some(token) = self.extras.token() {
            token.change_waker(waiting.token_seat, cx.waker());
        }
        let queue = self.order(&waiting.op)[usize::from(waiting.at)];
        let granted = self
            .seat_of(&waiting.op, queue)
            .is_some_and(|(fd, _)| fd.granted(waiting.lane, waiting.id, cx.waker()));
        if granted {
            return self.granted(driver, cx).map_or(Poll::Pending, Poll::Ready);
        }
        self.watch_closes(cx);
        let Phase::Waiting(waiting) = &mut *self.phase else {
            return Poll::Pending;
        };
        if let Some(timer) = &mut waiting.timer
            && Pin::new(timer).poll(cx).is_ready()
        {
            return self.end_waiting(io::ErrorKind::TimedOut.into());
        }
        Poll::Pending
    }

    fn end_waiting(&mut self, error: io::Error) -> Poll<T::Output> {
        self.end(Err(error)).map_or(Poll::Pending, Poll::Ready)
    }

    /// The lane is its own: on to the next seat.
    fn granted(&mut self, driver: Driver, cx: &mut Context<'_>) -> Option<T::Output> {
        let Phase::Waiting(waiting) = std::mem::replace(&mut *self.phase, Phase::Done) else {
            return None;
        };
        self.stand_up(&waiting);
        let next = usize::from(waiting.at) + 1;
        *self.phase = Phase::Idle(waiting.op);
        self.take_seats(driver, next, true, cx)
    }
}
