//! The waist: submission entries go in, completions come out.
//!
//! Everything above this module speaks [`Sqe`] and [`Completion`]; everything below is a kernel: the real one
//! ([`kernel`]), or the one in user space ([`poll`]) that does what the real one would. Each is a variant of [`Ring`];
//! another one changes nothing above.
//!
//! Who owns what: a ring owns its queues and nothing else. The memory an entry points at belongs to
//! the slot whose number the entry carries as `user_data` (see [`crate::slots`]); making an [`Sqe`]
//! is therefore the unsafe act, staging one is not.
#![allow(unsafe_code, reason = "the waist speaks raw entries and system calls")]

#[cfg(test)]
mod differ;
mod fork;
mod kernel;
mod poll;
mod probe;
mod registered;
mod setup;

use std::io;
use std::mem::transmute;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use io_uring::{opcode, squeue};

pub(crate) use self::kernel::refusal;
pub(crate) use self::probe::Support;
use self::registered::Tables;
pub(crate) use self::setup::VARIABLE;
pub use self::setup::{DriverKind, Setup};

/// Where `fd` is in an entry.
const FD: usize = 4;
/// Where `buf_index` is in an entry.
const BUF_INDEX: usize = 40;

/// A 64-byte submission entry whose pointers are vouched for.
///
/// `Sqe` is what the ring accepts. Whoever makes one promises that all memory it points at stays put
/// and is touched by nobody else until the last completion that carries its `user_data`.
#[derive(Clone, Debug)]
pub(crate) struct Sqe {
    entry: squeue::Entry,
    /// Of the descriptor the entry names; 0: nobody's that we know.
    identity: u64,
    linked: bool,
}

impl Sqe {
    /// # Safety
    ///
    /// The memory `entry` points at must stay valid and unmoved, and be accessed by nobody but the
    /// kernel, until the final completion carrying `entry`'s `user_data` has been reaped. Memory the
    /// kernel reads at submission only (timespecs) must live until the entry was consumed.
    #[inline]
    pub(crate) unsafe fn new(entry: squeue::Entry) -> Sqe {
        Sqe {
            entry,
            identity: 0,
            linked: false,
        }
    }

    /// Says whose the descriptor is that the entry names: a number that no other descriptor of this process ever has. The
    /// kernel ring has no use for it; the one in user space may remember what it knows of the descriptor, as it
    /// then knows when its number has become another's.
    #[inline]
    pub(crate) fn on(self, identity: u64) -> Sqe {
        Sqe { identity, ..self }
    }

    /// Links it to the entry staged next: `IO_LINK` or `IO_HARDLINK`.
    #[inline]
    pub(crate) fn linked_by(self, link: squeue::Flags) -> Sqe {
        // `Entry::flags` of the crate ORs into what is there.
        Sqe {
            entry: self.entry.flags(link),
            linked: true,
            ..self
        }
    }

    /// Has the entry, a `READ` or a `WRITE`, say that its memory lies in the region that the ring knows by `index`: the
    /// kernel looks that up, and refuses (`EFAULT`) what does not lie there.
    #[inline]
    pub(crate) fn in_region(self, index: u16) -> Sqe {
        // SAFETY: 64 bytes of plain numbers in the kernel's layout (`struct io_uring_sqe`).
        let mut bytes: [u8; 64] = unsafe { transmute(self.entry) };
        bytes[0] = match bytes[0] {
            opcode::Write::CODE => opcode::WriteFixed::CODE,
            _ => opcode::ReadFixed::CODE,
        };
        bytes[BUF_INDEX..BUF_INDEX + 2].copy_from_slice(&index.to_ne_bytes());
        // SAFETY: as above. Its memory is what it was.
        let entry = unsafe { transmute::<[u8; 64], squeue::Entry>(bytes) };
        Sqe { entry, ..self }
    }

    /// Has the entry name its file by the row of the ring's table that it is in, not by its number.
    #[inline]
    pub(crate) fn in_table(self, row: u32) -> Sqe {
        // SAFETY: 64 bytes of plain numbers in the kernel's layout (`struct io_uring_sqe`).
        let mut bytes: [u8; 64] = unsafe { transmute(self.entry) };
        bytes[FD..FD + 4].copy_from_slice(&row.to_ne_bytes());
        // SAFETY: as above. Its memory is what it was.
        let entry = unsafe { transmute::<[u8; 64], squeue::Entry>(bytes) };
        Sqe {
            entry: entry.flags(squeue::Flags::FIXED_FILE),
            ..self
        }
    }

    /// Whether the next entry belongs to the same chain.
    pub(crate) fn is_linked(&self) -> bool {
        self.linked
    }
}

/// `IOU_PBUF_RING_INC`, Linux 6.12: a buffer is picked again and again until it is full. The ring counts its address up, its
/// length down, in the entry itself; a completion after which it is not full says so (`IORING_CQE_F_BUF_MORE`).
pub(crate) const INCREMENTAL: u16 = 2;

