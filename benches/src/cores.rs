//! Which core a thread runs on.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Two different cores that this process may use; none if it has fewer. Whoever is pinned already is asked too late.
pub fn two() -> io::Result<Option<(usize, usize)>> {
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let first = cores.next();
    Ok(first.and_then(|first| cores.next_back().map(|last| (last, first))))
}

/// How many this process may use.
pub fn allowed() -> io::Result<usize> {
    Ok(sched_getaffinity(None)?.count() as usize)
}

/// Keeps this thread, and those it starts later, on `core`, if there is one.
pub fn pin(core: Option<usize>) -> io::Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}
