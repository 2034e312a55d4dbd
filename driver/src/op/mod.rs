//! Operations: one file each, named after its `IORING_OP_*`.
//!
//! An [`Op`] is a future. Unpolled it is inert. At its first poll it takes its direction of the descriptor
//! (if it has one), moves into a slot and is staged; from then on it holds only the slot's number. When the
//! kernel has answered it takes itself back out and turns the answer into its output. A dropped `Op` leaves
//! its slot as an orphan: the driver cancels it, or lets it run on ([`OnDrop`]), and gives what it brings to
//! [`Operation::discard`].
//!
//! What lives here: the life of any one operation. What does not: several linked ones ([`crate::chain`]),
//! the ring and its turns ([`crate::driver`]), the memory ([`crate::slots`]).
#![allow(
    unsafe_code,
    reason = "implements the contract between operations and their slots"
)]

mod accept;
mod accept_multi;
mod async_cancel;
mod bind;
mod close;
mod connect;
mod fsync;
mod listen;
mod msg_ring;
mod multi;
mod nop;
mod openat;
mod poll_add;
mod read;
mod readv;
mod recv;
mod recvmsg;
mod rounds;
mod send;
mod sendmsg;
mod shutdown;
mod socket;
mod statx;
mod timeout;
mod write;
mod writev;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue};
use socket2::SockAddr;

pub use self::accept::Accept;
pub use self::accept_multi::AcceptMulti;
pub(crate) use self::async_cancel::cancel_entry;
pub use self::bind::Bind;
pub use self::close::CloseFd;
pub(crate) use self::close::CloseOwned;
pub use self::connect::Connect;
pub use self::fsync::Fsync;
pub use self::listen::Listen;
pub use self::msg_ring::MsgRing;
pub use self::multi::{Multi, Multishot};
pub use self::nop::Nop;
pub use self::openat::OpenAt;
pub(crate) use self::poll_add::watch_entry;
pub use self::poll_add::{Events, PollAdd};
pub use self::read::{Read, ReadExact};
pub use self::readv::Readv;
pub use self::recv::{Recv, RecvExact};
pub use self::recvmsg::{Message, RecvMsg};
pub use self::send::{Send, SendAll};
pub use self::sendmsg::SendMsg;
pub use self::shutdown::Shutdown;
pub use self::socket::Socket;
pub use self::statx::Statx;
pub use self::timeout::Timeout;
pub use self::write::{Write, WriteAll};
pub use self::writev::Writev;

use crate::cancel::{CancelToken, TokenInner, cancelled};
use crate::current;
use crate::driver::Driver;
use crate::fd::{Begin, Fd, FdRef, Lane, closed_error};
use crate::kept::Kept;
use crate::ring::Sqe;
use crate::slots::{Key, Taken};

/// What a completed operation answered.
#[derive(Clone, Copy, Debug)]
pub struct Success {
    /// The non-negative result: usually a count of bytes, or a descriptor.
    pub value: u32,
    /// The completion's flags (`IORING_CQE_F_*`).
    pub flags: u32,
    /// Whether somebody asked it to end before it had.
    pub ended: Ended,
}

impl Success {
    /// A result that did not come from the kernel's ring.
    pub(crate) fn of(value: u32) -> Success {
        Success {
            value,
            flags: 0,
            ended: Ended::Itself,
        }
    }
}

/// Why an operation ended; it may have done a part of its work by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nobody asked it to.
    Itself,
    /// Its deadline passed.
    TimedOut,
    /// It was cancelled.
    Cancelled,
}

/// What becomes of an operation in flight when its future is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrop {
    /// It is cancelled; what it may have done already is discarded.
    Cancel,
    /// It runs on: what it brings is kept on the descriptor for the next operation of its kind.
    Keep,
}

/// Where a completion that nobody waits for came from, and where what it brought can be put.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a>(pub(crate) Option<&'a FdRef>);

