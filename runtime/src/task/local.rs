//! The executor of one thread: its run queue, the list of its tasks, and how it ends.
//!
//! It knows neither time nor I/O; `turn.rs` drives it, a slice of polls at a time. It owns every task from its spawn to
//! its completion, so that [`Local::shutdown`] can drop each future that is left, wherever its wakers are.
//!
//! No borrow of queue or list is ever held while a future, an output or a waker of the user's runs: those may spawn,
//! wake, and be dropped in turn.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::task::Context;

use super::inbox::Unpark;
use super::join::JoinHandle;
use super::raw::{self, Blocks, JoinRef, RunQueue, Runnable, Shared, SharedCells, TaskList};
use super::remote::Remote;

/// The executor of one thread, which it cannot leave.
pub(crate) struct Local {
    shared: Arc<Shared>,
    cells: SharedCells,
    blocks: Blocks,
    queue: RunQueue,
    tasks: TaskList,
    closed: Cell<bool>,
    /// A slice is being run further up the stack.
    running: Cell<bool>,
    /// How often a task of the slice being run went on where it would else have given way; each counts as a poll.
    spared: Cell<u32>,
    /// The slice's budget.
    budget: Cell<u32>,
    polls: Cell<u64>,
    slices: Cell<u64>,
    spawned: Cell<u64>,
}

/// The task that stands for `block_on`'s future in the run queue, so that it is neither starved nor starves.
///
/// Its wakers are a task's wakers; where it would be polled, the closure given to [`Local::run_slice`] is called.
pub(crate) struct MainTask(JoinRef<()>);

/// Polls the main future; `true`: it is finished.
pub(crate) type PollMain<'a> = dyn FnMut(&mut Context<'_>) -> bool + 'a;

/// What one slice did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Tasks taken from the run queue.
    pub(crate) polled: u32,
    /// The main future is finished; the slice ended there.
    pub(crate) main_done: bool,
}

impl Local {
    pub(crate) fn new(unpark: Arc<dyn Unpark>) -> Self {
        let shared = Shared::new(unpark);
        Self {
            cells: SharedCells::new(&shared),
            blocks: Blocks::new(),
            shared,
            queue: RunQueue::new(),
            tasks: TaskList::new(),
            closed: Cell::new(false),
            running: Cell::new(false),
            spared: Cell::new(0),
            budget: Cell::new(0),
            polls: Cell::new(0),
            slices: Cell::new(0),
            spawned: Cell::new(0),
        }
    }

    /// Makes this the thread's current executor for the time of `f`: where `spawn` spawns, and wakes need no atomics.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        raw::enter(self, f)
    }

    #[inline]
    pub(crate) fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        JoinHandle::new(raw::spawn_local(self, future))
    }

    /// Spawns the main task, runnable at once.
    pub(crate) fn spawn_main(&self) -> MainTask {
        MainTask(raw::spawn_local(self, std::future::pending()))
    }

    /// Ends the main task, finished or not.
    pub(crate) fn end_main(&self, main: MainTask) {
        main.0.cancel_now(self);
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.shared))
    }

    /// Runs at most `budget` tasks, first in, first out; those which they wake count, too.
    ///
    /// Where `main` is due, its closure is called, which must not unwind; `true` from it ends the slice.
    ///
    /// # Panics
    /// From inside a task of this executor.
    pub(crate) fn run_slice(
        &self,
        budget: u32,
        mut main: Option<(&MainTask, &mut PollMain<'_>)>,
    ) -> Slice {
        assert!(
            !self.running.replace(true),
            "a task must not run the executor it runs on"
        );
        let mut slice = Slice {
            polled: 0,
            main_done: false,
        };
        self.spared.set(0);
        self.budget.set(budget);
        while slice.polled + self.spared.get() < budget && !slice.main_done {
            let Some(next) = self.pop() else { break };
            slice.polled += 1;
            match &mut main {
                Some((task, poll)) if next.is(&task.0) => next.run_as(self, |cx| {
                    slice.main_done = poll(cx);
                    false
                }),
                _ => next.run(self),
            }
        }
        self.running.set(false);
        self.polls.set(self.polls.get() + u64::from(slice.polled));
        self.slices.set(self.slices.get() + 1);
        slice
    }

    /// Takes in what other threads woke and spawned.
    pub(crate) fn drain_inbox(&self) {
        for task in self.shared.inbox.take() {
            task.accept(self);
        }
    }

    pub(crate) fn has_runnable(&self) -> bool {
        !self.queue.is_empty()
    }

    /// `true` if the thread may sleep; from then on a remote wake unparks it. [`Self::awake`] ends that.
    ///
    /// `false` if there is something in the inbox.
    pub(crate) fn announce_sleep(&self) -> bool {
        self.shared.inbox.announce_sleep()
    }

    pub(crate) fn awake(&self) {
        self.shared.inbox.awake();
    }

    /// Ends the sleep if one was announced: there is something runnable that came by no inbox.
    pub(crate) fn unpark(&self) {
        self.shared.inbox.poke();
    }

    /// Whether the task that is being polled would give way to nobody, and the slice has polls left; takes one of them.
    #[inline]
    pub(super) fn go_on(&self) -> bool {
        let spared = self.spared.get();
        let may = self.queue.is_empty() && spared < self.budget.get();
        if may {
            self.spared.set(spared + 1);
        }
        may
    }

    /// Drops every future, in no order, and refuses all that comes later.
    ///
    /// A panic in a destructor is caught and goes to the task's join handle. A task spawned from a destructor, or from
    /// another thread, during this or after it is dropped unpolled, where it was spawned. Join handles that nobody
    /// answered yet say "cancelled". Idempotent.
    ///
    /// # Panics
    /// From inside a task of this executor.
    pub(crate) fn shutdown(&self) {
        assert!(
            !self.running.get(),
            "a task must not shut down the executor it runs on"
        );
        if self.closed.replace(true) {
            return;
        }
        raw::enter(self, || {
            for task in self.shared.inbox.close() {
                task.accept(self);
            }
            self.tasks.cancel_all(self);
            // Only the dead are left in the queue.
            while let Some(task) = self.pop() {
                task.run(self);
            }
        });
    }

    /// Tasks that are not complete.
    pub(crate) fn live(&self) -> usize {
        self.tasks.len()
    }

    /// Tasks taken from the run queue so far.
    pub(crate) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Slices run so far.
    pub(crate) fn slices(&self) -> u64 {
        self.slices.get()
    }

    /// Tasks this executor has adopted so far.
    pub(crate) fn spawned(&self) -> u64 {
        self.spawned.get()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn cells(&self) -> &SharedCells {
        &self.cells
    }

    pub(super) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    #[inline]
    pub(super) fn push(&self, task: Runnable) {
        self.queue.push(task);
    }

    #[inline]
    fn pop(&self) -> Option<Runnable> {
        self.queue.pop()
    }

    pub(super) fn tasks(&self) -> &TaskList {
        &self.tasks
    }

    /// One more task is this executor's.
    #[inline]
    pub(super) fn count_spawned(&self) {
        self.spawned.set(self.spawned.get() + 1);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shutdown();
    }
}
