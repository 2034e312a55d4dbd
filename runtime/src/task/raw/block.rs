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
    /// How many more are kept.
    room: Cell<usize>,
}

/// What a block holds while it holds no cell.
struct Spare {
    next: Option<NonNull<Spare>>,
}

/// What a block is asked for by: its class, and its size and alignment.
pub(super) struct Shape {
    /// An index into the classes; none of theirs: exactly as large as its cell, and never kept.
    class: usize,
    layout: Layout,
}

impl Shape {
    /// That of memory for a `layout` that is not empty.
    pub(super) const fn of(layout: Layout) -> Self {
        let class = (layout.size() - 1) / STEP;
        if class < CLASSES && layout.align() <= ALIGN {
            Self {
                class,
                layout: layout_of_class(class),
            }
        } else {
            Self {
                class: CLASSES,
                layout,
            }
        }
    }
}

const fn layout_of_class(class: usize) -> Layout {
    match Layout::from_size_align((class + 1) * STEP, ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("small sizes, and an alignment that is a power of two"),
    }
}

/// Memory, from `blocks` if there is some.
#[inline]
pub(super) fn allocate(blocks: Option<&Blocks>, shape: &Shape) -> NonNull<u8> {
    let class = blocks.and_then(|blocks| blocks.classes.get(shape.class));
    class.and_then(Class::pop).unwrap_or_else(|| {
        // SAFETY: a cell has a header, so its layout is not empty.
        let block = unsafe { alloc(shape.layout) };
        NonNull::new(block).unwrap_or_else(|| handle_alloc_error(shape.layout))
    })
}

/// Gives memory back, to `blocks` if there is room.
///
/// # Safety
/// `block` came from [`allocate`] with the same `shape`, and nobody uses it any more.
#[inline]
pub(super) unsafe fn free(blocks: Option<&Blocks>, block: NonNull<u8>, shape: &Shape) {
    match blocks.and_then(|blocks| blocks.classes.get(shape.class)) {
        // SAFETY: the block is free and of this class.
        Some(class) if class.room.get() > 0 => unsafe { class.push(block) },
        // SAFETY: promised by the caller.
        _ => unsafe { dealloc(block.as_ptr(), shape.layout) },
    }
}

impl Blocks {
    pub(in crate::task) fn new() -> Self {
        Self {
            classes: std::array::from_fn(|class| Class {
                first: Cell::new(None),
                // Divided once, here: at the end of each task it would take longer than all the rest.
                room: Cell::new(KEPT_BYTES / layout_of_class(class).size()),
            }),
        }
    }
}

impl Class {
    #[inline]
    fn pop(&self) -> Option<NonNull<u8>> {
        let block = self.first.get()?;
        // SAFETY: a block in the list holds a `Spare`, written by `push`.
        self.first.set(unsafe { block.as_ref() }.next);
        self.room.set(self.room.get() + 1);
        Some(block.cast())
    }

    /// # Safety
    /// The block is of this class's size, and free; and there is room.
    #[inline]
    unsafe fn push(&self, block: NonNull<u8>) {
        let (block, next) = (block.cast::<Spare>(), self.first.get());
        // SAFETY: every class is larger, and aligned more strictly, than a `Spare`.
        unsafe { block.write(Spare { next }) };
        self.first.set(Some(block));
        self.room.set(self.room.get() - 1);
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for (at, class) in self.classes.iter().enumerate() {
            let layout = layout_of_class(at);
            while let Some(block) = class.pop() {
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
        let shape = Shape::of(Layout::from_size_align(1000, ALIGN).unwrap());
        let class = &blocks.classes[shape.class];
        for _ in 0..2 {
            let many: Vec<_> = (0..2000).map(|_| allocate(Some(&blocks), &shape)).collect();
            for block in many {
                // SAFETY: allocated above, and used by nobody.
                unsafe { free(Some(&blocks), block, &shape) };
            }
            assert_eq!(class.room.get(), 0);
        }
        let listed: Vec<_> = std::iter::from_fn(|| class.pop()).collect();
        assert_eq!(listed.len() * shape.layout.size(), KEPT_BYTES);
        assert_eq!(class.room.get(), listed.len());
        for block in listed {
            // SAFETY: as above.
            unsafe { free(Some(&blocks), block, &shape) };
        }
    }
}
