//! What is measured: by a load of its server, by one who works alone of itself; lap by lap, as they are asked.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::calls::Calls;
use crate::cpu::Usage;
use crate::report::ratio_by_lap;

/// What is asked for; it comes over the input, a line each, and each is answered by a line with all that was measured so
/// far. Between two of them others have their laps.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Asked {
    /// A lap of so long, after one that does not count.
    Lap { warm_up: Duration, window: Duration },
    /// How many system calls a request takes. A call that is counted costs more, so no CPU time is measured meanwhile.
    Calls { window: Duration },
}

/// What was measured of one contender in one round, all laps together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// The server makes for a request, counted apart from the laps; none: this process may not count them.
    pub(crate) system_calls: Option<f64>,
    /// What a connection that does nothing takes of the server's memory.
    pub(crate) bytes_per_connection: Option<f64>,
    /// Each by itself.
    #[serde(default)]
    pub(crate) laps: Vec<LapMeasure>,
}

/// One lap: requests, seconds, nanoseconds of CPU time, and within how many 99 of 100 were answered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LapMeasure(
    pub(crate) u64,
    pub(crate) f64,
    pub(crate) u64,
    pub(crate) u64,
);

impl Measure {
    /// As if each lap were all there is.
    fn by_lap(&self) -> impl Iterator<Item = Measure> {
        self.laps
            .iter()
            .map(|&LapMeasure(requests, seconds, cpu_ns, p99_ns)| Measure {
                requests,
                seconds,
                cpu_ns,
                p99_ns,
                laps: Vec::new(),
                ..*self
            })
    }

    /// A figure as a multiple of `other`'s of the same round: the median of the laps', each compared with the other's in
    /// the same turn.
    pub(crate) fn to(
        &self,
        other: &Measure,
        figure: impl Fn(&Measure) -> Option<f64>,
    ) -> Option<f64> {
        if self.laps.is_empty() || self.laps.len() != other.laps.len() {
            return Some(figure(self)? / figure(other)?);
        }
        let figures = |of: &Measure| of.by_lap().map(|lap| figure(&lap)).collect();
        let (ours, theirs): (Option<Vec<f64>>, Option<Vec<f64>>) = (figures(self), figures(other));
        ratio_by_lap(&ours?, &theirs?)
    }
}

/// Counts requests while a lap lasts.
pub(crate) struct Meter {
    account: Account,
    latencies: Histogram<u64>,
    user_ticks: u64,
    ticks: u64,
    measure: Measure,
}

/// Whose CPU time is measured.
#[derive(Clone, Copy)]
enum Account {
    Server(u32),
    /// This process's.
    Own,
}

impl Account {
    fn pid(self) -> u32 {
        match self {
            Account::Server(pid) => pid,
            Account::Own => std::process::id(),
        }
    }

    fn usage(self) -> io::Result<Usage> {
        match self {
            Account::Server(pid) => Usage::at_rest(pid),
            Account::Own => Usage::own(),
        }
    }
}

impl Meter {
    pub(crate) fn of_server(pid: u32) -> Meter {
        Meter::of(Account::Server(pid))
    }

    /// For a contender that works by itself.
    pub(crate) fn own() -> Meter {
        Meter::of(Account::Own)
    }

    fn of(account: Account) -> Meter {
        Meter {
            account,
            latencies: latencies(),
            user_ticks: 0,
            ticks: 0,
            measure: Measure::default(),
        }
    }

