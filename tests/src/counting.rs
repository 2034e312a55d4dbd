//! An allocator that counts, a thread at a time.
//!
//! A test program that wants it says `#[global_allocator] static ALLOCATOR: Counting = Counting;`.
#![allow(
    unsafe_code,
    reason = "an allocator is unsafe to write; this one hands everything on and counts"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// No destructor and nothing lazy: it must not allocate itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what this thread allocates.
#[derive(Debug)]
pub struct Counting;

/// How often this thread has allocated, if the program's allocator is [`Counting`].
pub fn allocations() -> u64 {
    ALLOCATIONS.get()
}

fn count() {
    // Zero once the thread is ending: nobody asks then.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: the system's allocator does it all; the callers' promises to this one are promises to that.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as for the whole.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as for the whole.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for the whole.
        unsafe { System.realloc(block, layout, size) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as for the whole.
        unsafe { System.dealloc(block, layout) }
    }
}
