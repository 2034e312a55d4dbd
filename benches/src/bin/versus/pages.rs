//! Where large buffers lie in memory: at the start of a page, whoever asks for them and however.
//!
//! What a copy of 64 KiB or more costs the processor depends on where it goes: up to a quarter more into a block that begins
//! 16 bytes behind the start of a page, which is where the C library's allocator puts those from 128 KiB on, and a few
//! hundredths more or less by luck into smaller ones. Most runtimes read into a `Vec`, which cannot ask for a place. So that
//! not the allocator is compared, nor the order of a row, this one gives the same place to all.
#![allow(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};

/// Blocks of so many bytes are large: more than a page of them is copied at once, and none is kept for an idle connection.
const LARGE: usize = 64 * 1024;
const PAGE: usize = 4096;

struct Pages;

#[global_allocator]
static ALLOCATOR: Pages = Pages;

/// As it is asked of the system.
fn placed(layout: Layout) -> Layout {
    if layout.size() < LARGE {
        return layout;
    }
    layout.align_to(PAGE).unwrap_or(layout)
}

// SAFETY: all is the system's, asked for a stricter alignment. A block is given back as it was asked for, as its size tells.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's word; the size is the same.
        unsafe { System.alloc(placed(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(placed(layout)) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's word: it is a layout.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (old, new) = (placed(layout), placed(new));
        if old.align() == new.align() {
            // SAFETY: it was asked for by `old`.
            return unsafe { System.realloc(block, old, size) };
        }
        // SAFETY: as above; the new block is another, and both are so long.
        unsafe {
            let grown = System.alloc(new);
            if !grown.is_null() {
                grown.copy_from_nonoverlapping(block, old.size().min(size));
                System.dealloc(block, old);
            }
            grown
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: it was asked for by the same layout.
        unsafe { System.dealloc(block, placed(layout)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_block_begins_with_a_page_however_it_came_to_be() {
        let is_placed = |block: &[u8]| block.as_ptr().addr().is_multiple_of(PAGE);
        let made: Vec<u8> = Vec::with_capacity(LARGE);
        assert!(made.as_ptr().addr().is_multiple_of(PAGE));
        assert!(is_placed(&vec![0; LARGE + 1]));
        let mut grown = vec![7_u8; 100];
        grown.resize(3 * LARGE, 8);
        assert!(is_placed(&grown));
        assert_eq!((&grown[..100], grown[100]), (&[7; 100][..], 8));
        grown.truncate(50);
        grown.shrink_to_fit();
        assert_eq!(grown, [7; 50]);
    }
}
