//! Descriptors that have no type here: told when they are ready, for whoever does the I/O.

mod async_fd;
mod guard;

pub use annulet_driver::{Interest, Ready, Trigger};

pub use self::async_fd::{AsyncFd, Readiness};
pub use self::guard::{ReadyGuard, TryIoError};
