//! What a driver counts.

use std::cell::Cell;

#[derive(Default)]
pub(super) struct Counts {
    pub(super) enters: Cell<u64>,
    pub(super) sleeps: Cell<u64>,
    pub(super) staged: Cell<u64>,
    pub(super) completions: Cell<u64>,
    pub(super) cancels: Cell<u64>,
    pub(super) discarded: Cell<u64>,
    pub(super) pokes: Cell<u64>,
    pub(super) panics: Cell<u64>,
}

pub(super) fn add(count: &Cell<u64>, n: u64) {
    count.set(count.get() + n);
}

/// Counters of a driver since it was made, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// `io_uring_enter` calls; on the ring in user space, its looks at epoll.
    pub enters: u64,
    /// Of these, the ones that were ready to sleep; and sleeps elsewhere, of a driver with nothing in flight, until another
    /// thread ended them.
    pub sleeps: u64,
    /// Entries handed to the ring.
    pub staged: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Cancel entries staged.
    pub cancels: u64,
    /// Operations that completed with nobody waiting.
    pub discarded: u64,
    /// Times another thread ended the driver's sleep.
    pub pokes: u64,
    /// Panics caught: in the `Drop` of discarded buffers, in wakers.
    pub panics: u64,
    /// Reads, writes and sends tried by a plain call that does not wait, before the ring.
    pub attempts: u64,
    /// Sends without a copy, as asked for, that have ended: the kernel has said that it no longer reads the buffer.
    pub zero_copy: u64,
    /// Of these, the ones that the kernel copied after all, as it does on the loopback device.
    pub zero_copy_copied: u64,
    /// Operations and timeouts in flight now.
    pub in_flight: usize,
    /// Slots in use now: in flight, or finished and not taken yet.
    pub live: usize,
    /// Entries waiting for room in the queue now.
    pub backlog: usize,
    /// Buffers of the runtime's to receive into, now.
    pub chunks: usize,
    /// Of these, the ones that a [`Chunk`](crate::buf::Chunk) holds, or a part of it, or an operation.
    pub chunks_lent: usize,
    /// Receives for which the kernel found no buffer, and which were begun anew.
    pub chunks_dry: u64,
}