/// `IORING_CQE_F_BUFFER`.
pub(crate) const PICKED: u32 = 1;
/// `IORING_CQE_F_MORE`.
const MORE: u32 = 1 << 1;
/// `IORING_CQE_F_NOTIF`.
const NOTIFICATION: u32 = 1 << 3;

/// `IORING_CQE_F_BUF_MORE`.
const BUFFER_MORE: u32 = 1 << 4;

/// `IORING_SEND_ZC_REPORT_USAGE`: the notification says whether the kernel has copied after all.
pub(crate) const REPORT_USAGE: u16 = 1 << 3;
/// `IORING_NOTIF_USAGE_ZC_COPIED`, a bit of a notification's result.
pub(crate) const COPIED: u32 = 1 << 31;

/// What the kernel says of one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

impl Completion {
    /// More completions of the same entry follow (`IORING_CQE_F_MORE`).
    pub(crate) fn more(&self) -> bool {
        io_uring::cqueue::more(self.flags)
    }

    /// The buffer that the kernel picked, if it names one (`IORING_CQE_F_BUFFER`).
    #[inline]
    pub(crate) fn picked(&self) -> Option<u16> {
        io_uring::cqueue::buffer_select(self.flags)
    }

    /// It names one.
    #[inline]
    pub(crate) fn picks(&self) -> bool {
        self.flags & PICKED != 0
    }

    /// More follow, or it is a notification.
    #[inline]
    pub(crate) fn is_of_several(&self) -> bool {
        self.flags & (MORE | NOTIFICATION) != 0
    }

    /// It does not tell what an entry came to, but that the kernel no longer reads its memory (`IORING_CQE_F_NOTIF`).
    pub(crate) fn is_notification(&self) -> bool {
        io_uring::cqueue::notif(self.flags)
    }

    /// Of a notification: the kernel has copied after all.
    pub(crate) fn was_copied(&self) -> bool {
        self.is_notification() && self.result.cast_unsigned() & COPIED != 0
    }
}

/// How long a turn may sleep for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// At most this long; `None` is for ever.
    AtMost(Option<Duration>),
}

/// A ring of any kind. Which one is asked for every entry, so it is to be read off a byte of its own.
#[derive(Debug)]
#[repr(u8)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a driver, and the kernel's is on the hot path: no pointer to follow there"
)]
pub(crate) enum Ring {
    Kernel(kernel::KernelRing),
    Poll(Box<poll::PollRing>),
    /// One that was shut down: it takes nothing and holds nothing, whoever still has its driver.
    Closed,
}

/// Calls the same method on whichever ring it is (a new kind is one line here), or answers for a closed one.
macro_rules! on_ring {
    ($self:expr, $ring:ident => $call:expr, else $closed:expr) => {
        match $self {
            Ring::Kernel($ring) => $call,
            Ring::Poll($ring) => $call,
            Ring::Closed => $closed,
        }
    };
}

impl Ring {
    /// Builds the ring `setup` asks for. With it comes, if it is not the kernel's for that reason, why the kernel
    /// refused.
    ///
    /// # Errors
    ///
    /// What `io_uring_setup(2)` refuses, with the cause and the remedy in words.
    pub(crate) fn new(setup: &Setup) -> io::Result<(Ring, Option<io::Error>)> {
        let kind = setup.driver.resolved()?;
        if kind == DriverKind::Poll {
            return Ok((Ring::Poll(Box::new(poll::PollRing::new(setup)?)), None));
        }
        let refused = match kernel::KernelRing::new(setup) {
            Ok(ring) => return Ok((Ring::Kernel(ring), None)),
            Err(error) => error,
        };
        if kind == DriverKind::Kernel || !setup.is_the_kernels_fault(&refused) {
            return Err(refusal(&refused));
        }
        let ring = Box::new(poll::PollRing::new(setup)?);
        Ok((Ring::Poll(ring), Some(refusal(&refused))))
    }

    /// The number of entries the submission queue holds: the longest chain that can be staged.
    pub(crate) fn capacity(&self) -> usize {
        on_ring!(self, ring => ring.capacity(), else 0)
    }

    /// Stages `group` whole, by one tail store, or not at all (`false`: no room).
    #[inline]
    pub(crate) fn stage(&mut self, group: &[Sqe]) -> bool {
        on_ring!(self, ring => ring.stage(group), else false)
    }

    /// Whether an enter without sleeping would do anything: entries are staged, completions wait
    /// outside the queue (overflow) or as deferred task work.
    #[inline]
    pub(crate) fn wants_enter(&mut self) -> bool {
        on_ring!(self, ring => ring.wants_enter(), else false)
    }

    /// Whether the kernel has deferred work that an enter without sleeping would run.
    #[inline]
    pub(crate) fn has_deferred(&mut self) -> bool {
        match self {
            Ring::Kernel(ring) => ring.has_deferred(),
            Ring::Poll(_) | Ring::Closed => false,
        }
    }

    /// As [`wants_enter`](Ring::wants_enter), found out rather than taken to be so.
    pub(crate) fn has_news(&mut self) -> bool {
        match self {
            Ring::Kernel(ring) => ring.wants_enter(),
            Ring::Poll(ring) => ring.has_news(),
            Ring::Closed => false,
        }
    }

