//! `IORING_OP_FUTEX_WAKE`: wakes those who wait at a word of memory, as `futex(2)` does.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicU32;

use io_uring::{opcode, squeue};
use rustix::thread::futex;

use super::futex_wait::{ANYBODY, FutexWord, Scope};
use super::{Operation, Success};

/// Wakes some of those who wait at a word, and tells how many; Linux 6.7, `futex(2)` before.
///
/// [`FutexWait`](super::FutexWait) says who can meet there. Change the word first.
#[derive(Debug)]
pub struct FutexWake<W> {
    word: W,
    at_most: u32,
    scope: Scope,
}

impl<W: FutexWord> FutexWake<W> {
    /// Wakes at most so many of those who wait at `word`; more than `i32::MAX` counts as all.
    pub fn new(word: W, at_most: u32) -> FutexWake<W> {
        FutexWake {
            word,
            at_most: at_most.min(i32::MAX.cast_unsigned()),
            scope: Scope::Private,
        }
    }

    /// Wakes those of other processes, too; see [`FutexWait::shared`](super::FutexWait::shared).
    pub fn shared(mut self) -> FutexWake<W> {
        self.scope = Scope::Shared;
        self
    }
}

fn wake(word: &AtomicU32, at_most: u32, scope: Scope) -> io::Result<usize> {
    let flags = match scope {
        Scope::Private => futex::Flags::PRIVATE,
        Scope::Shared => futex::Flags::empty(),
    };
    Ok(futex::wake(word, flags, at_most)?)
}

/// Passes on the wake that came for nobody.
pub(super) fn wake_one(word: &AtomicU32, scope: Scope) {
    // It fails only for a word that is none.
    let _ = wake(word, 1, scope);
}

// SAFETY: the entry points at the word, which its owner, part of `self`, keeps where it is.
unsafe impl<W: FutexWord> Operation for FutexWake<W> {
    type Output = io::Result<usize>;
    const OPCODE: u8 = opcode::FutexWake::CODE;
    const NAME: &'static str = "IORING_OP_FUTEX_WAKE";
    const SINCE: &'static str = "6.7";

    fn entry(&mut self, _fd: RawFd) -> squeue::Entry {
        let word = self.word.word().as_ptr();
        let at_most = u64::from(self.at_most);
        opcode::FutexWake::new(word, at_most, ANYBODY, self.scope.flags()).build()
    }

    fn complete(self, result: io::Result<Success>) -> io::Result<usize> {
        result.map(|success| success.value as usize)
    }

    fn fallback(&mut self, _fd: RawFd) -> Option<io::Result<Success>> {
        let woken = wake(self.word.word(), self.at_most, self.scope);
        Some(woken.map(|woken| Success::of(woken as u32)))
    }
}