impl Origin<'_> {
    fn keep(self, put: impl FnOnce(&mut Kept)) {
        if let Some(fd) = self.0 {
            fd.keep(put);
        }
    }

    /// Keeps the result of a read for the next one. A cancelled read brought nothing.
    fn keep_read(self, result: &io::Result<Success>, put: impl FnOnce(&mut Kept, usize)) {
        match result {
            Ok(success) => self.keep(|kept| put(kept, success.value as usize)),
            Err(error) => self.keep_error(error),
        }
    }

    fn keep_error(self, error: &io::Error) {
        match error.raw_os_error() {
            None | Some(libc::ECANCELED) => {}
            Some(errno) => self.keep(|kept| kept.put_error(errno)),
        }
    }

    fn keep_socket(self, socket: OwnedFd, peer: Option<SockAddr>) {
        self.keep(|kept| kept.put_socket(socket, peer));
    }
}

/// One kind of operation: how to ask the kernel for it and what its answer means.
///
/// Implemented by the types of this module; they are the ones a ring knows how to carry out.
///
/// # Safety
///
/// `entry` is called when `self` is where it stays until its last completion: once, or, after
/// [`goes_on`](Operation::goes_on) said so, once a round. Every pointer it puts
/// into the entry must point into `self` or into memory that `self` owns and that does not move, is not
/// freed and is not otherwise accessed as long as `self` is left alone; its lengths must be within bounds.
pub unsafe trait Operation: Sized + 'static {
    /// What the future resolves to.
    type Output;
    /// The opcode's number.
    #[doc(hidden)]
    const OPCODE: u8;
    /// The operation's name, as the kernel and errors have it.
    #[doc(hidden)]
    const NAME: &'static str;
    /// The first kernel that has it.
    #[doc(hidden)]
    const SINCE: &'static str = "5.6";
    /// Whether it may take several rounds; see [`goes_on`](Operation::goes_on).
    #[doc(hidden)]
    const ROUNDS: bool = false;

    /// The direction of the descriptor it has to itself while in flight.
    #[doc(hidden)]
    fn lane(&self) -> Option<Lane> {
        None
    }

    #[doc(hidden)]
    fn on_drop(&self) -> OnDrop {
        OnDrop::Cancel
    }

    /// Refuses what is wrong before anything is submitted.
    #[doc(hidden)]
    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether it succeeds without any I/O.
    #[doc(hidden)]
    fn has_nothing_to_do(&self) -> bool {
        false
    }

    /// The last word before it is staged, when all that starts with it is counted in.
    #[doc(hidden)]
    fn seal(&mut self) -> io::Result<()> {
        Ok(())
    }

    #[doc(hidden)]
    fn entry(&mut self, fd: RawFd) -> squeue::Entry;

    /// Whether a round that ended with `result` is to be followed by another. Then it has noted what the round
    /// did, `entry` is called once more, and `result` goes nowhere else.
    ///
    /// Only with [`ROUNDS`](Operation::ROUNDS), and not in chains.
    #[doc(hidden)]
    fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        let _ = result;
        false
    }

    #[doc(hidden)]
    fn complete(self, result: io::Result<Success>) -> Self::Output;

    /// Gives back what a completion brought that nobody waits for.
    #[doc(hidden)]
    fn discard(self, result: io::Result<Success>, origin: Origin<'_>) {
        let _ = (result, origin);
    }

    /// The same for one of several completions; `self` is still in flight.
    #[doc(hidden)]
    fn discard_more(&mut self, success: Success, origin: Origin<'_>) {
        let _ = (success, origin);
    }

    /// Serves the operation from what is kept, if that fits it.
    #[doc(hidden)]
    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        let _ = kept;
        None
    }

    /// Does it by a plain system call, where the ring does not know the opcode and the call does not block.
    #[doc(hidden)]
    fn fallback(&mut self, fd: RawFd) -> Option<io::Result<Success>> {
        let _ = fd;
        None
    }
}

/// When an operation is to be given up.
#[derive(Clone, Copy, Debug)]
enum Deadline {
    After(Duration),
    At(Instant),
}

impl Deadline {
    fn left(self) -> Duration {
        match self {
            Deadline::After(duration) => duration,
            Deadline::At(instant) => instant.saturating_duration_since(Instant::now()),
        }
    }
}

