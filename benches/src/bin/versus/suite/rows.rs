//! What is measured, and what is read from that.

use std::cmp::Ordering;

use crate::contenders;
use crate::meter::Measure;
use crate::options::Scenario;
use crate::workloads::{self, Workload};

/// The one in the spotlight.
pub(super) const OURS: &str = "annulet";

/// By hand over a ring, or of `parts` by another way: the best of them is the floor, what ratios are to.
pub(super) fn is_floor(name: &str) -> bool {
    contenders::FLOORS.contains(&name) || ["eventfd", "epoll-wait"].contains(&name)
}

/// By hand too, for orientation.
const BESIDE: &[&str] = &["epoll", "pread"];
/// What ratios are to where nothing can be done by hand.
pub(super) const FAMILIAR: &str = "tokio";

/// Who is there for [`Scope::Quick`](super::Scope::Quick).
pub(super) const QUICK: &[&str] = &[OURS, FAMILIAR, "ring", "ring-pool", "pread"];

/// Who may be asked for parts; whoever has none says so.
pub(super) const IN_PARTS: &[&str] = &[
    OURS,
    FAMILIAR,
    #[cfg(feature = "peers")]
    "monoio",
    #[cfg(feature = "peers")]
    "monoio-tuned",
    #[cfg(feature = "peers")]
    "compio",
    #[cfg(feature = "peers")]
    "compio-tuned",
    #[cfg(feature = "peers")]
    "glommio",
    "ring",
    "eventfd",
    "epoll-wait",
];

/// Another runtime.
pub(super) fn is_peer(name: &str) -> bool {
    !is_by_hand(name) && !name.starts_with(OURS)
}

pub(super) fn is_by_hand(name: &str) -> bool {
    is_floor(name) || BESIDE.contains(&name)
}

/// A chart of its own, and a chapter.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) about: &'static str,
}

pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "servers",
        title: "Servers",
        about: "The server has a core of its own, the load another (but where both ends are on one). The load knows no \
                contender and checks every byte. CPU time is the server's, in user and kernel mode, all threads.",
    },
    Section {
        name: "files",
        title: "Files",
        about: "One process on one core, which reads, checks what it has read, and measures itself, helpers of the \
                kernel's for it included.",
    },
    Section {
        name: "parts",
        title: "Parts",
        about: "One process on one core that does the same thing again and again.",
    },
];

/// One thing that is measured.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) section: &'static str,
    pub(super) asked: Asked,
    pub(super) views: &'static [View],
    /// Also where time is short.
    pub(super) quick: bool,
}

/// How.
pub(super) enum Asked {
    Scenario {
        workload: &'static str,
        adjust: fn(&mut Scenario),
    },
    /// The row of the program `parts` that is called so.
    Part,
}

/// Picked from what was measured in a round; none: it was not.
pub(super) type Figure = fn(&Measure) -> Option<f64>;

/// One figure of a row.
pub(super) struct View {
    /// Its name in tables.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) more_is_better: bool,
    /// Of a measure; what `parts` says is a figure already.
    pub(super) figure: Figure,
    pub(super) aims: &'static [Aim],
}

/// What Annulet set out to be, before it was measured.
#[derive(Clone, Copy)]
pub(super) enum Aim {
    /// At most so many times the floor.
    Floor(f64),
    /// At most so much.
    Figure(f64),
    /// At least as good as the best other runtime.
    Peers,
}

impl View {
    /// `Less`: `a` is better. What is no number comes last.
    pub(super) fn compare(&self, a: f64, b: f64) -> Ordering {
        match (a.is_nan(), b.is_nan()) {
            (false, false) if self.more_is_better => b.total_cmp(&a),
            (false, false) => a.total_cmp(&b),
            (a, b) => a.cmp(&b),
        }
    }
}

pub(super) fn workload(name: &str) -> Option<&'static Workload> {
    workloads::named(name).ok()
}

fn cpu_us(measure: &Measure) -> Option<f64> {
    Some(measure.cpu_ns as f64 / measure.requests as f64 / 1e3)
}

/// Of messages of 64 KiB.
fn cpu_us_per_16(measure: &Measure) -> Option<f64> {
    cpu_us(measure).map(|us| us * 16.0)
}

fn elapsed_us(measure: &Measure) -> Option<f64> {
    Some(measure.seconds * 1e6 / measure.requests as f64)
}

fn p99_us(measure: &Measure) -> Option<f64> {
    Some(measure.p99_ns as f64 / 1e3)
}

pub(super) fn per_second(measure: &Measure) -> Option<f64> {
    Some(measure.requests as f64 / measure.seconds)
}

/// Copies go by 128 KiB.
fn mib_per_second(measure: &Measure) -> Option<f64> {
    per_second(measure).map(|blocks| blocks / 8.0)
}

