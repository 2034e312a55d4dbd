//! Why a handle did not become the standard library's.

use std::error::Error;
use std::fmt;
use std::io;

use crate::kept::Kept;

/// The error of `into_std`: the handle is not all there is to hand over.
///
/// What arrived for a read or an accept whose future was dropped is kept for the next one here. The standard
/// library's handle has no place for it, so it is handed over beside it: see
/// [`into_parts`](IntoStdError::into_parts).
///
/// As an [`io::Error`] (`?` makes it one) it keeps its kind, and the handle is closed.
pub struct IntoStdError<S, K> {
    error: io::Error,
    parts: Option<(S, K)>,
}

impl<S, K> IntoStdError<S, K> {
    /// There is no handle any more.
    pub fn gone(error: io::Error) -> IntoStdError<S, K> {
        IntoStdError { error, parts: None }
    }

    /// There is a `handle`, and `kept` besides.
    pub fn with_parts(error: io::Error, handle: S, kept: K) -> IntoStdError<S, K> {
        IntoStdError {
            error,
            parts: Some((handle, kept)),
        }
    }

    /// What was wrong.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The handle, and what had been received for dropped futures: it comes before all that the handle will
    /// still give. `None` if the handle had been closed.
    pub fn into_parts(self) -> Option<(S, K)> {
        self.parts
    }
}

impl Kept {
    /// A stream's `handle`, if nothing is kept for it; otherwise the error that has both.
    ///
    /// # Errors
    ///
    /// If bytes, or an error, arrived for reads whose futures were dropped.
    pub fn hand_over<S>(self, handle: S) -> Result<S, IntoStdError<S, Vec<u8>>> {
        match self.into_stream() {
            (bytes, None) if bytes.is_empty() => Ok(handle),
            (bytes, Some(error)) => Err(IntoStdError::with_parts(error, handle, bytes)),
            (bytes, None) => {
                let error = io::Error::other(
                    "bytes had arrived for reads that were dropped; take them by into_parts",
                );
                Err(IntoStdError::with_parts(error, handle, bytes))
            }
        }
    }
}

impl<S, K> fmt::Debug for IntoStdError<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoStdError")
            .field("error", &self.error)
            .field("has_parts", &self.parts.is_some())
            .finish()
    }
}

impl<S, K> fmt::Display for IntoStdError<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<S, K> Error for IntoStdError<S, K> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<S, K> From<IntoStdError<S, K>> for io::Error {
    fn from(error: IntoStdError<S, K>) -> io::Error {
        error.error
    }
}
