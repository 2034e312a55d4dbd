//! The command line.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use serde::Serialize;

use crate::contenders::{self, Contender};
use crate::rounds::Role;
use crate::workloads::{self, Workload};

/// What is to be done.
pub(crate) enum Command {
    Help,
    /// This process is one that `versus` started: a server or a load.
    Act(Role),
    Compare(Options),
}

#[derive(Serialize)]
pub(crate) struct Options {
    #[serde(serialize_with = "workload_name")]
    pub(crate) workload: &'static Workload,
    pub(crate) connections: usize,
    /// Bytes of a request, and of its answer.
    pub(crate) size: usize,
    pub(crate) rounds: usize,
    /// How long a contender is measured in each round.
    pub(crate) seconds: f64,
    #[serde(skip)]
    pub(crate) contenders: Vec<&'static Contender>,
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
}

fn workload_name<S: serde::Serializer>(
    workload: &&'static Workload,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(workload.name)
}

pub(crate) fn help() -> String {
    let mut text = String::from(
        "versus: servers on one core, load on another, contenders in turn

    --workload NAME      what is asked of them (default: echo)
    --connections N      connections at once (default: 64)
    --size BYTES         of a request and of its answer (default: 64)
    --rounds N           how often each contender is measured (default: 5)
    --seconds S          for how long each time, after a warm-up (default: 2)
    --only NAME,NAME     these contenders alone
    --json FILE          every round's figures, for programs
    --help

workloads:
",
    );
    for workload in workloads::ALL {
        text += &format!("    {:<14} {}\n", workload.name, workload.about);
    }
    text += "\ncontenders:\n";
    for contender in contenders::ALL {
        text += &format!("    {:<14} {}\n", contender.name, contender.about);
    }
    text
}

pub(crate) fn parse() -> Result<Command, Box<dyn Error>> {
    let mut options = Options {
        workload: &workloads::ALL[0],
        connections: 64,
        size: 64,
        rounds: 5,
        seconds: 2.0,
        contenders: Vec::new(),
        json: None,
    };
    let mut only = None;
    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("role") => {
                return Ok(Command::Act(serde_json::from_str(
                    &args.value()?.string()?,
                )?));
            }
            Arg::Long("workload") => options.workload = workloads::named(&args.value()?.string()?)?,
            Arg::Long("connections") => options.connections = args.value()?.parse()?,
            Arg::Long("size") => options.size = args.value()?.parse()?,
            Arg::Long("rounds") => options.rounds = args.value()?.parse()?,
            Arg::Long("seconds") => options.seconds = args.value()?.parse()?,
            Arg::Long("only") => only = Some(args.value()?.string()?),
            Arg::Long("json") => options.json = Some(args.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.connections == 0 || options.size == 0 || options.rounds == 0 {
        return Err("connections, size and rounds are at least 1".into());
    }
    if Duration::try_from_secs_f64(options.seconds).is_ok_and(|s| s.is_zero()) {
        return Err("seconds is more than 0".into());
    }
    Duration::try_from_secs_f64(options.seconds)?;
    options.contenders = match only {
        Some(names) => names
            .split(',')
            .map(contenders::named)
            .collect::<Result<_, _>>()?,
        None => contenders::ALL.iter().collect(),
    };
    Ok(Command::Compare(options))
}
