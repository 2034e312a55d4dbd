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

    fn table(&self, echoes: u64, runtime: &Runtime) -> String {
        row(
            "enters",
            &per_echo(self.enters, echoes),
            "io_uring_enter calls",
        ) + &row(
            "completions",
            &per_echo(self.completions, echoes),
            "results reaped",
        ) + &format!("  {:<12}  {}\n", "ring", runtime.driver().ring_flags())
    }
}

/// The table of a server that was driven from here.
pub(crate) fn driven(load: Load, outcome: &Outcome, work: &RingWork, runtime: &Runtime) -> String {
    let Load {
        connections, size, ..
    } = load;
    let mut table =
        format!("{connections} connections, each with one echo of {size} bytes on its way\n\n");
    let per_second = outcome.echoes as f64 / outcome.took.as_secs_f64();
    let per_second = format!("{}/s", HumanCount(per_second as u64));
    table += &row("echoes", &per_second, &total(outcome.echoes, outcome.took));
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let latency = time(outcome.latencies_ns.value_at_quantile(quantile));
        table += &row(name, &latency, "from send to last byte back");
    }
    table += &row("longest", &time(outcome.latencies_ns.max()), "");
    let checked = BinaryBytes(outcome.bytes).to_string();
    table += &row("checked", &checked, "every byte came back as it was sent");
    table + &work.table(outcome.echoes, runtime)
}

/// The table of a server that others have used.
pub(crate) fn served(served: Served, took: Duration, work: &RingWork, runtime: &Runtime) -> String {
    let mut table = "\n".to_owned();
    table += &row(
        "connections",
        &HumanCount(served.connections).to_string(),
        "",
    );
    table += &row(
        "echoes",
        &HumanCount(served.echoes).to_string(),
        &total(served.echoes, took),
    );
    table += &row("bytes", &BinaryBytes(served.bytes).to_string(), "sent back");
    table + &work.table(served.echoes, runtime)
}

fn row(name: &str, value: &str, note: &str) -> String {
    format!(
        "{}\n",
        format!("  {name:<12}{value:>12}   {note}").trim_end()
    )
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
