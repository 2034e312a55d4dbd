//! Streams of any kind, by traits; and descriptors that have no type here, told when they are ready.
//!
//! | name | what |
//! | --- | --- |
//! | [`AsyncRead`], [`AsyncWrite`] | what sockets, pipes and files have in common |
//! | [`copy`], [`copy_bidirectional`] | from one stream to another, inside the kernel where that can be |
//! | [`splice()`], [`tee`] | one step of that, by the kernel |
//! | [`stdin`], [`stdout`], [`stderr`] | the process's standard streams |
//! | [`EventFd`] | a counter that other threads and processes add to |
//! | [`AsyncFd`] | readiness, for whoever does the I/O |

mod async_fd;
mod copy;
mod event_fd;
mod guard;
mod splice;

pub use annulet_driver::{AsyncRead, AsyncWrite, Interest, Ready, Trigger};

pub use annulet_fs::stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};

pub use self::async_fd::{AsyncFd, Readiness};
pub use self::copy::{copy, copy_bidirectional};
pub use self::event_fd::EventFd;
pub use self::guard::{ReadyGuard, TryIoError};
pub use self::splice::{splice, tee};
