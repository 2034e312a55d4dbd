//! What may happen to an operation, and what must be true then. Its being dropped is in `dropped`, its being given up
//! otherwise in `given_up`.

mod dropped;
mod given_up;

use std::io::ErrorKind;
use std::task::Poll;
use std::time::Duration;

use annulet_tests::{
    Arena, Ring, allocations, fds, give_time, metrics, poll_now, submitted, until,
};
use runtime::op::{self, Operation};

use crate::case::{Case, Completes, LEN, Outcome, Subject};

/// Buffers in the arena; more than any situation uses at once.
const BUFFERS: usize = 64;
/// How long they may take all together; a hang is a busy loop.
const LIMIT: Duration = Duration::from_secs(30);

/// Returns when all but `before` operations and deadlines have ended.
async fn landed(before: usize) {
    until(|| metrics().in_flight <= before).await;
}

impl<W: 'static, F: Subject> Case<W, F> {
    /// All situations, one after the other. `name` is the operation's type.
    ///
    /// # Panics
    ///
    /// If the operation does not hold in one of them.
    pub(crate) fn run(self, ring: Ring, name: &str) {
        let named = std::any::type_name::<F::Operation>();
        let named = named
            .split('<')
            .next()
            .and_then(|path| path.rsplit("::").next());
        assert_eq!(named, Some(name), "listed under a wrong name");
        give_time(LIMIT);
        // What is opened once and for all.
        ring.block_on(async |_| submitted().await);

        self.within(ring, "dropped before its first poll", Self::dropped_idle);
        self.within(
            ring,
            "cancelled before its first poll",
            Self::cancelled_idle,
        );
        self.within(
            ring,
            "begun when its descriptor is closed",
            Self::begun_closed,
        );
        self.within(ring, "the kernel fails it", Self::failed);
        // Below the waist the ring in user space allocates: for its workers, and to watch a descriptor it has not seen.
        if ring.name != "poll" {
            self.within(ring, "again and again", Self::allocates_nothing);
        }
        if !self.called {
            self.run_in_flight(ring);
        }
    }

    /// The situations of what the ring carries out.
    fn run_in_flight(&self, ring: Ring) {
        self.within(ring, "it completes", Self::completes);
        self.within(ring, "dropped when it is staged", Self::dropped_staged);
        self.within(
            ring,
            "dropped behind a full queue",
            Self::dropped_in_backlog,
        );
        self.within(
            ring,
            "dropped when the kernel has it",
            Self::dropped_submitted,
        );
        self.within(
            ring,
            "dropped as its completion lands",
            Self::dropped_as_it_lands,
        );
        self.within(ring, "its failure is for nobody", Self::failed_and_dropped);
        self.within(ring, "its deadline passes", Self::timed_out);
        self.within(
            ring,
            "a deadline beside its completion",
            Self::deadline_beside_completion,
        );
        self.within(ring, "cancelled by a token", Self::cancelled);
        self.within(ring, "its descriptor is closed", Self::closed);
        self.within(ring, "its world is dropped", Self::world_dropped);
        self.within(ring, "queued behind another", Self::queued);
        self.within(ring, "polled by another task", Self::moved_to_a_task);
        self.around(ring, "its runtime is dropped", Self::runtime_dropped);
        self.around(
            ring,
            "its runtime is dropped, and it with it",
            Self::task_dropped,
        );
        self.around(ring, "the kernel lacks its opcode", Self::opcode_missing);
        // Last: what it leaks stays.
        self.forgotten(ring);
    }

    /// A situation inside a runtime.
    fn within(&self, ring: Ring, name: &'static str, situation: impl AsyncFnOnce(&Self, &Arena)) {
        self.around(ring, name, |case, ring, arena| {
            ring.block_on(|_| situation(case, arena));
        });
    }

    /// A situation that builds its runtime itself.
    fn around(&self, ring: Ring, name: &'static str, situation: impl FnOnce(&Self, Ring, &Arena)) {
        // Seen if it fails, or hangs.
        println!("{name}");
        let before = fds();
        let arena = Arena::new(BUFFERS, LEN);
        situation(self, ring, &arena);
        assert_eq!(arena.freed(), BUFFERS, "not every buffer was given up once");
        assert_eq!(arena.spoiled(), 0, "a freed buffer was written to");
        assert_eq!(fds(), before, "descriptors are not as before");
    }

    fn op(&self, world: &W, arena: &Arena) -> F {
        (self.make)(world, arena)
    }

    fn event(&self, world: &W) {
        if let Completes::By(event) = self.completes {
            event(world);
        }
    }

    fn is_instant(&self) -> bool {
        matches!(self.completes, Completes::Itself)
    }

    fn check(&self, output: &F::Output) {
        if let Some(error) = output.error() {
            panic!("it failed: {error:?}");
        }
        assert!((self.gives)(output), "it completed with something else");
    }

    /// Another operation in the same world finds what the event brought.
    async fn goes_on(&self, world: W, arena: &Arena) {
        let world = if self.once {
            drop(world);
            let world = (self.world)();
            self.event(&world);
            world
        } else {
            world
        };
        if !matches!(self.completes, Completes::Never) {
            self.check(&self.op(&world, arena).await);
        }
    }

    async fn completes(&self, arena: &Arena) {
        let world = (self.world)();
        let mut op = self.op(&world, arena);
        assert!(
            poll_now(&mut op).await.is_pending(),
            "it did not go to the ring"
        );
        submitted().await;
        if !self.is_instant() {
            assert!(
                poll_now(&mut op).await.is_pending(),
                "nothing has happened yet"
            );
        }
        if !matches!(self.completes, Completes::Never) {
            self.event(&world);
            self.check(&op.await);
        }
    }

    async fn moved_to_a_task(&self, arena: &Arena) {
        if matches!(self.completes, Completes::Never) {
            return;
        }
        let world = (self.world)();
        let mut op = self.op(&world, arena);
        assert!(poll_now(&mut op).await.is_pending());
        submitted().await;
        let task = runtime::spawn(op);
        runtime::yield_now().await;
        self.event(&world);
        // Whatever woke this task before, only its own waker wakes the other.
        self.check(&task.await.unwrap());
    }

    async fn failed(&self, arena: &Arena) {
        let Some((errno, world)) = self.failing else {
            return;
        };
        let world = world();
        let output = self.op(&world, arena).await;
        let error = output.error().expect("it fails in this world");
        assert_eq!(error.raw_os_error(), Some(errno), "{error:?}");
    }

    async fn allocates_nothing(&self, arena: &Arena) {
        if self.allocates || matches!(self.completes, Completes::Never) {
            return;
        }
        let mut counted = 0;
        for round in 0..48 {
            let world = (self.world)();
            let mut op = self.op(&world, arena);
            let start = allocations();
            let mut polled = poll_now(&mut op).await;
            let mut allocated = allocations() - start;
            if polled.is_pending() {
                self.event(&world);
                let start = allocations();
                polled = Poll::Ready(op.await);
                allocated += allocations() - start;
            }
            if let Poll::Ready(output) = polled {
                self.check(&output);
            }
            if round >= 16 {
                counted += allocated;
            }
        }
        assert_eq!(counted, 0, "allocations in 32 rounds");
    }

    fn opcode_missing(&self, ring: Ring, arena: &Arena) {
        let opcode = F::Operation::OPCODE;
        let told = op::OPCODES
            .iter()
            .find(|told| told.name == F::Operation::NAME)
            .expect("all are listed");
        assert_eq!(told.without == op::Without::Call, self.falls_back);
        let runtime = ring.builder().without([opcode]).build().unwrap();
        let driver = runtime.driver().clone();
        assert!(!driver.supports(opcode));
        runtime.block_on(async {
            let world = (self.world)();
            let before = metrics();
            let output = self.op(&world, arena).await;
            if self.falls_back {
                self.check(&output);
            } else {
                let error = output.error().expect("the ring does not have it");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
                let said = error.to_string();
                assert!(said.contains(F::Operation::NAME), "{said}");
                let since = format!("Linux {}", F::Operation::SINCE);
                assert!(said.contains(&since), "{said}");
            }
            assert_eq!(
                (metrics().staged, metrics().live),
                (before.staged, before.live)
            );
        });
        drop(runtime);
        assert_eq!((driver.metrics().in_flight, driver.metrics().live), (0, 0));
    }
}
