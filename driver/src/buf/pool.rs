//! Memory for what is received: buffers that the kernel picks when data arrives, and that come back.
//!
//! A driver has one pool, made at the first receive that asks for it. Its buffers are of one size and made in blocks, as
//! many as are in use at once, up to a limit. A buffer is in one of three places: *free*, on a stack; *published*, in a
//! ring shared with the kernel (`IORING_REGISTER_PBUF_RING`, Linux 5.19), from which it picks the oldest; *lent*, in a
//! [`Chunk`](super::Chunk), or under a receive in flight where there is no such ring.
//!
//! Only a few are published, those that came back last first: what the kernel writes to is then in the processor's
//! cache, however many connections there are. Should they run out within one enter (`ENOBUFS`), more are published from then
//! on. They are counted as the completions that name them are reaped, and made up for before the next enter, by one store.
//!
//! Who owns what: blocks belong to the pool, which lives as long as anything refers to it: the driver, an operation in
//! flight, a chunk. An operation that may be given a buffer holds the pool, and is itself leaked if the kernel does not let
//! go of it; so no block is freed that the kernel may still write to.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::chunk::Chunk;
use crate::ring::Ring;

/// The group that receives name.
pub(crate) const GROUP: u16 = 0;
/// Entries of the ring: the most that is published. A power of two.
const ENTRIES: u16 = 1024;
/// So many are published at first.
const FEW: u16 = 32;
/// Buffers made at a time.
const BLOCK: usize = 32;
/// What a buffer's index can tell apart.
const MOST: usize = 1 << 16;
/// A line of the processor's cache. Buffers begin and end with one, and there is one between any two: so that the first
/// bytes of all, which short messages are in, do not share one place of the cache.
const LINE: usize = 64;

/// The buffers of one driver; see the module's head.
pub(crate) struct Pool {
    /// Bytes of a buffer.
    size: usize,
    /// The most buffers there may be.
    limit: usize,
    state: RefCell<State>,
}

struct State {
    /// Each [`BLOCK`] buffers long.
    blocks: Vec<NonNull<u8>>,
    /// By index; the last came back last. It has room for all there are.
    free: Vec<u16>,
    shared: Option<SharedRing>,
    /// How often the kernel found none.
    dry: u64,
}

/// What the pool is doing, for the counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) made: usize,
    pub(crate) lent: usize,
    pub(crate) dry: u64,
}

impl Pool {
    /// An empty pool of buffers of `size` bytes, at most `limit`; shared with the kernel if `ring` can.
    pub(crate) fn new(size: usize, limit: usize, ring: Option<&mut Ring>) -> Pool {
        Pool {
            size: size.clamp(LINE, 1 << 30).next_multiple_of(LINE),
            limit: limit.min(MOST),
            state: RefCell::new(State {
                blocks: Vec::new(),
                free: Vec::new(),
                shared: ring.and_then(SharedRing::register),
                dry: 0,
            }),
        }
    }

