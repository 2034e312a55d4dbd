//! An operation that wanted all of a buffer and got a part of it.

use std::error::Error;
use std::fmt;
use std::io;

use crate::op::Ended;

/// How far an operation got before it ended early; found in its error by [`Partial::of`].
///
/// # Examples
///
/// ```
/// use annulet_driver::{Partial, is_cancelled, op::Ended};
/// let error = Partial::error(3, Ended::TimedOut);
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// assert_eq!(Partial::of(&error), 3);
/// assert!(is_cancelled(&Partial::error(3, Ended::Cancelled)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    done: usize,
    ended: Ended,
    /// What it failed with, if that was no deadline and no cancel.
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    kind: io::ErrorKind,
    errno: Option<i32>,
}

impl Partial {
    /// The error of an operation that was ended after `done` bytes.
    pub fn error(done: usize, ended: Ended) -> io::Error {
        match (done, ended) {
            (0, Ended::TimedOut) => io::ErrorKind::TimedOut.into(),
            (0, Ended::Cancelled) => io::Error::from_raw_os_error(libc::ECANCELED),
            (_, ended) => {
                let partial = Partial {
                    done,
                    ended,
                    failure: None,
                };
                match ended {
                    Ended::TimedOut => io::Error::new(io::ErrorKind::TimedOut, partial),
                    Ended::Cancelled | Ended::Itself => io::Error::other(partial),
                }
            }
        }
    }

    /// The error of an operation that failed with `error` after `done` bytes; it keeps its kind.
    pub fn after(done: usize, error: io::Error) -> io::Error {
        let kind = error.kind();
        let errno = error.raw_os_error();
        if let Some(partial) = Partial::inside(&error) {
            // Of a part of the whole: `done` counts it in.
            return io::Error::new(kind, Partial { done, ..*partial });
        }
        match (kind, errno) {
            _ if done == 0 => error,
            // A deadline of ours has no number; the TCP stack's own ETIMEDOUT has.
            (io::ErrorKind::TimedOut, None) => Partial::error(done, Ended::TimedOut),
            (_, Some(libc::ECANCELED)) => Partial::error(done, Ended::Cancelled),
            (kind, errno) => io::Error::new(
                kind,
                Partial {
                    done,
                    ended: Ended::Itself,
                    failure: Some(Failure { kind, errno }),
                },
            ),
        }
    }

    /// How many bytes the operation that failed with `error` had moved by then.
    pub fn of(error: &io::Error) -> usize {
        Partial::inside(error).map_or(0, |partial| partial.done)
    }

    pub(crate) fn inside(error: &io::Error) -> Option<&Partial> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.ended == Ended::Cancelled
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.ended {
            Ended::Itself => "ended early",
            Ended::TimedOut => "timed out",
            Ended::Cancelled => "was cancelled",
        };
        write!(f, "the operation {how} after {} bytes", self.done)?;
        match self.failure {
            Some(Failure {
                errno: Some(errno), ..
            }) => write!(f, ": {}", io::Error::from_raw_os_error(errno)),
            Some(Failure { kind, .. }) => write!(f, ": {kind}"),
            None => Ok(()),
        }
    }
}

impl Error for Partial {}
