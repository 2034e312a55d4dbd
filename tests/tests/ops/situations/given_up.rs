//! It is given up: by a deadline, a token, a close; in flight, before that, or behind another.

use std::io::ErrorKind;
use std::time::Duration;

use annulet_tests::{Arena, metrics, poll_now, submitted};
use runtime::{CancelReport, CancelToken, is_cancelled};

use super::landed;
use crate::case::{Case, Completes, Outcome, Subject};

const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_micros(200);

impl<W: 'static, F: Subject> Case<W, F> {
    pub(super) async fn timed_out(&self, arena: &Arena) {
        let world = (self.world)();
        let before = metrics().in_flight;
        if self.is_instant() {
            if let Some(op) = self.op(&world, arena).limited(MINUTE) {
                self.check(&op.await);
            }
        } else if let Some(op) = self.op(&world, arena).limited(MOMENT) {
            let output = op.await;
            let error = output.error().expect("nothing completes it");
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
            drop(output);
            self.event(&world);
            self.goes_on(world, arena).await;
        }
        landed(before).await;
    }

    pub(super) async fn deadline_beside_completion(&self, arena: &Arena) {
        if matches!(self.completes, Completes::Never) {
            return;
        }
        for micros in 0..16 {
            let world = (self.world)();
            let before = metrics().in_flight;
            let Some(mut op) = self
                .op(&world, arena)
                .limited(Duration::from_micros(micros * 4))
            else {
                return;
            };
            assert!(poll_now(&mut op).await.is_pending());
            self.event(&world);
            let output = op.await;
            match output.error() {
                None => self.check(&output),
                Some(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
                    // What came is there still.
                    self.goes_on(world, arena).await;
                }
            }
            landed(before).await;
        }
    }

    pub(super) async fn cancelled(&self, arena: &Arena) {
        let world = (self.world)();
        let token = CancelToken::new();
        let Some(mut op) = self.op(&world, arena).cancelled_by(&token) else {
            return;
        };
        assert!(poll_now(&mut op).await.is_pending());
        submitted().await;
        let CancelReport {
            cancelled,
            completed,
        } = token.cancel().await;
        let output = op.await;
        if self.is_instant() {
            assert!(cancelled + completed <= 1);
            match output.error() {
                None => self.check(&output),
                Some(error) => assert!(is_cancelled(error), "{error:?}"),
            }
            return;
        }
        assert_eq!((cancelled, completed), (1, 0));
        let error = output.error().expect("nothing completes it");
        assert!(is_cancelled(error), "{error:?}");
        drop(output);
        self.event(&world);
        self.goes_on(world, arena).await;
    }

    pub(super) async fn cancelled_idle(&self, arena: &Arena) {
        let world = (self.world)();
        let token = CancelToken::new();
        let Some(op) = self.op(&world, arena).cancelled_by(&token) else {
            return;
        };
        let staged = metrics().staged;
        token.cancel().await;
        let output = op.await;
        let error = output.error().expect("it was cancelled");
        assert!(is_cancelled(error), "{error:?}");
        assert_eq!(metrics().staged, staged);
        drop(output);
        self.event(&world);
        self.goes_on(world, arena).await;
    }

    pub(super) async fn closed(&self, arena: &Arena) {
        let Some(fd) = self.fd else {
            return;
        };
        let world = (self.world)();
        let mut op = self.op(&world, arena);
        assert!(poll_now(&mut op).await.is_pending());
        submitted().await;
        let close = fd(&world).close();
        let output = op.await;
        match output.error() {
            None if self.is_instant() => self.check(&output),
            None => panic!("it completed, with nothing to complete it"),
            Some(error) => assert!(is_cancelled(error), "{error:?}"),
        }
        close.await.unwrap();
    }

    pub(super) async fn begun_closed(&self, arena: &Arena) {
        let Some(fd) = self.fd else {
            return;
        };
        let world = (self.world)();
        fd(&world).close().await.unwrap();
        let staged = metrics().staged;
        let output = self.op(&world, arena).await;
        let error = output.error().expect("the descriptor is closed");
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error:?}");
        assert_eq!(metrics().staged, staged);
    }

    /// Two on one descriptor, where they follow one another: the second is given up in each way there is.
    pub(super) async fn queued(&self, arena: &Arena) {
        let world = (self.world)();
        let before = metrics().in_flight;
        let mut first = self.op(&world, arena);
        assert!(poll_now(&mut first).await.is_pending());
        submitted().await;
        let mut second = self.op(&world, arena);
        let polled = poll_now(&mut second).await;
        submitted().await;
        let queues = polled.is_pending() && metrics().in_flight == before + 1;
        drop(second);
        if self.is_instant() || !queues {
            return;
        }
        let token = CancelToken::new();
        let late = self.op(&world, arena).limited(MOMENT);
        let given_up = self.op(&world, arena).cancelled_by(&token);
        if let (Some(late), Some(mut given_up)) = (late, given_up) {
            let output = late.await;
            let error = output.error().expect("the first is in its way");
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
            assert!(poll_now(&mut given_up).await.is_pending());
            token.cancel().await;
            let output = given_up.await;
            let error = output.error().expect("the first is in its way");
            assert!(is_cancelled(error), "{error:?}");
        }
        assert!(poll_now(&mut first).await.is_pending());
        self.event(&world);
        if !matches!(self.completes, Completes::Never) {
            self.check(&first.await);
        }
    }
}
