//! A runtime: one thread's executor, timers and driver, and how they end.
//!
//! Who owns what: [`Runtime`] owns the tasks and the driver. Dropped, it first drops every future (their
//! operations become orphans and are cancelled), then has the driver await every completion, and only then
//! frees memory. Handles, wakers and descriptors may outlive it; they then do nothing, or work without it.

use std::cell::OnceCell;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use annulet_driver::{Driver, Unparker};

use crate::builder::Builder;
use crate::task::{self, JoinHandle, Remote, Unpark};
use crate::time::Clock;
use crate::turn::{Core, Park, Wait};

/// The driver, as what a thread parks on.
pub(crate) struct Ring {
    driver: Driver,
}

impl Park for Ring {
    fn turn(&self, wait: Wait) -> io::Result<()> {
        self.driver.turn(match wait {
            Wait::No => annulet_driver::Wait::No,
            Wait::AtMost(limit) => annulet_driver::Wait::AtMost(limit),
        })
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(Poke(self.driver.unparker()))
    }

    fn has_more(&self) -> bool {
        self.driver.has_more()
    }
}

struct Poke(Unparker);

impl Unpark for Poke {
    fn unpark(&self) {
        self.0.unpark();
    }
}

/// An async runtime for the thread that made it.
///
/// Dropping it ends everything: all futures are dropped, all operations cancelled and awaited, all descriptors
/// they held closed. Forgetting it (`mem::forget`) leaks memory and descriptors, nothing worse.
///
/// # Examples
///
/// ```
/// let runtime = runtime::Runtime::new()?;
/// let sum = runtime.block_on(async {
///     let one = runtime::spawn(async { 1 });
///     one.await.unwrap() + 1
/// });
/// assert_eq!(sum, 2);
/// # std::io::Result::Ok(())
/// ```
pub struct Runtime {
    pub(crate) core: Core<Ring>,
    pub(crate) driver: Driver,
    /// What a foreign loop waits for, once it has asked.
    pub(crate) wait_fd: OnceCell<Arc<OwnedFd>>,
    shutdown_timeout: Duration,
}

/// What a runtime has done so far, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Polls of tasks.
    pub polls: u64,
    /// Tasks spawned.
    pub spawned: u64,
    /// Tasks that are not complete now.
    pub tasks: usize,
    /// The driver's counters: system calls, completions, operations in flight.
    pub driver: annulet_driver::Metrics,
}

impl Runtime {
    /// A runtime with the default options; see [`Builder`].
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    pub fn new() -> io::Result<Runtime> {
        Builder::new().build()
    }

    pub(crate) fn with(options: &Builder) -> io::Result<Runtime> {
        if let Some(name) = &options.thread_name {
            let name = std::ffi::CString::new(name.as_str()).map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the thread's name has a NUL byte in it",
                )
            })?;
            rustix::thread::set_name(&name)?;
        }
        let driver = Driver::new(&options.setup)?;
        let park = Ring {
            driver: driver.clone(),
        };
        let core = Core::new(park, Clock::system(), options.budget, options.timer_slack);
        Ok(Runtime {
            core,
            driver,
            wait_fd: OnceCell::new(),
            shutdown_timeout: options.shutdown_timeout,
        })
    }

    /// Runs `future` on this thread until it is ready; spawned tasks run beside it.
    ///
    /// Tasks that are not finished then stay where they are, and run on in the next `block_on`.
    ///
    /// # Panics
    ///
    /// If this thread is in a `block_on` already; if the future panics; if the ring can no longer be used (in
    /// the child of a fork: build a new runtime there).
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.driver.enter();
        match self.core.block_on(future) {
            Ok(output) => output,
            Err(error) => panic!("the Annulet runtime cannot use its ring any more: {error}"),
        }
    }

    /// Spawns a task from outside; it runs in the next [`block_on`](Runtime::block_on).
    pub fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        self.core.spawn(future)
    }

    /// A handle by which other threads spawn tasks here.
    pub fn handle(&self) -> Handle {
        Handle {
            remote: self.core.remote(),
        }
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        let counters = self.core.counters();
        Metrics {
            polls: counters.polls,
            spawned: counters.spawned,
            tasks: self.core.live(),
            driver: self.driver.metrics(),
        }
    }

    /// The driver: its counters, its ring's flags, what the kernel supports.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        {
            let _entered = self.driver.enter();
            self.core.shutdown();
            self.driver.shutdown(self.shutdown_timeout);
        }
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

/// A runtime as other threads see it: it spawns tasks there.
///
/// # Examples
///
/// ```
/// let runtime = runtime::Runtime::new()?;
/// let handle = runtime.handle();
/// let thread = std::thread::spawn(move || handle.spawn(async { 42 }));
/// let task = thread.join().unwrap();
/// assert_eq!(runtime.block_on(task).unwrap(), 42);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    remote: Remote,
}

impl Handle {
    /// The handle of the runtime this thread is in.
    ///
    /// # Panics
    ///
    /// Outside a runtime; see [`try_current`](Handle::try_current).
    #[track_caller]
    pub fn current() -> Handle {
        Handle::try_current().expect(
            "Handle::current was called outside an Annulet runtime: call it inside `Runtime::block_on`, \
             `#[runtime::main]` or a spawned task",
        )
    }

    /// The handle of the runtime this thread is in, if it is in one.
    pub fn try_current() -> Option<Handle> {
        task::try_current().map(|remote| Handle { remote })
    }

    /// Spawns a task on the runtime's thread, from any thread.
    ///
    /// If the runtime is gone the future is dropped here, and the handle resolves as cancelled.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.remote.spawn(future)
    }

    /// Spawns on the runtime's thread a task whose future is made there, and so need not be [`Send`].
    pub fn spawn_with<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.remote.spawn_with(make)
    }
}

/// Runs `future` on a runtime of its own with the default options.
///
/// # Errors
///
/// Those of [`Builder::build`].
///
/// # Panics
///
/// As [`Runtime::block_on`].
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    Ok(Runtime::new()?.block_on(future))
}
