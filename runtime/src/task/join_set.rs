//! [`JoinSet`]: many tasks, awaited as they end.
//!
//! Each task's handle is polled with a waker of its own, which notes the task's key as worth a look. So a round looks at
//! the tasks that ended, not at all of them; and as handles may be woken from anywhere, the notes are behind a lock.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

use super::{AbortHandle, JoinError, JoinHandle, spawn};

/// A set of tasks, whose outputs are taken in the order in which they end.
///
/// Dropping the set aborts the tasks in it: what was started here does not outlive it unless
/// [detached](JoinSet::detach_all).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::task::JoinSet;
///
/// let mut set = JoinSet::new();
/// for n in 1..=10 {
///     set.spawn(async move { n * n });
/// }
/// let mut sum = 0;
/// while let Some(square) = set.join_next().await {
///     sum += square?;
/// }
/// assert_eq!(sum, 385);
/// # Ok(()) }) }
/// ```
///
/// At most so many at once:
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # use runtime::task::JoinSet;
/// let mut set = JoinSet::new();
/// for n in 0..100 {
///     if set.len() == 8 {
///         set.join_next().await.unwrap()?;
///     }
///     set.spawn(async move { runtime::yield_now().await; n });
/// }
/// assert_eq!(set.join_all().await.len(), 8);
/// # Ok(()) }) }
/// ```
pub struct JoinSet<T> {
    tasks: Slab<Member<T>>,
    ended: Arc<Ended>,
}

struct Member<T> {
    handle: JoinHandle<T>,
    waker: Waker,
}

/// Which tasks are worth a look, and who awaits one.
#[derive(Default)]
struct Ended {
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    keys: VecDeque<usize>,
    waiting: Option<Waker>,
}

impl Ended {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        // No user code runs under the lock.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes for one task of a set.
struct Note {
    key: usize,
    ended: Arc<Ended>,
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        let waiting = {
            let mut notes = self.ended.notes();
            notes.keys.push_back(self.key);
            notes.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<T> JoinSet<T> {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tasks: Slab::new(),
            ended: Arc::default(),
        }
    }

    /// How many tasks are in it: those that run, and those that ended and were not taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no task is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Spawns a task on this thread's runtime and puts it into the set; see [`spawn`](fn@super::spawn).
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F: Future<Output = T> + 'static>(&mut self, future: F) -> AbortHandle
    where
        T: 'static,
    {
        self.insert(spawn(future))
    }

    /// Runs a closure that blocks on the thread pool, as [`spawn_blocking`](fn@super::spawn_blocking) does, and puts it
    /// into the set.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn_blocking<F: FnOnce() -> T + Send + 'static>(&mut self, f: F) -> AbortHandle
    where
        T: Send + 'static,
    {
        self.insert(super::spawn_blocking(f))
    }

    /// Puts a task into the set that was spawned elsewhere: on another runtime by its
    /// [`Handle`](crate::Handle::spawn), for instance.
    pub fn insert(&mut self, handle: JoinHandle<T>) -> AbortHandle {
        let abort = handle.abort_handle();
        let entry = self.tasks.vacant_entry();
        let note = Arc::new(Note {
            key: entry.key(),
            ended: self.ended.clone(),
        });
        let waker = Waker::from(note);
        entry.insert(Member {
            handle,
            waker: waker.clone(),
        });
        // Its first look registers the waker with the task.
        waker.wake();
        abort
    }

