//! The driver's pool of buffers to receive into: made when first asked for, kept filled, ended with the ring.

use std::cell::OnceCell;
use std::rc::Rc;

use super::Driver;
use crate::buf::{GROUP, Pool, Usage};
use crate::ring::{Completion, Ring, Setup};

pub(super) struct Chunks {
    size: usize,
    limit: usize,
    provided: bool,
    incremental: bool,
    pool: OnceCell<Rc<Pool>>,
}

impl Chunks {
    pub(super) fn new(setup: &Setup) -> Chunks {
        Chunks {
            size: setup.chunk_size,
            limit: setup.chunk_limit,
            provided: setup.provided_buffers,
            incremental: setup.incremental,
            pool: OnceCell::new(),
        }
    }

    /// The ring is about to be entered.
    #[inline]
    pub(super) fn publish(&self) {
        if let Some(pool) = self.pool.get() {
            pool.publish();
        }
    }

    /// These have been reaped.
    #[inline]
    pub(super) fn reaped(&self, batch: &mut [Completion]) {
        if let Some(pool) = self.pool.get() {
            pool.reaped(batch);
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.pool
            .get()
            .map_or(Usage::default(), |pool| pool.usage())
    }

    /// Nothing is in flight on `ring` any more, which is about to go.
    pub(super) fn end(&self, ring: &mut Ring) {
        if let Some(pool) = self.pool.get()
            && pool.is_shared()
        {
            if let Err(error) = ring.unregister_buffers(GROUP) {
                tracing::error!(%error, "the ring of receive buffers was not unregistered");
            }
            pool.unshare();
        }
    }
}

impl Driver {
    /// The pool of buffers to receive into.
    #[inline]
    pub(crate) fn pool(&self) -> &Rc<Pool> {
        self.inner.chunks.pool.get_or_init(|| self.make_pool())
    }

    #[cold]
    fn make_pool(&self) -> Rc<Pool> {
        let chunks = &self.inner.chunks;
        let mut core = self.core();
        let ring = chunks.provided.then_some(&mut core.ring);
        let pool = Pool::new(chunks.size, chunks.limit, chunks.incremental, ring);
        pool.publish();
        Rc::new(pool)
    }
}
