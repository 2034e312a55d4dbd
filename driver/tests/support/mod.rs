//! What the tests of a driver without a runtime share.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use annulet_driver::{Driver, Fd, Setup, Wait};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(10);

pub(crate) fn block_on<F: Future>(driver: &Driver, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        let metrics = driver.metrics();
        assert!(
            metrics.in_flight > 0,
            "it waits and nothing is in flight: it would wait for ever"
        );
        driver.turn(Wait::AtMost(Some(LONG))).unwrap();
    }
    panic!("it does not end");
}

pub(crate) fn run<F: Future>(f: impl FnOnce(Driver) -> F) -> F::Output {
    // What is to be in flight is not to be had at once.
    let setup = Setup {
        attempts: false,
        ..Setup::default()
    };
    let driver = Driver::new(&setup).unwrap();
    let entered = driver.enter();
    let output = block_on(&driver, f(driver.clone()));
    drop(entered);
    assert!(driver.shutdown(LONG));
    assert_eq!(driver.metrics().in_flight, 0);
    output
}

pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[allow(dead_code, reason = "not every test program needs one")]
pub(crate) fn socket_pair() -> (Fd, Fd) {
    let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
    (Fd::new(a.into()), Fd::new(b.into()))
}
