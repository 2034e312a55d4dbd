//! Making tasks: on the executor's own thread, and for it from others.

use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cell::TaskCell;
use super::current::{self, Shared};
use super::{Header, Hold, Incoming, JoinRef, Phase, Runnable, adopt, finish};
use crate::task::local::Local;
use crate::task::state::REMOTE;

/// A task on the executor's own thread. A closed executor drops the future at once; the handle then says "cancelled".
#[inline]
pub(in crate::task) fn spawn_local<F: Future + 'static>(
    local: &Local,
    future: F,
) -> JoinRef<F::Output> {
    if local.is_closed() {
        return spawn_closed(local, future);
    }
    local.cells().add_one();
    let owner = NonNull::from(&**local.shared());
    let task = TaskCell::allocate(Some(local.blocks()), future, 0, owner, Hold::Together);
    // SAFETY: just made; the executor's hold keeps it.
    let header = unsafe { task.as_ref() };
    adopt(task, local);
    header.queued.set(true);
    local.push(Runnable(task));
    JoinRef::new(task)
}

#[cold]
fn spawn_closed<F: Future + 'static>(local: &Local, future: F) -> JoinRef<F::Output> {
    let task = TaskCell::allocate(None, future, 0, current::hold(local.shared()), Hold::Alone);
    refuse(task);
    JoinRef::new(task)
}

/// A task for another thread. If that executor has closed, the future is dropped here and the handle says "cancelled".
pub(in crate::task) fn spawn_remote<F>(shared: &Arc<Shared>, future: F) -> JoinRef<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    // SAFETY: the future is `Send`.
    unsafe { spawn_remote_unchecked(shared, future) }
}

/// As [`spawn_remote`], for a future that is only made on the other thread and need not be `Send`.
pub(in crate::task) fn spawn_remote_with<M, F>(shared: &Arc<Shared>, make: M) -> JoinRef<F::Output>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send,
{
    // SAFETY: until its first poll, which happens on the owner thread, a `MadeLater` holds nothing but `make`.
    unsafe { spawn_remote_unchecked(shared, MadeLater::New { make: Some(make) }) }
}

/// # Safety
/// What `future` holds until it is first polled must be `Send`, and so must its output.
unsafe fn spawn_remote_unchecked<F>(shared: &Arc<Shared>, future: F) -> JoinRef<F::Output>
where
    F: Future + 'static,
{
    let task = TaskCell::allocate(None, future, REMOTE, current::hold(shared), Hold::Alone);
    let join = JoinRef::new(task);
    if let Err(Incoming(task)) = shared.inbox.push(Incoming(task)) {
        // SAFETY: refused, so this thread is still the only one that knows the task.
        unsafe { task.as_ref() }.state.clear_remote();
        refuse(task);
    }
    join
}

/// Completes a task that no executor has seen, on the thread that made it.
fn refuse(task: NonNull<Header>) {
    // SAFETY: this thread is the only one that knows the task, and stands in for the owner.
    let header = unsafe { task.as_ref() };
    header.phase.set(Phase::Running);
    // SAFETY: as above, and the future has not been polled.
    unsafe { (header.vtable.cancel)(task) };
    finish(task);
}

pin_project_lite::pin_project! {
    /// A future whose maker crosses the threads instead of itself.
    #[project = MadeLaterProj]
    enum MadeLater<M, F> {
        New { make: Option<M> },
        Made { #[pin] future: F },
    }
}

impl<M: FnOnce() -> F, F: Future> Future for MadeLater<M, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            match self.as_mut().project() {
                MadeLaterProj::Made { future } => return future.poll(cx),
                MadeLaterProj::New { make } => {
                    // Taken before it is called: if it panics there is nothing left to call again.
                    let make = make.take().expect("polled again after its maker panicked");
                    let future = make();
                    self.set(Self::Made { future });
                }
            }
        }
    }
}
