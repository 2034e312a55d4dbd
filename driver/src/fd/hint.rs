//! Whether a call that does not wait is worth its while on a descriptor: what was seen there, of each [`Tried`].
//!
//! Set by an operation that the kernel completed as it was handed over. A call that would have had to wait clears it,
//! and the more of these follow one another, the more such completions it takes to set it again: where one waits for
//! the other side each time, an attempt in 128 is in vain, not each.

use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;

/// What is tried; each has a hint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// To read a stream.
    Read,
    /// To write to a stream.
    Write,
    /// To read a file at an offset.
    ReadAt,
    /// To send on a socket. Mostly there is room: it is tried from the first on.
    Send,
}

/// How many more completions at once it takes to set it; 0: it is set.
const MISSING: u16 = 0xff;
/// How often in a row it was wrong, at most [`WORST`].
const WRONG: u16 = 0xf00;
const ONE_WRONG: u16 = 0x100;
const WORST: u16 = 7;
/// The descriptor was found to be of a kind that can be tried.
const FIT: u16 = 1 << 12;
const NEVER: u16 = 1 << 13;

/// What is known of one kind. Who reads it acts on it, but nothing is wrong if it is: so all is relaxed.
pub(crate) struct Hint(AtomicU16);

/// What a [`Hint`] advises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Leave it to the ring.
    Ring,
    /// Try it, if the descriptor is of a kind that can be tried: say so by [`Hint::fits`] or [`Hint::never`].
    Ask,
    /// Try it.
    Try,
}

impl Hint {
    /// How many kinds there are to be [tried](Tried).
    const KINDS: usize = 4;

    const fn new() -> Hint {
        Hint(AtomicU16::new(1))
    }

    /// Of what is tried before anything was seen.
    const fn willing() -> Hint {
        Hint(AtomicU16::new(FIT))
    }

    #[inline]
    pub(crate) fn advice(&self) -> Advice {
        let now = self.0.load(Relaxed);
        match now & (MISSING | FIT) {
            FIT => Advice::Try,
            0 => Advice::Ask,
            _ => Advice::Ring,
        }
    }

    /// The ring has completed an operation, `at_once` or later.
    #[inline]
    pub(crate) fn completed(&self, at_once: bool) {
        let now = self.0.load(Relaxed);
        match (at_once, now & MISSING) {
            _ if now & NEVER != 0 => {}
            (true, 0) => {}
            (true, _) => self.0.store(now - 1, Relaxed),
            (false, 0) => self.0.store(now + 1, Relaxed),
            (false, _) => {}
        }
    }

    /// An attempt has done the operation.
    #[inline]
    pub(crate) fn worked(&self) {
        let now = self.0.load(Relaxed);
        if now & WRONG != 0 {
            self.0.store(now & !WRONG, Relaxed);
        }
    }

    /// An attempt would have had to wait.
    pub(crate) fn blocked(&self) {
        let now = self.0.load(Relaxed);
        let wrong = ((now & WRONG) / ONE_WRONG + 1).min(WORST);
        let missing = 1 << wrong;
        let kind = now & (FIT | NEVER);
        self.0.store(kind | (wrong * ONE_WRONG) | missing, Relaxed);
    }

    /// The descriptor is of a kind that can be tried.
    pub(crate) fn fits(&self) {
        self.0.fetch_or(FIT, Relaxed);
    }

    /// It is not, or the kernel has no such call for it.
    #[cold]
    pub(crate) fn never(&self) {
        self.0.store(NEVER | 1, Relaxed);
    }
}

/// What is known of a descriptor, by [`Tried`].
pub(super) type Hints = [Hint; Hint::KINDS];

/// Of one of which nothing was seen yet.
pub(super) const fn fresh() -> Hints {
    [Hint::new(), Hint::new(), Hint::new(), Hint::willing()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_tried_before_the_ring_has_completed_something_at_once() {
        let hint = Hint::new();
        assert_eq!(hint.advice(), Advice::Ring);
        hint.completed(false);
        assert_eq!(hint.advice(), Advice::Ring);
        hint.completed(true);
        assert_eq!(hint.advice(), Advice::Ask);
        hint.fits();
        assert_eq!(hint.advice(), Advice::Try);
        hint.completed(false);
        assert_eq!(hint.advice(), Advice::Ring);
    }

    #[test]
    fn each_attempt_in_vain_puts_the_next_one_off_further() {
        let hint = Hint::new();
        hint.completed(true);
        hint.fits();
        for missing in [2, 4, 8, 16, 32, 64, 128, 128] {
            hint.blocked();
            for _ in 0..missing {
                assert_eq!(hint.advice(), Advice::Ring);
                hint.completed(true);
            }
            assert_eq!(hint.advice(), Advice::Try, "after {missing}");
        }
        hint.worked();
        hint.blocked();
        hint.completed(true);
        hint.completed(true);
        assert_eq!(hint.advice(), Advice::Try);
    }

    #[test]
    fn what_cannot_be_tried_never_is() {
        let hint = Hint::new();
        hint.completed(true);
        hint.never();
        for _ in 0..1000 {
            hint.completed(true);
            assert_eq!(hint.advice(), Advice::Ring);
        }
    }

    #[test]
    fn a_send_is_tried_before_anything_was_seen() {
        let hints = fresh();
        let send = &hints[Tried::Send as usize];
        assert_eq!(send.advice(), Advice::Try);
        send.blocked();
        assert_eq!(send.advice(), Advice::Ring);
        for tried in [Tried::Read, Tried::Write, Tried::ReadAt] {
            assert_eq!(hints[tried as usize].advice(), Advice::Ring);
        }
    }
}
