//! How many system calls a server makes: counted by the kernel, at its tracepoint `raw_syscalls:sys_enter`.
//!
//! A call that is counted costs more, so calls are counted in a lap of their own, after the one that is measured. Where
//! the kernel does not let this process count (`perf_event_paranoid`, no tracefs), the figure is missing.

use std::fs;
use std::io;

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

/// Counts from its beginning on, for all threads that the process has by then and those they start.
pub(crate) struct Calls(Vec<Counter>);

impl Calls {
    pub(crate) fn of(pid: u32) -> io::Result<Calls> {
        let tracepoint = Tracepoint::with_id(tracepoint()?);
        let mut counters = Vec::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let name = thread?.file_name();
            let thread = name.to_str().and_then(|name| name.parse().ok());
            let thread = thread.ok_or_else(|| io::Error::other("/proc is not as it was"))?;
            let mut counter = Builder::new(tracepoint)
                .observe_pid(thread)
                .include_kernel()
                .inherit(true)
                .build()?;
            counter.enable()?;
            counters.push(counter);
        }
        Ok(Calls(counters))
    }

    pub(crate) fn so_far(&mut self) -> io::Result<u64> {
        self.0.iter_mut().map(Counter::read).sum()
    }
}

fn tracepoint() -> io::Result<u64> {
    let places = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let id = places
        .iter()
        .find_map(|place| {
            fs::read_to_string(format!("{place}/events/raw_syscalls/sys_enter/id")).ok()
        })
        .and_then(|id| id.trim().parse().ok());
    id.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel shows no tracepoint of system calls",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn skipped(why: &io::Error) {
        if let Some(path) = std::env::var_os("ANNULET_SKIPS") {
            let mut skips = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .unwrap();
            writeln!(skips, "every_call_is_counted: {why}").unwrap();
        }
    }

    #[test]
    fn every_call_is_counted_where_the_kernel_lets_us_count() {
        let mut calls = match Calls::of(std::process::id()) {
            Ok(calls) => calls,
            Err(error) => return skipped(&error),
        };
        let before = calls.so_far().unwrap();
        for _ in 0..1000 {
            rustix::thread::sched_yield();
        }
        assert!(calls.so_far().unwrap() - before >= 1000);
    }
}
