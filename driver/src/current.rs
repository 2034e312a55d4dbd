//! The driver of this thread.

use std::cell::RefCell;

use crate::driver::Driver;

thread_local! {
    static CURRENT: RefCell<Option<Driver>> = const { RefCell::new(None) };
}

/// This thread's driver, if one was entered.
#[inline]
pub(crate) fn try_driver() -> Option<Driver> {
    // At thread exit the variable may be gone already: then there is no driver.
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// This thread's driver.
///
/// # Panics
///
/// Outside a runtime, naming the operation and what to write instead.
#[inline]
#[track_caller]
pub(crate) fn driver(operation: &str) -> Driver {
    match try_driver() {
        Some(driver) => driver,
        None => panic!(
            "{operation} was polled outside an Annulet runtime: await it inside \
             `Runtime::block_on`, `#[runtime::main]` or a spawned task"
        ),
    }
}

/// Makes `driver` this thread's until the guard is dropped.
pub(crate) fn enter(driver: &Driver) -> Entered {
    let previous = CURRENT.with(|current| current.replace(Some(driver.clone())));
    Entered {
        previous,
        _local: std::marker::PhantomData,
    }
}

/// Restores the thread's former driver when dropped; made by [`Driver::enter`].
#[derive(Debug)]
pub struct Entered {
    previous: Option<Driver>,
    _local: std::marker::PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let previous = self.previous.take();
        let ours =
            CURRENT.try_with(|current| std::mem::replace(&mut *current.borrow_mut(), previous));
        // Dropped outside the borrow: it may be the driver's last handle.
        drop(ours);
    }
}
