//! What a descriptor is watched for, and what it is found ready for.

use std::fmt;
use std::ops::BitOr;

use crate::op::Events;

pub(super) const IN: u32 = libc::POLLIN as u32;
pub(super) const OUT: u32 = libc::POLLOUT as u32;
pub(super) const PRI: u32 = libc::POLLPRI as u32;
pub(super) const READ_END: u32 = libc::POLLRDHUP as u32;
/// They are told to everybody, whatever is asked for.
pub(super) const END: u32 = (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) as u32;

/// How many ways there are to be ready.
pub(super) const WAYS: usize = 4;
/// The bits of `poll(2)` that belong to each way.
pub(super) const BITS: [u32; WAYS] = [IN | READ_END, OUT, PRI, 0];

/// What a descriptor is to be ready for: one thing, or several joined with `|`.
///
/// Errors and hang-ups answer every interest, as with `poll(2)`: the attempt that follows hears of them.
///
/// # Examples
///
/// ```
/// use annulet_driver::Interest;
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable() && !both.is_priority());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// There is something to read, or the end.
    pub const READABLE: Interest = Interest(1);
    /// There is room to write.
    pub const WRITABLE: Interest = Interest(1 << 1);
    /// There is something exceptional: out-of-band data on a TCP socket, a change in a file of sysfs.
    pub const PRIORITY: Interest = Interest(1 << 2);
    /// Nothing but errors and hang-ups.
    pub const ERROR: Interest = Interest(1 << 3);

    /// Whether reading is part of it.
    pub fn is_readable(self) -> bool {
        self.contains(Interest::READABLE)
    }

    /// Whether writing is part of it.
    pub fn is_writable(self) -> bool {
        self.contains(Interest::WRITABLE)
    }

    /// Whether what is exceptional is part of it.
    pub fn is_priority(self) -> bool {
        self.contains(Interest::PRIORITY)
    }

    /// Whether errors are asked for by themselves.
    pub fn is_error(self) -> bool {
        self.contains(Interest::ERROR)
    }

    /// Whether all of `other` is part of it.
    pub fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }

    /// The ways that are part of it.
    #[inline]
    pub(super) fn ways(self) -> impl Iterator<Item = usize> {
        (0..WAYS).filter(move |way| self.0 & (1 << way) != 0)
    }

    /// What to ask `poll(2)` for.
    pub(super) fn mask(self) -> u32 {
        self.ways().map(|way| BITS[way]).sum()
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["READABLE", "WRITABLE", "PRIORITY", "ERROR"];
        let mut parts = self.ways().map(|way| names[way]);
        f.write_str(parts.next().unwrap_or("nothing"))?;
        parts.try_for_each(|part| write!(f, " | {part}"))
    }
}

/// What a descriptor was found ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(pub(super) u32);

impl Ready {
    /// A read would not block: there is something, or the end.
    pub fn is_readable(self) -> bool {
        self.0 & (IN | READ_END | libc::POLLHUP as u32) != 0
    }

    /// A write would not block: there is room, or nobody reads any more.
    pub fn is_writable(self) -> bool {
        self.0 & (OUT | libc::POLLHUP as u32) != 0 || self.is_error()
    }

    /// The other side has ended what it writes (`POLLRDHUP`), or hung up (`POLLHUP`).
    pub fn is_read_closed(self) -> bool {
        self.0 & (READ_END | libc::POLLHUP as u32) != 0
    }

    /// Nobody reads any more: the other side hung up (`POLLHUP`), or, of a pipe, closed its end (`POLLERR`).
    pub fn is_write_closed(self) -> bool {
        self.0 & libc::POLLHUP as u32 != 0 || self.is_error()
    }

    /// There is something exceptional (`POLLPRI`).
    pub fn is_priority(self) -> bool {
        self.0 & PRI != 0
    }

    /// There is an error (`POLLERR`): the next attempt, or `SO_ERROR`, tells which.
    pub fn is_error(self) -> bool {
        self.0 & libc::POLLERR as u32 != 0
    }

    /// The bits as `poll(2)` has them.
    pub fn events(self) -> Events {
        Events(self.0)
    }
}
