//! Every operation, in every situation, on every ring.
//!
//! An operation is *listed*: a function says what it works on, how it is made, and what completes it. From that the
//! harness knows how to complete it, drop it at any time, time it out, cancel it, close its descriptor, drop its
//! runtime, forget it, hand it to another task, have it refused; and what must be true afterwards.
//!
//! # Listing an operation
//!
//! In the module it belongs to (`sockets.rs`, `files.rs`, ...), add a line to `operations!` and a function:
//!
//! ```ignore
//! operations! {
//!     recv: Recv;              // name of the function: name of the type in `runtime::op`
//! }
//!
//! fn recv() -> Case<Pair, Op<op::Recv<Canary>>> {
//!     blocked(
//!         pair,                                            // what it works on, anew for each situation
//!         |(ours, _), arena| Op::on(ours, op::Recv::new(arena.take())),
//!         |(_, theirs)| send(theirs),                      // the event that completes it
//!     )
//!     .on(|(ours, _)| ours)                                // the descriptor that can be closed under it
//!     .gives(|(result, buf)| *result.as_ref().unwrap() == 64 && buf[..] == SENT)
//!     .fails(libc::ENOTSOCK, not_a_socket)                 // a world in which it fails, and as what
//!     .runs_on()                                           // what is particular about it
//! }
//! ```
//!
//! An operation that completes by itself is [`instant`](case::instant), one that never does is
//! [`endless`](case::endless). What an operation points at comes from the [`Arena`](annulet_tests::Arena), whose buffers
//! tell of a write after they were freed and of each that did not come back. One type may have several cases. The
//! particulars (`runs_on`, `once`, `opens`, ...) are methods of [`Case`](case::Case), which say what they mean.
//!
//! A type that is public in `driver/src/op` and has no case fails [`every_operation_is_listed`].
//!
//! # What must be true
//!
//! After every situation: no slot is in use and nothing in flight, once the runtime is gone; every descriptor is closed;
//! every buffer was given back or dropped, once, and none was written to afterwards. Within it: what the event brought is
//! there for the next operation in the same world, whatever became of the first. The situations are in `situations.rs`.

mod awaits;
mod case;
mod files;
mod names;
mod others;
mod pipes;
mod situations;
mod sockets;

use std::collections::BTreeSet;
use std::path::Path;

use annulet_tests::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The public types in a source file that implement `Operation`.
fn operations_in(source: &str) -> Vec<&str> {
    source
        .lines()
        .filter(|line| line.starts_with("unsafe impl"))
        .filter_map(|line| line.split_once(" Operation for "))
        .filter_map(|(_, name)| name.split(|c: char| !c.is_alphanumeric()).next())
        .filter(|name| {
            source.lines().any(|line| {
                let rest = line.strip_prefix("pub struct ");
                let rest = rest.and_then(|rest| rest.strip_prefix(name));
                rest.is_some_and(|rest| rest.starts_with([' ', '<', ';', '(']))
            })
        })
        .collect()
}

fn operations_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            operations_below(&path, found);
        } else {
            let source = std::fs::read_to_string(path).unwrap();
            found.extend(operations_in(&source).into_iter().map(str::to_owned));
        }
    }
}

#[test]
fn every_operation_is_listed() {
    let mut there = BTreeSet::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../driver/src/op");
    operations_below(&dir, &mut there);
    assert!(there.len() > 20, "they are looked for elsewhere: {there:?}");
    let listed: BTreeSet<String> = [
        files::LISTED,
        names::LISTED,
        others::LISTED,
        pipes::LISTED,
        sockets::LISTED,
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    let missing: Vec<_> = there.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "list these in tests/tests/ops: {missing:?}"
    );
    let gone: Vec<_> = listed.difference(&there).collect();
    assert!(gone.is_empty(), "listed, but no operations: {gone:?}");
    let opcodes: BTreeSet<String> = runtime::op::OPCODES
        .iter()
        .map(|opcode| opcode.operation.to_owned())
        .collect();
    let untold: Vec<_> = there.difference(&opcodes).collect();
    assert!(
        untold.is_empty(),
        "list these in driver/src/op/opcodes.rs: {untold:?}"
    );
}
