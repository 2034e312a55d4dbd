//! The ring of buffers shared with the kernel: the pool puts them there, it picks them.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::mm::munmap;

use super::map;
use crate::ring::{INCREMENTAL, Ring};

/// The group that receives name.
pub(crate) const GROUP: u16 = 0;
/// Entries of the ring: the most that is published. A power of two.
pub(super) const ENTRIES: u16 = 1024;
/// So many are published at first.
const FEW: u16 = 32;
/// The same where one holds many messages.
const FEWER: u16 = 8;

/// The ring of buffers shared with the kernel.
pub(super) struct SharedRing {
    entries: NonNull<BufRingEntry>,
    /// Where the next goes; the kernel sees it when it is [shown](SharedRing::show).
    tail: u16,
    /// Not picked yet, or not up, as far as completions were reaped.
    pub(super) published: u16,
    /// So many are to be published.
    pub(super) wanted: u16,
}

impl SharedRing {
    const BYTES: usize = ENTRIES as usize * size_of::<BufRingEntry>();

    /// One of whole buffers, or, if `incremental` and `ring` can, of such as are consumed by and by; and whether they are.
    pub(super) fn of(ring: &mut Ring, incremental: bool) -> (Option<SharedRing>, bool) {
        let by_and_by = incremental
            .then(|| SharedRing::register(ring, INCREMENTAL, FEWER))
            .flatten();
        match by_and_by {
            Some(shared) => (Some(shared), true),
            None => (SharedRing::register(ring, 0, FEW), false),
        }
    }

    /// `flags` as the ring has them; `wanted`: so many are to be published at first. `None`: this ring has nothing of the
    /// kind, or no memory for it.
    fn register(ring: &mut Ring, flags: u16, wanted: u16) -> Option<SharedRing> {
        let memory = map(Self::BYTES)?;
        let shared = SharedRing {
            entries: memory.cast(),
            tail: 0,
            published: 0,
            wanted,
        };
        // SAFETY: the mapping is that long, and page-aligned. The kernel holds on to its pages itself until the
        // registration ends; nothing but the ring's entries is ever written there.
        let registered =
            unsafe { ring.register_buffers(memory.as_ptr() as u64, ENTRIES, GROUP, flags) };
        registered.ok().map(|()| shared)
    }

    /// Puts a buffer behind the others.
    #[inline]
    pub(super) fn put(&mut self, at: NonNull<u8>, len: u32, index: u16) {
        let slot = usize::from(self.tail & (ENTRIES - 1));
        // SAFETY: within the mapping. The kernel does not look at it before the tail says so: no more than `ENTRIES` are
        // published.
        let entry = unsafe { self.entries.add(slot).as_mut() };
        entry.set_addr(at.as_ptr() as u64);
        entry.set_len(len);
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
        self.published += 1;
    }

    /// The buffers that are published, of which the kernel will take none any more.
    pub(super) fn left(&self) -> impl Iterator<Item = u16> + '_ {
        let first = self.tail.wrapping_sub(self.published);
        (0..self.published).map(move |n| self.index(first.wrapping_add(n)))
    }

    /// The buffer that was put there last.
    fn index(&self, at: u16) -> u16 {
        let slot = usize::from(at & (ENTRIES - 1));
        // SAFETY: within the mapping. Where the kernel writes to an entry, to its address and length, it has ended.
        unsafe { self.entries.add(slot).as_ref() }.bid()
    }

    /// Lets the kernel see what was put.
    #[inline]
    pub(super) fn show(&self) {
        // SAFETY: the tail is in the first entry, where no entry's own fields are; the mapping lives.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: as above; it is aligned, and written to by this thread only.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for SharedRing {
    fn drop(&mut self) {
        // SAFETY: mapped by `register`, this long; nothing refers to it. The kernel, if it is still at it, has the pages.
        let _ = unsafe { munmap(self.entries.as_ptr().cast(), Self::BYTES) };
    }
}
