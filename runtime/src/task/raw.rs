//! The task cell: header, future and then output in one allocation. All `unsafe` of this package lives here and below.
//!
//! # Who may touch what
//!
//! | part | touched by | until |
//! | --- | --- | --- |
//! | `state` | any thread holding a reference | the cell is freed |
//! | `refs`, `slot`, `phase`, `queued` | the owner thread; before it first saw the task, the spawning one | completion |
//! | `link` | who set [`REMOTE`], until the push; the stack's taker, until it clears the bit | |
//! | `join_waker` | see [`JOIN_WAKER`](super::state::JOIN_WAKER) | the cell is freed |
//! | `stage` | the owner thread; after [`COMPLETE`] the join handle | taken or dropped |
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
    reason = "one allocation a task, wakers without Arc, and futures that never leave their thread"
)]

mod block;
mod current;
mod join;
mod stack;

use std::alloc::Layout;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

pub(super) use self::block::Blocks;
pub(super) use self::current::{Shared, SharedCells, enter, with_current};
pub(super) use self::join::{AbortRef, JoinRef};
pub(super) use self::stack::{Batch, TaskStack};
use super::join::JoinError;
use super::local::Local;
use super::state::{CANCEL, COMPLETE, REMOTE, State};
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

#[repr(C)]
struct TaskCell<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Future(F),
    Output(Result<F::Output, JoinError>),
}

/// What a header's holder can ask of a cell whose future's type it does not know.
struct VTable {
    /// Polls; `true`: the future is gone and the output in place.
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Drops the future and puts "cancelled" in its place.
    cancel: unsafe fn(NonNull<Header>),
    /// Moves the output to `*mut Result<T, JoinError>`, which need not be initialised.
    take_output: unsafe fn(NonNull<Header>, *mut ()),
    drop_output: unsafe fn(NonNull<Header>),
    layout: Layout,
}

impl<F: Future> TaskCell<F> {
    const VTABLE: VTable = VTable {
        poll: Self::poll,
        cancel: Self::cancel,
        take_output: Self::take_output,
        drop_output: Self::drop_output,
        layout: Layout::new::<Self>(),
    };

    fn allocate(
        blocks: Option<&Blocks>,
        future: F,
        bits: usize,
        owner: NonNull<Shared>,
        hold: Hold,
    ) -> NonNull<Header> {
        let cell = block::allocate(blocks, Layout::new::<Self>()).cast::<Self>();
        // SAFETY: memory of this layout, and nobody else's. Its pointer, not a header's, is what goes round, so that
        // the provenance spans the whole cell.
        unsafe {
            cell.write(Self {
                header: Header {
                    state: State::new(bits),
                    vtable: &Self::VTABLE,
                    owner,
                    link: UnsafeCell::new(None),
                    join_waker: UnsafeCell::new(None),
                    refs: Cell::new(0),
                    slot: Cell::new(NO_SLOT),
                    phase: Cell::new(Phase::Idle),
                    queued: Cell::new(false),
                    hold,
                },
                stage: UnsafeCell::new(Stage::Future(future)),
            });
        }
        cell.cast()
    }

    /// # Safety
    /// `task` points to a live cell of this very type.
    unsafe fn stage<'a>(task: NonNull<Header>) -> &'a UnsafeCell<Stage<F>> {
        // SAFETY: the caller vouches for cell and type; only the stage is borrowed, and it is an UnsafeCell.
        unsafe { &(*task.cast::<Self>().as_ptr()).stage }
    }

