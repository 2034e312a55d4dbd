//! Serial groups: of a group's operations one at a time runs, whatever they are on and whenever they were submitted.
//!
//! A group is a lane without a descriptor ([`crate::fd`]); its operations queue for it before they queue for anything
//! else ([`crate::op`], `seats.rs`).

use std::fmt;

use crate::fd::{Fd, FdRef};

/// A group of operations that never overlap.
///
/// An operation joins by [`Op::in_group`](crate::op::Op::in_group). The group's operations run one after another in
/// the order in which they were first polled, over any number of submissions; other groups' run beside them. The next
/// one starts when the one before has ended and its result was taken. One whose future is dropped frees the group
/// when the kernel has ended it, not sooner; so what it did and what follows do not overlap either.
///
/// An operation that waits for its turn can be cancelled, has its deadline, and ends if its descriptor is closed. A
/// [chain](crate::chain()) with members in a group holds the group from its start to the end of the last of them.
///
/// Cloning gives another handle to the same group. It may be used from several threads.
///
/// # Examples
///
/// Writes to two files that must not be under way together:
///
/// ```
/// use annulet_driver::{Driver, Fd, Op, SerialGroup, Setup, Wait, op};
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Waker};
///
/// # let path = std::env::temp_dir().join(format!("annulet-group-{}", std::process::id()));
/// # let make = || std::fs::File::create(&path).map(|file| Fd::new(file.into()));
/// let (journal, data) = (make()?, make()?);
/// let driver = Driver::new(&Setup::default())?;
/// let _entered = driver.enter();
///
/// let group = SerialGroup::new();
/// let mut first = pin!(Op::on(&journal, op::Write::at(b"intent", 0)).in_group(&group));
/// let mut second = pin!(Op::on(&data, op::Write::at(b"change", 0)).in_group(&group));
/// let mut cx = Context::from_waker(Waker::noop());
/// while first.as_mut().poll(&mut cx).is_pending() {
///     assert!(second.as_mut().poll(&mut cx).is_pending());
///     driver.turn(Wait::AtMost(None))?;
/// }
/// while second.as_mut().poll(&mut cx).is_pending() {
///     driver.turn(Wait::AtMost(None))?;
/// }
/// # std::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct SerialGroup {
    lane: FdRef,
}

impl SerialGroup {
    /// A group that no operation is in.
    pub fn new() -> SerialGroup {
        SerialGroup {
            lane: Fd::lane_only(),
        }
    }

    pub(crate) fn lane(&self) -> &FdRef {
        &self.lane
    }
}

impl Default for SerialGroup {
    fn default() -> SerialGroup {
        SerialGroup::new()
    }
}

impl fmt::Debug for SerialGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialGroup").finish_non_exhaustive()
    }
}
