//! `IORING_OP_FUTEX_WAIT`: waits for a word of memory to be told of, as `futex(2)` does.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use io_uring::{opcode, squeue};

use super::futex_wake::wake_one;
use super::{Operation, Origin, Success};

/// A word that operations can wait at and wake: it lives as long as its last owner, operations included.
///
/// # Safety
///
/// `word` must give the same address for as long as the value, or a clone of it, lives.
pub unsafe trait FutexWord: 'static {
    /// The word.
    fn word(&self) -> &AtomicU32;
}

// SAFETY: the word is on the heap, where it stays until the last `Arc` is gone.
unsafe impl FutexWord for Arc<AtomicU32> {
    fn word(&self) -> &AtomicU32 {
        self
    }
}

// SAFETY: a static does not move.
unsafe impl FutexWord for &'static AtomicU32 {
    fn word(&self) -> &AtomicU32 {
        self
    }
}

/// `FUTEX2_SIZE_U32`: the word's size.
const SIZE_U32: u32 = 2;
/// `FUTEX2_PRIVATE`: only threads of this process wait at the word.
const PRIVATE: u32 = 128;
/// `FUTEX_BITSET_MATCH_ANY`.
pub(super) const ANYBODY: u64 = 0xffff_ffff;

/// Who may meet at a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Private,
    Shared,
}

impl Scope {
    pub(super) fn flags(self) -> u32 {
        match self {
            Scope::Private => SIZE_U32 | PRIVATE,
            Scope::Shared => SIZE_U32,
        }
    }
}

/// Waits until somebody wakes the word, if it has the expected value; Linux 6.7, `Unsupported` before. The ring in user
/// space has it since Linux 5.16; each wait takes a thread there, of which a process has at most 512: the next one is
/// `OutOfMemory`.
///
/// The value is looked at when the operation is submitted, at the end of the turn, not when it is made. It resolves with
/// `WouldBlock` if it is another one by then. Once it is submitted no wake is lost, whether or not the value is changed
/// with it. It may also resolve without anybody's intent: look at the value again.
///
/// Only threads of this process can meet at the word, by this, [`FutexWake`](super::FutexWake) or `futex(2)` with
/// `FUTEX_PRIVATE_FLAG`; [`shared`](FutexWait::shared) is for memory that several processes have.
///
/// # Cancel safety
///
/// If the future is dropped as it is woken, the wake is passed on to the next that waits.
#[derive(Debug)]
pub struct FutexWait<W> {
    word: W,
    expected: u32,
    scope: Scope,
}

impl<W: FutexWord> FutexWait<W> {
    /// Waits at `word` if it is `expected`.
    pub fn new(word: W, expected: u32) -> FutexWait<W> {
        FutexWait {
            word,
            expected,
            scope: Scope::Private,
        }
    }

    /// Waits where other processes meet, too: those that have the same memory.
    pub fn shared(mut self) -> FutexWait<W> {
        self.scope = Scope::Shared;
        self
    }
}

// SAFETY: the entry points at the word, which its owner, part of `self`, keeps where it is.
unsafe impl<W: FutexWord> Operation for FutexWait<W> {
    type Output = io::Result<()>;
    const OPCODE: u8 = opcode::FutexWait::CODE;
    const NAME: &'static str = "IORING_OP_FUTEX_WAIT";
    const SINCE: &'static str = "6.7";

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        let word = self.word.word().as_ptr();
        let expected = u64::from(self.expected);
        opcode::FutexWait::new(word, expected, ANYBODY, self.scope.flags()).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<()> {
        result.map(drop)
    }

    fn discard(self, result: io::Result<Success>, _origin: Origin<'_>) {
        if result.is_ok() {
            wake_one(self.word.word(), self.scope);
        }
    }
}