    /// # Safety
    /// A live cell of this type, on the owner thread, not complete, phase `Running`.
    unsafe fn poll(task: NonNull<Header>, cx: &mut Context<'_>) -> bool {
        // SAFETY: as promised by the caller.
        let stage = unsafe { Self::stage(task) };
        let polled = stage.with_mut(|stage| {
            catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: until completion only the owner thread touches the stage, and `Phase::Running` keeps it
                // from doing so twice at once. The future never moves: it is dropped in place by `settle`.
                let Stage::Future(future) = (unsafe { &mut *stage }) else {
                    unreachable!("a task was polled after it completed")
                };
                // SAFETY: as said above.
                unsafe { Pin::new_unchecked(future) }.poll(cx)
            }))
        });
        let output = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(JoinError::panicked(payload)),
        };
        // SAFETY: as above; the poll is over.
        drop(unsafe { Self::settle(task, output) });
        true
    }

    /// # Safety
    /// As [`Self::poll`].
    unsafe fn cancel(task: NonNull<Header>) {
        // SAFETY: as promised by the caller.
        if let Err(panicked) = unsafe { Self::settle(task, Err(JoinError::cancelled())) } {
            // SAFETY: the stage holds an output now, and the owner still is the only one to know.
            unsafe { Self::stage(task) }
                .with_mut(|stage| unsafe { *stage = Stage::Output(Err(panicked)) });
        }
    }

    /// Drops the future in place and puts `output` there; `Err` if the future's destructor panicked.
    ///
    /// # Safety
    /// As [`Self::poll`].
    unsafe fn settle(
        task: NonNull<Header>,
        output: Result<F::Output, JoinError>,
    ) -> Result<(), JoinError> {
        // SAFETY: as promised by the caller.
        unsafe { Self::stage(task) }.with_mut(|stage| {
            // SAFETY: exclusive as in `poll`. Whatever the destructor does, the place is overwritten, not dropped
            // again, right after; and nothing between the two can unwind.
            let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ptr::drop_in_place(stage) }));
            // SAFETY: as above.
            unsafe { stage.write(Stage::Output(output)) };
            dropped.map_err(JoinError::panicked)
        })
    }

    /// # Safety
    /// A live cell of this type, complete, called once, by its join handle, which leaves the stage alone then; `to` fits
    /// a `Result<F::Output, JoinError>`.
    unsafe fn take_output(task: NonNull<Header>, to: *mut ()) {
        // SAFETY: after completion the stage is the join handle's.
        let stage = unsafe { Self::stage(task) }.with_mut(|stage| unsafe { ptr::read(stage) });
        let Stage::Output(output) = stage else {
            unreachable!("complete without an output")
        };
        // SAFETY: promised by the caller.
        unsafe { to.cast::<Result<F::Output, JoinError>>().write(output) };
    }

    /// # Safety
    /// A live cell of this type, its future gone; called once, by whoever the output belongs to.
    unsafe fn drop_output(task: NonNull<Header>) {
        // SAFETY: as promised by the caller; nobody looks at the stage again.
        unsafe { Self::stage(task) }
            .with_mut(|stage| guarded(|| unsafe { ptr::drop_in_place(stage) }));
    }
}

/// Runs a destructor of the user's that must not take the executor with it. The panic hook has reported it already.
pub(super) fn guarded(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // A payload whose own destructor panics is given up on: leaking it is the one thing that cannot fail.
        let leaked = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        std::mem::forget(leaked);
    }
}

// ---------------------------------------------------------------------------------------------- spawning

/// A task on the executor's own thread. A closed executor drops the future at once; the handle then says "cancelled".
pub(super) fn spawn_local<F: Future + 'static>(local: &Local, future: F) -> JoinRef<F::Output> {
    if local.is_closed() {
        let task = TaskCell::allocate(None, future, 0, current::hold(local.shared()), Hold::Alone);
        refuse(task);
        return JoinRef::new(task);
    }
    local.cells().add_one();
    let owner = NonNull::from(&**local.shared());
    let task = TaskCell::allocate(Some(local.blocks()), future, 0, owner, Hold::Together);
    // SAFETY: just made; the executor's hold keeps it.
    let header = unsafe { task.as_ref() };
    header.slot.set(local.adopt(Owned(task)));
    header.queued.set(true);
    local.push(Runnable(task));
    JoinRef::new(task)
}

/// A task for another thread. If that executor has closed, the future is dropped here and the handle says "cancelled".
pub(super) fn spawn_remote<F>(shared: &Arc<Shared>, future: F) -> JoinRef<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    // SAFETY: the future is `Send`.
    unsafe { spawn_remote_unchecked(shared, future) }
}

/// As [`spawn_remote`], for a future that is only made on the other thread and need not be `Send`.
pub(super) fn spawn_remote_with<M, F>(shared: &Arc<Shared>, make: M) -> JoinRef<F::Output>
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
    finish(task, None);
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

// ---------------------------------------------------------------------------------------------- running

/// An entry of the run queue. Its task's `queued` is set; not `Send`, so it stays on the owner thread.
pub(super) struct Runnable(NonNull<Header>);

/// An entry of the executor's list: the task is not complete.
pub(super) struct Owned(NonNull<Header>);

/// A task with its [`REMOTE`] bit set, on the way into the inbox or out of it.
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
            finish(task, Some(local));
        } else {
            header.phase.set(Phase::Idle);
        }
    }

    pub(super) fn is(&self, join: &JoinRef<()>) -> bool {
        Some(self.0) == join.task()
    }
}

