//! Who is asked. A new one is one line here and, if it is a runtime, its file in `executors/`.

use annulet_benches::{Annulet, Executor, Tokio};
#[cfg(feature = "peers")]
use annulet_benches::{Compio, Glommio, Monoio};

use crate::{Part, pipes, raw, tasks, timers, wakes};

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// None: it has no such thing.
    pub(crate) answer: fn(Part) -> Option<f64>,
}

#[rustfmt::skip]
pub(crate) static CONTENDERS: &[Contender] = &[
    Contender { name: Annulet::NAME, about: "this project, with its defaults", answer: annulet },
    Contender { name: Tokio::NAME, about: "its runtime for one thread", answer: tokio },
    #[cfg(feature = "peers")]
    Contender { name: Monoio::NAME, about: "on its ring, with its feature `sync`", answer: by_runtime::<Monoio> },
    #[cfg(feature = "peers")]
    Contender { name: Compio::NAME, about: "with its defaults", answer: by_runtime::<Compio> },
    #[cfg(feature = "peers")]
    Contender { name: Glommio::NAME, about: "with its defaults", answer: by_runtime::<Glommio> },
    Contender { name: "ring", about: "by hand: io_uring, MSG_RING", answer: raw::ring },
    Contender { name: "eventfd", about: "by hand: two eventfds, read and written", answer: raw::counter },
    Contender { name: "epoll-wait", about: "by hand: epoll_wait, read, write", answer: raw::epoll },
];

fn annulet(part: Part) -> Option<f64> {
    match part {
        Part::Nop { at_once } => Some(tasks::nop(at_once)),
        Part::Pipe => Some(pipes::annulet()),
        _ => by_runtime::<Annulet>(part),
    }
}

fn tokio(part: Part) -> Option<f64> {
    match part {
        Part::Pipe => Some(pipes::tokio()),
        _ => by_runtime::<Tokio>(part),
    }
}

/// What can be asked of any runtime.
fn by_runtime<E: Executor>(part: Part) -> Option<f64> {
    match part {
        Part::Nop { .. } | Part::Pipe => None,
        Part::Spawn { at_once } => Some(tasks::spawn::<E>(at_once)),
        Part::Yield { tasks } => Some(tasks::yield_now::<E>(tasks)),
        Part::TimerDropped { standing } => Some(timers::dropped::<E>(standing)),
        Part::TimerFired { count } => Some(timers::fired::<E>(count)),
        Part::TimerApart => Some(timers::apart::<E>()),
        Part::SleepAlone { percentile } => Some(timers::sleep_alone::<E>(percentile)),
        Part::SleepCrowd => Some(timers::sleep_crowd::<E>()),
        Part::WakeSameThread => Some(wakes::same_thread::<E>()),
        Part::WakeOtherThread => Some(wakes::other_thread::<E>()),
    }
}

pub(crate) fn named(name: &str) -> Result<&'static Contender, String> {
    let found = CONTENDERS.iter().find(|contender| contender.name == name);
    found.ok_or_else(|| format!("no contender is called `{name}`"))
}
