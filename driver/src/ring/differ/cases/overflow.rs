//! Completions that nobody reaps.

use std::time::Duration;

use io_uring::opcode;

use super::{Tried, on_both};
use crate::ring::{Sqe, Wait};

/// More than a completion queue holds by default.
const MANY: u64 = 10_000;

fn fill(tried: &mut Tried) {
    let mut staged = 0;
    while staged < MANY {
        let nop = opcode::Nop::new().build().user_data(staged);
        // SAFETY: it points at nothing.
        let nop = unsafe { Sqe::new(nop) };
        if tried.ring.stage(&[nop]) {
            staged += 1;
        } else {
            // What the queue has no room for is kept; that may be told by an error, which means to reap first.
            let _ = tried.ring.enter(Wait::No);
        }
    }
}

#[test]
fn no_completion_is_lost_however_many_nobody_reaps() {
    on_both(|tried| {
        fill(tried);
        let _ = tried.ring.enter(Wait::No);
        assert!(tried.ring.has_completions());
        while (tried.told.len() as u64) < MANY {
            let before = tried.told.len();
            tried.look(Duration::ZERO);
            assert!(tried.told.len() > before, "{before} are told of");
        }
        assert!(!tried.ring.has_completions());
        assert!(tried.told.iter().map(|told| told.0).eq(0..MANY));
    });
}
