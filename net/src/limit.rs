//! A handle's own time limit: `set_read_timeout` and its kin.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long each operation of one direction may take. In nanoseconds; 0 stands for "as long as it likes".
///
/// Nothing else is published by it, so the order of its accesses does not matter.
#[derive(Debug, Default)]
pub(crate) struct Limit(AtomicU64);

impl Limit {
    /// What is set; 584 years and more count as 584 years.
    #[inline]
    pub(crate) fn load(&self) -> Option<Duration> {
        match self.0.load(Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// `InvalidInput` for a limit of zero, as in `std`.
    pub(crate) fn store(&self, limit: Option<Duration>) -> io::Result<()> {
        let nanos = match limit {
            None => 0,
            Some(Duration::ZERO) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a timeout of zero: use None for none",
                ));
            }
            Some(limit) => u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX),
        };
        self.0.store(nanos, Relaxed);
        Ok(())
    }
}

/// The limits of both directions.
#[derive(Debug, Default)]
pub struct Limits {
    pub(crate) read: Limit,
    pub(crate) write: Limit,
}

impl Limits {
    /// Takes over what is set there.
    pub(crate) fn copy(&self, from: &Limits) -> io::Result<()> {
        self.read.store(from.read.load())?;
        self.write.store(from.write.load())
    }
}

/// Gives a handle the methods of its time limits, as in `std`.
macro_rules! time_limits {
    ($handle:ident) => {
        impl $handle {
            /// Limits how long each read may take that is called from now on; otherwise as
            /// [`TcpStream::set_read_timeout`](crate::TcpStream::set_read_timeout).
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a limit of zero.
            pub fn set_read_timeout(
                &self,
                limit: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.limits.read.store(limit)
            }

            /// Limits how long each write may take that is called from now on; otherwise as
            /// [`TcpStream::set_write_timeout`](crate::TcpStream::set_write_timeout).
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a limit of zero.
            pub fn set_write_timeout(
                &self,
                limit: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.limits.write.store(limit)
            }

            /// How long each read may take.
            ///
            /// # Errors
            ///
            /// None; the result is as in `std`.
            pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.limits.read.load())
            }

            /// How long each write may take.
            ///
            /// # Errors
            ///
            /// None; the result is as in `std`.
            pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.limits.write.load())
            }
        }
    };
}

pub(crate) use time_limits;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_zero_is_refused_and_changes_nothing() {
        let limit = Limit::default();
        assert_eq!(limit.load(), None);
        limit.store(Some(Duration::from_millis(7))).unwrap();
        let error = limit.store(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(limit.load(), Some(Duration::from_millis(7)));
        limit.store(None).unwrap();
        assert_eq!(limit.load(), None);
    }

    #[test]
    fn a_limit_beyond_counting_is_the_longest_there_is() {
        let limit = Limit::default();
        limit.store(Some(Duration::MAX)).unwrap();
        assert_eq!(limit.load(), Some(Duration::from_nanos(u64::MAX)));
    }
}
