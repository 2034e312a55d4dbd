//! [`spawn_blocking`]: a closure that blocks, on a thread of its own.
//!
//! The threads are the [`blocking`] crate's, one pool for the process. A task of this thread's runtime waits for the
//! closure, so its [`JoinHandle`] is the same as every other task's; aborted or dropped with its runtime, that task lets
//! the closure go.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{JoinHandle, try_current, try_spawn};

/// Runs a closure that blocks or computes for long on a thread pool, beside the ring.
///
/// For what has no operation on the ring and no function here: a library's blocking calls, compression, hashing. The
/// closure starts at once, whether or not the handle is awaited, and so must own what it uses.
///
/// | event | what happens |
/// | --- | --- |
/// | it panics | the handle gives a [`JoinError`](super::JoinError) with the panic; the pool's thread goes on |
/// | the handle is dropped | the closure runs; its output is dropped |
/// | it is aborted before it starts | it never runs; it is dropped |
/// | it is aborted while it runs | it runs to its end, as nothing can stop a thread; its output is dropped, and the handle says "cancelled" |
/// | the runtime is dropped | as if it were aborted; the runtime does not wait for it |
/// | the program ends | what runs is cut off |
///
/// # The pool
///
/// It is one for the process, shared with all of Annulet's functions that say "on the thread pool" and with every other
/// user of the [`blocking`](https://docs.rs/blocking) crate. It has no threads to begin with, starts them as closures
/// queue up, at most 500 (the environment variable `BLOCKING_MAX_THREADS`, 1 to 10,000, sets another limit), and
/// ends those that were idle for half a second. Beyond the limit closures wait for a thread, in order: one that waits
/// for another closure can then wait for ever. What computes for hours, or never returns, wants a `std::thread`.
///
/// # Panics
///
/// Outside of a runtime; [`try_spawn_blocking`] gives the closure back instead.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// let text = "what takes its time".to_owned();
/// let letters = runtime::task::spawn_blocking(move || text.chars().filter(|c| *c == 't').count());
/// assert_eq!(letters.await?, 4);
/// # Ok(()) }) }
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match try_spawn_blocking(f) {
        Ok(handle) => handle,
        Err(_) => panic!(
            "`spawn_blocking` was called outside of a runtime: call it inside `Runtime::block_on`, `#[runtime::main]` or a task, or use `std::thread::spawn`"
        ),
    }
}

/// As [`spawn_blocking`], without the panic.
///
/// # Errors
///
/// The closure, if this thread is not running a runtime.
pub fn try_spawn_blocking<F, T>(f: F) -> Result<JoinHandle<T>, F>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if try_current().is_none() {
        return Err(f);
    }
    // Nobody sees what the closure left half-done but through its panic, which goes on to the handle.
    let running = blocking::unblock(move || catch_unwind(AssertUnwindSafe(f)));
    let waits = async move {
        match running.await {
            Ok(output) => output,
            Err(panic) => resume_unwind(panic),
        }
    };
    Ok(try_spawn(waits).unwrap_or_else(|_| unreachable!("inside a runtime, as was just seen")))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::{Runtime, yield_now};

    fn block_on<F: Future>(future: F) -> F::Output {
        Runtime::new().unwrap().block_on(future)
    }

    /// Says when it was dropped: by the hanging up of what it holds.
    fn dropped() -> (Sender<()>, Receiver<()>) {
        channel()
    }

    #[test]
    fn a_blocking_closure_runs_on_another_thread_and_its_output_arrives() {
        let here = std::thread::current().id();
        let there = block_on(async { spawn_blocking(|| std::thread::current().id()).await });
        assert_ne!(there.unwrap(), here);
    }

    #[test]
    fn tasks_run_while_a_closure_blocks() {
        let (tell, told) = channel();
        let output = block_on(async {
            let closure = spawn_blocking(move || told.recv());
            yield_now().await;
            tell.send(7).unwrap();
            closure.await
        });
        assert_eq!(output.unwrap(), Ok(7));
    }

    #[test]
    fn a_panicking_closure_says_so_by_its_handle_and_the_pool_goes_on() {
        block_on(async {
            let error = spawn_blocking(|| panic!("no more tea")).await.unwrap_err();
            assert_eq!(error.into_panic().downcast_ref(), Some(&"no more tea"));
            assert_eq!(spawn_blocking(|| 1).await.unwrap(), 1);
        });
    }

    #[test]
    fn a_dropped_handle_detaches_the_closure() {
        let (tell, told) = channel();
        let (go, wait) = channel::<()>();
        block_on(async {
            drop(spawn_blocking(move || {
                let _ = wait.recv();
                tell.send("ran")
            }));
            yield_now().await;
            drop(go);
            assert_eq!(
                spawn_blocking(move || told.recv()).await.unwrap(),
                Ok("ran")
            );
        });
    }

    #[test]
    fn an_abort_while_the_closure_runs_ends_the_wait_and_drops_its_output() {
        let (has_begun, begun) = channel();
        let (go, wait) = channel::<()>();
        let (output, gone) = dropped();
        block_on(async {
            let closure = spawn_blocking(move || {
                has_begun.send(()).unwrap();
                let _ = wait.recv();
                output
            });
            spawn_blocking(move || begun.recv()).await.unwrap().unwrap();
            closure.abort();
            assert!(closure.await.unwrap_err().is_cancelled());
        });
        drop(go);
        assert!(gone.recv().is_err(), "nobody sends, the output is dropped");
    }

    #[test]
    fn a_dropped_runtime_does_not_wait_for_a_closure() {
        let (go, wait) = channel::<()>();
        let (output, gone) = dropped();
        let runtime = Runtime::new().unwrap();
        let mut closure = None;
        runtime.block_on(async {
            closure = Some(spawn_blocking(move || {
                let _ = wait.recv();
                output
            }));
        });
        drop(runtime);
        let closure = closure.expect("it was spawned");
        assert!(block_on(closure).unwrap_err().is_cancelled());
        drop(go);
        assert!(gone.recv().is_err());
    }

    #[test]
    fn outside_of_a_runtime_the_closure_is_given_back() {
        let f = try_spawn_blocking(|| 7).unwrap_err();
        assert_eq!(f(), 7);
        let panic = catch_unwind(|| spawn_blocking(|| 7)).unwrap_err();
        let message = panic.downcast_ref::<&str>().unwrap();
        assert!(message.contains("outside of a runtime"), "{message}");
    }

    #[test]
    fn a_closure_aborted_before_it_starts_never_runs() {
        const LIMIT: &str = "BLOCKING_MAX_THREADS";
        if std::env::var(LIMIT).as_deref() != Ok("1") {
            // In a process of its own, whose pool has one thread.
            let name = "task::spawn_blocking::tests::a_closure_aborted_before_it_starts_never_runs";
            let ran = Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact"])
                .env(LIMIT, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let (go, wait) = channel::<()>();
        let (ran, it_ran) = dropped();
        block_on(async {
            let first = spawn_blocking(move || wait.recv());
            let second = spawn_blocking(move || ran.send(()));
            yield_now().await;
            second.abort();
            assert!(second.await.unwrap_err().is_cancelled());
            drop(go);
            assert!(first.await.unwrap().is_err());
        });
        assert!(it_ran.recv().is_err(), "dropped without having sent");
    }
}
