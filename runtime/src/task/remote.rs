//! Spawning onto an executor from any thread.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::join::JoinHandle;
use super::raw::{self, Shared};

/// Spawns onto one executor, from any thread. Cheap to clone; keeps no executor alive.
#[derive(Clone)]
pub(crate) struct Remote {
    shared: Arc<Shared>,
}

impl Remote {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Spawns `future` onto the executor's thread, and wakes that thread if it sleeps.
    ///
    /// If the executor has shut down, or does so before the task is finished, the handle gives a
    /// [`JoinError`](super::JoinError) that [`is_cancelled`](super::JoinError::is_cancelled). In the first case the
    /// future is dropped here, at once; in the second on the executor's thread, where it lived.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        JoinHandle::new(raw::spawn_remote(&self.shared, future))
    }

    /// As [`spawn`](Self::spawn), for a future that is not `Send`: `make` crosses over, the future is made there.
    pub(crate) fn spawn_with<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send,
    {
        JoinHandle::new(raw::spawn_remote_with(&self.shared, make))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}
