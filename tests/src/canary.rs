//! Buffers that tell when somebody wrote to them after they were freed.
//!
//! A freed buffer's memory is not given back but painted; whoever writes there later, a kernel say, spoils the paint.
//! No sanitizer sees that: the kernel's writes are not instrumented.
#![allow(
    unsafe_code,
    reason = "IoBufMut is a promise about memory, which this is the owner of"
)]

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use runtime::buf::{IoBuf, IoBufMut};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

const PAINT: u8 = 0xa5;

/// Memory for a number of buffers of one size; aligned to pages, so that `O_DIRECT` takes them.
#[derive(Clone, Debug)]
pub struct Arena {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    start: NonNull<u8>,
    count: usize,
    size: usize,
    /// Buffers nobody has, painted.
    free: RefCell<Vec<usize>>,
}

impl Arena {
    /// Maps the memory.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn new(count: usize, size: usize) -> Arena {
        let flags = MapFlags::PRIVATE;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), count * size, prot, flags) };
        let start = NonNull::new(start.expect("memory").cast()).expect("not at address zero");
        let inner = Inner {
            start,
            count,
            size,
            free: RefCell::default(),
        };
        (0..count).for_each(|index| inner.free(index));
        Arena {
            inner: Rc::new(inner),
        }
    }

    /// A buffer.
    ///
    /// # Panics
    ///
    /// If all are taken.
    pub fn take(&self) -> Canary {
        let index = self.inner.free.borrow_mut().pop().expect("a free buffer");
        Canary {
            arena: self.inner.clone(),
            index,
        }
    }

    /// How many buffers are not taken, or were freed again.
    pub fn freed(&self) -> usize {
        self.inner.free.borrow().len()
    }

    /// How many of the free buffers were written to since they were freed.
    pub fn spoiled(&self) -> usize {
        let free = self.inner.free.borrow();
        free.iter()
            .filter(|index| !self.inner.is_painted(**index))
            .count()
    }
}

impl Inner {
    fn at(&self, index: usize) -> *mut u8 {
        assert!(index < self.count);
        // SAFETY: within the mapping, `count * size` bytes long.
        unsafe { self.start.as_ptr().add(index * self.size) }
    }

    fn free(&self, index: usize) {
        // SAFETY: the buffer's bytes, whose one owner has just given them up.
        unsafe { self.at(index).write_bytes(PAINT, self.size) };
        self.free.borrow_mut().push(index);
    }

    fn is_painted(&self, index: usize) -> bool {
        let at = self.at(index).cast::<u64>();
        // SAFETY: within the mapping; volatile, as what is looked for is a write by somebody who must not.
        (0..self.size / 8)
            .all(|word| unsafe { at.add(word).read_volatile() } == u64::from_ne_bytes([PAINT; 8]))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Every buffer holds the arena: none is left.
        // SAFETY: the mapping made in `new`, unmapped once.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.count * self.size) };
    }
}

/// A buffer of an [`Arena`]'s. Dropping it is what frees it.
pub struct Canary {
    arena: Rc<Inner>,
    index: usize,
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.arena.free(self.index);
    }
}

impl Deref for Canary {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer's bytes, initialised when it was painted, owned by this value.
        unsafe { std::slice::from_raw_parts(self.arena.at(self.index), self.arena.size) }
    }
}

impl DerefMut for Canary {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.arena.at(self.index), self.arena.size) }
    }
}

// SAFETY: the mapping lives and stays as long as any of its buffers.
unsafe impl IoBuf for Canary {
    fn stable_ptr(&self) -> *const u8 {
        self.arena.at(self.index)
    }
    fn bytes_init(&self) -> usize {
        self.arena.size
    }
}

// SAFETY: as above; a buffer's bytes are its own.
unsafe impl IoBufMut for Canary {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.arena.at(self.index)
    }
    fn bytes_total(&self) -> usize {
        self.arena.size
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canary")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
