//! Who runs when: in every round each contender once, in turn, as a fresh process.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use annulet_benches::cores;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::contenders::{Contender, Job};
use crate::options::{Options, Scenario};
use crate::roles::Role;
use crate::workloads::{Cost, Kind, Measure, Plan};
use crate::works::{Files, Place, Work};

/// Bytes of a connection's buffer on the server, unless its messages are larger.
const BUFFER: usize = 4096;
/// Nothing is gained by larger ones, which no longer fit the caches.
const LARGEST_BUFFER: usize = 64 * 1024;

/// How long a server may take to start, and how much longer than asked a load or a work may go on: it hangs after that.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it: per contender, its measures by round.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) cores: Option<(usize, usize)>,
    pub(crate) measures: Vec<Vec<Option<Measure>>>,
    pub(crate) failures: Vec<String>,
}

pub(crate) fn run(options: &Options) -> io::Result<Outcome> {
    let mut track = Track::new(options.place.clone())?;
    let contenders = &options.contenders;
    let progress = progress(options.rounds * contenders.len());
    let mut measures = vec![Vec::new(); contenders.len()];
    let mut failures = Vec::new();
    for round in 1..=options.rounds {
        for (contender, measures) in contenders.iter().zip(&mut measures) {
            progress.set_message(format!("round {round}: {}", contender.name));
            let measured = track.measure(&options.scenario, contender);
            measures.push(match measured {
                Ok(measure) => Some(measure),
                Err(error) => {
                    failures.push(format!("{} in round {round}: {error}", contender.name));
                    None
                }
            });
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(Outcome {
        cores: track.cores,
        measures,
        failures,
    })
}

/// Drawn on a terminal only.
pub(crate) fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} ({eta} left)");
    ProgressBar::new(steps as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Where contenders run.
pub(crate) struct Track {
    /// Of servers and of those who work alone; of loads.
    pub(crate) cores: Option<(usize, usize)>,
    place: Place,
    /// Made when they are first asked for.
    files: Option<Files>,
}

impl Track {
    pub(crate) fn new(place: Place) -> io::Result<Track> {
        Ok(Track {
            cores: cores::two()?,
            place,
            files: None,
        })
    }

    /// Runs one contender once.
    pub(crate) fn measure(
        &mut self,
        scenario: &Scenario,
        contender: &Contender,
    ) -> Result<Measure, Box<dyn Error>> {
        match scenario.workload.kind {
            Kind::Served { .. } => self.measure_served(scenario, contender),
            Kind::Alone(work) => self.measure_alone(scenario, contender, work),
        }
    }

    /// A ping's both ends are on one core.
    pub(crate) fn core_of_load(&self, scenario: &Scenario) -> Option<usize> {
        let (server, load) = self.cores?;
        Some(match scenario.workload.cost {
            Cost::RoundTrip => server,
            Cost::Cpu => load,
        })
    }

    fn measure_served(
        &self,
        scenario: &Scenario,
        contender: &Contender,
    ) -> Result<Measure, Box<dyn Error>> {
        let workload = scenario.workload.name.to_owned();
        let server = Role::Serve {
            contender: contender.name.to_owned(),
            workload: workload.clone(),
            job: Job {
                buffer: scenario.size.clamp(BUFFER, LARGEST_BUFFER),
                connections: scenario.connections,
            },
            core: self.cores.map(|(server, _)| server),
        };
        let mut server = server.start()?;
        let addr: SocketAddr = server
            .first_line(PATIENCE)?
            .parse()
            .map_err(|_| "the server did not start")?;
        let (warm_up, window) = scenario.times();
        let plan = Plan {
            server: addr,
            server_pid: server.id(),
            connections: scenario.connections,
            size: scenario.size,
            pipeline: scenario.pipeline,
            warm_up,
            window,
        };
        let load = Role::Load {
            workload,
            plan,
            core: self.core_of_load(scenario),
        };
        finished(&load, warm_up + window + warm_up)
    }

    fn measure_alone(
        &mut self,
        scenario: &Scenario,
        contender: &Contender,
        work: Work,
    ) -> Result<Measure, Box<dyn Error>> {
        let files = match &self.files {
            Some(files) => files,
            None => self.files.insert(Files::make(&self.place)?),
        };
        let (warm_up, window) = scenario.times();
        let mut task = files.task(work, scenario.size, scenario.depth)?;
        (task.warm_up, task.window) = (warm_up, window);
        let role = Role::Work {
            contender: contender.name.to_owned(),
            task,
            core: self.cores.map(|(core, _)| core),
        };
        finished(&role, warm_up + window)
    }
}

/// Runs a process to its end, which tells what it measured.
fn finished(role: &Role, duration: Duration) -> Result<Measure, Box<dyn Error>> {
    let line = role.start()?.first_line(duration + PATIENCE)?;
    if line.is_empty() {
        return Err("it broke off".into());
    }
    Ok(serde_json::from_str(&line)?)
}
