//! Section C: ownership and shutdown.

use std::rc::Rc;

use annulet_tests::{Ring, fds, metrics, socket_pair, spec, until};
use runtime::{Op, op};

spec! {
    alone c4_a_dropped_runtime_drops_every_future_and_closes_every_descriptor;
}

fn c4_a_dropped_runtime_drops_every_future_and_closes_every_descriptor(ring: Ring) {
    let before = fds();
    let alive = Rc::new(());
    let runtime = ring.runtime();
    for _ in 0..10 {
        let held = alive.clone();
        let (ours, theirs) = runtime.block_on(async { socket_pair() });
        drop(runtime.spawn(async move {
            let _held = (held, theirs);
            Op::on(&ours, op::Recv::new(vec![0; 64])).await.0.unwrap();
        }));
    }
    runtime.block_on(until(|| metrics().in_flight >= 10));
    drop(runtime);
    assert_eq!(Rc::strong_count(&alive), 1, "futures outlived the runtime");
    assert_eq!(fds(), before);
}