    /// Whether the kernel can pick buffers.
    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        self.state.borrow().shared.is_some()
    }

    pub(crate) fn usage(&self) -> Usage {
        let state = self.state.borrow();
        let made = state.blocks.len() * BLOCK;
        let published = state.shared.as_ref().map_or(0, |shared| shared.published);
        Usage {
            made,
            lent: made - state.free.len() - usize::from(published),
            dry: state.dry,
        }
    }

    /// The ring's registration has ended: nothing is published any more.
    pub(crate) fn unshare(&self) {
        let mut state = self.state.borrow_mut();
        if let Some(shared) = state.shared.take() {
            let first = shared.tail.wrapping_sub(shared.published);
            let left = (0..shared.published).map(|n| shared.index(first.wrapping_add(n)));
            state.free.extend(left);
        }
    }

    // --- by way of the kernel -------------------------------------------------------------------

    /// Makes up for what the kernel has picked.
    #[inline]
    pub(crate) fn publish(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if let Some(shared) = &mut state.shared
            && shared.published < shared.wanted
        {
            self.publish_to(state);
        }
    }

    fn publish_to(&self, state: &mut State) {
        loop {
            let Some(shared) = &mut state.shared else {
                return;
            };
            while shared.published < shared.wanted
                && let Some(index) = state.free.pop()
            {
                let at = self.address(&state.blocks, index);
                shared.put(at, self.size as u32, index);
            }
            let enough = shared.published == shared.wanted;
            shared.show();
            if enough || !self.grow(state) {
                return;
            }
        }
    }

    /// So many completions were reaped that name a buffer.
    pub(crate) fn picked(&self, count: usize) {
        if let Some(shared) = &mut self.state.borrow_mut().shared {
            shared.published = shared.published.saturating_sub(count as u16);
        }
    }

    /// The buffer that the kernel picked and filled with `len` bytes.
    ///
    /// # Errors
    ///
    /// If the kernel names one that is none.
    pub(crate) fn chunk(self: &Rc<Pool>, index: u16, len: u32) -> io::Result<Chunk> {
        let state = self.state.borrow();
        if usize::from(index) >= state.blocks.len() * BLOCK || len as usize > self.size {
            return Err(io::Error::other(
                "the kernel picked a buffer that there is not",
            ));
        }
        let at = self.address(&state.blocks, index);
        // SAFETY: the kernel picked it, and with the completion gave it up: nobody else has it until it is given back.
        Ok(unsafe { Chunk::lent(at, len as usize, self.clone(), index) })
    }

    /// The kernel found none: from now on more are published, once for all that found none since they were published.
    pub(crate) fn ran_dry(&self) {
        let mut state = self.state.borrow_mut();
        state.dry += 1;
        if let Some(shared) = &mut state.shared
            && shared.published == 0
        {
            shared.wanted = (shared.wanted * 2).min(ENTRIES);
            self.publish_to(&mut state);
        }
    }

    // --- past it --------------------------------------------------------------------------------

    /// A whole buffer; past the limit, memory of its own.
    pub(crate) fn lend(self: &Rc<Pool>) -> Chunk {
        let mut state = self.state.borrow_mut();
        if state.free.is_empty() {
            self.grow(&mut state);
        }
        let Some(index) = state.free.pop() else {
            return Chunk::from(vec![0; self.size]);
        };
        let at = self.address(&state.blocks, index);
        // SAFETY: it was free, and is nobody else's until it is given back.
        unsafe { Chunk::lent(at, self.size, self.clone(), index) }
    }

    /// Takes a buffer back.
    #[inline]
    pub(super) fn give_back(&self, index: u16) {
        self.state.borrow_mut().free.push(index);
    }

    /// Bytes from one buffer to the next.
    fn stride(&self) -> usize {
        self.size + LINE
    }

    /// Where a buffer is.
    #[inline]
    fn address(&self, blocks: &[NonNull<u8>], index: u16) -> NonNull<u8> {
        let index = usize::from(index);
        // SAFETY: within its block, which is `BLOCK` buffers long.
        unsafe { blocks[index / BLOCK].add(index % BLOCK * self.stride()) }
    }

    /// Makes a block more; `false`: there are as many as there may be, or can be.
    #[cold]
    fn grow(&self, state: &mut State) -> bool {
        let made = state.blocks.len() * BLOCK;
        if made + BLOCK > self.limit {
            return false;
        }
        let Some(block) = map(self.stride() * BLOCK) else {
            return false;
        };
        state.blocks.push(block);
        state.free.reserve(made + BLOCK - state.free.len());
        state
            .free
            .extend((made..made + BLOCK).rev().map(|index| index as u16));
        true
    }
}

/// Memory of zeros, page-aligned, of which only what is touched is there: so a pool costs what was received at once, not
/// what it has room for.
fn map(bytes: usize) -> Option<NonNull<u8>> {
    let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a mapping of its own, at no address in particular.
    let memory = unsafe { mmap_anonymous(ptr::null_mut(), bytes, prot, flags) }.ok()?;
    NonNull::new(memory.cast())
}

impl Drop for Pool {
    fn drop(&mut self) {
        let bytes = self.stride() * BLOCK;
        for block in self.state.get_mut().blocks.drain(..) {
            // SAFETY: mapped by `grow`, this long. Nobody has a buffer any more: chunks and operations in flight hold the
            // pool.
            let _ = unsafe { munmap(block.as_ptr().cast(), bytes) };
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// The ring of buffers shared with the kernel.
struct SharedRing {
    entries: NonNull<BufRingEntry>,
    /// Where the next goes; the kernel sees it when it is [shown](SharedRing::show).
    tail: u16,
    /// Not picked yet, as far as completions were reaped.
    published: u16,
    /// So many are to be published.
    wanted: u16,
}

impl SharedRing {
    const BYTES: usize = ENTRIES as usize * size_of::<BufRingEntry>();

    /// `None`: this ring has nothing of the kind, or no memory for it.
    fn register(ring: &mut Ring) -> Option<SharedRing> {
        let memory = map(Self::BYTES)?;
        let shared = SharedRing {
            entries: memory.cast(),
            tail: 0,
            published: 0,
            wanted: FEW,
        };
        // SAFETY: the mapping is that long, and page-aligned. The kernel holds on to its pages itself until the
        // registration ends; nothing but the ring's entries is ever written there.
        let registered = unsafe { ring.register_buffers(memory.as_ptr() as u64, ENTRIES, GROUP) };
        registered.ok().map(|()| shared)
    }

    /// Puts a buffer behind the others.
    #[inline]
    fn put(&mut self, at: NonNull<u8>, len: u32, index: u16) {
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

    /// The buffer that was put there last.
    fn index(&self, at: u16) -> u16 {
        let slot = usize::from(at & (ENTRIES - 1));
        // SAFETY: within the mapping; the kernel only reads it.
        unsafe { self.entries.add(slot).as_ref() }.bid()
    }

    /// Lets the kernel see what was put.
    #[inline]
    fn show(&self) {
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
