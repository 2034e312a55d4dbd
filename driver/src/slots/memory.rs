//! Memory the kernel may look into: cells that never move.
//!
//! A cell is lent to one operation from its start to its last completion. Cells come from chunks that
//! are freed only with the whole store, so lending and giving back allocates nothing once warm. An
//! operation too large for a small cell gets one of the large ones; a still larger one its own
//! allocation.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a small cell: enough for an accept with its address.
const SMALL: usize = 192;
/// Bytes of a large cell: enough for a message header, its address, vectors and some control data.
const LARGE: usize = 1024;
/// Cells in a chunk.
const CHUNK: usize = 64;
const ALIGN: usize = 16;

/// The kind of cell a value goes into; known from its type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class {
    Small,
    Large,
    Own(Layout),
}

impl Class {
    /// The smallest kind that a value of this layout fits into.
    pub(super) const fn of(layout: Layout) -> Class {
        if layout.size() <= SMALL && layout.align() <= ALIGN {
            Class::Small
        } else if layout.size() <= LARGE && layout.align() <= ALIGN {
            Class::Large
        } else {
            Class::Own(layout)
        }
    }
}

/// All cells of one driver.
#[derive(Debug, Default)]
pub(super) struct Memory {
    small: Pool<SMALL>,
    large: Pool<LARGE>,
}

impl Memory {
    /// Lends a cell.
    #[inline]
    pub(super) fn lend(&mut self, class: Class) -> NonNull<u8> {
        match class {
            Class::Small => self.small.lend(),
            Class::Large => self.large.lend(),
            Class::Own(layout) => allocate(layout),
        }
    }

    /// # Safety
    ///
    /// `cell` was lent by this store for `class`, is given back once, and nobody uses it any more.
    #[inline]
    pub(super) unsafe fn give_back(&mut self, cell: NonNull<u8>, class: Class) {
        match class {
            Class::Small => self.small.free.push(cell),
            Class::Large => self.large.free.push(cell),
            // SAFETY: `lend` allocated it with this very layout; the caller is done with it.
            Class::Own(layout) => unsafe { dealloc(cell.as_ptr(), layout) },
        }
    }
}

/// Cells of one size.
#[derive(Debug, Default)]
struct Pool<const SIZE: usize> {
    chunks: Vec<NonNull<u8>>,
    free: Vec<NonNull<u8>>,
}

impl<const SIZE: usize> Pool<SIZE> {
    fn layout() -> Layout {
        Layout::from_size_align(SIZE * CHUNK, ALIGN).expect("a constant, valid layout")
    }

    #[inline]
    fn lend(&mut self) -> NonNull<u8> {
        match self.free.pop() {
            Some(cell) => cell,
            None => self.lend_of_new_chunk(),
        }
    }

    #[cold]
    fn lend_of_new_chunk(&mut self) -> NonNull<u8> {
        let chunk = allocate(Self::layout());
        self.chunks.push(chunk);
        // The list of free cells never grows in `give_back`: it has room for every cell there is.
        self.free.reserve(self.chunks.len() * CHUNK);
        for at in (1..CHUNK).rev() {
            // SAFETY: within the chunk just allocated, `SIZE * CHUNK` bytes long.
            self.free.push(unsafe { chunk.add(at * SIZE) });
        }
        chunk
    }
}

impl<const SIZE: usize> Drop for Pool<SIZE> {
    fn drop(&mut self) {
        for chunk in self.chunks.drain(..) {
            // SAFETY: allocated by `lend` with this layout; the store's owner drops it only when no
            // operation is in flight (`Slots::drop`), so nobody points into it.
            unsafe { dealloc(chunk.as_ptr(), Self::layout()) };
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // A zero-sized value needs an address all the same; cells are never zero-sized as they start with
    // their header.
    debug_assert!(layout.size() > 0);
    // SAFETY: the layout is not zero-sized.
    let ptr = unsafe { alloc(layout) };
    NonNull::new(ptr).unwrap_or_else(|| handle_alloc_error(layout))
}