/// An operation: a future that submits itself when first polled.
///
/// # Cancel safety
///
/// A dropped operation is cancelled; what it did before that is lost. Reads, receives and accepts on a
/// descriptor are the exception: they run on and what they bring goes to the next one.
///
/// # Panics
///
/// When first polled outside a runtime, and when polled again after it has resolved.
#[must_use = "an operation does nothing until it is awaited"]
pub struct Op<T: Operation> {
    phase: Phase<T>,
    fd: Option<FdRef>,
    deadline: Option<Deadline>,
    token: Option<Rc<TokenInner>>,
}

enum Phase<T> {
    Idle(T),
    Waiting(Waiting<T>),
    Flight { driver: Driver, key: Key },
    Done,
}

/// An operation queued for its lane.
struct Waiting<T> {
    op: T,
    lane: Lane,
    id: u64,
    /// Where the token's registry wakes it from.
    token_seat: Option<usize>,
    /// Its deadline runs while it queues, too.
    timer: Option<Pin<Box<Op<Timeout>>>>,
}

impl<T: Operation> Unpin for Op<T> {}

impl<T: Operation> Op<T> {
    /// An operation that needs no descriptor.
    pub fn new(op: T) -> Op<T> {
        Op {
            phase: Phase::Idle(op),
            fd: None,
            deadline: None,
            token: None,
        }
    }

    /// An operation on `fd`.
    pub fn on(fd: &Fd, op: T) -> Op<T> {
        Op::on_shared(fd.shared().clone(), op)
    }

    pub(crate) fn on_shared(fd: FdRef, op: T) -> Op<T> {
        Op {
            phase: Phase::Idle(op),
            fd: Some(fd),
            deadline: None,
            token: None,
        }
    }

    /// Gives the operation up after `duration`, counted from its first poll.
    ///
    /// It then resolves as [`TimedOut`](io::ErrorKind::TimedOut), or with what it had done by then. The
    /// deadline is part of the submission (`IORING_OP_LINK_TIMEOUT`): it costs no further system call.
    pub fn timeout(mut self, duration: Duration) -> Op<T> {
        self.deadline = Some(Deadline::After(duration));
        self
    }

    /// Gives the operation up at `instant`; see [`timeout`](Op::timeout).
    pub fn deadline(mut self, instant: Instant) -> Op<T> {
        self.deadline = Some(Deadline::At(instant));
        self
    }

    /// Sets or takes away the deadline; see [`timeout`](Op::timeout).
    pub fn maybe_timeout(mut self, duration: Option<Duration>) -> Op<T> {
        self.deadline = duration.map(Deadline::After);
        self
    }

    /// Lets `token` cancel the operation.
    pub fn cancel_with(mut self, token: &CancelToken) -> Op<T> {
        self.token = Some(token.inner());
        self
    }

    pub(crate) fn fd_and_lane(&self) -> Option<(&FdRef, Option<Lane>)> {
        match (&self.phase, &self.fd) {
            (Phase::Idle(op), Some(fd)) => Some((fd, op.lane())),
            _ => None,
        }
    }

    pub(crate) fn has_deadline(&self) -> bool {
        self.deadline.is_some()
    }

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
        if driver.supports(T::OPCODE) {
            return Ok(());
        }
        if self.fd.as_ref().is_some_and(|fd| fd.is_closing()) {
            return Err(Refused::Error(closed_error()));
        }
        let raw = self.fd.as_ref().map_or(-1, |fd| fd.raw());
        let fallback = if fall_back { op.fallback(raw) } else { None };
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

    fn leave(&self, lane: Lane, id: u64, token_seat: Option<usize>) {
        if let Some(fd) = &self.fd {
            fd.leave(lane, id);
        }
        if let (Some(token), Some(seat)) = (&self.token, token_seat) {
            token.stand_up(seat);
        }
    }

