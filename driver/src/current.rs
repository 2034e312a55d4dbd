//! The driver of this thread.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use crate::driver::Driver;

thread_local! {
    // Without a destructor, for which each access would have to look first. [`Entered`] empties it; one that is
    // forgotten leaks its driver.
    static CURRENT: RefCell<ManuallyDrop<Option<Driver>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// This thread's driver, if one was entered.
#[inline]
pub(crate) fn try_driver() -> Option<Driver> {
    CURRENT.with(|current| Option::clone(&current.borrow()))
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
        None => outside(operation),
    }
}

#[cold]
#[track_caller]
fn outside(operation: &str) -> ! {
    panic!(
        "{operation} was polled outside an Annulet runtime: await it inside \
         `Runtime::block_on`, `#[runtime::main]` or a spawned task"
    )
}

/// Makes `driver` this thread's until the guard is dropped.
pub(crate) fn enter(driver: &Driver) -> Entered {
    let previous = replace(Some(driver.clone()));
    Entered {
        previous,
        _local: std::marker::PhantomData,
    }
}

fn replace(driver: Option<Driver>) -> Option<Driver> {
    let driver = ManuallyDrop::new(driver);
    ManuallyDrop::into_inner(CURRENT.with(|current| current.replace(driver)))
}

/// Restores the thread's former driver when dropped; made by [`Driver::enter`].
#[derive(Debug)]
pub struct Entered {
    previous: Option<Driver>,
    _local: std::marker::PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // What it replaces is dropped outside the borrow: it may be the driver's last handle.
        drop(replace(self.previous.take()));
    }
}
