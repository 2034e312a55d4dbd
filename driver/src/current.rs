//! The driver of this thread.

use std::cell::Cell;
use std::mem::ManuallyDrop;

use crate::driver::Driver;

thread_local! {
    // Without a destructor, for which each access would have to look first. [`Entered`] empties it; one that is
    // forgotten leaks its driver.
    static CURRENT: Cell<ManuallyDrop<Option<Driver>>> =
        const { Cell::new(ManuallyDrop::new(None)) };
}

/// This thread's driver, if one was entered.
#[inline]
pub(crate) fn try_driver() -> Option<Driver> {
    CURRENT.with(|current| {
        // Taken and put back: a clone of a driver runs no code that could miss it meanwhile.
        let driver = current.replace(ManuallyDrop::new(None));
        let clone = Option::clone(&driver);
        current.set(driver);
        clone
    })
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
        // It may be the driver's last handle: dropped when the other is in its place.
        drop(replace(self.previous.take()));
    }
}
