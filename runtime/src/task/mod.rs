//! Tasks: spawning them, waiting for them, aborting them.
//!
//! A task is one allocation (`raw.rs`) that the executor of one thread (`local.rs`) owns from its spawn to its end. Its
//! future never leaves that thread and need not be `Send`; its wakers and its [`JoinHandle`] may go anywhere. Other
//! threads reach the executor through its inbox (`inbox.rs`) alone. `state.rs` is the one word that both sides share.
//!
//! | event | what happens |
//! | --- | --- |
//! | the future is ready | it is dropped, the output waits for the [`JoinHandle`] |
//! | it panics | the same, the output is a [`JoinError`]; the thread goes on |
//! | [`JoinHandle::abort`] | the future is dropped where it would be polled next |
//! | the handle is dropped | the task goes on; its output is dropped |
//! | the runtime is dropped | every future is dropped on its thread; handles say "cancelled"; wakers become no-ops |
//! | a destructor panics | the panic is caught; for an aborted task it goes to the handle |
//! | a destructor spawns while the runtime goes | the new task is dropped unpolled; its handle says "cancelled" |

mod inbox;
mod join;
mod join_set;
mod local;
#[cfg(all(test, loom))]
mod loom_tests;
mod raw;
mod remote;
mod spawn_blocking;
mod state;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
mod yield_now;

use std::future::Future;

pub(crate) use self::inbox::Unpark;
pub use self::join::{AbortHandle, JoinError, JoinHandle};
pub use self::join_set::JoinSet;
pub(crate) use self::local::{Local, MainTask, PollMain};
pub(crate) use self::remote::Remote;
pub use self::spawn_blocking::{spawn_blocking, try_spawn_blocking};
pub use self::yield_now::{YieldNow, yield_now};

/// Whether whoever is being polled may go on where it owes all others a turn: there is none, and the slice has polls left,
/// of which this takes one. Giving way for nothing costs more than many a system call that it comes between.
#[inline]
pub(crate) fn may_go_on() -> bool {
    raw::with_current(|local| local.is_some_and(Local::go_on))
}

/// Spawns a task on this thread's runtime.
///
/// The task runs whether or not the handle is awaited, after what is runnable already. The future need not be `Send`.
///
/// # Panics
///
/// Outside of a runtime; [`try_spawn`] gives the future back instead.
///
/// # Examples
///
/// ```
/// let rt = runtime::Runtime::new().unwrap();
/// let sum = rt.block_on(async {
///     let a = runtime::spawn(async { 1 });
///     let b = runtime::spawn(async { 2 });
///     a.await.unwrap() + b.await.unwrap()
/// });
/// assert_eq!(sum, 3);
/// ```
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    match try_spawn(future) {
        Ok(handle) => handle,
        Err(_) => panic!(
            "`spawn` was called outside of a runtime: call it inside `Runtime::block_on`, `#[runtime::main]` or a task, or spawn by a `Handle`"
        ),
    }
}

/// As [`spawn`], without the panic.
///
/// # Errors
///
/// The future, if this thread is not running a runtime.
pub fn try_spawn<F: Future + 'static>(future: F) -> Result<JoinHandle<F::Output>, F> {
    raw::with_current(|local| match local {
        Some(local) => Ok(local.spawn(future)),
        None => Err(future),
    })
}

/// The way back to this thread's executor from any other thread; none outside of a runtime.
pub(crate) fn try_current() -> Option<Remote> {
    raw::with_current(|local| local.map(Local::remote))
}
