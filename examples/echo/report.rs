//! The table at the end.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use runtime::{DriverMetrics, Runtime};

use crate::load::Outcome;
use crate::options::Load;
use crate::server::Served;

/// What the ring did between two looks at its counters.
pub(crate) struct RingWork {
    enters: u64,
    completions: u64,
}

impl RingWork {
    pub(crate) fn between(before: &DriverMetrics, after: &DriverMetrics) -> RingWork {
        RingWork {
            enters: after.enters - before.enters,
            completions: after.completions - before.completions,
        }
    }

    fn print(&self, echoes: u64, runtime: &Runtime) {
        row(
            "enters",
            &per_echo(self.enters, echoes),
            "io_uring_enter calls",
        );
        row(
            "completions",
            &per_echo(self.completions, echoes),
            "results reaped",
        );
        println!("  {:<12}  {}", "ring", runtime.driver().ring_flags());
    }
}

/// For a server that was driven from here.
pub(crate) fn print_driven(load: Load, outcome: &Outcome, work: &RingWork, runtime: &Runtime) {
    println!(
        "{} connections, each with one echo of {} bytes on its way\n",
        load.connections, load.size
    );
    let per_second = outcome.echoes as f64 / outcome.took.as_secs_f64();
    row(
        "echoes",
        &format!("{}/s", HumanCount(per_second as u64)),
        &total(outcome.echoes, outcome.took),
    );
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        row(
            name,
            &time(outcome.latencies_ns.value_at_quantile(quantile)),
            "from send to last byte back",
        );
    }
    row("longest", &time(outcome.latencies_ns.max()), "");
    row(
        "checked",
        &BinaryBytes(outcome.bytes).to_string(),
        "every byte came back as it was sent",
    );
    work.print(outcome.echoes, runtime);
}

/// For a server that others have used.
pub(crate) fn print_served(served: Served, took: Duration, work: &RingWork, runtime: &Runtime) {
    println!();
    row(
        "connections",
        &HumanCount(served.connections).to_string(),
        "",
    );
    row(
        "echoes",
        &HumanCount(served.echoes).to_string(),
        &total(served.echoes, took),
    );
    row("bytes", &BinaryBytes(served.bytes).to_string(), "sent back");
    work.print(served.echoes, runtime);
}

fn row(name: &str, value: &str, note: &str) {
    println!("{}", format!("  {name:<12}{value:>12}   {note}").trim_end());
}

fn total(echoes: u64, took: Duration) -> String {
    format!("{} in {:.2} s", HumanCount(echoes), took.as_secs_f64())
}

fn per_echo(count: u64, echoes: u64) -> String {
    match echoes {
        0 => count.to_string(),
        _ => format!("{:.3}/echo", count as f64 / echoes as f64),
    }
}

fn time(ns: u64) -> String {
    match ns {
        0..10_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        _ => format!("{:.1} ms", ns as f64 / 1e6),
    }
}
