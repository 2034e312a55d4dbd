//! The load put on the servers, a file each.
//!
//! A workload names the service it needs and drives it for a while; the servers know nothing of it. To add one: a file
//! with a `WORKLOAD`, its line in [`ALL`]; and where no [`Service`] fits, a new one with a function in each contender.

mod echo;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::contenders::Service;
use crate::cpu::Usage;

/// All of them; the first is the default.
pub(crate) static ALL: &[Workload] = &[echo::WORKLOAD];

/// One kind of load.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) service: Service,
    /// Prepares, and calls [`Meter::measure`] once.
    pub(crate) load: fn(&Plan, &mut Meter) -> io::Result<()>,
}

/// What a load is told.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    pub(crate) server_pid: u32,
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// What was measured of one server in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measure {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// The server's, user and kernel mode together.
    pub(crate) cpu_ns: u64,
    /// Of `cpu_ns`, as sampled by the clock tick.
    pub(crate) user_share: f64,
    /// How often something else took the server's core: other programs disturb the figures.
    pub(crate) preemptions: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
}

/// Counts requests while the window is open.
pub(crate) struct Meter {
    server_pid: u32,
    latencies: Histogram<u64>,
    measure: Option<Measure>,
}

impl Meter {
    pub(crate) fn new(plan: &Plan) -> Meter {
        Meter {
            server_pid: plan.server_pid,
            latencies: latencies(),
            measure: None,
        }
    }

    /// The window: `lap` starts with the server at rest and returns when every request has been answered, so that the
    /// CPU time in between is that of these requests, no more and no fewer.
    pub(crate) fn measure(
        &mut self,
        lap: impl FnOnce(&mut Histogram<u64>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.latencies.reset();
        let before = Usage::at_rest(self.server_pid)?;
        let start = Instant::now();
        lap(&mut self.latencies)?;
        let seconds = start.elapsed().as_secs_f64();
        let used = Usage::at_rest(self.server_pid)?.since(before);
        let ticks = (used.user_ticks + used.system_ticks).max(1);
        self.measure = Some(Measure {
            requests: self.latencies.len(),
            seconds,
            cpu_ns: used.cpu_ns,
            user_share: used.user_ticks as f64 / ticks as f64,
            preemptions: used.preemptions,
            p50_ns: self.latencies.value_at_quantile(0.5),
            p99_ns: self.latencies.value_at_quantile(0.99),
            p999_ns: self.latencies.value_at_quantile(0.999),
        });
        Ok(())
    }

    pub(crate) fn finish(self) -> io::Result<Measure> {
        let measure = self.measure.filter(|measure| measure.requests > 0);
        measure.ok_or_else(|| io::Error::other("not one request was answered"))
    }
}

/// Up to a minute, in nanoseconds; what is longer counts as a minute.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds and digits are in its range")
}

pub(crate) fn named(name: &str) -> Result<&'static Workload, String> {
    let found = ALL.iter().find(|workload| workload.name == name);
    found.ok_or_else(|| format!("no workload is called `{name}`"))
}
