//! The harness of the spec suite. The suite itself is in `tests/spec/`, a module a section of the specification.
//! What every operation must stand is in `tests/ops/`: a new operation is listed there.
//!
//! # Writing a scenario
//!
//! A scenario is a function named as its number and its claim. It takes the [`Ring`] it runs on. The module's head
//! lists its scenarios in [`spec!`], which makes a test of each of them on every ring there is:
//!
//! ```
//! use annulet_tests::{Ring, poll_now, socket_pair, spec, submitted};
//! use runtime::{Op, is_cancelled, op};
//!
//! spec! {
//!     async b1_closing_ends_a_blocked_receive;      // its body runs inside a runtime on the ring
//!     c0_a_runtime_can_be_built on kernel, plain;   // not on all rings; builds its runtimes itself
//!     alone c0_nothing_is_left_open;                // in a process of its own: it counts descriptors
//! }
//!
//! async fn b1_closing_ends_a_blocked_receive(_: Ring) {
//!     let (ours, _theirs) = socket_pair();
//!     let mut recv = Op::on(&ours, op::Recv::new(vec![0; 8]));
//!     assert!(poll_now(&mut recv).await.is_pending()); // staged
//!     submitted().await;                               // the kernel has it
//!     let close = ours.close();
//!     assert!(is_cancelled(&recv.await.0.unwrap_err()));
//!     close.await.unwrap();
//! }
//!
//! fn c0_a_runtime_can_be_built(ring: Ring) {
//!     assert_eq!(ring.runtime().block_on(async { 7 }), 7);
//! }
//!
//! fn c0_nothing_is_left_open(ring: Ring) {
//!     let before = annulet_tests::fds();
//!     drop(ring.runtime());
//!     assert_eq!(annulet_tests::fds(), before);
//! }
//! # fn main() {}
//! ```
//!
//! The test is then called `b_read_write_close::b1_closing_ends_a_blocked_receive::kernel`: a failure names its ring.
//!
//! # Rules
//!
//! - Order by events: [`poll_now`], [`submitted`], [`until`], never by sleeping. A test that hangs is ended by the
//!   [`watchdog`], which says its name.
//! - After an `async` scenario its runtime is dropped, and every operation must have ended and left its slot.
//! - What counts the process's descriptors, threads or memory is `alone`: other tests run beside it otherwise.
//! - Other tests fork, to start theirs alone: a copy of each descriptor lives until the child's exec. So wait for a
//!   peer's end of stream, or be `alone`.
//! - What cannot run on this machine says so: [`skip`].
//! - Seen failing once, by breaking on purpose what it protects.
//!
//! # Where things are
//!
//! | file | what |
//! | --- | --- |
//! | `rings.rs` | the rings there are; **add one here, and to the list in [`spec!`]** |
//! | `tcp.rs` | what only the kernel knows of a connection |
//! | `run.rs` | how a scenario is run: watchdog, own process, skips |
//! | `order.rs` | ordering by events |
//! | `process.rs` | what this process holds: descriptors, threads, memory |
//! | `refuse.rs`, `bin/refused.rs` | io_uring forbidden, for a thread or a whole program |
//! | `sockets.rs` | what scenarios do their I/O on |
//! | `canary.rs` | buffers that tell of a write after they were freed |
//! | `dropping.rs` | a buffer that does something when it is dropped |
//! | `counting.rs` | an allocator that counts |
//! | `fork.rs` | a forked child; a thread that handles signals |

mod canary;
mod counting;
mod dropping;
mod fork;
mod order;
mod process;
mod refuse;
pub mod rings;
mod run;
mod sockets;
mod tcp;

pub use canary::{Arena, Canary};
pub use counting::{Counting, allocations};
pub use dropping::Dropping;
pub use fork::{beside_fork, block_usr1, in_fork, raise_usr1, send_usr1, usr1_fd, wait_for_usr1};
pub use order::{
    closed_elsewhere, driver, metrics, poll_now, poll_once, submitted, until, within_a_turn,
};
pub use process::{fds, forget_on_purpose, raise_descriptor_limit, resident_bytes, threads};
pub use refuse::refuse_rings;
pub use rings::Ring;
pub use run::{alone, apart, give_time, here, skip, test_name, watchdog};
pub use sockets::{pipe, socket_pair, tcp_listener};
pub use tcp::unacknowledged;

/// Lists a module's scenarios and makes tests of them, one a ring.
///
/// `[alone] [async] name [on ring, ...];` for each. See the [crate's head](crate).
#[macro_export]
macro_rules! spec {
    () => {};
    (alone async $name:ident; $($rest:tt)*) => {
        $crate::spec!(alone async $name on kernel, plain, tiny, poll; $($rest)*);
    };
    (alone $name:ident; $($rest:tt)*) => {
        $crate::spec!(alone $name on kernel, plain, tiny, poll; $($rest)*);
    };
    (async $name:ident; $($rest:tt)*) => {
        $crate::spec!(async $name on kernel, plain, tiny, poll; $($rest)*);
    };
    ($name:ident; $($rest:tt)*) => {
        $crate::spec!($name on kernel, plain, tiny, poll; $($rest)*);
    };
    (alone async $name:ident on $($ring:ident),+; $($rest:tt)*) => {
        $crate::tests!($name, alone, |ring| ring.block_on(super::$name), $($ring)+);
        $crate::spec!($($rest)*);
    };
    (alone $name:ident on $($ring:ident),+; $($rest:tt)*) => {
        $crate::tests!($name, alone, super::$name, $($ring)+);
        $crate::spec!($($rest)*);
    };
    (async $name:ident on $($ring:ident),+; $($rest:tt)*) => {
        $crate::tests!($name, here, |ring| ring.block_on(super::$name), $($ring)+);
        $crate::spec!($($rest)*);
    };
    ($name:ident on $($ring:ident),+; $($rest:tt)*) => {
        $crate::tests!($name, here, super::$name, $($ring)+);
        $crate::spec!($($rest)*);
    };
}

/// The tests of one scenario; for [`spec!`].
#[doc(hidden)]
#[macro_export]
macro_rules! tests {
    ($name:ident, $how:ident, $body:expr, $($ring:ident)+) => {
        mod $name {
            $(
                #[test]
                fn $ring() {
                    let name = concat!(module_path!(), "::", stringify!($ring));
                    $crate::$how(name, $crate::rings::$ring(), $body);
                }
            )+
        }
    };
}
