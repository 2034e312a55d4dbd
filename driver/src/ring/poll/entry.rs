//! The 64 bytes of a submission entry (`struct io_uring_sqe`), taken apart.

use std::mem::transmute_copy;

use io_uring::squeue;

/// An entry as the kernel's header lays it out. Where a field has several names there, it has the first here.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) opcode: u8,
    pub(super) flags: u8,
    pub(super) ioprio: u16,
    pub(super) fd: i32,
    /// Also the second address.
    pub(super) off: u64,
    pub(super) addr: u64,
    pub(super) len: u32,
    /// The flags of the system call.
    pub(super) op_flags: u32,
    pub(super) user_data: u64,
    /// Also the number of a ring of buffers.
    pub(super) buf_index: u16,
    pub(super) personality: u16,
    /// Also one more than a row of the table of files (`file_index`).
    pub(super) splice_fd_in: i32,
    pub(super) addr3: u64,
    /// Whose the descriptor is, 0 if that is not known. The kernel has attributes of reads and writes here.
    pub(super) identity: u64,
}

const _: () = assert!(size_of::<Entry>() == 64 && size_of::<squeue::Entry>() == 64);

impl Entry {
    pub(super) fn of(entry: &squeue::Entry, identity: u64) -> Entry {
        // SAFETY: both are 64 bytes of plain numbers in the kernel's layout, and all bits are valid in them.
        let entry: Entry = unsafe { transmute_copy(entry) };
        // Nobody here knows what would be there: it is refused by a flag that does not exist.
        let unknown = if entry.identity != 0 { 1 << 7 } else { 0 };
        Entry {
            flags: entry.flags | unknown,
            identity,
            ..entry
        }
    }

    fn has(&self, flag: squeue::Flags) -> bool {
        self.flags & flag.bits() != 0
    }

    /// Whether the next entry belongs to the same chain.
    pub(super) fn links(&self) -> bool {
        self.has(squeue::Flags::IO_LINK) || self.links_hard()
    }

    /// Whether the chain goes on after this one failed.
    pub(super) fn links_hard(&self) -> bool {
        self.has(squeue::Flags::IO_HARDLINK)
    }

    /// Whether it wants to be left to a worker at once.
    pub(super) fn wants_worker(&self) -> bool {
        self.has(squeue::Flags::ASYNC)
    }

    /// Whether its success is not told.
    pub(super) fn skips_success(&self) -> bool {
        self.has(squeue::Flags::SKIP_SUCCESS)
    }

    /// Whether a buffer is to be picked for it.
    pub(super) fn selects(&self) -> bool {
        self.has(squeue::Flags::BUFFER_SELECT)
    }

    /// Whether its descriptor is a row of the table of files.
    pub(super) fn is_fixed(&self) -> bool {
        self.has(squeue::Flags::FIXED_FILE)
    }

    /// From now on it is named by its number.
    pub(super) fn is_resolved(&mut self) {
        self.flags &= !squeue::Flags::FIXED_FILE.bits();
    }

    pub(super) fn ptr<T>(&self) -> *mut T {
        self.addr as *mut T
    }

    pub(super) fn ptr2<T>(&self) -> *mut T {
        self.off as *mut T
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }
}
