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
//! Where the ring can (`IOU_PBUF_RING_INC`, Linux 6.12) and [`Setup::incremental`](crate::Setup::incremental) says so, a
//! buffer is consumed by and by: it has several owners then ([`uses`]), and is free when the last has given its part back.
//!
//! Who owns what: blocks belong to the pool, which lives as long as anything refers to it: the driver, an operation in
//! flight, a chunk. An operation that may be given a buffer holds the pool, and is itself leaked if the kernel does not let
//! go of it; so no block is freed that the kernel may still write to.

mod shared;
mod uses;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

pub(crate) use self::shared::GROUP;
use self::shared::{ENTRIES, SharedRing};
use self::uses::Use;
use super::chunk::Chunk;
use crate::ring::{Completion, Ring};

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
    /// By index, where buffers are consumed by and by; nowhere else are there any.
    uses: Option<Vec<Use>>,
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
    /// An empty pool of buffers of `size` bytes, at most `limit`; shared with the kernel if `ring` can, by and by if it can
    /// that.
    pub(crate) fn new(
        size: usize,
        limit: usize,
        incremental: bool,
        ring: Option<&mut Ring>,
    ) -> Pool {
        let size = size.clamp(LINE, 1 << 30).next_multiple_of(LINE);
        let (shared, incremental) = match ring {
            Some(ring) => SharedRing::of(ring, incremental && size <= uses::BYTES),
            None => (None, false),
        };
        Pool {
            size,
            limit: limit.min(if incremental { uses::BUFFERS } else { MOST }),
            state: RefCell::new(State {
                blocks: Vec::new(),
                free: Vec::new(),
                shared,
                uses: incremental.then(Vec::new),
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
        let lent = match &state.uses {
            Some(uses) => uses.iter().filter(|used| used.is_lent()).count(),
            None => made - state.free.len() - usize::from(published),
        };
        Usage {
            made,
            lent,
            dry: state.dry,
        }
    }

    /// The ring's registration has ended: nothing is published any more.
    pub(crate) fn unshare(&self) {
        let state = &mut *self.state.borrow_mut();
        if let Some(shared) = state.shared.take() {
            let uses = &mut state.uses;
            let is_free = |index: &u16| match uses {
                Some(uses) => uses[usize::from(*index)].unpublish(),
                None => true,
            };
            state.free.extend(shared.left().filter(is_free));
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
                if let Some(uses) = &mut state.uses {
                    uses[usize::from(index)].publish();
                }
            }
            let enough = shared.published == shared.wanted;
            shared.show();
            if enough || !self.grow(state) {
                return;
            }
        }
    }

    /// These have been reaped. Notes which buffers they name; of one that is consumed by and by, also which part.
    #[inline]
    pub(crate) fn reaped(&self, batch: &mut [Completion]) {
        let picks = batch.iter().filter(|completion| completion.picks()).count();
        if picks == 0 {
            return;
        }
        let state = &mut *self.state.borrow_mut();
        if state.uses.is_some() {
            self.place(state, batch);
        } else if let Some(shared) = &mut state.shared {
            shared.published = shared.published.saturating_sub(picks as u16);
        }
    }

    /// Tells completions where what they bring is.
    fn place(&self, state: &mut State, batch: &mut [Completion]) {
        let (Some(uses), Some(shared)) = (&mut state.uses, &mut state.shared) else {
            return;
        };
        for completion in batch {
            if let Some((index, free)) = uses::pick(uses, self.size, completion) {
                shared.published = shared.published.saturating_sub(1);
                if free {
                    state.free.push(index);
                }
            }
        }
    }

    /// The buffer, or the part of one, that the kernel picked and filled with `len` bytes, as a completion's `flags`
    /// name it.
    ///
    /// # Errors
    ///
    /// If the kernel names one that is none.
    #[inline]
    pub(crate) fn chunk(self: Rc<Pool>, flags: u32, len: u32) -> io::Result<Chunk> {
        let state = self.state.borrow();
        let (index, from) = match &state.uses {
            Some(_) => uses::place(flags),
            None => ((flags >> 16) as u16, 0),
        };
        let (from, len) = (usize::from(from), len as usize);
        if usize::from(index) / BLOCK >= state.blocks.len() || from + len > self.size {
            return Err(no_such_buffer());
        }
        // SAFETY: within the buffer.
        let at = unsafe { self.address(&state.blocks, index).add(from) };
        drop(state);
        // SAFETY: the kernel picked it, and with the completion gave it up, or these bytes of it: nobody else has them
        // until they are given back.
        Ok(unsafe { Chunk::lent(at, len, self, index) })
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
        if let Some(uses) = &mut state.uses {
            uses[usize::from(index)].lend();
        }
        // SAFETY: it was free, and is nobody else's until it is given back.
        unsafe { Chunk::lent(at, self.size, self.clone(), index) }
    }

    /// Takes a buffer back, or a part of one.
    #[inline]
    pub(super) fn give_back(&self, index: u16) {
        let state = &mut *self.state.borrow_mut();
        let free = match &mut state.uses {
            Some(uses) => uses[usize::from(index)].give_back(),
            None => true,
        };
        if free {
            state.free.push(index);
        }
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
        if let Some(uses) = &mut state.uses {
            uses.resize(made + BLOCK, Use::default());
        }
        true
    }
}

#[cold]
fn no_such_buffer() -> io::Error {
    io::Error::other("the kernel picked a buffer that there is not")
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
