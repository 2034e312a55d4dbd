//! The task cell: header, future and then output in one allocation. All `unsafe` of this package lives here and below.
//!
//! # Who may touch what
//!
//! | part | touched by | until |
//! | --- | --- | --- |
//! | `state` | any thread holding a reference | the cell is freed |
//! | `refs`, `slot`, `phase`, `joiner` | the owner thread; before it first saw the task, the spawning one | completion |
//! | `queued`, `next` | the same | the dead task surfaces from the run queue |
//! | `link` | who set [`REMOTE`](super::state::REMOTE), until the push; the stack's taker, until it clears the bit | |
//! | `join_waker` | see [`JOIN_WAKER`](super::state::JOIN_WAKER) | the cell is freed |
//! | `stage` | the owner thread; after [`COMPLETE`](super::state::COMPLETE) the join handle | taken or dropped |
//!
//! The *owner thread* is the one on which the task's executor lives; an executor cannot leave its thread. "This is the
//! owner thread" is read off a thread-local ([`current`]) that names the executor being run, by the address of its
//! [`Shared`]; every cell keeps its `Shared` alive, so that address is never another executor's while the cell exists.
//! Where the thread-local says no (another thread, or the right one outside a run), the atomic path is taken, which is
//! right everywhere.
//!
//! # Who holds what
//!
//! The executor holds a task from its birth until [`finish`]. As long as it does, the run queue, the inbox and the
//! poll in progress need no reference of their own. `finish` counts one for the run queue if the task is in it, and
//! one for the inbox if it is there; each is dropped as the dead task surfaces.
#![allow(
    unsafe_code,
    reason = "one allocation a task, wakers without Arc, futures that never leave their thread"
)]

mod block;
mod cell;
mod current;
mod join;
mod list;
mod queue;
mod spawn;
mod stack;
mod waker;

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{Context, Waker};

use annulet_driver::guarded;

pub(super) use self::block::Blocks;
use self::cell::VTable;
pub(super) use self::current::{Shared, SharedCells, enter, with_current};
pub(super) use self::join::{AbortRef, JoinRef};
pub(super) use self::list::TaskList;
pub(super) use self::queue::RunQueue;
pub(super) use self::spawn::{spawn_local, spawn_remote, spawn_remote_with};
pub(super) use self::stack::{Batch, TaskStack};
use self::waker::{enqueue, wake_and_drop_ref, waker};
use super::local::Local;
use super::state::{CANCEL, State};
use super::sync::{Cell, UnsafeCell};

/// The slot of a task that is in no executor's list: not adopted yet, or refused.
const NO_SLOT: u32 = u32::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The future waits in its cell.
    Idle,
    /// The future is being polled or dropped, further up this thread's stack.
    Running,
    /// The future is gone; references count in the state word only.
    Done,
}

struct Header {
    state: State,
    vtable: &'static VTable,
    owner: NonNull<Shared>,
    link: UnsafeCell<Option<NonNull<Header>>>,
    join_waker: UnsafeCell<Option<Waker>>,
    /// The task behind this one in the run queue.
    next: Cell<Option<NonNull<Header>>>,
    /// The task that awaits this one, if it does so on the owner thread: a reference to it.
    joiner: Cell<Option<NonNull<Header>>>,
    /// Wakers the owner thread made, less those it dropped: its half of the count, see `state.rs`.
    refs: Cell<isize>,
    /// Where the executor's list has this task.
    slot: Cell<u32>,
    phase: Cell<Phase>,
    /// The task is in the local run queue.
    queued: Cell<bool>,
    /// How the cell keeps its `Shared` alive; constant.
    hold: Hold,
}

#[derive(Clone, Copy)]
enum Hold {
    /// It is one of the cells which the executor counts together: no atomic per spawn.
    Together,
    /// By an `Arc` of its own: spawned from another thread, or after the executor closed.
    Alone,
}

/// An entry of the run queue. Its task's `queued` is set; not `Send`, so it stays on the owner thread.
pub(super) struct Runnable(NonNull<Header>);

/// A task with its [`REMOTE`](super::state::REMOTE) bit set, on the way into the inbox or out of it.
pub(super) struct Incoming(NonNull<Header>);

impl Runnable {
    /// Polls the task once, or buries it if it is done, or drops its future if it was aborted.
    #[inline]
    pub(super) fn run(self, local: &Local) {
        let task = self.0;
        self.run_as(local, |cx| {
            // SAFETY: owner thread (a `Runnable` cannot leave it), not complete, phase set by `run_as`.
            unsafe { (task.as_ref().vtable.poll)(task, cx) }
        });
    }

