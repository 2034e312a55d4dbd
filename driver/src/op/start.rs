//! How an operation starts: refused, served from what is kept, queued for its direction, or placed into a slot.

use std::io;
use std::os::fd::RawFd;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use io_uring::{opcode, squeue};

use super::future::{Deadline, Op, Phase, Waiting};
use super::{OnDrop, Operation, Success, Timeout};
use crate::cancel::cancelled;
use crate::current;
use crate::driver::Driver;
use crate::fd::{Begin, Lane, closed_error};
use crate::ring::Sqe;
use crate::slots::{Key, Taken};

/// Why an operation is not submitted.
pub(crate) enum Refused {
    Error(io::Error),
    /// It was done by a plain system call.
    Fallback(io::Result<Success>),
}

impl<T: Operation> Op<T> {
    /// Everything that can refuse the operation before a lane or a slot is involved.
    ///
    /// `fall_back`: what the ring does not know may be done by a plain system call, at once.
    pub(crate) fn admit(&mut self, driver: &Driver, fall_back: bool) -> Result<(), Refused> {
        let Phase::Idle(op) = &mut self.phase else {
            return Ok(());
        };
        if driver.is_closed() {
            return Err(Refused::Error(io::Error::other(
                "the runtime is shutting down",
            )));
        }
        if self.token.as_ref().is_some_and(|t| t.is_cancelled()) {
            return Err(Refused::Error(cancelled()));
        }
        op.check().map_err(Refused::Error)?;
        if op.has_nothing_to_do() {
            return Err(match &self.fd {
                Some(fd) if fd.is_closing() => Refused::Error(closed_error()),
                _ if fall_back => Refused::Fallback(Ok(Success::of(0))),
                _ => Refused::Error(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a member of the chain has an empty buffer, so nothing to do",
                )),
            });
        }
        if T::CALLED && !fall_back {
            return Err(Refused::Error(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{} has no opcode, so it cannot be a member of a chain",
                    T::NAME
                ),
            )));
        }
        if T::CALLED || driver.supports(T::OPCODE) {
            return Ok(());
        }
        let fallback = if fall_back { self.fall_back() } else { None };
        Err(match fallback {
            Some(result) => Refused::Fallback(result),
            None => Refused::Error(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "this kernel's io_uring has no {}: Linux {} has it",
                    T::NAME,
                    T::SINCE
                ),
            )),
        })
    }

    /// Does it by a plain system call, counted in on its descriptor for as long as that takes.
    fn fall_back(&mut self) -> Option<io::Result<Success>> {
        let Some(fd) = self.fd.clone() else {
            return self.op_mut()?.fallback(-1);
        };
        if fd.begin(None) == Begin::Closed {
            return Some(Err(closed_error()));
        }
        let done = self.op_mut().and_then(|op| op.fallback(fd.raw()));
        self.count_out(None);
        done
    }

    fn op_mut(&mut self) -> Option<&mut T> {
        match &mut self.phase {
            Phase::Idle(op) => Some(op),
            _ => None,
        }
    }

    /// Ends an operation that never reached a slot.
    pub(crate) fn end(&mut self, result: io::Result<Success>) -> Option<T::Output> {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Idle(op) => Some(op.complete(result)),
            Phase::Waiting(waiting) => {
                self.leave(waiting.lane, waiting.id, waiting.token_seat);
                Some(waiting.op.complete(result))
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    pub(super) fn leave(&self, lane: Lane, id: u64, token_seat: Option<usize>) {
        if let Some(fd) = &self.fd {
            fd.leave(lane, id);
        }
        if let (Some(token), Some(seat)) = (&self.token, token_seat) {
            token.stand_up(seat);
        }
    }

    /// Puts the operation into a slot and stages it; or, if it is a member of a chain, puts its entries behind
    /// those that will be staged together, linked by `link`.
    ///
    /// The operation is counted in on its descriptor already. `lane` is the one to give up when its result
    /// is taken; `waker` is woken when it has completed.
    pub(crate) fn place(
        &mut self,
        driver: &Driver,
        lane: Option<Lane>,
        link: Option<squeue::Flags>,
        waker: Option<Waker>,
    ) -> Option<Key> {
        let Phase::Idle(op) = std::mem::replace(&mut self.phase, Phase::Done) else {
            return None;
        };
        let keep = op.on_drop() == OnDrop::Keep;
        let raw = self.fd.as_ref().map_or(-1, |fd| fd.raw());
        let home = self.fd.as_ref().is_none_or(|fd| driver.is_home_of(fd));
        let mut core = driver.core();
        let key = core
            .slots
            .insert(op, self.fd.take(), home, lane, keep, waker);
        // SAFETY: `key` was just made from a `T`; nothing is staged for it yet.
        let entry = unsafe { core.slots.op_mut::<T>(key) }
            .entry(raw)
            .user_data(key.user_data());
        // SAFETY: `Operation::entry` vouches for pointers into the operation, which stays in its slot, left
        // alone, until the last completion with this `user_data` (or for ever).
        let sqe = unsafe { Sqe::new(entry) };
        match (self.deadline, link) {
            (None, None) => driver.stage_one(&mut core, sqe),
            (None, Some(_)) => core.stage_later(sqe),
            (Some(deadline), link) => {
                let timespec = core.slots.arm_deadline(key, deadline.left());
                let timeout = opcode::LinkTimeout::new(timespec).build();
                // SAFETY: the timespec is in the slot's cell, which outlives the submission.
                let timeout = unsafe { Sqe::new(timeout.user_data(key.timeout_user_data())) };
                core.stage_later(sqe.linked_by(link.unwrap_or(squeue::Flags::IO_LINK)));
                core.stage_later(timeout);
                if link.is_none() {
                    driver.stage_group(&mut core);
                }
            }
        }
        // The next round, if there is one, will need it again.
        let token = if T::ROUNDS {
            self.token.clone()
        } else {
            self.token.take()
        };
        if let Some(token) = token {
            let flight = token.flies(driver, key);
            core.slots.set_token(key, (token, flight));
        }
        drop(core);
        self.phase = Phase::Flight {
            driver: driver.clone(),
            key,
        };
        Some(key)
    }

    /// First poll: refused, queued or staged.
    pub(super) fn start(&mut self, cx: &mut Context<'_>) -> Option<T::Output> {
        let driver = current::driver(T::NAME);
        match self.admit(&driver, true) {
            Ok(()) => {}
            Err(Refused::Error(error)) => return self.end(Err(error)),
            Err(Refused::Fallback(result)) => return self.end(result),
        }
        let Phase::Idle(op) = &mut self.phase else {
            return None;
        };
        let lane = op.lane();
        if T::ROUNDS {
            self.start_clock();
        }
        let begun = self.fd.as_ref().map_or(Begin::Go, |fd| fd.begin(lane));
        match (begun, lane) {
            (Begin::Closed, _) => self.end(Err(closed_error())),
            (Begin::Busy, Some(lane)) => self.queue(&driver, lane, cx),
            (begun, lane) => self.go(&driver, lane, begun == Begin::GoKept, cx),
        }
    }

    /// Counted in, the lane held: serves the operation from what is kept, or stages it.
    fn go(
        &mut self,
        driver: &Driver,
        lane: Option<Lane>,
        kept: bool,
        cx: &Context<'_>,
    ) -> Option<T::Output> {
        if kept && let Some(result) = self.serve() {
            self.count_out(lane);
            return self.end(result);
        }
        if let Err(error) = self.seal(0) {
            self.count_out(lane);
            return self.end(Err(error));
        }
        if T::CALLED {
            let result = self.call();
            self.count_out(lane);
            return self.end(result);
        }
        // A closer on another thread asks every driver it knows of; it may not have known of this one yet.
        let unknown = self.fd.as_ref().is_some_and(|fd| !fd.is_home(driver.id()));
        let waker = Some(cx.waker().clone());
        let key = self.place(driver, lane, None, waker);
        if let Some(key) = key.filter(|_| unknown) {
            driver.cancel_if_closing(key);
        }
        None
    }

    fn call(&mut self) -> io::Result<Success> {
        match (&mut self.phase, &self.fd) {
            (Phase::Idle(op), Some(fd)) => op.call(fd.raw()),
            _ => Err(closed_error()),
        }
    }

    pub(crate) fn closes(&self) -> Option<RawFd> {
        match &self.phase {
            Phase::Idle(op) => op.closes(),
            _ => None,
        }
    }

    pub(crate) fn seal(&mut self, own: u32) -> io::Result<()> {
        match &mut self.phase {
            Phase::Idle(op) => op.seal(own),
            _ => Ok(()),
        }
    }

    fn serve(&mut self) -> Option<io::Result<Success>> {
        match (&mut self.phase, &self.fd) {
            (Phase::Idle(op), Some(fd)) => fd.serve(|kept| op.serve(kept)),
            _ => None,
        }
    }

    /// Takes back a [`Shared::begin`](crate::fd::Shared::begin) that led to no submission.
    pub(crate) fn count_out(&self, lane: Option<Lane>) {
        let Some(fd) = &self.fd else {
            return;
        };
        if let Some(lane) = lane {
            fd.release(lane);
        }
        fd.finish_here();
    }

    /// From here on the deadline passes, whatever the operation still has to wait for before it is staged.
    fn start_clock(&mut self) {
        if let Some(Deadline::After(duration)) = self.deadline
            // One beyond the end of time stays as it is: no clock will tell the difference.
            && let Some(instant) = Instant::now().checked_add(duration)
        {
            self.deadline = Some(Deadline::At(instant));
        }
    }

    /// The lane is busy: queues for it, unless it has fallen free meanwhile.
    fn queue(&mut self, driver: &Driver, lane: Lane, cx: &mut Context<'_>) -> Option<T::Output> {
        let id = self.fd.as_ref().and_then(|fd| fd.enqueue(lane, cx.waker()));
        let Some(id) = id else {
            return self.go_granted(driver, Some(lane), cx);
        };
        self.start_clock();
        let Phase::Idle(op) = std::mem::replace(&mut self.phase, Phase::Done) else {
            return None;
        };
        let mut timer = self
            .deadline
            .map(|d| Box::pin(Op::new(Timeout::new(d.left()))));
        if let Some(timer) = &mut timer {
            // Starts its clock; it cannot be over yet.
            let _ = timer.as_mut().poll(cx);
        }
        let token_seat = self.token.as_ref().map(|t| t.sit_down(cx.waker()));
        self.phase = Phase::Waiting(Waiting {
            op,
            lane,
            id,
            token_seat,
            timer,
        });
        None
    }

    /// A queued operation is polled: cancelled, closed, out of time, or handed its lane.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        let (Phase::Waiting(waiting), Some(fd)) = (&mut self.phase, &self.fd) else {
            return Poll::Pending;
        };
        if let (Some(token), Some(seat)) = (&self.token, waiting.token_seat) {
            if token.is_cancelled() {
                return self.end_waiting(cancelled());
            }
            token.change_waker(seat, cx.waker());
        }
        let driver = current::driver(T::NAME);
        if fd.is_closing() || driver.is_closed() {
            return self.end_waiting(cancelled());
        }
        let (lane, id) = (waiting.lane, waiting.id);
        if fd.granted(lane, id, cx.waker()) {
            return self
                .granted(&driver, lane, cx)
                .map_or(Poll::Pending, Poll::Ready);
        }
        if let Some(timer) = &mut waiting.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return self.end_waiting(io::ErrorKind::TimedOut.into());
        }
        Poll::Pending
    }

    fn end_waiting(&mut self, error: io::Error) -> Poll<T::Output> {
        self.end(Err(error)).map_or(Poll::Pending, Poll::Ready)
    }

    /// The lane is ours: on with it. What is left of a deadline goes with the submission.
    fn granted(&mut self, driver: &Driver, lane: Lane, cx: &Context<'_>) -> Option<T::Output> {
        let Phase::Waiting(waiting) = std::mem::replace(&mut self.phase, Phase::Done) else {
            return None;
        };
        if let (Some(token), Some(seat)) = (&self.token, waiting.token_seat) {
            token.stand_up(seat);
        }
        self.phase = Phase::Idle(waiting.op);
        self.go_granted(driver, Some(lane), cx)
    }

    /// As [`go`](Op::go), for an operation that has its lane, if it needs one, but is not counted in.
    fn go_granted(
        &mut self,
        driver: &Driver,
        lane: Option<Lane>,
        cx: &Context<'_>,
    ) -> Option<T::Output> {
        let begun = self
            .fd
            .as_ref()
            .map_or(Begin::Go, |fd| fd.begin_granted(lane));
        if begun == Begin::Closed {
            return self.give_up(lane);
        }
        self.go(driver, lane, begun == Begin::GoKept, cx)
    }

    /// Ends an operation that has its lane as cancelled, before it is counted in.
    fn give_up(&mut self, lane: Option<Lane>) -> Option<T::Output> {
        if let (Some(fd), Some(lane)) = (&self.fd, lane) {
            fd.release(lane);
        }
        self.end(Err(cancelled()))
    }

    /// Starts the next round of an operation that the kernel stopped short. It has kept its lane.
    pub(super) fn next_round(
        &mut self,
        driver: &Driver,
        taken: Taken<T>,
        cx: &Context<'_>,
    ) -> Option<T::Output> {
        self.fd = taken.fd;
        self.phase = Phase::Idle(taken.op);
        let cancelled = self.token.as_ref().is_some_and(|t| t.is_cancelled());
        if cancelled || driver.is_closed() {
            return self.give_up(taken.lane);
        }
        self.go_granted(driver, taken.lane, cx)
    }
}
