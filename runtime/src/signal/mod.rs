//! Signals as something to await.
//!
//! | what | |
//! | --- | --- |
//! | [`ctrl_c`] | the next Ctrl-C |
//! | [`unix::signal`] | a listener for any signal that can be caught; as a [stream](unix::Signal::stream), too |
//!
//! **How it works.** The handler (that of `signal-hook`, which does only what a handler may) writes a byte to a pipe
//! of each listener. A listener reads its own through the ring of whichever runtime it is used in. So listeners know
//! nothing of each other: any number can wait for one signal, in any number of runtimes, and one that goes, or
//! whose runtime goes, takes nothing from the others. No thread is involved.
//!
//! **What stays.** The handler of a signal is installed with its first listener and stays until the process ends, as
//! with other libraries: once something has listened for `SIGINT`, it no longer ends the process, even when the last
//! listener is gone. A program that is started has its signals as by default. `signal-hook` is told of every handler,
//! so listeners get along with all that use it.
//!
//! **Forks.** A child has the handlers and the pipes of this process until it executes another program: what hits it
//! before is counted here too. ([`process`](crate::process) and std start children without that gap, unless they are to
//! run as another user.)

pub mod unix;

use std::io;

use self::unix::{SignalKind, signal};

/// Waits for the next Ctrl-C (`SIGINT`) that comes after this was first polled.
///
/// From then on Ctrl-C no longer ends the process: see the [module](self). One that comes between two of these
/// futures is noticed by neither, so to count them, or to let the second one do something else, keep a
/// [listener](unix::signal) for [`SignalKind::interrupt`].
///
/// # Errors
///
/// As [`unix::signal`].
///
/// # Cancel safety
///
/// Dropped, it no longer listens; there is nothing to lose but the Ctrl-C that it was to wait for.
///
/// # Panics
///
/// If awaited outside a runtime.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::signal::ctrl_c;
/// use runtime::time::timeout;
/// use std::time::Duration;
///
/// match timeout(Duration::from_millis(1), ctrl_c()).await {
///     Ok(pressed) => pressed?,
///     Err(_elapsed) => println!("nobody wants this to end"),
/// }
/// # Ok(()) }) }
/// ```
pub async fn ctrl_c() -> io::Result<()> {
    signal(SignalKind::interrupt())?.next().await
}
