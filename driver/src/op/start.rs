//! How an operation starts: refused, served from what is kept, or placed into a slot; or it queues first, which is in
//! [`super::seats`].

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue};

use super::future::{Deadline, Flight, Op, Phase};
use super::seats::{ALL, GivesUp, Which};
use super::{OnDrop, Operation, Origin, Success};
use crate::cancel::cancelled;
use crate::current;
use crate::driver::{Core, Driver};
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
    #[inline]
    pub(crate) fn admit(&mut self, driver: &Driver, fall_back: bool) -> Result<(), Refused> {
        let Phase::Idle(op) = &mut *self.phase else {
            return Ok(());
        };
        if driver.is_closed() {
            return Err(Refused::Error(io::Error::other(
                "the runtime is shutting down",
            )));
        }
        if self.extras.token_is_cancelled() {
            return Err(Refused::Error(cancelled()));
        }
        op.check().map_err(Refused::Error)?;
        if op.has_nothing_to_do() {
            return Err(match &*self.fd {
                Some(fd) if fd.is_closing() => Refused::Error(closed_error()),
                _ if fall_back => Refused::Fallback(Ok(Success::of(0))),
                _ => Refused::Error(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a member of the chain has an empty buffer, so nothing to do",
                )),
            });
        }
        if !fall_back {
            op.check_in_chain().map_err(Refused::Error)?;
        }
        if T::CALLED || driver.supports(T::OPCODE) {
            return op.prepare(driver).map_err(Refused::Error);
        }
        self.admit_unsupported(driver, fall_back)
    }

    /// [`admit`](Op::admit) for what the ring does not know.
    #[cold]
    fn admit_unsupported(&mut self, driver: &Driver, fall_back: bool) -> Result<(), Refused> {
        // One in a group falls back once it is its turn.
        if let (true, Some(_), Phase::Idle(op)) = (fall_back, self.extras.group(), &mut *self.phase)
        {
            return op.prepare(driver).map_err(Refused::Error);
        }
        let fallback = if fall_back { self.fall_back() } else { None };
        Err(match fallback {
            Some(result) => Refused::Fallback(result),
            None => Refused::Error(unsupported::<T>()),
        })
    }

    /// Does it by a plain system call, counted in on its descriptors for as long as that takes.
    fn fall_back(&mut self) -> Option<io::Result<Success>> {
        if self.count_in(&[Which::Own, Which::Second], |fd, _| fd.begin(None)) == Begin::Closed {
            return Some(Err(closed_error()));
        }
        let raw = self.fd.as_ref().map_or(-1, |fd| fd.raw());
        let done = self.op_mut().and_then(|op| op.fallback(raw));
        self.count_out(&[Which::Own, Which::Second]);
        done
    }

    fn op_mut(&mut self) -> Option<&mut T> {
        match &mut *self.phase {
            Phase::Idle(op) => Some(op),
            _ => None,
        }
    }

    /// Ends an operation that never reached a slot.
    pub(crate) fn end(&mut self, result: io::Result<Success>) -> Option<T::Output> {
        match std::mem::replace(&mut *self.phase, Phase::Done) {
            Phase::Idle(op) => Some(op.complete(result)),
            Phase::Waiting(waiting) => {
                self.leave(&waiting);
                Some(waiting.op.complete(result))
            }
            other => {
                *self.phase = other;
                None
            }
        }
    }

    /// Puts the operation into a slot and stages it; or, if it is a member of a chain, puts its entries behind
    /// those that will be staged together, linked by `link`.
    ///
    /// The operation is counted in on its descriptors already. `gives_up` says which of its lanes are given up when
    /// it has ended; `waker` is woken when it has completed.
    #[inline]
    pub(crate) fn place(
        &mut self,
        driver: Driver,
        gives_up: GivesUp,
        link: Option<squeue::Flags>,
        waker: Option<Waker>,
    ) -> Option<Key> {
        let Phase::Idle(op) = &*self.phase else {
            return None;
        };
        let keep = op.on_drop() == OnDrop::Keep;
        let raw = self.fd.as_ref().map_or(-1, |fd| fd.raw());
        // Of two descriptors nobody could tell which is meant.
        let identity = self
            .fd
            .as_ref()
            .filter(|_| !T::TWO)
            .map_or(0, |fd| fd.identity());
        let home = self.fd.as_ref().is_none_or(|fd| driver.is_home_of(fd));
        let row = match &*self.fd {
            Some(fd) if T::FIXED_FILE && home => fd.row(),
            _ => None,
        };
        let on_worker = op.on_worker();
        let second = if T::TWO { op.second() } else { None };
        let second = second.map(|second| (second.fd.clone(), driver.is_home_of(&second.fd)));
        let mut core = driver.core();
        // SAFETY: the operation is moved: what is left of it is overwritten next, not dropped.
        let (key, op) = unsafe {
            core.slots
                .insert(op, self.fd.take(), home, gives_up.own, keep, waker)
        };
        self.phase = ManuallyDrop::new(Phase::Done);
        let entry = op.entry(raw).user_data(key.user_data());
        let region = op.region().and_then(|region| region.index_on(driver.id()));
        // SAFETY: `Operation::entry` vouches for pointers into the operation, which stays in its slot, left
        // alone, until the last completion with this `user_data` (or for ever).
        let mut sqe = unsafe { Sqe::new(entry) }.on(identity);
        if let Some(index) = region {
            sqe = sqe.in_region(index);
        }
        if let Some(row) = row {
            sqe = sqe.in_table(row);
        }
        if let Some((fd, home)) = second {
            core.slots.set_second(key, fd, gives_up.second, home);
        }
        if self.extras.is_none() && link.is_none() {
            driver.stage_one(&mut core, sqe);
        } else {
            if gives_up.group
                && let Some(group) = self.extras.take_group()
            {
                core.slots.set_group(key, group);
            }
            self.stage(&driver, &mut core, key, sqe, link, on_worker);
            self.take_off(&driver, &mut core, key);
        }
        drop(core);
        let flight = Phase::Flight(Flight {
            since: driver.enters(),
            driver,
            key,
        });
        // It was `Done`: there is nothing to drop.
        self.phase = ManuallyDrop::new(flight);
        Some(key)
    }

    /// Tells the operation's token that it is in flight.
    #[cold]
    fn take_off(&mut self, driver: &Driver, core: &mut Core, key: Key) {
        // The next round, if there is one, will need it again.
        let token = if T::ROUNDS {
            self.extras.token().cloned()
        } else {
            self.extras.take_token()
        };
        if let Some(token) = token {
            let flight = token.flies(driver, key);
            core.slots.set_token(key, (token, flight));
        }
    }

    /// Stages the operation's entry as a chain's, or with what ends it at its deadline.
    #[cold]
    fn stage(
        &self,
        driver: &Driver,
        core: &mut Core,
        key: Key,
        sqe: Sqe,
        link: Option<squeue::Flags>,
        on_worker: bool,
    ) {
        match (self.extras.deadline(), link) {
            (None, None) => driver.stage_one(core, sqe),
            (None, Some(_)) => core.stage_later(sqe),
            (Some(deadline), None) if on_worker => {
                let timespec = core.slots.arm_timer(key, deadline.left());
                let timer = opcode::Timeout::new(timespec).build();
                // SAFETY: the timespec is in the slot's cell, which outlives the submission.
                let timer = unsafe { Sqe::new(timer.user_data(key.timeout_user_data())) };
                driver.stage_one(core, sqe);
                driver.stage_one(core, timer);
            }
            (Some(deadline), link) => {
                let timespec = core.slots.arm_deadline(key, deadline.left());
                let timeout = opcode::LinkTimeout::new(timespec).build();
                // SAFETY: the timespec is in the slot's cell, which outlives the submission.
                let timeout = unsafe { Sqe::new(timeout.user_data(key.timeout_user_data())) };
                core.stage_later(sqe.linked_by(link.unwrap_or(squeue::Flags::IO_LINK)));
                core.stage_later(timeout);
                if link.is_none() {
                    driver.stage_group(core);
                }
            }
        }
    }

    /// First poll: refused, queued or staged.
    #[inline]
    pub(super) fn start(&mut self, cx: &mut Context<'_>) -> Option<T::Output> {
        let driver = current::driver(T::NAME);
        match self.admit(&driver, true) {
            Ok(()) => {}
            Err(Refused::Error(error)) => return self.end(Err(error)),
            Err(Refused::Fallback(result)) => return self.end(result),
        }
        let Phase::Idle(op) = &mut *self.phase else {
            return None;
        };
        let lane = op.lane();
        if T::ROUNDS {
            self.start_clock();
        }
        if T::TWO || self.extras.group().is_some() {
            return self.take_seats(driver, 0, false, cx);
        }
        match self.fd.as_ref().map_or(Begin::Go, |fd| fd.begin(lane)) {
            Begin::Closed => self.end(Err(closed_error())),
            Begin::Busy => self.take_seats(driver, 0, false, cx),
            begun => self.go(driver, lane, begun == Begin::GoKept, cx),
        }
    }

    /// Counted in, the lanes held: serves the operation from what is kept, or stages it. `lane` is its own
    /// descriptor's.
    #[inline]
    pub(super) fn go(
        &mut self,
        driver: Driver,
        lane: Option<Lane>,
        kept: bool,
        cx: &Context<'_>,
    ) -> Option<T::Output> {
        if kept && let Some(result) = self.serve() {
            return self.end_seated(result);
        }
        if !T::CALLED && !driver.supports(T::OPCODE) && self.extras.group().is_some() {
            let fallback = self.fall_back();
            return self.end_seated(fallback.unwrap_or_else(|| Err(unsupported::<T>())));
        }
        if let Err(error) = self.seal(0) {
            return self.end_seated(Err(error));
        }
        if T::CALLED {
            let result = self.call();
            return self.end_seated(result);
        }
        if T::NOTIFIED
            && let (Phase::Idle(op), Some(fd)) = (&mut *self.phase, &*self.fd)
        {
            op.choose_way(fd.zero_copy(), &driver);
        }
        if let Some(result) = self.attempt(&driver)
            && !(T::ROUNDS && self.op_mut().is_some_and(|op| op.goes_on(&result)))
        {
            return self.end_attempted(lane, result);
        }
        // A closer on another thread asks every driver it knows of; it may not have known of this one yet.
        let unknown = self.fd.as_ref().is_some_and(|fd| !fd.is_home(driver.id()))
            || (T::TWO && self.second_is_foreign(&driver));
        let waker = Some(cx.waker().clone());
        self.place(driver, self.all_seats(lane), None, waker);
        if unknown && let Some((driver, key)) = self.flight() {
            driver.cancel_if_closing(key);
        }
        None
    }

    fn call(&mut self) -> io::Result<Success> {
        match (&mut *self.phase, &*self.fd) {
            (Phase::Idle(op), Some(fd)) => op.call(fd.raw()),
            _ => Err(closed_error()),
        }
    }

    fn land(&mut self, result: &io::Result<Success>) {
        if let (Phase::Idle(op), Some(fd)) = (&mut *self.phase, &*self.fd) {
            op.landed(result, Origin::landing(fd));
        }
    }

    pub(crate) fn closes(&self) -> Option<RawFd> {
        match &*self.phase {
            Phase::Idle(op) => op.closes(),
            _ => None,
        }
    }

    pub(crate) fn seal(&mut self, own: u32) -> io::Result<()> {
        match &mut *self.phase {
            Phase::Idle(op) => op.seal(self.fd.as_ref().map_or(-1, |fd| fd.raw()), own),
            _ => Ok(()),
        }
    }

    fn serve(&mut self) -> Option<io::Result<Success>> {
        match (&mut *self.phase, &*self.fd) {
            (Phase::Idle(op), Some(fd)) => fd.serve(|kept| op.serve(kept)),
            _ => None,
        }
    }

    /// From here on the deadline passes, whatever the operation still has to wait for before it is staged.
    pub(super) fn start_clock(&mut self) {
        if let Some(Deadline::After(nanos)) = self.extras.deadline()
            // One beyond the end of time stays as it is: no clock will tell the difference.
            && let Some(instant) = Instant::now().checked_add(Duration::from_nanos(nanos))
        {
            self.extras.few().deadline = Some(Deadline::At(instant));
        }
    }

    /// Starts the next round of an operation that the kernel stopped short. It has kept its lane, and its group.
    pub(super) fn next_round(
        &mut self,
        driver: Driver,
        taken: Taken<T>,
        cx: &Context<'_>,
    ) -> Option<T::Output> {
        *self.fd = taken.fd;
        if taken.group.is_some() {
            self.extras.few().group = taken.group;
        }
        *self.phase = Phase::Idle(taken.op);
        if self.extras.token_is_cancelled() || driver.is_closed() {
            self.land(&Err(cancelled()));
            self.release(&ALL);
            return self.end(Err(cancelled()));
        }
        self.go_seated(driver, true, cx)
    }
}

/// The answer to an operation that the ring does not know and that has no plain way.
#[cold]
fn unsupported<T: Operation>() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "this kernel's io_uring has no {}: Linux {} has it",
            T::NAME,
            T::SINCE
        ),
    )
}
