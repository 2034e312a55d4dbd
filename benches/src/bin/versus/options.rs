//! The command line.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use serde::Serialize;

use crate::contenders::{self, Contender};
use crate::roles::Role;
use crate::suite::{self, Scope};
use crate::workloads::{self, Cost, Workload};
use crate::works::Place;

/// What is to be done.
pub(crate) enum Command {
    Help,
    /// This process is one that `versus` started: a server or a load.
    Act(Role),
    Compare(Options),
    Suite(suite::Options),
}

#[derive(Serialize)]
pub(crate) struct Options {
    #[serde(flatten)]
    pub(crate) scenario: Scenario,
    pub(crate) rounds: usize,
    #[serde(skip)]
    pub(crate) contenders: Vec<&'static Contender>,
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// What is asked of each contender in each round.
#[derive(Clone, Serialize)]
pub(crate) struct Scenario {
    #[serde(serialize_with = "workload_name")]
    pub(crate) workload: &'static Workload,
    pub(crate) connections: usize,
    /// Bytes of a request, and of its answer.
    pub(crate) size: usize,
    /// Requests on their way at a time, on each connection.
    pub(crate) pipeline: usize,
    /// Reads at a time, of a file.
    pub(crate) depth: usize,
    /// How long a contender is measured in each round.
    pub(crate) seconds: f64,
}

/// Seconds that one contender is measured before it is another's turn: so short that what else happens on the machine
/// mostly lasts for several turns, and hits all.
const LAP: f64 = 0.1;
/// On every connection there is to be more than a message or two in a lap.
const LAP_OF_A_CONNECTION: f64 = 75e-6;

impl Scenario {
    pub(crate) fn of(workload: &'static Workload) -> Scenario {
        Scenario {
            workload,
            connections: workload.connections,
            size: workload.size,
            pipeline: 1,
            depth: 1,
            seconds: 2.0,
        }
    }

    /// How often, and for how long, each contender is measured in a round.
    pub(crate) fn laps(&self) -> (u32, Duration) {
        if self.workload.cost == Cost::Memory {
            return (1, Duration::ZERO);
        }
        let lap = LAP.max(self.connections as f64 * LAP_OF_A_CONNECTION);
        let laps = (self.seconds / lap).round().max(1.0);
        (laps as u32, Duration::from_secs_f64(self.seconds / laps))
    }
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
    --connections N      connections at once (default: 64; of a ping 1, of streams 8, idle 10000)
    --size BYTES         of a request and of its answer (default: 64; of reads 4096, of streams 65536, of a copy 131072)
    --pipeline N         echoes on their way at a time, on each connection (default: 1)
    --depth N            reads at a time, of a file (default: 1)
    --rounds N           how often each contender is measured (default: 5)
    --seconds S          for how long each time, by tenths of a second in turn (default: 2)
    --only NAME,NAME     these contenders alone
    --json FILE          every round's figures, for programs
    --files DIR          where to make the files that are read and written (default: the directory of temporary files)
    --file-size BYTES    of the one that is read (default: 256 MiB)
    --help

all at once, with tables and charts as in docs/benchmarks: as the first option, --suite

    --suite quick        annulet and tokio, and by hand: three minutes
    --suite full         all there are: less than half an hour
    --out DIR            where results.json, README.md and charts go (default: target/benchmarks; docs/benchmarks if full)
    --resume             goes on with what is there: after Ctrl-C, or with more rounds
    --draw               measures nothing, only draws what is there
    --rows NAME,NAME     the rows whose names begin so
    and --rounds, --seconds, --only, --files, --file-size as above

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
    if cfg!(not(feature = "peers")) {
        text += "monoio, compio, glommio and tokio-uring only with `--features peers`\n";
    }
    text
}

pub(crate) fn parse() -> Result<Command, Box<dyn Error>> {
    let mut scenario = Scenario::of(&workloads::ALL[0]);
    let (mut connections, mut size) = (None, None);
    let (mut rounds, mut json, mut place) = (5, None, Place::default());
    let mut only = None;
    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("suite") => return parse_suite(&args.value()?.string()?, args),
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("role") => {
                return Ok(Command::Act(serde_json::from_str(
                    &args.value()?.string()?,
                )?));
            }
            Arg::Long("workload") => {
                scenario.workload = workloads::named(&args.value()?.string()?)?;
            }
            Arg::Long("connections") => connections = Some(args.value()?.parse()?),
            Arg::Long("size") => size = Some(args.value()?.parse()?),
            Arg::Long("rounds") => rounds = args.value()?.parse()?,
            Arg::Long("seconds") => scenario.seconds = args.value()?.parse()?,
            Arg::Long("only") => only = Some(args.value()?.string()?),
            Arg::Long("pipeline") => scenario.pipeline = args.value()?.parse()?,
            Arg::Long("depth") => scenario.depth = args.value()?.parse()?,
            Arg::Long("file-size") => place.len = args.value()?.parse()?,
            Arg::Long("files") => place.dir = args.value()?.into(),
            Arg::Long("json") => json = Some(args.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    scenario.connections = connections.unwrap_or(scenario.workload.connections);
    scenario.size = size.unwrap_or(scenario.workload.size);
    let numbers = [
        scenario.connections,
        scenario.size,
        scenario.pipeline,
        scenario.depth,
        rounds,
    ];
    if numbers.contains(&0) {
        return Err("connections, size, pipeline, depth and rounds are at least 1".into());
    }
    if Duration::try_from_secs_f64(scenario.seconds)?.is_zero() {
        return Err("seconds is more than 0".into());
    }
    let contenders = match only {
        Some(names) => names
            .split(',')
            .map(contenders::named)
            .collect::<Result<_, _>>()?,
        None => contenders::able(scenario.workload),
    };
    Ok(Command::Compare(Options {
        scenario,
        rounds,
        contenders,
        json,
        place,
    }))
}

fn parse_suite(scope: &str, mut args: Parser) -> Result<Command, Box<dyn Error>> {
    let mut options = suite::Options::of(match scope {
        "quick" => Scope::Quick,
        "full" => Scope::Full,
        other => return Err(format!("a suite is quick or full, not `{other}`").into()),
    });
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("rounds") => options.rounds = args.value()?.parse()?,
            Arg::Long("seconds") => options.seconds = args.value()?.parse()?,
            Arg::Long("only") => options.only = names(&args.value()?.string()?),
            Arg::Long("rows") => options.rows = names(&args.value()?.string()?),
            Arg::Long("out") => options.out = args.value()?.into(),
            Arg::Long("resume") => options.resume = true,
            Arg::Long("draw") => options.draw = true,
            Arg::Long("file-size") => options.place.len = args.value()?.parse()?,
            Arg::Long("files") => options.place.dir = args.value()?.into(),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.rounds == 0 || Duration::try_from_secs_f64(options.seconds)?.is_zero() {
        return Err("rounds are at least 1, seconds more than 0".into());
    }
    for name in &options.only {
        contenders::named(name)?;
    }
    Ok(Command::Suite(options))
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}