    /// As [`Self::run`], but calls `poll` where the task's own future would be polled; `true` ends the task.
    ///
    /// `poll` must not unwind, or the task stays `Running` for ever, which is only of use as a tombstone.
    #[inline]
    pub(super) fn run_as(self, local: &Local, poll: impl FnOnce(&mut Context<'_>) -> bool) {
        let task = self.0;
        // SAFETY: the executor's hold, or after completion the run queue's, keeps the cell.
        let header = unsafe { task.as_ref() };
        header.queued.set(false);
        match header.phase.get() {
            Phase::Done => return release(task),
            Phase::Running => unreachable!("a task was run from inside itself"),
            Phase::Idle => {}
        }
        if header.state.load().has(CANCEL) {
            return cancel(task, local);
        }
        header.phase.set(Phase::Running);
        // SAFETY: the executor holds the task for the time of the poll, so the borrowed waker needs no reference.
        let waker = ManuallyDrop::new(unsafe { waker(task) });
        if poll(&mut Context::from_waker(&waker)) {
            end(task, local);
        } else {
            header.phase.set(Phase::Idle);
        }
    }

    pub(super) fn is(&self, join: &JoinRef<()>) -> bool {
        Some(self.0) == join.task()
    }
}

impl TaskList {
    /// Drops the futures of all tasks, and completes them, last in the list first. None of them may be running.
    pub(super) fn cancel_all(&self, local: &Local) {
        while let Some(task) = self.last() {
            cancel(task, local);
        }
    }
}

impl<T> JoinRef<T> {
    /// Ends the task at once, from the executor's own code; nothing if it is complete.
    pub(super) fn cancel_now(&self, local: &Local) {
        let Some(task) = self.task() else { return };
        // SAFETY: the handle's reference keeps the cell.
        let header = unsafe { task.as_ref() };
        assert!(
            header.owner == NonNull::from(&**local.shared()),
            "not this executor's task"
        );
        if header.phase.get() != Phase::Done {
            cancel(task, local);
        }
    }
}

impl Incoming {
    /// Out of the inbox: into the list if it is new, into the run queue if it is not there yet.
    pub(super) fn accept(self, local: &Local) {
        let task = self.0;
        // SAFETY: the executor's hold, or after completion the inbox's, keeps the cell.
        let header = unsafe { task.as_ref() };
        assert!(
            header.owner == NonNull::from(&**local.shared()),
            "an inbox emptied by a stranger"
        );
        header.state.clear_remote();
        if header.phase.get() == Phase::Done {
            return release(task);
        }
        if header.slot.get() == NO_SLOT {
            adopt(task, local);
        }
        enqueue(header, task, local);
    }
}

/// A task that is in no list, and lives, becomes the executor's.
#[inline]
fn adopt(task: NonNull<Header>, local: &Local) {
    local.count_spawned();
    local.tasks().push(task);
}

/// Drops the future of a task that is not complete and not running, on the owner thread.
#[cold]
fn cancel(task: NonNull<Header>, local: &Local) {
    // SAFETY: the executor holds every task that is not complete.
    let header = unsafe { task.as_ref() };
    assert!(
        header.phase.get() == Phase::Idle,
        "a running task cannot be cancelled"
    );
    header.phase.set(Phase::Running);
    // SAFETY: owner thread, not complete, phase set.
    unsafe { (header.vtable.cancel)(task) };
    end(task, local);
}

/// The future of a task in the list is gone and the output in place. Not inlined into what polls tasks that go on.
#[inline(never)]
fn end(task: NonNull<Header>, local: &Local) {
    // SAFETY: the executor's hold keeps the cell until `finish`.
    let slot = unsafe { task.as_ref() }.slot.get();
    local.tasks().remove(slot);
    finish(task);
}

/// The future is gone and the output in place, and no list has the task: publishes, and tells the joiner.
#[inline]
fn finish(task: NonNull<Header>) {
    // SAFETY: the executor's hold keeps the cell until it is published below.
    let header = unsafe { task.as_ref() };
    // From here on the owner thread, too, counts in the state word.
    header.phase.set(Phase::Done);
    // Taken before others may free the cell.
    let joiner = header.joiner.take();
    let refs = header.refs.get() + isize::from(header.queued.get());
    if refs != 0 || !header.state.complete_for_handle() {
        publish(task, refs);
    }
    if let Some(joiner) = joiner {
        wake_and_drop_ref(joiner);
    }
}

/// Publishes the output of a task to which more than its handle refers, or less. Apart, as it is rare.
#[inline(never)]
fn publish(task: NonNull<Header>, refs: isize) {
    // SAFETY: the executor's hold keeps the cell until `complete` below.
    let header = unsafe { task.as_ref() };
    let completed = header.state.complete(refs, || {
        // SAFETY: not published yet and no handle left, so the output is the owner's.
        unsafe { (header.vtable.drop_output)(task) };
    });
    if completed.wake_joiner {
        header.join_waker.with(|waker| {
            // SAFETY: one reference was kept for this, so the cell lives; JOIN_WAKER lets both sides read.
            if let Some(waker) = unsafe { &*waker } {
                guarded(|| waker.wake_by_ref());
            }
        });
        release(task);
    } else if completed.free {
        free(task);
    }
}

/// Drops a reference that the state word counts.
#[inline]
fn release(task: NonNull<Header>) {
    // SAFETY: the reference being dropped keeps the cell until then.
    if unsafe { task.as_ref() }.state.drop_ref() {
        free(task);
    }
}

/// Nobody refers to the cell any more, and its output is gone.
fn free(task: NonNull<Header>) {
    // SAFETY: complete and unreferenced, so this thread alone knows the cell; the count's acquire saw all others out.
    let header = unsafe { task.as_ref() };
    let (owner, hold, shape) = (header.owner, header.hold, &header.vtable.shape);
    // SAFETY: as above.
    let waker = header
        .join_waker
        .with_mut(|waker| unsafe { (*waker).take() });
    // A foreign waker's destructor may do anything, so it runs while the cell is whole.
    drop_quietly(waker);
    debug_assert!(
        header.joiner.get().is_none(),
        "a completed task has woken who awaits it, and is awaited no more"
    );
    current::with_owner(owner, |local| match (local, hold) {
        (Some(local), Hold::Together) => {
            // SAFETY: from `block::allocate` with this shape. What is left in it needs no destructor.
            unsafe { block::free(Some(local.blocks()), task.cast(), shape) };
            local.cells().remove_one();
        }
        _ => {
            // SAFETY: as above.
            unsafe { block::free(None, task.cast(), shape) };
            current::release(owner, hold);
        }
    });
}

#[inline]
fn drop_quietly(waker: Option<Waker>) {
    #[cold]
    fn drop_it(waker: Waker) {
        guarded(|| drop(waker));
    }
    if let Some(waker) = waker {
        drop_it(waker);
    }
}
