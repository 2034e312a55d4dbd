//! Everything at once, as it is published: all rows, all contenders, in rounds; then tables and charts.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`rows`] | what is measured, and what is read from that |
//! | [`results`] | every round's figures, kept after each step; medians and ratios |
//! | [`setting`] | the machine, the versions |
//! | [`markdown`], [`svg`], [`overview`] | the pages: tables; bars; all rows in one picture |
//!
//! A round goes through all rows, and in each row through all contenders, so that whatever changes on the machine within
//! the half-hour hits all of them. Who fails or hangs is noted.

mod markdown;
mod overview;
mod results;
mod rows;
mod setting;
mod svg;

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use self::results::{Column, Results, Turn};
use self::rows::{Asked, Row};
use crate::contenders;
use crate::options::Scenario;
use crate::roles::part;
use crate::rounds::{Track, progress};
use crate::workloads::{self, Measure};
use crate::works::Place;

/// What is left out of what is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scope {
    /// Annulet, tokio and the floor, a fifth of a second each: less than three minutes.
    Quick,
    /// All there is, more than half a second each: less than half an hour.
    Full,
}

pub(crate) struct Options {
    pub(crate) scope: Scope,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    /// The contenders with these names; all if there are none.
    pub(crate) only: Vec<String>,
    /// The rows whose names begin so; all if there are none.
    pub(crate) rows: Vec<String>,
    pub(crate) out: PathBuf,
    /// Goes on with what is in `out`.
    pub(crate) resume: bool,
    /// Measures nothing, only draws what is in `out`.
    pub(crate) draw: bool,
    pub(crate) place: Place,
}

impl Options {
    pub(crate) fn of(scope: Scope) -> Options {
        let (seconds, out) = match scope {
            Scope::Quick => (0.2, "target/benchmarks"),
            Scope::Full => (0.6, "docs/benchmarks"),
        };
        Options {
            scope,
            rounds: 5,
            seconds,
            only: Vec::new(),
            rows: Vec::new(),
            out: out.into(),
            resume: false,
            draw: false,
            place: Place::default(),
        }
    }

    /// Who takes part in a row.
    fn contenders(&self, row: &Row) -> Vec<&'static str> {
        let names: Vec<&'static str> = match row.asked {
            Asked::Part(_) => rows::IN_PARTS.to_vec(),
            Asked::Scenario { workload, .. } => rows::workload(workload)
                .map(contenders::able)
                .unwrap_or_default()
                .iter()
                .map(|contender| contender.name)
                .collect(),
        };
        let wanted = |name: &&str| {
            if self.only.is_empty() {
                self.scope == Scope::Full || rows::QUICK.contains(name)
            } else {
                self.only.iter().any(|only| only == name)
            }
        };
        names.into_iter().filter(wanted).collect()
    }

    fn rows(&self) -> Vec<&'static Row> {
        let wanted = |row: &&Row| {
            if self.rows.is_empty() {
                self.scope == Scope::Full || row.quick
            } else {
                self.rows.iter().any(|name| row.name.starts_with(&**name))
            }
        };
        rows::ALL.iter().filter(wanted).collect()
    }
}

/// Measures, and draws.
///
/// # Errors
///
/// If nothing can be kept or drawn. What goes wrong with a contender is in the results.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&options.out)?;
    let path = options.out.join("results.json");
    let mut results = if options.resume || options.draw {
        Results::load(&path)?
    } else {
        Results::empty(options)?
    };
    if !options.draw {
        if !results.is_of(options)? {
            return Err(
                "what is there was measured elsewhere, or of other versions: leave --resume out"
                    .into(),
            );
        }
        results.make_room(options);
        measure(options, &mut results, &path)?;
    }
    draw(&results, &options.out)?;
    print!("{}", markdown::summary(&results));
    println!("\n{}", options.out.join("README.md").display());
    Ok(())
}

fn measure(options: &Options, results: &mut Results, path: &Path) -> io::Result<()> {
    let mut track = Track::new(options.place.clone())?;
    let wanted = options.rows();
    // On going on: as it was begun.
    let seconds = results.seconds;
    let steps: usize = wanted.iter().map(|row| options.contenders(row).len()).sum();
    let bar = progress(steps * options.rounds);
    for round in 0..options.rounds {
        for row in &wanted {
            let mut names = options.contenders(row);
            // Another one begins in each round.
            let first = round % names.len().max(1);
            names.rotate_left(first);
            for name in names {
                bar.set_message(format!("round {}: {}, {name}", round + 1, row.name));
                if let Some(column) = results.column(row.name, name)
                    && column.turns.len() <= round
                {
                    let turn = turn(seconds, &mut track, row, column);
                    column.turns.push(turn);
                    results.save(path)?;
                }
                bar.inc(1);
            }
        }
        // What there is can be looked at meanwhile.
        draw(results, &options.out)?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// One contender, once; whoever failed twice running is not tried again.
fn turn(seconds: f64, track: &mut Track, row: &Row, column: &Column) -> Turn {
    if let [.., Turn::Failed { .. }, Turn::Failed { failed }] = &column.turns[..] {
        return Turn::Failed {
            failed: failed.clone(),
        };
    }
    let measured = match row.asked {
        Asked::Part(name) => part(name, &column.name).map(Turn::Figure),
        Asked::Scenario { workload, adjust } => {
            scenario(track, workload, adjust, seconds, &column.name).map(Turn::Measured)
        }
    };
    measured.unwrap_or_else(|error| Turn::Failed {
        failed: error.to_string(),
    })
}

fn scenario(
    track: &mut Track,
    workload: &str,
    adjust: fn(&mut Scenario),
    seconds: f64,
    contender: &str,
) -> Result<Measure, Box<dyn Error>> {
    let mut scenario = Scenario::of(workloads::named(workload)?);
    scenario.seconds = seconds;
    adjust(&mut scenario);
    track.measure(&scenario, contenders::named(contender)?)
}

fn draw(results: &Results, out: &Path) -> io::Result<()> {
    for section in rows::SECTIONS {
        let rankings = results.rankings(section.name);
        if !rankings.is_empty() {
            let chart = svg::chart(results, section, &rankings);
            fs::write(out.join(format!("{}.svg", section.name)), chart)?;
        }
    }
    fs::write(out.join("overview.svg"), overview::chart(results))?;
    fs::write(out.join("README.md"), markdown::page(results))
}
