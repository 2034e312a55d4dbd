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

use serde::{Deserialize, Serialize};

use crate::contenders::Service;
use crate::meter::{Measure, Meter};
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
    /// Of a connection. It is weighed once, whatever the time, and while nobody else has so many.
    Memory,
}

impl Workload {
    /// Nanoseconds a request, or bytes a connection.
    pub(crate) fn cost(&self, measure: &Measure) -> Option<f64> {
        match self.cost {
            Cost::Cpu => Some(measure.cpu_ns as f64 / measure.requests as f64),
            Cost::RoundTrip => Some(measure.seconds * 1e9 / measure.requests as f64),
            Cost::Memory => measure.bytes_per_connection,
        }
    }
}

pub(crate) enum Kind {
    /// A server, and a load on it.
    Served { service: Service, load: Load },
    /// The contender works by itself.
    Alone(Work),
}

/// Prepares, and does what it is asked by way of [`Meter::run`] or [`Meter::answer`].
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
}

pub(crate) fn named(name: &str) -> Result<&'static Workload, String> {
    let found = ALL.iter().find(|workload| workload.name == name);
    found.ok_or_else(|| format!("no workload is called `{name}`"))
}
