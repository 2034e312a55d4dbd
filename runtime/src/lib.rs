//! Annulet: an async runtime for Linux on io_uring, one thread and one ring.
//!
//! ```
//! use std::io;
//!
//! #[runtime::main]
//! async fn main() -> io::Result<()> {
//!     let listener = runtime::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let server = listener.local_addr()?;
//!     runtime::spawn(async move {
//!         while let Ok((stream, _peer)) = listener.accept().await {
//!             let (_sent, _buf) = stream.write_all(b"hello").await;
//!         }
//!     });
//!     let stream = runtime::net::TcpStream::connect(server).await?;
//!     let (read, buf) = stream.read_exact([0; 5]).await;
//!     read?;
//!     assert_eq!(&buf, b"hello");
//!     Ok(())
//! }
//! ```
//!
//! # Where things are
//!
//! | module | what |
//! | --- | --- |
//! | [`net`] | [`TcpStream`](net::TcpStream), [`UdpSocket`](net::UdpSocket), [`UnixStream`](net::UnixStream) and kin |
//! | [`fs`] | [`File`](fs::File), [`Dir`](fs::Dir) and all that std has for paths; pipes and FIFOs |
//! | [`process`] | [`Command`](process::Command), as std's; outputs within limits |
//! | [`signal`] | [`ctrl_c`](signal::ctrl_c), listeners for any signal, as streams too |
//! | [`io`] | [`copy`](io::copy()), standard streams, [`AsyncFd`](io::AsyncFd) for descriptors of others |
//! | [`time`] | [`sleep`](time::sleep), [`timeout`](time::timeout), [`interval`](time::interval) |
//! | [`task`] | [`spawn`], [`JoinHandle`], [`yield_now`], [`spawn_blocking`](task::spawn_blocking) |
//! | [`buf`] | buffers that are handed to the kernel and come back |
//! | [`op`] | every operation by itself, and the futures' common [`Op`] |
//! | here | [`Runtime`], [`Builder`], [`Handle`]; [`chain()`], [`SerialGroup`], [`CancelToken`]; [`doctor()`] |
//!
//! # What to know
//!
//! **Buffers move in and out.** `stream.read(buf).await` takes the buffer and gives it back with the result, as
//! the kernel may write to it until the operation has ended, whatever becomes of the future.
//!
//! **Dropping is safe, and loses nothing that was received.** A dropped read or accept runs on; what it brings
//! goes to the next one. A dropped write may have sent any part of its buffer. Every function says which it is.
//!
//! **Deadlines and cancels belong to operations.** Each has `.timeout(d)`, `.deadline(t)` and
//! `.cancel_with(&token)`; [`time::timeout`] is for whole futures.
//!
//! **Close, or drop.** `close().await` ends what is in flight on a descriptor, then closes it and reports how
//! that went; dropping the handle does the same in the background.
//!
//! **A thread, a runtime.** Futures stay on their thread and need not be [`Send`]. Handles of sockets are `Send`
//! and `Sync`: used on another thread they run on that one's ring. [`Handle::spawn`] sends work to another
//! runtime.
//!
//! **io_uring, or what does the same.** Where the kernel refuses a ring (a container's seccomp profile, a sysctl, an old
//! kernel), one in user space carries the same operations out, by non-blocking calls, epoll and a thread pool, and one
//! `tracing` warning says why. [`DriverKind`] tells what differs, [`Builder::driver`] and the environment variable
//! `ANNULET_DRIVER` (`auto`, `kernel`, `poll`) choose, [`doctor()`] looks at the machine.

mod builder;
pub mod doctor;
mod embed;
pub mod io;
pub mod process;
mod run;
pub mod signal;
pub mod task;
pub mod time;
mod turn;

pub use annulet_driver::{
    BufResult, CancelReport, CancelToken, Metrics as DriverMetrics, Op, Partial, SerialGroup, buf,
    chain, hard_chain, is_cancelled, op,
};
pub use annulet_driver::{Driver, DriverKind, Fd};
pub use annulet_fs as fs;
pub use annulet_macros::{main, test};
pub use annulet_net as net;

pub use crate::builder::Builder;
pub use crate::doctor::doctor;
pub use crate::embed::Round;
pub use crate::run::{Handle, Metrics, Runtime, block_on};
pub use crate::task::{AbortHandle, JoinError, JoinHandle, spawn, try_spawn, yield_now};

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
