//! Streams of any kind, by traits; and descriptors that have no type here, told when they are ready.
//!
//! | name | what |
//! | --- | --- |
//! | [`AsyncRead`], [`AsyncWrite`] | what sockets, pipes and files have in common |
//! | [`copy`], [`copy_bidirectional`] | from one stream to another, inside the kernel where that can be |
//! | [`AsyncFd`] | readiness, for whoever does the I/O |

mod async_fd;
mod copy;
mod guard;

pub use annulet_driver::{AsyncRead, AsyncWrite, Interest, Ready, Trigger};

pub use self::async_fd::{AsyncFd, Readiness};
pub use self::copy::{copy, copy_bidirectional};
pub use self::guard::{ReadyGuard, TryIoError};
