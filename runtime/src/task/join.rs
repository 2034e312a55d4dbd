//! What a spawn gives back: [`JoinHandle`], [`AbortHandle`], and [`JoinError`] for tasks that end without an output.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use super::raw::{AbortRef, JoinRef};

/// Waits for a spawned task, and can abort it.
///
/// It is a future of the task's output. Dropping it *detaches* the task, which goes on; an output that nobody took is
/// dropped with the handle, or by the task if the handle went first.
///
/// The handle is `Send` if the output is, whatever the task's future is: a task can be awaited and aborted from any
/// thread, by any executor.
///
/// # Errors
///
/// The result is a [`JoinError`] if the task panicked, was aborted, or its runtime went away before it was finished.
///
/// # Cancel safety
///
/// Awaiting `&mut handle` and dropping that await loses nothing: the next one gives the output.
///
/// # Panics
///
/// If polled again after it gave its result.
///
/// # Examples
///
/// ```
/// let rt = runtime::Runtime::new().unwrap();
/// rt.block_on(async {
///     let task = runtime::spawn(async { 6 * 7 });
///     assert_eq!(task.await.unwrap(), 42);
/// });
/// ```
pub struct JoinHandle<T> {
    task: JoinRef<T>,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(task: JoinRef<T>) -> Self {
        Self { task }
    }

    /// Asks for the task to be aborted: its future is dropped, on its own thread, instead of being polled again.
    ///
    /// This returns at once. The handle then gives a [`JoinError`] whose [`is_cancelled`](JoinError::is_cancelled) is
    /// true; unless the task finished first, in which case it gives the output.
    ///
    /// # Examples
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// rt.block_on(async {
    ///     let task = runtime::spawn(std::future::pending::<()>());
    ///     task.abort();
    ///     assert!(task.await.unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn abort(&self) {
        self.task.abort();
    }

    /// A handle that can only abort, to be kept where the output is not wanted. There can be many.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle {
            task: self.task.abort_ref(),
        }
    }

    /// Whether the task has ended, one way or another: if so, awaiting gives the result at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.task.poll(cx.waker())
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// Aborts a task, from any thread. From [`JoinHandle::abort_handle`].
///
/// Dropping it does nothing to the task; keeping it keeps the memory of a finished one.
#[derive(Clone)]
pub struct AbortHandle {
    task: AbortRef,
}

impl AbortHandle {
    /// As [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.task.abort();
    }

    /// As [`JoinHandle::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// Why a task ended without an output: it panicked, or it was cancelled.
///
/// Cancelled is a task that was aborted, and one whose runtime went away or had gone already.
/// Converts into an [`io::Error`] of kind [`Other`](io::ErrorKind::Other), so that `?` works where I/O is done.
pub struct JoinError {
    /// The panic's payload, which is `Send` only: the mutex makes the error `Sync`. One word in the common case.
    panic: Option<Box<Mutex<Payload>>>,
}

type Payload = Box<dyn Any + Send + 'static>;

impl JoinError {
    pub(super) fn cancelled() -> Self {
        Self { panic: None }
    }

    pub(super) fn panicked(payload: Payload) -> Self {
        Self {
            panic: Some(Box::new(Mutex::new(payload))),
        }
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
    }

    /// Whether the task was aborted, or its runtime went away.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.panic.is_none()
    }

    /// What the task panicked with, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// If the task did not panic; [`try_into_panic`](Self::try_into_panic) gives the error back then.
    ///
    /// # Examples
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// let error = rt.block_on(runtime_task()).unwrap_err();
    /// assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "no more tea");
    ///
    /// async fn runtime_task() -> Result<(), runtime::task::JoinError> {
    ///     runtime::spawn(async { panic!("no more tea") }).await
    /// }
    /// ```
    #[must_use]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.try_into_panic()
            .expect("`JoinError::into_panic` on a task that did not panic")
    }

    /// As [`into_panic`](Self::into_panic); the error itself if the task did not panic.
    ///
    /// # Errors
    ///
    /// The error, unchanged, if the task was cancelled.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, Self> {
        match self.panic {
            Some(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            None => Err(self),
        }
    }

    /// What `panic!` was given, if it was text.
    fn message(&self) -> Option<String> {
        let payload = self
            .panic
            .as_ref()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let text = payload.downcast_ref::<&str>().copied();
        text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .map(str::to_owned)
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_panic(), self.message()) {
            (false, _) => f.write_str("task was cancelled"),
            (true, Some(message)) => write!(f, "task panicked: {message}"),
            (true, None) => f.write_str("task panicked"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_panic(), self.message()) {
            (false, _) => f.write_str("JoinError::Cancelled"),
            (true, message) => write!(f, "JoinError::Panic({message:?})"),
        }
    }
}

impl Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        Self::other(error)
    }
}
