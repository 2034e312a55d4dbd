//! What a server has used of its core.
//!
//! A server is looked at from outside, while the load keeps still: then it sleeps, and the kernel's account of it, to the
//! nanosecond, is complete. So no server needs a thread, a signal or a line of code to be measured.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long a server that never sleeps is waited for.
const PATIENCE: Duration = Duration::from_millis(50);

/// What a process has used so far, all its threads together, and how often others took its core from it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    /// Clock ticks in user and in kernel mode: coarse, good for their proportion only.
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    pub(crate) preemptions: u64,
}

impl Usage {
    /// The account of `pid`, as soon as it sleeps.
    pub(crate) fn at_rest(pid: u32) -> io::Result<Usage> {
        await_sleep(pid, PATIENCE)?;
        Usage::now(pid)
    }

    /// The account of this process as it runs.
    ///
    /// Of threads that have ended, too: a pool's, the kernel's for this process's ring.
    pub(crate) fn own() -> io::Result<Usage> {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec as u32);
        Ok(Usage {
            cpu_ns: u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX),
            ..Usage::now(std::process::id())?
        })
    }

    fn now(pid: u32) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread that has ended meanwhile has no files any more.
            let _ = usage.add_task(&task?.path());
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let mut fields = after_name(&stat).split_whitespace().skip(11);
        usage.user_ticks = number(fields.next())?;
        usage.system_ticks = number(fields.next())?;
        Ok(usage)
    }

    fn add_task(&mut self, task: &Path) -> io::Result<()> {
        let schedstat = fs::read_to_string(task.join("schedstat"))?;
        let status = fs::read_to_string(task.join("status"))?;
        let switches = status
            .lines()
            .find_map(|l| l.strip_prefix("nonvoluntary_ctxt_switches:"));
        self.cpu_ns += number(schedstat.split_whitespace().next())?;
        self.preemptions += number(switches)?;
        Ok(())
    }

    pub(crate) fn since(self, before: Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            user_ticks: self.user_ticks.saturating_sub(before.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(before.system_ticks),
            preemptions: self.preemptions.saturating_sub(before.preemptions),
        }
    }
}

/// Until `pid` has nothing more to do, for so long at most.
pub(crate) fn await_sleep(pid: u32, patience: Duration) -> io::Result<()> {
    let start = Instant::now();
    while !is_asleep(pid)? && start.elapsed() < patience {
        std::thread::yield_now();
    }
    Ok(())
}

fn is_asleep(pid: u32) -> io::Result<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(task?.path().join("stat"));
        if stat.is_ok_and(|stat| after_name(&stat).starts_with('R')) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The fields of a `stat` file from the third on: the second, a name, may have anything in it.
fn after_name(stat: &str) -> &str {
    stat.rsplit_once(')')
        .map_or("", |(_, rest)| rest.trim_start())
}

fn number(field: Option<&str>) -> io::Result<u64> {
    let number = field.and_then(|field| field.trim().parse().ok());
    number.ok_or_else(|| io::Error::other("/proc is not as it was"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_parenthesis_and_spaces_hides_no_field() {
        assert_eq!(after_name("7 (a) R 1 (b)) S 2 3"), "S 2 3");
    }

    /// Of this thread alone: those of other tests may end meanwhile.
    fn own_thread() -> Usage {
        let mut usage = Usage::default();
        usage.add_task(Path::new("/proc/thread-self")).unwrap();
        usage
    }

    #[test]
    fn work_shows_in_the_account() {
        let before = own_thread();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            std::thread::yield_now();
        }
        let used = own_thread().since(before);
        assert!(used.cpu_ns > 0);
    }
}
