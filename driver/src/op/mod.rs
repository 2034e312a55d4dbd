//! Operations: one file each, named after its `IORING_OP_*`.
//!
//! An [`Op`] is a future. Unpolled it is inert. At its first poll it takes its direction of the descriptor
//! (if it has one), moves into a slot and is staged; from then on it holds only the slot's number. When the
//! kernel has answered it takes itself back out and turns the answer into its output. A dropped `Op` leaves
//! its slot as an orphan: the driver cancels it, or lets it run on ([`OnDrop`]), and gives what it brings to
//! [`Operation::discard`].
//!
//! What lives here: the contract of an operation (`mod.rs`), its life (`future.rs`), its start (`start.rs`), and
//! the operations. What does not: several linked ones (`chain.rs`), the ring and its turns (`driver/`), the
//! memory (`slots/`).
#![allow(
    unsafe_code,
    reason = "implements the contract between operations and their slots"
)]

mod accept;
mod accept_multi;
mod async_cancel;
mod attempt;
mod bind;
mod close;
mod connect;
mod control;
mod credentials;
mod epoll_ctl;
mod epoll_wait;
mod fadvise;
mod fallocate;
mod fgetxattr;
mod fsetxattr;
mod fsync;
mod ftruncate;
mod futex_wait;
mod futex_wake;
mod future;
mod getxattr;
mod linkat;
mod listen;
mod lseek;
mod mkdirat;
mod msg_ring;
mod multi;
mod nop;
mod opcodes;
mod openat;
mod openat2;
mod origin;
mod poll_add;
mod poll_multi;
mod position;
mod read;
mod readv;
mod recv;
mod recv_chunk;
mod recv_multi;
mod recvmsg;
mod renameat;
mod rounds;
mod seats;
mod send;
mod send_zc;
mod sendmsg;
mod sendmsg_zc;
mod setxattr;
mod shutdown;
mod socket;
mod splice;
mod start;
mod statx;
mod symlinkat;
mod sync_file_range;
mod tee;
mod timeout;
mod unlinkat;
mod waitid;
mod write;
mod writev;

use std::io;
use std::os::fd::RawFd;
use std::task::Waker;

use io_uring::squeue;

pub use self::accept::Accept;
pub use self::accept_multi::AcceptMulti;
pub(crate) use self::async_cancel::cancel_entry;
pub use self::bind::Bind;
pub use self::close::CloseFd;
pub(crate) use self::close::CloseOwned;
pub use self::connect::Connect;
pub use self::control::{Control, ControlMessage};
pub use self::credentials::Credentials;
pub use self::epoll_ctl::EpollCtl;
pub use self::epoll_wait::{EpollEvents, EpollWait};
pub use self::fadvise::Fadvise;
pub use self::fallocate::Fallocate;
pub use self::fgetxattr::FgetXattr;
pub use self::fsetxattr::FsetXattr;
pub use self::fsync::Fsync;
pub use self::ftruncate::Ftruncate;
pub use self::futex_wait::{FutexWait, FutexWord};
pub use self::futex_wake::FutexWake;
pub use self::future::Op;
pub use self::getxattr::GetXattr;
pub use self::linkat::LinkAt;
pub use self::listen::Listen;
pub use self::lseek::Seek;
pub use self::mkdirat::MkdirAt;
pub use self::msg_ring::MsgRing;
pub use self::multi::{Multi, Multishot};
pub use self::nop::Nop;
pub use self::opcodes::{OPCODES, Opcode, Without};
pub use self::openat::OpenAt;
pub use self::openat2::OpenAt2;
pub use self::origin::Origin;
pub(crate) use self::poll_add::watch_entry;
pub use self::poll_add::{Events, PollAdd};
pub(crate) use self::poll_multi::PollMulti;
pub use self::read::{Read, ReadExact};
pub use self::readv::Readv;
pub use self::recv::{Recv, RecvExact};
pub use self::recv_chunk::RecvChunk;
pub use self::recv_multi::RecvMulti;
pub use self::recvmsg::{Message, Receipt, RecvFrom, RecvMsg};
pub use self::renameat::RenameAt;
pub use self::seats::Second;
pub(crate) use self::seats::{ALL, FDS, GivesUp, SEATS, Seat, Which, kept_error};
pub use self::send::{Send, SendAll};
pub use self::send_zc::SendZc;
pub use self::sendmsg::{SendMsg, SendTo};
pub use self::sendmsg_zc::SendMsgZc;
pub use self::setxattr::SetXattr;
pub use self::shutdown::Shutdown;
pub use self::socket::Socket;
pub use self::splice::Splice;
pub(crate) use self::start::Refused;
pub use self::statx::Statx;
pub use self::symlinkat::SymlinkAt;
pub use self::sync_file_range::SyncFileRange;
pub use self::tee::Tee;
pub use self::timeout::Timeout;
pub(crate) use self::timeout::timespec_of;
pub use self::unlinkat::UnlinkAt;
pub use self::waitid::WaitId;
pub use self::write::{Write, WriteAll};
pub use self::writev::Writev;

