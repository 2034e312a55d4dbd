//! Who runs when: in every round each contender once, in turn, as a fresh process.

use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use annulet_benches::cores;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::contenders::{self, Contender, Job};
use crate::options::Options;
use crate::workloads::{self, Measure, Meter, Plan};

/// Bytes of a connection's buffer on the server, unless its messages are larger.
const BUFFER: usize = 4096;
/// Nothing is gained by larger ones, which no longer fit the caches.
const LARGEST_BUFFER: usize = 64 * 1024;

/// What a process that `versus` starts is there for; it goes over the command line.
#[derive(Serialize, Deserialize)]
pub(crate) enum Role {
    Serve {
        contender: String,
        workload: String,
        job: Job,
        core: Option<usize>,
    },
    Load {
        workload: String,
        plan: Plan,
        core: Option<usize>,
    },
}

/// What came of it: per contender, its measures by round.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) cores: Option<(usize, usize)>,
    pub(crate) measures: Vec<Vec<Option<Measure>>>,
    pub(crate) failures: Vec<String>,
}

impl Role {
    pub(crate) fn act(self) -> Result<(), Box<dyn Error>> {
        // Whoever started this process reads from it, and may be interrupted.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        match self {
            Role::Serve {
                contender,
                workload,
                job,
                core,
            } => {
                cores::pin(core)?;
                let contender = contenders::named(&contender)?;
                let service = workloads::named(&workload)?.service;
                let serve = contender.service(service);
                serve.ok_or_else(|| format!("{} has no {service:?}", contender.name))?(&job)?;
            }
            Role::Load {
                workload,
                plan,
                core,
            } => {
                cores::pin(core)?;
                let mut meter = Meter::new(&plan);
                (workloads::named(&workload)?.load)(&plan, &mut meter)?;
                println!("{}", serde_json::to_string(&meter.finish()?)?);
            }
        }
        Ok(())
    }

    fn start(&self) -> Result<Child, Box<dyn Error>> {
        Ok(Command::new(std::env::current_exe()?)
            .arg("--role")
            .arg(serde_json::to_string(self)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?)
    }
}

pub(crate) fn run(options: &Options) -> io::Result<Outcome> {
    let cores = cores::two()?;
    let contenders = &options.contenders;
    let progress = progress(options.rounds * contenders.len());
    let mut measures = vec![Vec::new(); contenders.len()];
    let mut failures = Vec::new();
    for round in 1..=options.rounds {
        for (contender, measures) in contenders.iter().zip(&mut measures) {
            progress.set_message(format!("round {round}: {}", contender.name));
            let measured = measure(options, contender, cores);
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
        cores,
        measures,
        failures,
    })
}

/// Drawn on a terminal only.
fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} ({eta} left)");
    ProgressBar::new(steps as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Ends a process as it goes out of scope.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(
    options: &Options,
    contender: &Contender,
    cores: Option<(usize, usize)>,
) -> Result<Measure, Box<dyn Error>> {
    let workload = options.workload.name.to_owned();
    let server = Role::Serve {
        contender: contender.name.to_owned(),
        workload: workload.clone(),
        job: Job {
            buffer: options.size.clamp(BUFFER, LARGEST_BUFFER),
        },
        core: cores.map(|(server, _)| server),
    };
    let mut server = Ending(server.start()?);
    let addr: SocketAddr = first_line(&mut server.0)?
        .trim()
        .parse()
        .map_err(|_| "the server did not start")?;
    let window = Duration::from_secs_f64(options.seconds);
    let plan = Plan {
        server: addr,
        server_pid: server.0.id(),
        connections: options.connections,
        size: options.size,
        warm_up: (window / 4).min(Duration::from_secs(1)),
        window,
    };
    let load = Role::Load {
        workload,
        plan,
        core: cores.map(|(_, load)| load),
    };
    let mut load = Ending(load.start()?);
    let line = first_line(&mut load.0)?;
    if line.is_empty() {
        return Err("the load broke off".into());
    }
    Ok(serde_json::from_str(&line)?)
}

fn first_line(child: &mut Child) -> io::Result<String> {
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    Ok(line)
}
