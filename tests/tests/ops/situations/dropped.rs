//! Its future goes, or all around it does, at each point of its life.

use annulet_tests::{Arena, Ring, fds, metrics, poll_now, submitted, until};
use runtime::{Op, op};

use super::{BUFFERS, landed};
use crate::case::{Case, Completes, LEN, Subject};

impl<W: 'static, F: Subject> Case<W, F> {
    /// After an operation whose future was dropped, perhaps with a completion that was on its way.
    pub(super) async fn goes_on_after_drop(&self, world: W, arena: &Arena, before: usize) {
        if self.runs_on && !self.is_instant() {
            submitted().await;
            assert_eq!(
                metrics().in_flight,
                before + 1,
                "it was not to be cancelled"
            );
        } else {
            landed(before).await;
        }
        self.event(&world);
        self.goes_on(world, arena).await;
    }

    pub(super) async fn dropped_idle(&self, arena: &Arena) {
        let world = (self.world)();
        let before = metrics();
        drop(self.op(&world, arena));
        assert_eq!(
            (metrics().staged, metrics().live),
            (before.staged, before.live)
        );
        self.event(&world);
        self.goes_on(world, arena).await;
    }

    pub(super) async fn dropped_staged(&self, arena: &Arena) {
        let world = (self.world)();
        let before = metrics().in_flight;
        let mut op = self.op(&world, arena);
        assert!(poll_now(&mut op).await.is_pending());
        drop(op);
        self.goes_on_after_drop(world, arena, before).await;
    }

    pub(super) async fn dropped_in_backlog(&self, arena: &Arena) {
        let world = (self.world)();
        let before = metrics().in_flight;
        let mut nops: Vec<_> = (0..20).map(|_| Op::new(op::Nop::new())).collect();
        for nop in &mut nops {
            assert!(poll_now(nop).await.is_pending());
        }
        let mut op = self.op(&world, arena);
        assert!(poll_now(&mut op).await.is_pending());
        drop(op);
        for nop in nops {
            nop.await.unwrap();
        }
        self.goes_on_after_drop(world, arena, before).await;
    }

    pub(super) async fn dropped_submitted(&self, arena: &Arena) {
        let world = (self.world)();
        let before = metrics().in_flight;
        let mut op = self.op(&world, arena);
        assert!(poll_now(&mut op).await.is_pending());
        submitted().await;
        drop(op);
        self.goes_on_after_drop(world, arena, before).await;
    }

    pub(super) async fn dropped_as_it_lands(&self, arena: &Arena) {
        if matches!(self.completes, Completes::Never) {
            return;
        }
        let world = (self.world)();
        let before = metrics().in_flight;
        let mut op = self.op(&world, arena);
        assert!(poll_now(&mut op).await.is_pending());
        submitted().await;
        let landed_before = metrics().completions;
        self.event(&world);
        if !self.is_instant() {
            // One of them is the operation's; a multishot one stays in flight.
            until(|| metrics().completions > landed_before).await;
        } else {
            landed(before).await;
        }
        drop(op);
        landed(before).await;
        self.goes_on(world, arena).await;
    }

    pub(super) async fn failed_and_dropped(&self, arena: &Arena) {
        let Some((_, world)) = self.failing else {
            return;
        };
        let world = world();
        let before = metrics().in_flight;
        let mut op = self.op(&world, arena);
        assert!(poll_now(&mut op).await.is_pending());
        drop(op);
        landed(before).await;
    }

    pub(super) async fn world_dropped(&self, arena: &Arena) {
        if self.fd.is_none() {
            return;
        }
        let world = (self.world)();
        let before = metrics().in_flight;
        let mut op = self.op(&world, arena);
        assert!(poll_now(&mut op).await.is_pending());
        submitted().await;
        drop(world);
        // Cancelled; or it heard first that its peer was gone.
        drop(op.await);
        landed(before).await;
    }

    pub(super) fn runtime_dropped(&self, ring: Ring, arena: &Arena) {
        for submits in [false, true] {
            let runtime = ring.runtime();
            let driver = runtime.driver().clone();
            let (world, op) = runtime.block_on(async {
                let world = (self.world)();
                let mut op = self.op(&world, arena);
                assert!(poll_now(&mut op).await.is_pending());
                if submits {
                    submitted().await;
                }
                (world, op)
            });
            drop(runtime);
            assert_eq!(driver.metrics().in_flight, 0, "it outlived the runtime");
            drop(op);
            assert_eq!(driver.metrics().live, 0);
            drop(world);
        }
    }

    pub(super) fn task_dropped(&self, ring: Ring, arena: &Arena) {
        let runtime = ring.runtime();
        let driver = runtime.driver().clone();
        let world = runtime.block_on(async {
            let world = (self.world)();
            let mut op = self.op(&world, arena);
            assert!(poll_now(&mut op).await.is_pending());
            drop(runtime::spawn(async move {
                let _output = op.await;
                std::future::pending::<()>().await;
            }));
            submitted().await;
            world
        });
        drop(runtime);
        let left = driver.metrics();
        assert_eq!((left.in_flight, left.live), (0, 0));
        drop(world);
    }

    pub(super) fn forgotten(&self, ring: Ring) {
        println!("forgotten");
        let before = fds().len();
        let arena = Arena::new(BUFFERS, LEN);
        for submits in [false, true] {
            let runtime = ring.runtime();
            let driver = runtime.driver().clone();
            let world = runtime.block_on(async {
                let world = (self.world)();
                let mut op = self.op(&world, &arena);
                assert!(poll_now(&mut op).await.is_pending());
                if submits {
                    submitted().await;
                }
                annulet_tests::forget_on_purpose(op);
                world
            });
            drop(world);
            drop(runtime);
            assert_eq!(driver.metrics().in_flight, 0, "the kernel has it still");
        }
        assert_eq!(arena.spoiled(), 0, "a freed buffer was written to");
        // Memory is leaked, and what the operation had brought; nothing else.
        let leaked = if self.opens { 2 } else { 0 };
        assert!(
            fds().len() <= before + leaked,
            "descriptors are leaked: {:?}",
            fds()
        );
    }
}
