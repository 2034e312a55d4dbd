//! Rings of buffers to pick from (`IORING_REGISTER_PBUF_RING`), in the kernel's layout: entries of an address, a length and
//! a number; in the first of them, where no entry has a field, the tail. Whoever registered a ring puts entries there and
//! counts the tail up; where we are with taking them is ours alone.
//!
//! A buffer is looked at when there may be something to put into it, and taken when there was. Of one that is consumed
//! by and by (`IOU_PBUF_RING_INC`) so much is taken as was put there: its entry then tells of the rest.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Acquire;

use io_uring::types::BufRingEntry;

use crate::ring::INCREMENTAL;

/// As many entries as a ring of them may have.
const MOST: u16 = 1 << 15;
const PAGE: usize = 4096;

/// A buffer that can be picked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) number: u16,
}

#[derive(Debug)]
struct Group {
    number: u16,
    entries: NonNull<BufRingEntry>,
    count: u16,
    head: u16,
    /// Its buffers are consumed by and by.
    incremental: bool,
}

/// The rings of buffers of one ring, by their number.
#[derive(Debug, Default)]
pub(super) struct Groups(Vec<Group>);

impl Groups {
    /// # Safety
    ///
    /// As for [`Ring::register_buffers`](crate::ring::Ring::register_buffers).
    pub(super) unsafe fn register(
        &mut self,
        memory: u64,
        count: u16,
        number: u16,
        flags: u16,
    ) -> io::Result<()> {
        let known = flags & !INCREMENTAL == 0;
        let entries = NonNull::new(memory as *mut BufRingEntry);
        let entries = entries.filter(|at| at.as_ptr().addr().is_multiple_of(PAGE));
        let possible = known && count.is_power_of_two() && count <= MOST;
        let (Some(entries), true) = (entries, possible) else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        if self.find(number).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        self.0.push(Group {
            number,
            entries,
            count,
            head: 0,
            incremental: flags & INCREMENTAL != 0,
        });
        Ok(())
    }

    pub(super) fn unregister(&mut self, number: u16) -> io::Result<()> {
        let at = self.0.iter().position(|group| group.number == number);
        let at = at.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        self.0.swap_remove(at);
        Ok(())
    }

    fn find(&mut self, number: u16) -> Option<&mut Group> {
        self.0.iter_mut().find(|group| group.number == number)
    }

    /// The buffer that is next, if there is one.
    pub(super) fn first(&mut self, number: u16) -> Option<Buffer> {
        let group = self.find(number)?;
        // SAFETY: the memory is there until it is unregistered; the tail is in the first entry, and aligned.
        let tail = unsafe {
            let tail = BufRingEntry::tail(group.entries.as_ptr());
            AtomicU16::from_ptr(tail.cast_mut()).load(Acquire)
        };
        if tail == group.head {
            return None;
        }
        let at = usize::from(group.head & (group.count - 1));
        // SAFETY: within the memory. The tail says that it was put there; nobody but us changes it before we have taken it.
        let entry = unsafe { group.entries.add(at).as_ref() };
        Some(Buffer {
            address: entry.addr(),
            len: entry.len(),
            number: entry.bid(),
        })
    }

    /// Takes so many bytes of that buffer. Whether the rest is to be picked, too.
    pub(super) fn take(&mut self, number: u16, len: u32) -> bool {
        let Some(group) = self.find(number) else {
            return false;
        };
        let at = usize::from(group.head & (group.count - 1));
        // SAFETY: within the memory, and ours until the head has passed it.
        let entry = unsafe { group.entries.add(at).as_mut() };
        let left = entry.len().saturating_sub(len);
        if group.incremental && left > 0 {
            entry.set_addr(entry.addr() + u64::from(len));
            entry.set_len(left);
            return true;
        }
        group.head = group.head.wrapping_add(1);
        false
    }
}
