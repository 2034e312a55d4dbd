//! What do the parts of a runtime cost? Spawning, yielding, timers, wakes, pipes: each asked of all runtimes in turns.
//!
//! `cargo run --release -p annulet-benches --bin parts -- --help`
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`contenders`] | who is asked: the runtimes, and raw loops as the floor |
//! | [`tasks`], [`timers`], [`wakes`], [`pipes`], [`raw`] | the questions |
//! | [`table`] | the table and the JSON |
//!
//! Every figure comes from a fresh process on one core of its own; within a round all contenders are there and take turns
//! of some 30 ms, asleep but for that; ratios are taken between laps of the same turn. It is CPU time, so what sleeps costs
//! nothing, unless the row says otherwise.

mod contenders;
mod pipes;
mod raw;
mod table;
mod tasks;
mod timers;
mod wakes;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use annulet_benches::{cores, turns};
use indicatif::{ProgressBar, ProgressStyle};
use lexopt::{Arg, Parser, ValueExt};

use self::contenders::{CONTENDERS, Contender};

/// One question. The answer is a number of `unit`s, fewer being better.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Nop { at_once: u64 },
    Spawn { at_once: u64 },
    Yield { tasks: u64 },
    TimerDropped { standing: u64 },
    TimerFired { count: u64 },
    TimerApart,
    SleepAlone { percentile: f64 },
    SleepCrowd,
    WakeSameThread,
    WakeOtherThread,
    Pipe,
}

/// A row of the table.
struct Row {
    name: &'static str,
    about: &'static str,
    unit: &'static str,
    part: Part,
}

#[rustfmt::skip]
static ROWS: &[Row] = &[
    Row { name: "nop-1", about: "a no-op through the ring, alone", unit: "ns", part: Part::Nop { at_once: 1 } },
    Row { name: "nop-32", about: "a no-op, 32 tasks at it", unit: "ns", part: Part::Nop { at_once: 32 } },
    Row { name: "spawn-1", about: "a task spawned and joined, alone", unit: "ns", part: Part::Spawn { at_once: 1 } },
    Row { name: "spawn-1000", about: "a task spawned and joined, in thousands", unit: "ns", part: Part::Spawn { at_once: 1000 } },
    Row { name: "yield-1", about: "a yield of the only task", unit: "ns", part: Part::Yield { tasks: 1 } },
    Row { name: "yield-1000", about: "a yield among a thousand tasks", unit: "ns", part: Part::Yield { tasks: 1000 } },
    Row { name: "timer-dropped-100", about: "a timer armed and dropped while 100 stand", unit: "ns", part: Part::TimerDropped { standing: 100 } },
    Row { name: "timer-dropped-1000", about: "the same, 1,000", unit: "ns", part: Part::TimerDropped { standing: 1_000 } },
    Row { name: "timer-dropped-10000", about: "the same, 10,000", unit: "ns", part: Part::TimerDropped { standing: 10_000 } },
    Row { name: "timer-dropped-100000", about: "the same, 100,000", unit: "ns", part: Part::TimerDropped { standing: 100_000 } },
    Row { name: "timer-dropped-1000000", about: "the same, 1,000,000", unit: "ns", part: Part::TimerDropped { standing: 1_000_000 } },
    Row { name: "timer-fired-100", about: "a timer armed and fired, 100 within a millisecond", unit: "ns", part: Part::TimerFired { count: 100 } },
    Row { name: "timer-fired-1000", about: "the same, 1,000", unit: "ns", part: Part::TimerFired { count: 1_000 } },
    Row { name: "timer-fired-10000", about: "the same, 10,000", unit: "ns", part: Part::TimerFired { count: 10_000 } },
    Row { name: "timer-fired-100000", about: "the same, 100,000", unit: "ns", part: Part::TimerFired { count: 100_000 } },
    Row { name: "timer-fired-1000000", about: "the same, 1,000,000", unit: "ns", part: Part::TimerFired { count: 1_000_000 } },
    Row { name: "timer-apart", about: "a timer armed and fired, 1,000 over a tenth of a second", unit: "ns", part: Part::TimerApart },
    Row { name: "sleep-crowd", about: "a sleep of 1 ms among a thousand sleepers", unit: "ns", part: Part::SleepCrowd },
    Row { name: "sleep-p50", about: "how long a lone sleep of 1 ms takes by the clock, median", unit: "us", part: Part::SleepAlone { percentile: 0.5 } },
    Row { name: "sleep-p99", about: "the same, 99 of 100", unit: "us", part: Part::SleepAlone { percentile: 0.99 } },
    Row { name: "wake-same", about: "a channel there and back on one thread", unit: "ns", part: Part::WakeSameThread },
    Row { name: "wake-threads", about: "a channel there and back between threads on one core", unit: "ns", part: Part::WakeOtherThread },
    Row { name: "pipe", about: "a byte written to a pipe and read from it", unit: "ns", part: Part::Pipe },
];

