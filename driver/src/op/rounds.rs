//! Operations that want all of a buffer, and go on until they have it.
//!
//! The kernel may stop short: at 2 GiB, where a pipe is full, when a signal comes. Such an operation then
//! starts its next round at once, in the same direction of the descriptor: no other operation gets in
//! between, its deadline covers all rounds, and a dropped one still knows what its earlier rounds brought.
//! [`Op`](super::Op) runs the rounds; here is the counting that all of these operations share.

use std::io;

use super::{Ended, Success};
use crate::partial::Partial;

/// How far an operation has got over its rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    done: usize,
    total: usize,
}

impl Rounds {
    #[inline]
    pub(super) fn of(total: usize) -> Rounds {
        Rounds { done: 0, total }
    }

    /// Bytes done in earlier rounds: where in the buffer this one starts.
    #[inline]
    pub(super) fn done(&self) -> usize {
        self.done
    }

    #[inline]
    pub(super) fn left(&self) -> usize {
        self.total - self.done
    }

    /// Bytes done without a round of the kernel's.
    pub(super) fn advance(&mut self, n: usize) {
        self.done += n;
    }

    /// Whether a round that ended with `result` is followed by another.
    #[inline]
    pub(super) fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
        match result {
            Ok(success) => {
                let done = self.done + success.value as usize;
                let more = success.value > 0 && success.ended == Ended::Itself && done < self.total;
                if more {
                    self.done = done;
                }
                more
            }
            // What a cancel or a deadline interrupted answers otherwise: this was some signal.
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        }
    }

    /// What the last round's `result` makes of the whole. `end`: what a round that moved nothing means.
    #[inline]
    pub(super) fn outcome(
        self,
        result: io::Result<Success>,
        end: io::ErrorKind,
    ) -> (usize, io::Result<()>) {
        let success = match result {
            Ok(success) => success,
            Err(error) => return (self.done, Err(Partial::after(self.done, error))),
        };
        let done = (self.done + success.value as usize).min(self.total);
        let outcome = match success.ended {
            _ if done == self.total => Ok(()),
            Ended::Itself if success.value == 0 => Err(Partial::after(done, end.into())),
            ended => Err(Partial::error(done, ended)),
        };
        (done, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn success(value: u32, ended: Ended) -> io::Result<Success> {
        Ok(Success {
            ended,
            ..Success::of(value)
        })
    }

    #[test]
    fn a_short_round_is_followed_by_another_until_all_is_done() {
        let mut rounds = Rounds::of(10);
        assert!(rounds.goes_on(&success(4, Ended::Itself)));
        assert_eq!((rounds.done(), rounds.left()), (4, 6));
        assert!(!rounds.goes_on(&success(6, Ended::Itself)));
        let (done, outcome) = rounds.outcome(success(6, Ended::Itself), io::ErrorKind::WriteZero);
        assert_eq!(done, 10);
        outcome.unwrap();
    }

    #[test]
    fn a_deadline_reports_what_all_rounds_did() {
        let mut rounds = Rounds::of(10);
        assert!(rounds.goes_on(&success(4, Ended::Itself)));
        assert!(!rounds.goes_on(&success(3, Ended::TimedOut)));
        let (done, outcome) = rounds.outcome(success(3, Ended::TimedOut), io::ErrorKind::WriteZero);
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!((done, Partial::of(&error)), (7, 7));
    }

    #[test]
    fn an_error_keeps_its_kind_and_says_how_much_was_done() {
        let mut rounds = Rounds::of(10);
        assert!(rounds.goes_on(&success(4, Ended::Itself)));
        let broken = Err(io::Error::from_raw_os_error(libc::EPIPE));
        let (_, outcome) = rounds.outcome(broken, io::ErrorKind::WriteZero);
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(Partial::of(&error), 4);
    }

    #[test]
    fn an_end_before_the_first_byte_is_a_plain_error() {
        let (done, outcome) =
            Rounds::of(10).outcome(success(0, Ended::Itself), io::ErrorKind::UnexpectedEof);
        let error = outcome.unwrap_err();
        assert_eq!((done, error.kind()), (0, io::ErrorKind::UnexpectedEof));
        assert_eq!(Partial::of(&error), 0);
    }
}
