//! The processes that `versus` starts: servers, loads, and those who work alone. Each is this program, told its part.

use std::error::Error;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

use annulet_benches::cores;
use annulet_benches::process::{FAILED, Process};
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use serde::{Deserialize, Serialize};

use crate::contenders::{self, Job};
use crate::meter::Meter;
use crate::workloads::{self, Kind, Plan};
use crate::works::Task;

/// What such a process is there for; it goes over the command line.
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
    Work {
        contender: String,
        task: Task,
        core: Option<usize>,
    },
}

impl Role {
    /// Plays it, and tells whoever started it if that fails.
    pub(crate) fn play(self) -> ExitCode {
        let Err(error) = self.act() else {
            return ExitCode::SUCCESS;
        };
        // Perhaps nobody listens any more.
        let _ = writeln!(io::stdout(), "{FAILED}{error}");
        ExitCode::FAILURE
    }

    fn act(self) -> Result<(), Box<dyn Error>> {
        // Whoever started this process reads from it, and may be interrupted.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        allow_descriptors()?;
        match self {
            Role::Serve {
                contender,
                workload,
                job,
                core,
            } => {
                cores::pin(core)?;
                let contender = contenders::named(&contender)?;
                let Kind::Served { service, .. } = workloads::named(&workload)?.kind else {
                    return Err(format!("{workload} has no server").into());
                };
                let serve = contender.service(service);
                serve.ok_or_else(|| format!("{} has no {service:?}", contender.name))?(&job)?;
            }
            Role::Load {
                workload,
                plan,
                core,
            } => {
                cores::pin(core)?;
                let Kind::Served { load, .. } = workloads::named(&workload)?.kind else {
                    return Err(format!("{workload} has no load").into());
                };
                load(&plan, &mut Meter::of_server(plan.server_pid))?;
            }
            Role::Work {
                contender,
                task,
                core,
            } => {
                cores::pin(core)?;
                let contender = contenders::named(&contender)?;
                let work = contender.work(task.work);
                work.ok_or_else(|| format!("{} has no {:?}", contender.name, task.work))?(
                    &task,
                    &mut Meter::own(),
                )?;
            }
        }
        Ok(())
    }

    pub(crate) fn start(&self) -> io::Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--role").arg(serde_json::to_string(self)?);
        Process::start(&mut command)
    }
}

/// As many as may be: ten thousand connections are ten thousand descriptors.
fn allow_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, all)?)
}