impl Owned {
    /// Drops the future of a task just taken out of the list, and completes it. Not for a running task.
    pub(super) fn cancel(self, local: &Local) {
        // SAFETY: the executor's hold keeps the cell.
        unsafe { self.0.as_ref() }.slot.set(NO_SLOT);
        cancel(self.0, local);
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
            header.slot.set(local.adopt(Owned(task)));
        }
        enqueue(header, task, local);
    }
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
    finish(task, Some(local));
}

/// The future is gone and the output in place: ends the executor's hold, publishes, tells the joiner.
fn finish(task: NonNull<Header>, local: Option<&Local>) {
    // SAFETY: the executor's hold keeps the cell until `complete` below.
    let header = unsafe { task.as_ref() };
    // From here on the owner thread, too, counts in the state word.
    header.phase.set(Phase::Done);
    if let (Some(local), slot) = (local, header.slot.get())
        && slot != NO_SLOT
    {
        local.disown(slot);
    }
    let refs = header.refs.get() + isize::from(header.queued.get());
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
    let (owner, hold, layout) = (header.owner, header.hold, header.vtable.layout);
    // SAFETY: as above.
    let waker = header
        .join_waker
        .with_mut(|waker| unsafe { (*waker).take() });
    if let Some(waker) = waker {
        // A foreign waker's destructor may do anything, so it runs while the cell is whole.
        guarded(|| drop(waker));
    }
    current::with_owner(owner, |local| {
        // SAFETY: from `block::allocate` with the layout in the vtable. What is left in it needs no destructor.
        unsafe { block::free(local.map(Local::blocks), task.cast(), layout) };
        current::release(local, owner, hold);
    });
}

// ---------------------------------------------------------------------------------------------- waking

static WAKER: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: a waker's data is a task it holds a reference to.
        let task = unsafe { task_of(data) };
        clone_ref(task);
        RawWaker::new(data, &WAKER)
    },
    |data| {
        // SAFETY: as above; the reference is this call's to drop.
        let task = unsafe { task_of(data) };
        wake(task);
        drop_ref(task);
    },
    // SAFETY: as above.
    |data| wake(unsafe { task_of(data) }),
    // SAFETY: as above.
    |data| drop_ref(unsafe { task_of(data) }),
);

/// # Safety
/// The waker takes over one reference to `task`.
unsafe fn waker(task: NonNull<Header>) -> Waker {
    // SAFETY: the functions of the vtable uphold RawWaker's contract: any thread, any time a reference exists.
    unsafe { Waker::new(task.as_ptr().cast_const().cast(), &WAKER) }
}

/// # Safety
/// `data` came from [`waker`].
unsafe fn task_of(data: *const ()) -> NonNull<Header> {
    // SAFETY: it came from a NonNull.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

#[inline]
fn wake(task: NonNull<Header>) {
    // SAFETY: the caller has a reference.
    let header = unsafe { task.as_ref() };
    current::with_owner(header.owner, |local| match local {
        Some(local) => {
            if header.phase.get() != Phase::Done {
                enqueue(header, task, local);
            }
        }
        None => wake_remote(task, REMOTE),
    });
}

#[inline]
fn enqueue(header: &Header, task: NonNull<Header>, local: &Local) {
    if !header.queued.replace(true) {
        local.push(Runnable(task));
    }
}

/// The caller has a reference and is not, or cannot tell that it is, on the owner thread.
#[cold]
fn wake_remote(task: NonNull<Header>, bits: usize) {
    // SAFETY: the caller has a reference.
    let header = unsafe { task.as_ref() };
    if header.state.set(bits).has_any(REMOTE | COMPLETE) {
        return;
    }
    // SAFETY: every cell keeps its `Shared` alive.
    let shared = unsafe { header.owner.as_ref() };
    if let Err(Incoming(task)) = shared.inbox.push(Incoming(task)) {
        // Closed. If the owner completed the task in between, it counted a reference for the inbox.
        if header.state.clear_remote().has(COMPLETE) {
            release(task);
        }
    }
}

#[inline]
fn clone_ref(task: NonNull<Header>) {
    // SAFETY: the caller has a reference.
    let header = unsafe { task.as_ref() };
    if current::is_owner(header.owner) && header.phase.get() != Phase::Done {
        header.refs.set(header.refs.get() + 1);
    } else {
        header.state.add_ref();
    }
}

#[inline]
fn drop_ref(task: NonNull<Header>) {
    // SAFETY: the caller's reference, which this drops.
    let header = unsafe { task.as_ref() };
    if current::is_owner(header.owner) && header.phase.get() != Phase::Done {
        header.refs.set(header.refs.get() - 1);
    } else {
        release(task);
    }
}