    /// Puts the operation into a slot and its entries behind those waiting to be staged together.
    ///
    /// The operation is counted in on its descriptor already. `lane` is the one to give up when its result
    /// is taken; `link` ties it to its deadline, as the members of its chain are tied.
    pub(crate) fn place(
        &mut self,
        driver: &Driver,
        lane: Option<Lane>,
        link: squeue::Flags,
    ) -> Option<Key> {
        let Phase::Idle(op) = std::mem::replace(&mut self.phase, Phase::Done) else {
            return None;
        };
        let keep = op.on_drop() == OnDrop::Keep;
        let raw = self.fd.as_ref().map_or(-1, |fd| fd.raw());
        let home = self.fd.as_ref().is_none_or(|fd| driver.is_home_of(fd));
        let mut core = driver.core();
        let key = core.slots.insert(op, self.fd.take(), home, lane, keep);
        // SAFETY: `key` was just made from a `T`; nothing is staged for it yet.
        let entry = unsafe { core.slots.op_mut::<T>(key) }
            .entry(raw)
            .user_data(key.user_data());
        // SAFETY: `Operation::entry` vouches for pointers into the operation, which stays in its slot, left
        // alone, until the last completion with this `user_data` (or for ever).
        let sqe = unsafe { Sqe::new(entry) };
        match self.deadline {
            None => core.stage_later(sqe),
            Some(deadline) => {
                let timespec = core.slots.arm_deadline(key, deadline.left());
                let timeout = opcode::LinkTimeout::new(timespec).build();
                // SAFETY: the timespec is in the slot's cell, which outlives the submission.
                let timeout = unsafe { Sqe::new(timeout.user_data(key.timeout_user_data())) };
                core.stage_later(sqe.linked_by(link));
                core.stage_later(timeout);
            }
        }
        // The next round, if there is one, will need it again.
        let token = if T::ROUNDS {
            self.token.clone()
        } else {
            self.token.take()
        };
        if let Some(token) = token {
            token.flies(driver, key);
            core.slots.set_token(key, token);
        }
        drop(core);
        self.phase = Phase::Flight {
            driver: driver.clone(),
            key,
        };
        Some(key)
    }

    /// First poll: refused, queued or staged.
    fn start(&mut self, cx: &mut Context<'_>) -> Option<T::Output> {
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
            (begun, lane) => self.go(&driver, lane, begun == Begin::GoKept),
        }
    }

    /// Counted in, the lane held: serves the operation from what is kept, or stages it.
    fn go(&mut self, driver: &Driver, lane: Option<Lane>, kept: bool) -> Option<T::Output> {
        if kept && let Some(result) = self.serve() {
            self.count_out(lane);
            return self.end(result);
        }
        if let Err(error) = self.seal() {
            self.count_out(lane);
            return self.end(Err(error));
        }
        let key = self.place(driver, lane, squeue::Flags::IO_LINK);
        driver.stage();
        if let Some(key) = key {
            driver.cancel_if_closing(key);
        }
        None
    }

    pub(crate) fn seal(&mut self) -> io::Result<()> {
        match &mut self.phase {
            Phase::Idle(op) => op.seal(),
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
        if fd.finish() {
            let mut wakers = Vec::new();
            fd.last_out(&mut wakers);
            wakers.into_iter().for_each(std::task::Waker::wake);
        }
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
            return self.go_granted(driver, Some(lane));
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
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<T::Output>> {
        let (Phase::Waiting(waiting), Some(fd)) = (&mut self.phase, &self.fd) else {
            return Poll::Ready(None);
        };
        if let (Some(token), Some(seat)) = (&self.token, waiting.token_seat) {
            if token.is_cancelled() {
                return Poll::Ready(self.end(Err(cancelled())));
            }
            token.change_waker(seat, cx.waker());
        }
        if fd.is_closing() {
            return Poll::Ready(self.end(Err(cancelled())));
        }
        let (lane, id) = (waiting.lane, waiting.id);
        if fd.granted(lane, id, cx.waker()) {
            return Poll::Ready(self.granted(lane));
        }
        if let Some(timer) = &mut waiting.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(self.end(Err(io::ErrorKind::TimedOut.into())));
        }
        Poll::Pending
    }

    /// The lane is ours: on with it. What is left of a deadline goes with the submission.
    fn granted(&mut self, lane: Lane) -> Option<T::Output> {
        let Phase::Waiting(waiting) = std::mem::replace(&mut self.phase, Phase::Done) else {
            return None;
        };
        if let (Some(token), Some(seat)) = (&self.token, waiting.token_seat) {
            token.stand_up(seat);
        }
        self.phase = Phase::Idle(waiting.op);
        self.go_granted(&current::driver(T::NAME), Some(lane))
    }

    /// As [`go`](Op::go), for an operation that has its lane, if it needs one, but is not counted in.
    fn go_granted(&mut self, driver: &Driver, lane: Option<Lane>) -> Option<T::Output> {
        let begun = self.fd.as_ref().map_or(Begin::Go, |fd| fd.begin_granted());
        if begun == Begin::Closed {
            return self.give_up(lane);
        }
        self.go(driver, lane, begun == Begin::GoKept)
    }

    /// Ends an operation that has its lane as cancelled, before it is counted in.
    fn give_up(&mut self, lane: Option<Lane>) -> Option<T::Output> {
        if let (Some(fd), Some(lane)) = (&self.fd, lane) {
            fd.release(lane);
        }
        self.end(Err(cancelled()))
    }

    /// Starts the next round of an operation that the kernel stopped short. It has kept its lane.
    fn next_round(&mut self, driver: &Driver, taken: Taken<T>) -> Option<T::Output> {
        self.fd = taken.fd;
        self.phase = Phase::Idle(taken.op);
        let cancelled = self.token.as_ref().is_some_and(|t| t.is_cancelled());
        if cancelled || driver.is_closed() {
            return self.give_up(taken.lane);
        }
        self.go_granted(driver, taken.lane)
    }

    /// Takes the result of an operation in flight, once it is there.
    pub(crate) fn poll_flight(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        self.poll_taken(cx).map(|(_, taken)| finish(taken))
    }

    /// As [`poll_flight`](Op::poll_flight), for an operation that may take several rounds.
    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        loop {
            let (driver, mut taken) = ready!(self.poll_taken(cx));
            if !T::ROUNDS || !taken.op.goes_on(&taken.result) {
                return Poll::Ready(finish(taken));
            }
            if let Some(output) = self.next_round(&driver, taken) {
                return Poll::Ready(output);
            }
        }
    }

    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<(Driver, Taken<T>)> {
        let Phase::Flight { driver, key } = &self.phase else {
            panic!("{} was polled after it had resolved", T::NAME);
        };
        // SAFETY: `key` was made by `place` from an operation of this very type `T`.
        let (polled, replaced) = unsafe { driver.core().slots.poll_take::<T>(*key, cx) };
        drop(replaced);
        let Poll::Ready(taken) = polled else {
            return Poll::Pending;
        };
        let Phase::Flight { driver, .. } = std::mem::replace(&mut self.phase, Phase::Done) else {
            unreachable!("looked at above");
        };
        Poll::Ready((driver, taken))
    }

    pub(crate) fn flight(&self) -> Option<(&Driver, Key)> {
        match &self.phase {
            Phase::Flight { driver, key } => Some((driver, *key)),
            _ => None,
        }
    }
}

