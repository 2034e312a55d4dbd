//! Waits for children.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use io_uring::{opcode, squeue};

use super::{NEVER, SOON, all, on_both, pipe, poll_of};

/// One that ends with its standard input.
fn child() -> Child {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::null());
    cat.spawn().unwrap()
}

fn wait_for(child: &Child) -> squeue::Entry {
    let looks = libc::WEXITED | libc::WNOWAIT;
    opcode::WaitId::new(libc::P_PID, child.id(), looks).build()
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn waits_for_children_end_with_them() {
    on_both(|tried| {
        let mut child = child();
        tried.chain(1, &[wait_for(&child), opcode::Nop::new().build()]);
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        assert!(tried.quiet());
        drop(child.stdin.take());
        tried.until(2);
        assert_eq!(tried.take(), [(1, 0), (2, 0)]);
        end(child);
    });
}

#[test]
fn of_waits_for_children_it_is_told_how_many_were_ended_at_once() {
    on_both(|tried| {
        let child = child();
        let gone = -libc::ECANCELED;
        tried.stage(1, wait_for(&child));
        tried.look(std::time::Duration::ZERO);
        tried.stage(2, opcode::AsyncCancel::new(1).build());
        tried.until(2);
        assert_eq!(tried.take(), [(1, gone), (2, 1)]);
        // All of them are one to a cancel of all.
        let (reader, _writer) = pipe();
        tried.stage(1, wait_for(&child));
        tried.stage(2, wait_for(&child));
        tried.stage(3, poll_of(&reader));
        tried.look(std::time::Duration::ZERO);
        tried.stage(4, all());
        tried.until(4);
        assert_eq!(tried.take(), [(1, gone), (2, gone), (3, gone), (4, 2)]);
        let limit = |time| opcode::LinkTimeout::new(time).build();
        tried.chain(1, &[wait_for(&child), limit(&SOON)]);
        tried.until(2);
        assert_eq!(tried.told[0].0, 2, "{:?}", tried.told);
        assert_eq!(tried.take(), [(1, gone), (2, 1)]);
        tried.chain(1, &[wait_for(&child), limit(&NEVER)]);
        tried.look(std::time::Duration::ZERO);
        end(child);
        tried.until(2);
        assert_eq!(tried.take()[1], (2, gone));
    });
}