    /// Makes `fd`, a duplicate of [`as_fd`](Ring::as_fd), stand for the ring where messages are sent to.
    pub(crate) fn known_as(&mut self, fd: RawFd) {
        match self {
            // It does.
            Ring::Kernel(_) | Ring::Closed => {}
            Ring::Poll(ring) => ring.known_as(fd),
        }
    }

    /// Whether completions are waiting to be reaped.
    #[inline]
    pub(crate) fn has_completions(&mut self) -> bool {
        on_ring!(self, ring => ring.has_completions(), else false)
    }

    /// Hands all that is staged to the kernel and, if `wait` says so, sleeps for a completion.
    ///
    /// Returning early is no error: a signal, a passed time, a queue the kernel could not take
    /// whole. What was not taken stays staged.
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        on_ring!(self, ring => ring.enter(wait), else Err(io::ErrorKind::NotConnected.into()))
    }

    /// Whether the last [`enter`](Ring::enter) only carried out what was staged, and asked nobody for events.
    #[inline]
    pub(crate) fn looked_away(&self) -> bool {
        match self {
            Ring::Poll(ring) => ring.looked_away(),
            Ring::Kernel(_) | Ring::Closed => false,
        }
    }

    /// Moves every completion there is into `batch`.
    pub(crate) fn reap(&mut self, batch: &mut Vec<Completion>) {
        on_ring!(self, ring => ring.reap(batch), else ());
    }

    /// The opcodes that the ring carries out.
    pub(crate) fn support(&self) -> Support {
        on_ring!(self, ring => *ring.support(), else Support::none())
    }

    /// Registers a ring of buffers to pick from. With [`INCREMENTAL`] among `flags` a buffer is consumed by and by; a ring
    /// that cannot do that refuses (`EINVAL`).
    ///
    /// # Safety
    ///
    /// At `memory` is page-aligned memory for `entries` entries, which is used for nothing else until the registration
    /// ends; and what is published there is memory that may be written to, and is nobody else's, as long as a receive
    /// that names the group is in flight.
    pub(crate) unsafe fn register_buffers(
        &mut self,
        memory: u64,
        entries: u16,
        group: u16,
        flags: u16,
    ) -> io::Result<()> {
        match self {
            // SAFETY: the caller's.
            Ring::Kernel(ring) => unsafe { ring.register_buffers(memory, entries, group, flags) },
            // SAFETY: the caller's.
            Ring::Poll(ring) => unsafe { ring.register_buffers(memory, entries, group, flags) },
            Ring::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Ends that registration.
    pub(crate) fn unregister_buffers(&mut self, group: u16) -> io::Result<()> {
        on_ring!(self, ring => ring.unregister_buffers(group), else Ok(()))
    }

    /// Its tables of memory and files.
    fn tables(&mut self) -> Option<&mut dyn Tables> {
        match self {
            Ring::Kernel(ring) => Some(ring),
            Ring::Poll(ring) => Some(&mut **ring),
            Ring::Closed => None,
        }
    }

    /// Has the ring know `len` bytes from `ptr` on, and tells by which index.
    ///
    /// # Errors
    ///
    /// The ring has no such thing (`Unsupported`), or no room for it (`QuotaExceeded`); what the kernel says.
    pub(crate) fn register_buffer(&mut self, ptr: *const u8, len: usize) -> io::Result<u16> {
        let tables = self.tables().ok_or(io::ErrorKind::Unsupported)?;
        tables.register_buffer(ptr, len)
    }

    /// Has it forget what it knows by that index, which no entry names any more.
    pub(crate) fn unregister_buffer(&mut self, index: u16) {
        if let Some(tables) = self.tables() {
            tables.unregister_buffer(index);
        }
    }

    /// Has the ring know the file of `fd`, and tells by which row of its table.
    ///
    /// # Errors
    ///
    /// As those of [`register_buffer`](Ring::register_buffer).
    pub(crate) fn register_file(&mut self, fd: RawFd) -> io::Result<u32> {
        let tables = self.tables().ok_or(io::ErrorKind::Unsupported)?;
        tables.register_file(fd)
    }

    /// Has it let go of the file in that row, which no entry names any more.
    pub(crate) fn unregister_file(&mut self, row: u32) {
        if let Some(tables) = self.tables() {
            tables.unregister_file(row);
        }
    }

    /// Which one it is.
    pub(crate) fn kind(&self) -> DriverKind {
        match self {
            Ring::Kernel(_) => DriverKind::Kernel,
            Ring::Poll(_) => DriverKind::Poll,
            Ring::Closed => DriverKind::Auto,
        }
    }

    /// Names of the set-up flags in use, for people.
    pub(crate) fn flags(&self) -> &str {
        on_ring!(self, ring => ring.flags(), else "")
    }

    /// The descriptor others send `MSG_RING` messages to.
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        on_ring!(self, ring => Some(ring.as_fd()), else None)
    }
}
