//! Memory for cells: an executor keeps what its tasks leave behind and gives it to the next ones.
//!
//! A spawn per connection or per request would else pay the allocator for most of its time. Sizes are rounded up to
//! classes; of each class at most [`KEPT_BYTES`] are kept, so that a burst of tasks gives its memory back.
//! Blocks come from the global allocator and may go back to it from any thread, by the layout of their class.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::task::sync::Cell;

/// The difference between one class and the next: what a block holds more than its cell is less than that.
const STEP: usize = 32;
const CLASSES: usize = 1024 / STEP;
const ALIGN: usize = 16;

/// Per class: four thousand of a small task's.
const KEPT_BYTES: usize = 1 << 20;

/// One executor's spare blocks.
pub(in crate::task) struct Blocks {
    classes: [Class; CLASSES],
}

struct Class {
    first: Cell<Option<NonNull<Spare>>>,
    kept_bytes: Cell<usize>,
}

/// What a block holds while it holds no cell.
struct Spare {
    next: Option<NonNull<Spare>>,
}

/// Which class a cell's memory belongs to; none: exactly as large as it is, and never kept.
const fn class_of(layout: Layout) -> Option<usize> {
    // A cell has a header, so its layout is not empty.
    let class = (layout.size() - 1) / STEP;
    if class < CLASSES && layout.align() <= ALIGN {
        Some(class)
    } else {
        None
    }
}

const fn size_of_class(class: usize) -> usize {
    (class + 1) * STEP
}

const fn block_layout(layout: Layout) -> Layout {
    match class_of(layout) {
        Some(class) => match Layout::from_size_align(size_of_class(class), ALIGN) {
            Ok(layout) => layout,
            Err(_) => panic!("sizes and alignment are small powers of two"),
        },
        None => layout,
    }
}

/// Memory for a `layout` that is not empty, from `blocks` if there is some.
#[inline]
pub(super) fn allocate(blocks: Option<&Blocks>, layout: Layout) -> NonNull<u8> {
    if let (Some(blocks), Some(class)) = (blocks, class_of(layout))
        && let Some(block) = blocks.classes[class].pop(size_of_class(class))
    {
        return block;
    }
    let layout = block_layout(layout);
    // SAFETY: a cell has a header, so its layout is not empty.
    let block = unsafe { alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives memory back, to `blocks` if there is room.
///
/// # Safety
/// `block` came from [`allocate`] with the same `layout`, and nobody uses it any more.
#[inline]
pub(super) unsafe fn free(blocks: Option<&Blocks>, block: NonNull<u8>, layout: Layout) {
    if let (Some(blocks), Some(class)) = (blocks, class_of(layout))
        // Not a count against a quotient: to divide takes longer than all the rest.
        && blocks.classes[class].kept_bytes.get() + size_of_class(class) <= KEPT_BYTES
    {
        // SAFETY: the block is free and of this class.
        unsafe { blocks.classes[class].push(block, size_of_class(class)) };
    } else {
        // SAFETY: promised by the caller; `allocate` rounded the layout the same way.
        unsafe { dealloc(block.as_ptr(), block_layout(layout)) };
    }
}

impl Blocks {
    pub(in crate::task) fn new() -> Self {
        Self {
            classes: std::array::from_fn(|_| Class {
                first: Cell::new(None),
                kept_bytes: Cell::new(0),
            }),
        }
    }
}

impl Class {
    /// A block, of which each has `size` bytes.
    #[inline]
    fn pop(&self, size: usize) -> Option<NonNull<u8>> {
        let block = self.first.get()?;
        // SAFETY: a block in the list holds a `Spare`, written by `push`.
        self.first.set(unsafe { block.as_ref() }.next);
        self.kept_bytes.set(self.kept_bytes.get() - size);
        Some(block.cast())
    }

    /// # Safety
    /// The block is of this class's size, which is `size`, and free.
    #[inline]
    unsafe fn push(&self, block: NonNull<u8>, size: usize) {
        let (block, next) = (block.cast::<Spare>(), self.first.get());
        // SAFETY: every class is larger, and aligned more strictly, than a `Spare`.
        unsafe { block.write(Spare { next }) };
        self.first.set(Some(block));
        self.kept_bytes.set(self.kept_bytes.get() + size);
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for (at, class) in self.classes.iter().enumerate() {
            let layout = Layout::from_size_align(size_of_class(at), ALIGN).expect("as above");
            while let Some(block) = class.pop(size_of_class(at)) {
                // SAFETY: it is in no cell's use, and was allocated with its class's layout.
                unsafe { dealloc(block.as_ptr(), layout) };
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn of_each_class_a_mebibyte_is_kept_and_the_rest_given_back() {
        let blocks = Blocks::new();
        let layout = Layout::from_size_align(1000, ALIGN).unwrap();
        let size = size_of_class(class_of(layout).unwrap());
        for _ in 0..2 {
            let many: Vec<_> = (0..2000).map(|_| allocate(Some(&blocks), layout)).collect();
            for block in many {
                // SAFETY: allocated above, and used by nobody.
                unsafe { free(Some(&blocks), block, layout) };
            }
            let kept: Vec<_> = blocks.classes.iter().map(|c| c.kept_bytes.get()).collect();
            assert_eq!(kept.iter().sum::<usize>(), KEPT_BYTES);
        }
        let class = &blocks.classes[class_of(layout).unwrap()];
        let listed: Vec<_> = std::iter::from_fn(|| class.pop(size)).collect();
        assert_eq!(listed.len(), KEPT_BYTES / size);
        for block in listed {
            // SAFETY: as above.
            unsafe { free(Some(&blocks), block, layout) };
        }
    }
}
