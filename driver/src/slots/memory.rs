//! Memory the kernel may look into: cells that never move.
//!
//! A cell serves one operation from its start to its last completion. Each slot has one of its own, large enough for a
//! read or a write of a buffer; what does not fit there is lent a cell of a larger kind, and what is larger still its
//! own allocation. Cells come from chunks that are freed only with the whole store, so that all this allocates nothing
//! once warm.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a slot's own cell: enough for a receive into a vector, with its deadline.
pub(super) const OWN: usize = 64;
/// Bytes of a small cell: enough for an accept with its address.
const SMALL: usize = 192;
/// Bytes of a large cell: enough for a `recvmsg` with address, control data and a few vectors.
const LARGE: usize = 1024;
/// Cells in a chunk.
const CHUNK: usize = 64;
const ALIGN: usize = 16;

/// The kind of cell a value goes into; known from its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The slot's own.
    Own,
    Small,
    Large,
    /// Memory of its own.
    Alone(Layout),
}

impl Class {
    /// The smallest kind that a value of this layout fits into.
    pub(super) const fn of(layout: Layout) -> Class {
        if layout.align() > ALIGN || layout.size() > LARGE {
            Class::Alone(layout)
        } else if layout.size() <= OWN {
            Class::Own
        } else if layout.size() <= SMALL {
            Class::Small
        } else {
            Class::Large
        }
    }
}

/// The cells of slots, by the slots' numbers.
#[derive(Debug, Default)]
pub(super) struct Cells {
    chunks: Chunks<OWN>,
}

impl Cells {
    /// The cell of slot `index`: asked for once each, in order.
    pub(super) fn cell(&mut self, index: usize) -> NonNull<u8> {
        if index == self.chunks.0.len() * CHUNK {
            self.chunks.add();
        }
        // SAFETY: within its chunk, `OWN * CHUNK` bytes long.
        unsafe { self.chunks.0[index / CHUNK].add(index % CHUNK * OWN) }
    }
}

/// The cells that are lent.
#[derive(Debug, Default)]
pub(super) struct Memory {
    small: Pool<SMALL>,
    large: Pool<LARGE>,
}

impl Memory {
    /// The cell for a value of `class`, in a slot whose own is `own`.
    #[inline]
    pub(super) fn lend(&mut self, class: Class, own: NonNull<u8>) -> NonNull<u8> {
        match class {
            Class::Own => own,
            Class::Small => self.small.lend(),
            Class::Large => self.large.lend(),
            Class::Alone(layout) => allocate(layout),
        }
    }

    /// # Safety
    ///
    /// `cell` was lent by this store for `class`, is given back once, and nobody uses it any more.
    #[inline]
    pub(super) unsafe fn give_back(&mut self, cell: NonNull<u8>, class: Class) {
        match class {
            Class::Own => {}
            Class::Small => self.small.free.push(cell),
            Class::Large => self.large.free.push(cell),
            // SAFETY: `lend` allocated it with this very layout; the caller is done with it.
            Class::Alone(layout) => unsafe { dealloc(cell.as_ptr(), layout) },
        }
    }
}

/// Cells of one size.
#[derive(Debug, Default)]
struct Pool<const SIZE: usize> {
    chunks: Chunks<SIZE>,
    free: Vec<NonNull<u8>>,
}

impl<const SIZE: usize> Pool<SIZE> {
    #[inline]
    fn lend(&mut self) -> NonNull<u8> {
        match self.free.pop() {
            Some(cell) => cell,
            None => self.lend_of_new_chunk(),
        }
    }

    #[cold]
    fn lend_of_new_chunk(&mut self) -> NonNull<u8> {
        let chunk = self.chunks.add();
        // The list of free cells never grows in `give_back`: it has room for every cell there is.
        self.free.reserve(self.chunks.0.len() * CHUNK);
        for at in (1..CHUNK).rev() {
            // SAFETY: within the chunk just allocated, `SIZE * CHUNK` bytes long.
            self.free.push(unsafe { chunk.add(at * SIZE) });
        }
        chunk
    }
}

/// What cells of one size are cut from.
#[derive(Debug, Default)]
struct Chunks<const SIZE: usize>(Vec<NonNull<u8>>);

impl<const SIZE: usize> Chunks<SIZE> {
    fn layout() -> Layout {
        Layout::from_size_align(SIZE * CHUNK, ALIGN).expect("a constant, valid layout")
    }

    fn add(&mut self) -> NonNull<u8> {
        let chunk = allocate(Self::layout());
        self.0.push(chunk);
        chunk
    }
}

impl<const SIZE: usize> Drop for Chunks<SIZE> {
    fn drop(&mut self) {
        for chunk in self.0.drain(..) {
            // SAFETY: allocated by `add` with this layout; the store's owner drops it only when no
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