    /// The result of the next task to end; `None` if the set is empty.
    ///
    /// Tasks that have ended are taken in that order.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// As [`join_next`](JoinSet::join_next), for those who poll: `Pending` if no task has ended.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        if self.tasks.is_empty() {
            return Poll::Ready(None);
        }
        let replaced = self.ended.notes().waiting.replace(cx.waker().clone());
        drop(replaced);
        match self.take_ended() {
            Some(result) => Poll::Ready(Some(result)),
            None => Poll::Pending,
        }
    }

    /// The result of a task that has ended already; `None` if there is none.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.take_ended()
    }

    fn take_ended(&mut self) -> Option<Result<T, JoinError>> {
        loop {
            let key = self.ended.notes().keys.pop_front()?;
            // A note of a task that is gone may come late, to the next in its place: that one is looked at in vain.
            let Some(Member { handle, waker }) = self.tasks.get_mut(key) else {
                continue;
            };
            let mut cx = Context::from_waker(waker);
            if let Poll::Ready(result) = Pin::new(handle).poll(&mut cx) {
                self.tasks.remove(key);
                return Some(result);
            }
        }
    }

    /// Awaits all tasks, and gives their outputs in the order in which they ended.
    ///
    /// # Panics
    ///
    /// If a task panicked, with its panic, or was aborted. The others are aborted then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the tasks.
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result.map_err(JoinError::try_into_panic) {
                Ok(output) => outputs.push(output),
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                Err(Err(error)) => panic!("`JoinSet::join_all`: {error}"),
            }
        }
        outputs
    }

    /// Asks for all tasks to be aborted. They stay in the set until they are taken.
    pub fn abort_all(&self) {
        for (_, member) in &self.tasks {
            member.handle.abort();
        }
    }

    /// Aborts all tasks and awaits their end.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Empties the set; its tasks go on by themselves.
    pub fn detach_all(&mut self) {
        self.tasks.clear();
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Spawns the futures on this thread's runtime.
impl<T: 'static, F: Future<Output = T> + 'static> FromIterator<F> for JoinSet<T> {
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = Self::new();
        for future in futures {
            set.spawn(future);
        }
        set
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::{Runtime, yield_now};

    fn block_on<F: Future>(future: F) -> F::Output {
        Runtime::new().unwrap().block_on(future)
    }

    async fn yields(n: usize) -> usize {
        for _ in 0..n {
            yield_now().await;
        }
        n
    }

    #[test]
    fn outputs_come_in_the_order_of_the_tasks_ends() {
        let ends = block_on(async {
            let mut set: JoinSet<usize> = [5, 1, 3].into_iter().map(yields).collect();
            let mut ends = Vec::new();
            while let Some(end) = set.join_next().await {
                ends.push(end.unwrap());
            }
            assert!(set.is_empty());
            assert!(set.join_next().await.is_none());
            ends
        });
        assert_eq!(ends, [1, 3, 5]);
    }

    #[test]
    fn a_dropped_wait_loses_no_output() {
        block_on(async {
            let mut set = JoinSet::new();
            set.spawn(yields(3));
            for _ in 0..10 {
                let mut next = Box::pin(set.join_next());
                let polled = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
                if let Poll::Ready(output) = polled {
                    assert_eq!(output.unwrap().unwrap(), 3);
                    return;
                }
                drop(next);
                yield_now().await;
            }
            panic!("the task's output was lost");
        });
    }

    #[test]
    fn a_panic_and_an_abort_are_told_apart_and_the_others_go_on() {
        block_on(async {
            let mut set = JoinSet::new();
            set.spawn(async { panic!("one of them") });
            set.spawn(std::future::pending()).abort();
            set.spawn(yields(9));
            let (mut panics, mut aborts, mut outputs) = (0, 0, 0);
            while let Some(result) = set.join_next().await {
                match result {
                    Ok(_) => outputs += 1,
                    Err(error) if error.is_panic() => panics += 1,
                    Err(_) => aborts += 1,
                }
            }
            assert_eq!((panics, aborts, outputs), (1, 1, 1));
        });
    }

    #[test]
    fn a_dropped_set_aborts_its_tasks_and_a_detached_one_does_not() {
        block_on(async {
            let ran = Rc::new(Cell::new(0));
            let task = |ran: Rc<Cell<i32>>| async move {
                yield_now().await;
                ran.set(ran.get() + 1);
            };
            let mut set = JoinSet::new();
            set.spawn(task(ran.clone()));
            yield_now().await;
            drop(set);
            let mut set = JoinSet::new();
            set.spawn(task(ran.clone()));
            set.detach_all();
            drop(set);
            yields(5).await;
            assert_eq!(ran.get(), 1);
        });
    }

    #[test]
    fn a_task_that_ended_is_looked_at_once_however_many_others_run() {
        block_on(async {
            let mut set = JoinSet::new();
            for _ in 0..1000 {
                set.spawn(std::future::pending());
            }
            // Their first looks.
            assert!(set.try_join_next().is_none());
            set.spawn(yields(2));
            assert_eq!(set.join_next().await.unwrap().unwrap(), 2);
            assert!(set.ended.notes().keys.is_empty());
            assert_eq!(set.len(), 1000);
            set.shutdown().await;
            assert!(set.is_empty());
        });
    }

    #[test]
    fn a_task_of_another_thread_can_be_in_the_set() {
        let there = std::thread::spawn(|| {
            let runtime = Runtime::new().unwrap();
            let task = runtime.spawn(async { yields(2).await });
            (
                runtime.handle(),
                runtime.block_on(async { task.await.unwrap() }),
            )
        });
        let (handle, two) = there.join().unwrap();
        block_on(async {
            let mut set = JoinSet::new();
            // Its runtime is gone: the set is told.
            set.insert(handle.spawn(async { 1 }));
            set.spawn(async move { two });
            let mut results = Vec::new();
            while let Some(result) = set.join_next().await {
                results.push(result.ok());
            }
            results.sort();
            assert_eq!(results, [None, Some(2)]);
        });
    }

    #[test]
    #[should_panic(expected = "through join_all")]
    fn join_all_panics_with_its_tasks() {
        block_on(async {
            let mut set = JoinSet::new();
            set.spawn(async { panic!("through join_all") });
            set.spawn(std::future::pending::<()>());
            set.join_all().await
        });
    }
}
