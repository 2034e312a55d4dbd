//! The rings there are.

use std::future::Future;
use std::io::ErrorKind;

use runtime::{Builder, DriverKind, Runtime};

/// One way to set a ring up. A scenario is written once and runs on each.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// As the test is called.
    pub name: &'static str,
    builder: fn() -> Builder,
}

/// The kernel's ring with the newest flags it takes.
pub fn kernel() -> Ring {
    Ring {
        name: "kernel",
        builder: || Builder::new().driver(DriverKind::Kernel),
    }
}

/// The kernel's ring as Linux 5.19 has it: no `DEFER_TASKRUN`. And nothing is done but by the ring: no attempts.
pub fn plain() -> Ring {
    Ring {
        name: "plain",
        builder: || {
            let builder = Builder::new().driver(DriverKind::Kernel);
            builder.plain(true).attempts(false)
        },
    }
}

/// The kernel's ring with so little room that everything waits for room at some time.
pub fn tiny() -> Ring {
    Ring {
        name: "tiny",
        builder: || {
            let builder = Builder::new().driver(DriverKind::Kernel);
            builder.entries(8).completions(16)
        },
    }
}

/// The kernel's ring, and its buffers to receive into consumed by and by. For what is about those.
pub fn incremental() -> Ring {
    Ring {
        name: "incremental",
        builder: || {
            let builder = Builder::new().driver(DriverKind::Kernel);
            builder.incremental(true)
        },
    }
}

/// The ring in user space, and its buffers consumed by and by.
pub fn poll_incremental() -> Ring {
    Ring {
        name: "poll_incremental",
        builder: || (poll().builder)().incremental(true),
    }
}

/// The ring in user space: chosen, or, where a test has seen to it that the kernel refuses its own ([`REFUSED`]), what
/// comes of leaving the choice alone.
pub fn poll() -> Ring {
    Ring {
        name: "poll",
        builder: || match std::env::var_os(REFUSED) {
            None => Builder::new().driver(DriverKind::Poll),
            Some(_) => Builder::new(),
        },
    }
}

/// Set in the environment of a suite that runs where io_uring is refused.
pub const REFUSED: &str = "ANNULET_REFUSED";

impl Ring {
    /// A builder with the ring chosen and all else as by default.
    pub fn builder(self) -> Builder {
        (self.builder)()
    }

    /// A runtime with the default options.
    ///
    /// # Panics
    ///
    /// If it cannot be built.
    pub fn runtime(self) -> Runtime {
        self.builder().build().expect("the ring can be built")
    }

    /// Why the ring cannot be had on this machine, if it cannot.
    pub fn missing(self) -> Option<String> {
        if self.name.starts_with("poll") {
            // It needs nothing that may be refused.
            return None;
        }
        let error = self.builder().build().err()?;
        matches!(
            error.kind(),
            ErrorKind::PermissionDenied | ErrorKind::Unsupported
        )
        .then(|| error.to_string())
    }

    /// Runs a scenario in a runtime of its own, then drops that and sees that no operation is left.
    ///
    /// # Panics
    ///
    /// If the scenario does, or if an operation is left in its slot.
    pub fn block_on<F: Future<Output = ()>>(self, scenario: impl FnOnce(Ring) -> F) {
        let runtime = self.runtime();
        let driver = runtime.driver().clone();
        runtime.block_on(scenario(self));
        drop(runtime);
        let left = driver.metrics();
        assert_eq!(
            (left.in_flight, left.live),
            (0, 0),
            "operations outlived the runtime: {left:?}"
        );
    }
}
