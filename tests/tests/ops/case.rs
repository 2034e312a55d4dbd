//! One operation, as the harness needs to know it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use annulet_tests::Arena;
use runtime::op::{Multi, Multishot, Operation};
use runtime::{CancelToken, Fd, Op};

/// The length of the arena's buffers, and of what events bring.
pub(crate) const LEN: usize = 64;
/// What events bring.
pub(crate) const SENT: [u8; LEN] = [7; LEN];

/// What an operation resolves to: a result, perhaps with the buffer.
pub(crate) trait Outcome {
    /// What went wrong.
    fn error(&self) -> Option<&io::Error>;
}

impl<T> Outcome for io::Result<T> {
    fn error(&self) -> Option<&io::Error> {
        self.as_ref().err()
    }
}

impl<T, B> Outcome for (io::Result<T>, B) {
    fn error(&self) -> Option<&io::Error> {
        self.0.error()
    }
}

/// The future of an operation.
pub(crate) trait Subject: Future<Output: Outcome> + Unpin + Sized + 'static {
    /// The operation.
    type Operation: Operation;

    /// With a deadline, if it takes one.
    fn limited(self, limit: Duration) -> Option<Self>;

    /// With a token, if it takes one.
    fn cancelled_by(self, token: &CancelToken) -> Option<Self>;
}

impl<T: Operation<Output: Outcome>> Subject for Op<T> {
    type Operation = T;

    fn limited(self, limit: Duration) -> Option<Op<T>> {
        Some(self.timeout(limit))
    }

    fn cancelled_by(self, token: &CancelToken) -> Option<Op<T>> {
        Some(self.cancel_with(token))
    }
}

/// The next result of a multishot operation; the operation goes with it.
pub(crate) struct Next<T: Multishot>(pub(crate) Multi<T>);

impl<T: Multishot> Unpin for Next<T> {}

impl<T: Multishot> Future for Next<T> {
    type Output = T::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        self.0.poll_next(cx)
    }
}

impl<T: Multishot<Output: Outcome>> Subject for Next<T> {
    type Operation = T;

    fn limited(self, _: Duration) -> Option<Next<T>> {
        None
    }

    fn cancelled_by(self, _: &CancelToken) -> Option<Next<T>> {
        None
    }
}

/// What completes an operation.
pub(crate) enum Completes<W> {
    /// It does so by itself.
    Itself,
    /// This does, once for each operation.
    By(fn(&W)),
    /// Nothing does.
    Never,
}

/// An operation and the world it works in.
pub(crate) struct Case<W, F: Subject> {
    pub(crate) world: fn() -> W,
    pub(crate) make: fn(&W, &Arena) -> F,
    pub(crate) completes: Completes<W>,
    pub(crate) fd: Option<fn(&W) -> &Fd>,
    pub(crate) gives: fn(&F::Output) -> bool,
    pub(crate) failing: Option<(i32, fn() -> W)>,
    pub(crate) runs_on: bool,
    pub(crate) once: bool,
    pub(crate) falls_back: bool,
    pub(crate) allocates: bool,
    pub(crate) opens: bool,
    pub(crate) called: bool,
}

fn case<W, F: Subject>(
    world: fn() -> W,
    make: fn(&W, &Arena) -> F,
    completes: Completes<W>,
) -> Case<W, F> {
    Case {
        world,
        make,
        completes,
        fd: None,
        gives: |_| true,
        failing: None,
        runs_on: false,
        once: false,
        falls_back: false,
        allocates: false,
        opens: false,
        called: false,
    }
}

/// An operation that completes by itself.
pub(crate) fn instant<W, F: Subject>(world: fn() -> W, make: fn(&W, &Arena) -> F) -> Case<W, F> {
    case(world, make, Completes::Itself)
}

/// An operation that `event` completes, and nothing else.
pub(crate) fn blocked<W, F: Subject>(
    world: fn() -> W,
    make: fn(&W, &Arena) -> F,
    event: fn(&W),
) -> Case<W, F> {
    case(world, make, Completes::By(event))
}

/// An operation that nothing completes.
pub(crate) fn endless<W, F: Subject>(world: fn() -> W, make: fn(&W, &Arena) -> F) -> Case<W, F> {
    case(world, make, Completes::Never)
}

impl<W, F: Subject> Case<W, F> {
    /// It works on this descriptor. Closing that ends it.
    pub(crate) fn on(mut self, fd: fn(&W) -> &Fd) -> Self {
        self.fd = Some(fd);
        self
    }

    /// What it resolves to when it completes.
    pub(crate) fn gives(mut self, gives: fn(&F::Output) -> bool) -> Self {
        self.gives = gives;
        self
    }

    /// The kernel fails it with `errno`, at once, in such a world.
    pub(crate) fn fails(mut self, errno: i32, world: fn() -> W) -> Self {
        self.failing = Some((errno, world));
        self
    }

    /// Dropped in flight it is not cancelled: what it brings goes to the next one.
    pub(crate) fn runs_on(mut self) -> Self {
        self.runs_on = true;
        self
    }

    /// It cannot be done twice in one world.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Without its opcode a system call does it.
    pub(crate) fn falls_back(mut self) -> Self {
        self.falls_back = true;
        self
    }

    /// It has to allocate.
    pub(crate) fn allocates(mut self) -> Self {
        self.allocates = true;
        self
    }

    /// It makes a descriptor, or holds one of its own: a forgotten one leaks that.
    pub(crate) fn opens(mut self) -> Self {
        self.opens = true;
        self
    }

    /// It never goes to the ring: a plain system call, in its turn on the descriptor.
    pub(crate) fn called(mut self) -> Self {
        self.called = true;
        self
    }
}

/// Lists a module's operations: `case: Type;`, where `case` is a function that returns a [`Case`].
macro_rules! operations {
    ($($case:ident: $type:ident;)*) => {
        /// The types of the operations listed here.
        pub(crate) const LISTED: &[&str] = &[$(stringify!($type)),*];

        /// The tests.
        mod holds_in_every_situation {
            use annulet_tests::{Ring, spec};

            spec! { $(alone $case;)* }

            $(
                fn $case(ring: Ring) {
                    super::$case().run(ring, stringify!($type));
                }
            )*
        }
    };
}
pub(crate) use operations;