struct Options {
    rows: Vec<&'static Row>,
    contenders: Vec<&'static Contender>,
    rounds: usize,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut options = Options {
        rows: ROWS.iter().collect(),
        contenders: CONTENDERS.iter().collect(),
        rounds: 5,
        json: None,
    };
    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => {
                print!("{}", help());
                return Ok(());
            }
            // This process is one that `parts` started: it answers one question.
            Arg::Long("ask") => {
                let row = row(&args.value()?.string()?)?;
                let contender = contenders::named(&args.value()?.string()?)?;
                cores::pin(cores::two()?.map(|cores| cores.0))?;
                if !(contender.answer)(row.part) {
                    turns::no_such_part();
                }
                return Ok(());
            }
            Arg::Long("rounds") => options.rounds = args.value()?.parse()?,
            Arg::Long("only") => {
                options.contenders = list(&args.value()?.string()?, contenders::named)?;
            }
            Arg::Long("rows") => {
                let matching = |name: &str| -> Result<Vec<_>, String> {
                    let rows: Vec<_> = ROWS
                        .iter()
                        .filter(|row| row.name.starts_with(name))
                        .collect();
                    (!rows.is_empty())
                        .then_some(rows)
                        .ok_or_else(|| format!("no row is called `{name}`"))
                };
                options.rows = list(&args.value()?.string()?, matching)?.concat();
            }
            Arg::Long("json") => options.json = Some(args.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    let figures = ask_all(&options)?;
    table::print(&options, &figures);
    if let Some(path) = &options.json {
        table::write_json(path, &options, &figures)?;
    }
    Ok(())
}

fn help() -> String {
    let mut text = String::from(
        "parts: what the parts of a runtime cost, in CPU time, contenders in turn

    --rounds N           how often each is asked (default: 5)
    --only NAME,NAME     these contenders alone
    --rows NAME,NAME     the rows whose names begin so
    --json FILE          every round's figures, for programs
    --help

rows:
",
    );
    for row in ROWS {
        text += &format!("    {:<22} {}\n", row.name, row.about);
    }
    text += "\ncontenders:\n";
    for contender in CONTENDERS {
        text += &format!("    {:<22} {}\n", contender.name, contender.about);
    }
    text
}

fn list<T, E>(names: &str, named: impl Fn(&str) -> Result<T, E>) -> Result<Vec<T>, E> {
    names.split(',').map(named).collect()
}

fn row(name: &str) -> Result<&'static Row, String> {
    let found = ROWS.iter().find(|row| row.name == name);
    found.ok_or_else(|| format!("no row is called `{name}`"))
}

/// By row, contender and round, a figure a lap; none where a contender has no answer, or fails at it.
type Figures = Vec<Vec<Vec<Vec<f64>>>>;

fn ask_all(options: &Options) -> Result<Figures, Box<dyn Error>> {
    let mut figures = vec![vec![Vec::new(); options.contenders.len()]; options.rows.len()];
    let program = std::env::current_exe()?;
    let names: Vec<&str> = options.contenders.iter().map(|c| c.name).collect();
    let asked = options.rounds * options.rows.len() * names.len() * turns::LAPS as usize;
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {eta}")?;
    let bar = ProgressBar::new(asked as u64).with_style(style);
    for _ in 0..options.rounds {
        for (row, figures) in options.rows.iter().zip(&mut figures) {
            let told = turns::ask_for_a_part(&program, row.name, &names, |name| {
                bar.set_message(format!("{} {name}", row.name));
                bar.inc(1);
            });
            for (figures, told) in figures.iter_mut().zip(told) {
                figures.push(told.unwrap_or_default());
            }
        }
    }
    bar.finish_and_clear();
    Ok(figures)
}

/// For so long a part is done again and again in each lap.
const WINDOW: Duration = Duration::from_millis(30);

/// Answers with the cost of one of `each` that a round of `rounds` does, in nanoseconds, as `run` measures so many rounds.
/// As many rounds as fill the [`WINDOW`] are found first.
fn per_op(each: u64, mut run: impl FnMut(u64) -> Duration) {
    let mut rounds = 1;
    loop {
        let used = run(rounds);
        if used >= WINDOW {
            break;
        }
        let wanted = WINDOW.as_secs_f64() / used.as_secs_f64().max(1e-9) * rounds as f64 * 1.1;
        rounds = (wanted as u64).clamp(rounds + 1, rounds * 32);
    }
    turns::answer(|| run(rounds).as_nanos() as f64 / (rounds * each) as f64);
}