    /// One lap: it starts with the server at rest and returns when every request has been answered, so that the CPU time
    /// in between is that of these requests, no more and no fewer. `lap` notes their latencies, or those of some, and tells
    /// how many there were.
    pub(crate) fn measure(
        &mut self,
        lap: impl FnOnce(&mut Histogram<u64>) -> io::Result<u64>,
    ) -> io::Result<()> {
        let mut latencies = latencies();
        let before = self.account.usage()?;
        let start = Instant::now();
        let requests = lap(&mut latencies)?;
        let seconds = start.elapsed().as_secs_f64();
        let used = self.account.usage()?.since(before);
        if requests == 0 {
            return Err(io::Error::other("not one request was answered"));
        }
        self.latencies.add(&latencies).map_err(io::Error::other)?;
        self.user_ticks += used.user_ticks;
        self.ticks += used.user_ticks + used.system_ticks;
        let p99_ns = latencies.value_at_quantile(0.99);
        let measure = &mut self.measure;
        measure
            .laps
            .push(LapMeasure(requests, seconds, used.cpu_ns, p99_ns));
        measure.requests += requests;
        measure.seconds += seconds;
        measure.cpu_ns += used.cpu_ns;
        measure.preemptions += used.preemptions;
        measure.user_share = self.user_ticks as f64 / self.ticks.max(1) as f64;
        measure.p50_ns = self.latencies.value_at_quantile(0.5);
        measure.p99_ns = self.latencies.value_at_quantile(0.99);
        measure.p999_ns = self.latencies.value_at_quantile(0.999);
        Ok(())
    }

    /// Does what is asked for as long as anything is: `lap` asks the server, or works, for so long, notes latencies, and
    /// tells how many requests there were.
    pub(crate) fn run(
        &mut self,
        mut lap: impl FnMut(Duration, &mut Histogram<u64>) -> io::Result<u64>,
    ) -> io::Result<()> {
        self.answer(|meter, asked| match asked {
            Asked::Lap { warm_up, window } => {
                lap(warm_up, &mut latencies())?;
                meter.measure(|latencies| lap(window, latencies))
            }
            Asked::Calls { window } => {
                let pid = meter.account.pid();
                let Ok(mut calls) = Calls::of(pid) else {
                    return Ok(());
                };
                let requests = lap(window, &mut latencies())?;
                if let Account::Server(pid) = meter.account {
                    // What the server does after its last answer is the answer's.
                    Usage::at_rest(pid)?;
                }
                let calls = calls.so_far()? as f64 / requests.max(1) as f64;
                meter.note(|measure| measure.system_calls = Some(calls));
                Ok(())
            }
        })
    }

    /// Answers with all that was measured so far, once `act` has done what was asked for.
    pub(crate) fn answer(
        &mut self,
        mut act: impl FnMut(&mut Meter, Asked) -> io::Result<()>,
    ) -> io::Result<()> {
        for line in io::stdin().lines() {
            act(self, serde_json::from_str(&line?)?)?;
            let mut out = io::stdout().lock();
            writeln!(out, "{}", serde_json::to_string(&self.measure)?)?;
            out.flush()?;
        }
        Ok(())
    }

    /// Adds what only some workloads know.
    pub(crate) fn note(&mut self, note: impl FnOnce(&mut Measure)) {
        note(&mut self.measure);
    }
}

/// Up to a minute, in nanoseconds; what is longer counts as a minute.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds and digits are in its range")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(costs: &[u64]) -> Measure {
        let laps = costs.iter().map(|&cpu_ns| LapMeasure(10, 1.0, cpu_ns, 0));
        Measure {
            requests: 10 * costs.len() as u64,
            cpu_ns: costs.iter().sum(),
            laps: laps.collect(),
            ..Measure::default()
        }
    }

    #[test]
    fn a_disturbance_of_one_turn_does_not_count() {
        let cpu = |measure: &Measure| Some(measure.cpu_ns as f64 / measure.requests as f64);
        // Both are slowed down in the second turn, and ours by something else in the last.
        let (ours, theirs) = (measured(&[10, 20, 90]), measured(&[20, 40, 20]));
        assert_eq!(ours.to(&theirs, cpu), Some(0.5));
        // Not measured in turns.
        assert_eq!(ours.to(&measured(&[40]), cpu), Some(1.0));
    }
}