fn cpu_us_per_mib(measure: &Measure) -> Option<f64> {
    cpu_us(measure).map(|us| us * 8.0)
}

fn memory(measure: &Measure) -> Option<f64> {
    measure.bytes_per_connection
}

/// What `parts` measures is a figure only.
fn none(_: &Measure) -> Option<f64> {
    None
}

const fn view(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    figure: Figure,
    aims: &'static [Aim],
) -> View {
    View {
        name,
        title,
        unit,
        more_is_better: false,
        figure,
        aims,
    }
}

const fn more(view: View) -> View {
    View {
        more_is_better: true,
        ..view
    }
}

const fn served(
    name: &'static str,
    workload: &'static str,
    adjust: fn(&mut Scenario),
    views: &'static [View],
) -> Row {
    Row {
        name,
        section: "servers",
        asked: Asked::Scenario { workload, adjust },
        views,
        quick: true,
    }
}

/// Left out where time is short.
const fn full(row: Row) -> Row {
    Row {
        quick: false,
        ..row
    }
}

const fn file(
    name: &'static str,
    workload: &'static str,
    adjust: fn(&mut Scenario),
    views: &'static [View],
) -> Row {
    Row {
        name,
        section: "files",
        asked: Asked::Scenario { workload, adjust },
        views,
        quick: true,
    }
}

const fn part(name: &'static str, views: &'static [View]) -> Row {
    Row {
        name,
        section: "parts",
        asked: Asked::Part,
        views,
        quick: true,
    }
}