use crate::buf::Region;
use crate::driver::Driver;
use crate::fd::Lane;
#[doc(hidden)]
pub use crate::fd::Tried;
use crate::kept::Kept;
use crate::ring::{COPIED, PICKED};

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

    /// It names a buffer that the kernel picked.
    #[inline]
    pub(super) fn picked(&self) -> bool {
        self.flags & PICKED != 0
    }

    /// Of a send that was not to copy: the kernel did.
    pub(super) fn was_copied(&self) -> bool {
        self.flags & COPIED != 0
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
    /// Whether the kernel's rings have no such opcode, and [`call`](Operation::call) does it.
    #[doc(hidden)]
    const CALLED: bool = false;
    /// Whether it may take several rounds; see [`goes_on`](Operation::goes_on).
    #[doc(hidden)]
    const ROUNDS: bool = false;
    /// Whether it may have a [second](Operation::second) descriptor.
    #[doc(hidden)]
    const TWO: bool = false;

    /// Whether it notes its completions itself, in [`note`](Operation::note).
    #[doc(hidden)]
    const NOTES: bool = false;

    /// Whether it may complete twice: with its result, and, where the ring was given its memory to read from instead of
    /// copying it, once more when nothing reads that any longer (`IORING_CQE_F_NOTIF`). With the first it is off its
    /// descriptor, unless it [will go on](Operation::will_go_on); with the second it has ended.
    #[doc(hidden)]
    const NOTIFIED: bool = false;

    /// How many completions may wait to be taken: then it is cancelled. Only of an operation with several.
    #[doc(hidden)]
    const UNTAKEN: usize = usize::MAX;

    /// Whether its file may be named by its row in the ring's table.
    #[doc(hidden)]
    const FIXED_FILE: bool = false;

    /// The direction of the descriptor it has to itself while in flight.
    #[doc(hidden)]
    fn lane(&self) -> Option<Lane> {
        None
    }

    /// Whether a worker of the kernel's runs it and waits with it, where no linked timeout reaches it: its deadline is
    /// a timer of its own.
    #[doc(hidden)]
    fn on_worker(&self) -> bool {
        false
    }

    /// The second descriptor, as safe as the first: its number is given up only after the last completion, and
    /// closing it ends the operation. Only with [`TWO`](Operation::TWO), not with [`ROUNDS`](Operation::ROUNDS).
    #[doc(hidden)]
    fn second(&self) -> Option<&Second> {
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

    /// Takes from the driver that it will run on what it needs of that, or refuses to run there.
    #[doc(hidden)]
    fn prepare(&mut self, driver: &Driver) -> io::Result<()> {
        let _ = driver;
        Ok(())
    }

    /// Whether it succeeds without any I/O.
    #[doc(hidden)]
    fn has_nothing_to_do(&self) -> bool {
        false
    }

    /// The number of the descriptor that it closes itself.
    #[doc(hidden)]
    fn closes(&self) -> Option<RawFd> {
        None
    }

    /// Refuses to be a member of a chain.
    #[doc(hidden)]
    fn check_in_chain(&self) -> io::Result<()> {
        Ok(())
    }

    /// The last word before it is staged, when it has its lane and all that starts with it is counted in: on the
    /// descriptor it closes, `own` operations of its chain's. Once a round.
    #[doc(hidden)]
    fn seal(&mut self, fd: RawFd, own: u32) -> io::Result<()> {
        let _ = (fd, own);
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

    /// Whether it [goes on](Operation::goes_on) after `result`, and so keeps its lane, although the ring reads its memory
    /// still. Called while completions are settled: it runs no code of the user's. Only with
    /// [`NOTIFIED`](Operation::NOTIFIED).
    #[doc(hidden)]
    fn will_go_on(&self, result: &io::Result<Success>) -> bool {
        let _ = result;
        false
    }

    /// Decides whether the next round goes without a copy: from `least` bytes on it may, if `driver` has a way. Not
    /// asked in chains. Only with [`NOTIFIED`](Operation::NOTIFIED).
    #[doc(hidden)]
    fn choose_way(&mut self, least: usize, driver: &Driver) {
        let _ = (least, driver);
    }

    /// It has ended with `result`, which is about to be handed over, and holds its lane still.
    #[doc(hidden)]
    fn landed(&mut self, result: &io::Result<Success>, origin: Origin<'_>) {
        let _ = (result, origin);
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

    /// Notes one of its completions (`more`: not the last); who is to be woken for it goes into `wakers`. It is called
    /// while completions are settled, so it runs no code of the user's.
    ///
    /// Only with [`NOTES`](Operation::NOTES), and not in chains. A completion noted is not queued.
    #[doc(hidden)]
    fn note(&mut self, result: i32, more: bool, wakers: &mut Vec<Waker>) {
        let _ = (result, more, wakers);
    }

    /// The memory it is about, if that is one that a ring may know. Only of a `READ` or a `WRITE`.
    #[doc(hidden)]
    fn region(&self) -> Option<&Region> {
        None
    }

    /// Serves the operation from what is kept, if that fits it.
    #[doc(hidden)]
    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        let _ = kept;
        None
    }

    /// As what it may be [tried](Operation::attempt).
    #[doc(hidden)]
    fn attempts(&self) -> Option<Tried> {
        None
    }

    /// Tries it by a plain system call that does not wait (`EAGAIN`: it would have to, for all of it or a part), when it
    /// is about to be staged. What it then brings is the operation's result, or that of a round.
    #[doc(hidden)]
    fn attempt(&mut self, fd: RawFd) -> io::Result<Success> {
        let _ = fd;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Does it by a plain system call that does not block, in its turn among those of its lane.
    #[doc(hidden)]
    fn call(&mut self, fd: RawFd) -> io::Result<Success> {
        let _ = fd;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Does it by a plain system call, where the ring does not know the opcode and the call does not block.
    #[doc(hidden)]
    fn fallback(&mut self, fd: RawFd) -> Option<io::Result<Success>> {
        let _ = fd;
        None
    }
}
