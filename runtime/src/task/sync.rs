//! The one door to atomics and cells for this folder: std's, or loom's models of them under `--cfg loom`.
//!
//! Only what the protocols in `task/` are made of passes through here. `Arc` stays std's: it is not ours to verify.

pub(super) use std::sync::atomic::Ordering;

#[cfg(not(loom))]
pub(super) use self::real::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicUsize, Cell, UnsafeCell, fence,
};
#[cfg(loom)]
pub(super) use loom::{
    cell::{Cell, UnsafeCell},
    sync::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicUsize, fence},
};

#[cfg(not(loom))]
mod real {
    pub(in crate::task) use std::cell::Cell;
    pub(in crate::task) use std::sync::atomic::{
        AtomicBool, AtomicIsize, AtomicPtr, AtomicUsize, fence,
    };

    /// std's `UnsafeCell` behind loom's closure interface, so that every access says whether it reads or writes.
    pub(in crate::task) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(in crate::task) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(in crate::task) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline(always)]
        pub(in crate::task) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}
