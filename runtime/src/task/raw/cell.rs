//! What is inside a cell: the future, then its output; and the table by which a header's holder reaches them.

use std::alloc::Layout;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use annulet_driver::guarded;

use super::block::{self, Blocks, Shape};
use super::current::Shared;
use super::{Header, Hold, NO_SLOT, Phase};
use crate::task::join::JoinError;
use crate::task::state::State;
use crate::task::sync::{Cell, UnsafeCell};

#[repr(C)]
pub(super) struct TaskCell<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

/// Which of the two is in it follows from [`Phase`]: nothing else says so, and nothing is dropped by itself.
union Stage<F: Future> {
    /// Until the task is [`Phase::Done`].
    future: ManuallyDrop<F>,
    /// From then on, until it was taken or dropped.
    output: ManuallyDrop<Result<F::Output, JoinError>>,
}

/// What a header's holder can ask of a cell whose future's type it does not know.
pub(super) struct VTable {
    /// Polls; `true`: the future is gone and the output in place.
    pub(super) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Drops the future and puts "cancelled" in its place.
    pub(super) cancel: unsafe fn(NonNull<Header>),
    /// Moves the output to `*mut Result<T, JoinError>`, which need not be initialised.
    pub(super) take_output: unsafe fn(NonNull<Header>, *mut ()),
    pub(super) drop_output: unsafe fn(NonNull<Header>),
    pub(super) shape: Shape,
}

impl<F: Future> TaskCell<F> {
    const VTABLE: VTable = VTable {
        poll: Self::poll,
        cancel: Self::cancel,
        take_output: Self::take_output,
        drop_output: Self::drop_output,
        shape: Shape::of(Layout::new::<Self>()),
    };

    pub(super) fn allocate(
        blocks: Option<&Blocks>,
        future: F,
        bits: usize,
        owner: NonNull<Shared>,
        hold: Hold,
    ) -> NonNull<Header> {
        let cell = block::allocate(blocks, &Self::VTABLE.shape).cast::<Self>();
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
                    next: Cell::new(None),
                    joiner: Cell::new(None),
                    refs: Cell::new(0),
                    slot: Cell::new(NO_SLOT),
                    phase: Cell::new(Phase::Idle),
                    queued: Cell::new(false),
                    hold,
                },
                stage: UnsafeCell::new(Stage {
                    future: ManuallyDrop::new(future),
                }),
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
            // SAFETY: until completion the stage holds the future, only the owner thread touches it, and
            // `Phase::Running` keeps it from doing so twice at once. The future never moves: `settle` drops it in place.
            let future = unsafe { Pin::new_unchecked(&mut *(*stage).future) };
            catch_unwind(AssertUnwindSafe(|| future.poll(cx)))
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
                .with_mut(|stage| unsafe { *(*stage).output = Err(panicked) });
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
            let future = unsafe { &mut (*stage).future };
            // SAFETY: as above.
            let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ManuallyDrop::drop(future) }));
            let output = ManuallyDrop::new(output);
            // SAFETY: as above.
            unsafe { stage.write(Stage { output }) };
            dropped.map_err(JoinError::panicked)
        })
    }

    /// # Safety
    /// A live cell of this type, complete, called once, by its join handle, which leaves the stage alone then; `to` fits
    /// a `Result<F::Output, JoinError>`.
    unsafe fn take_output(task: NonNull<Header>, to: *mut ()) {
        // SAFETY: after completion the stage holds the output, which is the join handle's; the rest the caller promises.
        unsafe { Self::stage(task) }.with_mut(|stage| unsafe {
            let output = ManuallyDrop::take(&mut (*stage).output);
            to.cast::<Result<F::Output, JoinError>>().write(output);
        });
    }

    /// # Safety
    /// A live cell of this type, its future gone; called once, by whoever the output belongs to.
    unsafe fn drop_output(task: NonNull<Header>) {
        // SAFETY: as promised by the caller; nobody looks at the stage again.
        unsafe { Self::stage(task) }
            .with_mut(|stage| guarded(|| unsafe { ManuallyDrop::drop(&mut (*stage).output) }));
    }
}
