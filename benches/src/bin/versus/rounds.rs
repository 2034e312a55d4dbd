//! Who runs when: in every round each contender as a fresh process, and in the laps of a round all in turn.

use std::error::Error;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use annulet_benches::process::Process;
use annulet_benches::{cores, turns};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::contenders::{Contender, Job};
use crate::meter::{Asked, Measure};
use crate::options::{Options, Scenario};
use crate::roles::Role;
use crate::workloads::{Cost, Kind, Plan};
use crate::works::{Files, Place, Work};

/// Bytes of a connection's buffer on the server, unless its messages are larger.
const BUFFER: usize = 4096;
/// Nothing is gained by larger ones, which no longer fit the caches.
const LARGEST_BUFFER: usize = 64 * 1024;

/// How long a server may take to start, and how much longer than asked a load or a work may go on: it hangs after that.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first lap is preceded by as long a one to warm up, each later one by this part of it.
const WARM_UP: u32 = 10;
/// This part of a lap has its system calls counted.
const CALLS: u32 = 5;

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
    let (laps, _) = options.scenario.laps();
    let progress = progress(options.rounds * contenders.len() * laps as usize);
    let mut measures = vec![Vec::new(); contenders.len()];
    let mut failures = Vec::new();
    for round in 1..=options.rounds {
        let measured = track.measure(&options.scenario, contenders, |contender| {
            progress.set_message(format!("round {round}: {}", contender.name));
            progress.inc(1);
        });
        for ((contender, measures), measured) in contenders.iter().zip(&mut measures).zip(measured)
        {
            measures.push(match measured {
                Ok(measure) => Some(measure),
                Err(error) => {
                    failures.push(format!("{} in round {round}: {error}", contender.name));
                    None
                }
            });
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

    /// Runs each contender once, all of them at a time, which take turns: in each lap another one begins, and each has
    /// another one before it. `turn` is told whose turn it is.
    pub(crate) fn measure(
        &mut self,
        scenario: &Scenario,
        contenders: &[&'static Contender],
        mut turn: impl FnMut(&Contender),
    ) -> Vec<Measured> {
        let at_once = match scenario.workload.cost {
            Cost::Memory => 1,
            _ => contenders.len().max(1),
        };
        let groups = contenders.chunks(at_once);
        groups
            .flat_map(|group| self.measure_group(scenario, group, &mut turn))
            .collect()
    }

    fn measure_group(
        &mut self,
        scenario: &Scenario,
        group: &[&'static Contender],
        turn: &mut impl FnMut(&Contender),
    ) -> Vec<Measured> {
        let mut runners: Vec<Result<Runner, Box<dyn Error>>> = group
            .iter()
            .map(|contender| self.start(scenario, contender))
            .collect();
        let mut ask = |index: usize, asked| {
            if let Ok(runner) = &mut runners[index]
                && let Err(error) = runner.ask(asked)
            {
                runners[index] = Err(error);
            }
        };
        let (laps, window) = scenario.laps();
        for (lap, index) in turns::order(laps, group.len()) {
            let warm_up = if lap == 0 { window } else { window / WARM_UP };
            turn(group[index]);
            ask(index, Asked::Lap { warm_up, window });
        }
        if scenario.workload.cost != Cost::Memory {
            for index in 0..group.len() {
                let window = window / CALLS;
                ask(index, Asked::Calls { window });
            }
        }
        runners.into_iter().map(|r| r?.finish()).collect()
    }

    fn start(
        &mut self,
        scenario: &Scenario,
        contender: &Contender,
    ) -> Result<Runner, Box<dyn Error>> {
        match scenario.workload.kind {
            Kind::Served { .. } => self.start_served(scenario, contender),
            Kind::Alone(work) => self.start_alone(scenario, contender, work),
        }
    }

    /// A ping's both ends are on one core.
    pub(crate) fn core_of_load(&self, scenario: &Scenario) -> Option<usize> {
        let (server, load) = self.cores?;
        Some(match scenario.workload.cost {
            Cost::RoundTrip => server,
            Cost::Cpu | Cost::Memory => load,
        })
    }

    fn start_served(
        &self,
        scenario: &Scenario,
        contender: &Contender,
    ) -> Result<Runner, Box<dyn Error>> {
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
            .line(PATIENCE)?
            .parse()
            .map_err(|_| "the server did not start")?;
        let plan = Plan {
            server: addr,
            server_pid: server.id(),
            connections: scenario.connections,
            size: scenario.size,
            pipeline: scenario.pipeline,
        };
        let load = Role::Load {
            workload,
            plan,
            core: self.core_of_load(scenario),
        };
        Ok(Runner {
            asked: load.start()?,
            measure: Measure::default(),
            _server: Some(server),
            _target: None,
        })
    }

    fn start_alone(
        &mut self,
        scenario: &Scenario,
        contender: &Contender,
        work: Work,
    ) -> Result<Runner, Box<dyn Error>> {
        let files = match &self.files {
            Some(files) => files,
            None => self.files.insert(Files::make(&self.place)?),
        };
        let (task, target) = files.task(work, scenario.size, scenario.depth)?;
        let role = Role::Work {
            contender: contender.name.to_owned(),
            task,
            core: self.cores.map(|(core, _)| core),
        };
        Ok(Runner {
            asked: role.start()?,
            measure: Measure::default(),
            _server: None,
            _target: Some(target),
        })
    }
}

/// What came of a contender in a round.
type Measured = Result<Measure, Box<dyn Error>>;

/// A contender at work. Ends with this.
struct Runner {
    /// The load on the server, or who works alone.
    asked: Process,
    /// What it told last.
    measure: Measure,
    _server: Option<Process>,
    _target: Option<File>,
}

impl Runner {
    fn ask(&mut self, asked: Asked) -> Result<(), Box<dyn Error>> {
        let duration = match asked {
            Asked::Lap { warm_up, window } => warm_up + window,
            Asked::Calls { window } => window,
        };
        let asked = serde_json::to_string(&asked)?;
        self.measure = serde_json::from_str(&self.asked.ask(&asked, duration + PATIENCE)?)?;
        Ok(())
    }

    fn finish(mut self) -> Measured {
        self.asked.finish(PATIENCE)?;
        Ok(self.measure)
    }
}
