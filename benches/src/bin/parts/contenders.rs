//! Who is asked. A new one is one line here and, if it is a runtime, its file in `executors/`.

use annulet_benches::{Annulet, Executor, Tokio};
#[cfg(feature = "peers")]
use annulet_benches::{Compio, Glommio, Monoio};

use crate::{Part, pipes, raw, tasks, timers, wakes};

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Answers as often as it is asked; `false`: it has no such thing.
    pub(crate) answer: fn(Part) -> bool,
}

#[rustfmt::skip]
pub(crate) static CONTENDERS: &[Contender] = &[
    Contender { name: Annulet::NAME, about: "this project, with its defaults", answer: annulet },
    Contender { name: Tokio::NAME, about: "its runtime for one thread", answer: tokio },
    #[cfg(feature = "peers")]
    Contender { name: Monoio::<false>::NAME, about: "on its ring, with its feature `sync`", answer: by_runtime::<Monoio<false>> },
    #[cfg(feature = "peers")]
    Contender { name: Monoio::<true>::NAME, about: "its ring set up with SINGLE_ISSUER and DEFER_TASKRUN", answer: by_runtime::<Monoio<true>> },
    #[cfg(feature = "peers")]
    Contender { name: Compio::<false>::NAME, about: "with its defaults", answer: by_runtime::<Compio<false>> },
    #[cfg(feature = "peers")]
    Contender { name: Compio::<true>::NAME, about: "its ring set up with SINGLE_ISSUER, DEFER_TASKRUN and TASKRUN_FLAG", answer: by_runtime::<Compio<true>> },
    #[cfg(feature = "peers")]
    Contender { name: Glommio::NAME, about: "with its defaults", answer: by_runtime::<Glommio> },
    Contender { name: "ring", about: "by hand: io_uring, MSG_RING", answer: raw::ring },
    Contender { name: "eventfd", about: "by hand: two eventfds, read and written", answer: raw::counter },
    Contender { name: "epoll-wait", about: "by hand: epoll_wait, read, write", answer: raw::epoll },
];

fn annulet(part: Part) -> bool {
    match part {
        Part::Nop { at_once } => tasks::nop(at_once),
        Part::Pipe => pipes::annulet(),
        _ => return by_runtime::<Annulet>(part),
    }
    true
}

fn tokio(part: Part) -> bool {
    match part {
        Part::Pipe => pipes::tokio(),
        _ => return by_runtime::<Tokio>(part),
    }
    true
}

/// What can be asked of any runtime.
fn by_runtime<E: Executor>(part: Part) -> bool {
    match part {
        Part::Nop { .. } | Part::Pipe => return false,
        Part::Spawn { at_once } => tasks::spawn::<E>(at_once),
        Part::Yield { tasks } => tasks::yield_now::<E>(tasks),
        Part::TimerDropped { standing } => timers::dropped::<E>(standing),
        Part::TimerFired { count } => timers::fired::<E>(count),
        Part::TimerApart => timers::apart::<E>(),
        Part::SleepAlone { percentile } => timers::sleep_alone::<E>(percentile),
        Part::SleepCrowd => timers::sleep_crowd::<E>(),
        Part::WakeSameThread => wakes::same_thread::<E>(),
        Part::WakeOtherThread => wakes::other_thread::<E>(),
    }
    true
}

pub(crate) fn named(name: &str) -> Result<&'static Contender, String> {
    let found = CONTENDERS.iter().find(|contender| contender.name == name);
    found.ok_or_else(|| format!("no contender is called `{name}`"))
}
