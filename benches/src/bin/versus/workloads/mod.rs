//! What is asked of the contenders.
//!
//! Most are a load put on servers, a file each. Such a workload names the service it needs and drives it for a while; the
//! servers know nothing of it. To add one: a file with a `WORKLOAD`, its line in [`ALL`]; and where no [`Service`] fits, a
//! new one with a function in each contender. The others are [`works`].

mod churn;
mod crowd;
mod echo;
mod http;
mod idle;
mod ping;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::calls::Calls;
use crate::contenders::Service;
use crate::cpu::Usage;
use crate::works::{self, Work};

/// All of them; the first is the default.
pub(crate) static ALL: &[Workload] = &[
    echo::WORKLOAD,
    ping::WORKLOAD,
    stream::UPLOAD,
    stream::DOWNLOAD,
    churn::WORKLOAD,
    http::WORKLOAD,
    idle::WORKLOAD,
    works::READ,
    works::READ_DIRECT,
    works::COPY,
];

/// One kind of load.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// How many of them, and bytes of a request, where nobody says otherwise.
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) kind: Kind,
    pub(crate) cost: Cost,
}

/// What a request costs, as far as contenders are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cost {
    /// The contender's CPU time.
    Cpu,
    /// The time from end to end, with both ends on one core.
    RoundTrip,
}

impl Workload {
    /// Nanoseconds a request.
    pub(crate) fn cost_ns(&self, measure: &Measure) -> f64 {
        let all = match self.cost {
            Cost::Cpu => measure.cpu_ns as f64,
            Cost::RoundTrip => measure.seconds * 1e9,
        };
        all / measure.requests as f64
    }
}

pub(crate) enum Kind {
    /// A server, and a load on it.
    Served { service: Service, load: Load },
    /// The contender works by itself.
    Alone(Work),
}

/// Prepares, and calls [`Meter::measure`] once.
pub(crate) type Load = fn(&Plan, &mut Meter) -> io::Result<()>;

/// What a load is told.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    pub(crate) server_pid: u32,
    pub(crate) connections: usize,
    pub(crate) size: usize,
    /// Requests on their way at a time, on each connection.
    pub(crate) pipeline: usize,
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
    /// The server makes for a request, counted apart from the window; none: this process may not count them.
    pub(crate) system_calls: Option<f64>,
    /// What a connection that does nothing takes of the server's memory.
    pub(crate) bytes_per_connection: Option<f64>,
}

/// Counts requests while the window is open.
pub(crate) struct Meter {
    account: Account,
    latencies: Histogram<u64>,
    measure: Option<Measure>,
}

/// Whose CPU time is measured.
enum Account {
    Server(u32),
    /// This process's.
    Own,
}

impl Account {
    fn usage(&self) -> io::Result<Usage> {
        match *self {
            Account::Server(pid) => Usage::at_rest(pid),
            Account::Own => Usage::own(),
        }
    }
}

impl Meter {
    pub(crate) fn new(plan: &Plan) -> Meter {
        Meter::of(Account::Server(plan.server_pid))
    }

    /// For a contender that works by itself.
    pub(crate) fn own() -> Meter {
        Meter::of(Account::Own)
    }

    fn of(account: Account) -> Meter {
        Meter {
            account,
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
        self.measure_counted(|latencies| {
            lap(latencies)?;
            Ok(latencies.len())
        })
    }

    /// The same for a `lap` that notes some of the latencies only, and tells how many requests there were.
    pub(crate) fn measure_counted(
        &mut self,
        lap: impl FnOnce(&mut Histogram<u64>) -> io::Result<u64>,
    ) -> io::Result<()> {
        self.latencies.reset();
        let before = self.account.usage()?;
        let start = Instant::now();
        let requests = lap(&mut self.latencies)?;
        let seconds = start.elapsed().as_secs_f64();
        let used = self.account.usage()?.since(before);
        let ticks = (used.user_ticks + used.system_ticks).max(1);
        self.measure = Some(Measure {
            requests,
            seconds,
            cpu_ns: used.cpu_ns,
            user_share: used.user_ticks as f64 / ticks as f64,
            preemptions: used.preemptions,
            p50_ns: self.latencies.value_at_quantile(0.5),
            p99_ns: self.latencies.value_at_quantile(0.99),
            p999_ns: self.latencies.value_at_quantile(0.999),
            system_calls: None,
            bytes_per_connection: None,
        });
        Ok(())
    }

    /// Warms up, measures, and counts system calls: each time the load asks for as long as `lap` is told.
    pub(crate) fn run(
        &mut self,
        plan: &Plan,
        mut lap: impl FnMut(Duration, &mut Histogram<u64>) -> io::Result<()>,
    ) -> io::Result<()> {
        lap(plan.warm_up, &mut latencies())?;
        self.measure(|latencies| lap(plan.window, latencies))?;
        let Ok(mut calls) = Calls::of(plan.server_pid) else {
            return Ok(());
        };
        let mut answered = latencies();
        lap(plan.warm_up, &mut answered)?;
        // What the server does after its last answer is the answer's.
        Usage::at_rest(plan.server_pid)?;
        let calls = calls.so_far()? as f64 / answered.len() as f64;
        self.note(|measure| measure.system_calls = Some(calls));
        Ok(())
    }

    /// Adds what only some workloads know.
    pub(crate) fn note(&mut self, note: impl FnOnce(&mut Measure)) {
        self.measure.as_mut().map(note);
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