#[rustfmt::skip]
pub(super) static ALL: &[Row] = &[
    served("echo-64x64", "echo", |s| (s.connections, s.size) = (64, 64), &[
        view("echo, 64 × 64 B", "Echo, 64 connections × 64 B: server CPU an echo", "µs", cpu_us, &[Aim::Floor(1.06), Aim::Peers]),
        view("its p99", "Echo, 64 connections × 64 B: 99 of 100 answers come within", "µs", p99_us, &[Aim::Floor(1.0)]),
    ]),
    served("echo-512x64", "echo", |s| (s.connections, s.size) = (512, 64), &[
        view("echo, 512 × 64 B", "Echo, 512 connections × 64 B: server CPU an echo", "µs", cpu_us, &[Aim::Floor(1.05), Aim::Peers]),
    ]),
    served("echo-512x4096", "echo", |s| (s.connections, s.size) = (512, 4096), &[
        view("echo, 512 × 4 KiB", "Echo, 512 connections × 4 KiB: server CPU an echo", "µs", cpu_us, &[Aim::Floor(1.08), Aim::Peers]),
    ]),
    full(served("echo-4096x64", "echo", |s| (s.connections, s.size) = (4096, 64), &[
        view("echo, 4,096 × 64 B", "Echo, 4,096 connections × 64 B: server CPU an echo", "µs", cpu_us, &[Aim::Peers]),
    ])),
    full(served("echo-8x65536", "echo", |s| (s.connections, s.size) = (8, 65536), &[
        view("echo, 8 × 64 KiB", "Echo, 8 connections × 64 KiB: server CPU an echo", "µs", cpu_us, &[Aim::Peers]),
    ])),
    served("pipelined", "echo", |s| (s.connections, s.pipeline) = (64, 16), &[
        view("echo, 16 at a time", "Echo, 64 × 64 B, 16 on their way on each: server CPU an echo", "µs", cpu_us, &[Aim::Peers]),
    ]),
    served("ping", "ping", |_| (), &[
        view("round trip, one core", "Echo, one connection, both ends on one core: a round trip", "µs", elapsed_us, &[Aim::Floor(1.02)]),
    ]),
    served("upload", "upload", |_| (), &[
        view("upload", "Streams to the server: its CPU for a MiB", "µs", cpu_us, &[Aim::Peers]),
    ]),
    served("download", "download", |_| (), &[
        view("download", "Streams from the server: its CPU for a MiB", "µs", cpu_us, &[Aim::Peers]),
    ]),
    full(served("both-ways", "echo", |s| (s.connections, s.size, s.pipeline) = (8, 65536, 16), &[
        view("both ways at once", "Streams there and back at once: server CPU for a MiB", "µs", cpu_us_per_16, &[Aim::Peers]),
    ])),
    served("churn", "churn", |_| (), &[
        view("accept, echo, close", "Connections answered once and closed: server CPU for one", "µs", cpu_us, &[Aim::Peers]),
        more(view("their rate", "Connections answered once and closed: a second", "/s", per_second, &[Aim::Peers])),
    ]),
    served("http", "http", |_| (), &[
        view("HTTP/1.1 hello", "HTTP/1.1, a greeting: server CPU a request", "µs", cpu_us, &[Aim::Peers]),
    ]),
    served("idle", "idle", |s| s.connections = 10_000, &[
        view("memory, 10,000 idle", "10,000 idle connections: the server's memory for each", "B", memory, &[Aim::Figure(800.0)]),
    ]),
    file("read-1", "read", |s| s.depth = 1, &[
        view("cached read, 1 at a time", "Cached 4 KiB reads, 1 at a time: CPU a read", "µs", cpu_us, &[Aim::Floor(1.14)]),
    ]),
    file("read-32", "read", |s| s.depth = 32, &[
        view("cached read, 32 at a time", "Cached 4 KiB reads, 32 at a time: CPU a read", "µs", cpu_us, &[Aim::Floor(1.10)]),
    ]),
    full(file("read-128", "read", |s| s.depth = 128, &[
        view("cached read, 128 at a time", "Cached 4 KiB reads, 128 at a time: CPU a read", "µs", cpu_us, &[Aim::Peers]),
    ])),
    full(file("read-direct-1", "read-direct", |s| s.depth = 1, &[
        view("O_DIRECT read, 1 at a time", "O_DIRECT 4 KiB reads, 1 at a time: CPU a read", "µs", cpu_us, &[Aim::Peers]),
    ])),
    file("read-direct-32", "read-direct", |s| s.depth = 32, &[
        view("O_DIRECT read, 32 at a time", "O_DIRECT 4 KiB reads, 32 at a time: CPU a read", "µs", cpu_us, &[Aim::Floor(1.05)]),
        more(view("their rate", "O_DIRECT 4 KiB reads, 32 at a time: reads a second", "/s", per_second, &[Aim::Peers])),
    ]),
    full(file("read-direct-128", "read-direct", |s| s.depth = 128, &[
        view("O_DIRECT read, 128 at a time", "O_DIRECT 4 KiB reads, 128 at a time: CPU a read", "µs", cpu_us, &[Aim::Peers]),
    ])),
    file("copy", "copy", |s| s.size = 128 * 1024, &[
        view("copy", "A file copied by 128 KiB: CPU a MiB", "µs", cpu_us_per_mib, &[Aim::Peers]),
        more(view("its rate", "A file copied by 128 KiB: MiB a second", "MiB/s", mib_per_second, &[Aim::Peers])),
    ]),
    part("nop-1", &[view("no-op, alone", "A no-op through the ring, alone: CPU", "ns", none, &[Aim::Floor(1.4)])]),
    part("nop-32", &[view("no-op, in 32s", "A no-op through the ring, 32 tasks at it: CPU", "ns", none, &[Aim::Floor(1.6)])]),
    part("spawn-1", &[view("spawn and join, alone", "A task spawned and joined, alone: CPU", "ns", none, &[Aim::Peers])]),
    part("spawn-1000", &[view("spawn and join, in thousands", "A task spawned and joined, in thousands: CPU", "ns", none, &[Aim::Peers])]),
    part("yield-1", &[view("yield, 1 task", "A yield of the only task: CPU", "ns", none, &[Aim::Peers])]),
    part("yield-1000", &[view("yield, 1,000 tasks", "A yield among 1,000 tasks: CPU", "ns", none, &[Aim::Peers])]),
    part("timer-dropped-1000", &[view("timer armed and dropped", "A timer armed and dropped while 1,000 stand: CPU", "ns", none, &[Aim::Figure(100.0)])]),
    full(part("sleep-crowd", &[view("sleep of 1 ms, in a crowd", "A sleep of 1 ms among 1,000 sleepers: CPU", "ns", none, &[Aim::Figure(220.0)])])),
    full(part("sleep-p50", &[view("sleep of 1 ms, how long", "A lone sleep of 1 ms: how long it takes, median", "µs", none, &[Aim::Figure(1100.0)])])),
    part("wake-same", &[view("channel, same thread", "A channel on one thread, there and back: CPU", "ns", none, &[Aim::Peers])]),
    full(part("wake-threads", &[view("channel, two threads", "A channel between two threads, there and back: CPU", "ns", none, &[Aim::Figure(4500.0)])])),
    part("pipe", &[view("pipe, a byte", "A byte written to a pipe and read from it: CPU", "ns", none, &[Aim::Floor(1.25), Aim::Peers])]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_of_workloads_and_sections_that_there_are() {
        for row in ALL {
            assert!(
                SECTIONS.iter().any(|section| section.name == row.section),
                "{}",
                row.name
            );
            if let Asked::Scenario { workload: name, .. } = row.asked {
                assert!(workload(name).is_some(), "{}", row.name);
            }
        }
    }

    #[test]
    fn titles_fit_above_a_panel() {
        let views = ALL.iter().flat_map(|row| row.views);
        for view in views {
            assert!(view.title.chars().count() <= 60, "{}", view.title);
        }
    }
}