/// An operation's result, out of its slot; what it held of its descriptor is given up.
fn finish<T: Operation>(taken: Taken<T>) -> T::Output {
    let output = taken.op.complete(taken.result);
    if let (Some(fd), Some(lane)) = (taken.fd, taken.lane) {
        fd.release(lane);
    }
    output
}

/// Why an operation is not submitted.
pub(crate) enum Refused {
    Error(io::Error),
    /// It was done by a plain system call.
    Fallback(io::Result<Success>),
}

impl<T: Operation> Future for Op<T> {
    type Output = T::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        let this = self.get_mut();
        if let Phase::Idle(_) = this.phase
            && let Some(output) = this.start(cx)
        {
            return Poll::Ready(output);
        }
        if let Phase::Waiting(_) = this.phase {
            match this.wait(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(output)) => return Poll::Ready(output),
                Poll::Ready(None) => {}
            }
        }
        if let Phase::Idle(_) = this.phase {
            return Poll::Pending;
        }
        this.poll_rounds(cx)
    }
}

impl<T: Operation> Drop for Op<T> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Idle(_) | Phase::Done => {}
            Phase::Waiting(waiting) => self.leave(waiting.lane, waiting.id, waiting.token_seat),
            Phase::Flight { driver, key } => driver.abandon(key),
        }
    }
}

impl<T: Operation> fmt::Debug for Op<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.phase {
            Phase::Idle(_) => "not started",
            Phase::Waiting(_) => "queued for its direction",
            Phase::Flight { .. } => "in flight",
            Phase::Done => "resolved",
        };
        f.debug_struct("Op")
            .field("name", &T::NAME)
            .field("phase", &phase)
            .finish()
    }
}
