//! Everything at once, as it is published: all rows, all contenders, in rounds; then tables and charts.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`rows`] | what is measured, and what is read from that |
//! | [`results`] | every round's figures, kept after each step; medians and ratios |
//! | [`ratio`] | who is ahead of whom, as far as the spread lets tell |
//! | [`setting`] | the machine, the versions |
//! | [`markdown`], [`svg`], [`overview`] | the pages: tables; bars; all rows in one picture |
//!
//! A round goes through all rows, and in each row all contenders take turns, so that whatever changes on the machine within
//! the half-hour hits all of them. Who fails or hangs is noted.

mod markdown;
mod overview;
mod ratio;
mod results;
mod rows;
mod setting;
mod svg;

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use annulet_benches::turns;

use self::results::{Results, Turn};
use self::rows::{Asked, Row};
use crate::contenders;
use crate::options::Scenario;
use crate::rounds::{Track, progress};
use crate::works::Place;

/// What is left out of what is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scope {
    /// Annulet, tokio and the floor, a fifth of a second each: less than three minutes.
    Quick,
    /// All there is, nine times a third of a second: less than half an hour.
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
        let (rounds, seconds, out) = match scope {
            Scope::Quick => (5, 0.2, "target/benchmarks"),
            Scope::Full => (9, 0.3, "docs/benchmarks"),
        };
        Options {
            scope,
            rounds,
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
            Asked::Part => rows::IN_PARTS.to_vec(),
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
    let rows: Vec<(&Row, Vec<&str>)> = options
        .rows()
        .into_iter()
        .map(|row| (row, options.contenders(row)))
        .collect();
    // On going on: as it was begun.
    let seconds = results.seconds;
    let laps = |row: &Row| scenario(row, seconds).map_or(turns::LAPS, |scenario| scenario.laps().0);
    let steps: usize = rows
        .iter()
        .map(|(row, names)| names.len() * laps(row) as usize)
        .sum();
    let bar = progress(steps * options.rounds);
    for round in 0..options.rounds {
        for (row, names) in &rows {
            let turn = |name: &str| {
                bar.set_message(format!("round {}: {}, {name}", round + 1, row.name));
                bar.inc(1);
            };
            let mut names = names.clone();
            // Another one begins in each round.
            let first = round % names.len().max(1);
            names.rotate_left(first);
            for name in &names {
                results.pass_over(row.name, name, round);
            }
            names.retain(|name| {
                let column = results.column(row.name, name);
                column.is_some_and(|column| column.turns.len() <= round)
            });
            let done = match scenario(row, seconds) {
                Some(scenario) => in_turns(&mut track, &scenario, &names, turn),
                None => a_part(row, &names, turn),
            };
            for (name, turn) in names.iter().zip(done) {
                if let Some(column) = results.column(row.name, name) {
                    column.turns.push(turn);
                }
            }
            results.save(path)?;
        }
        // What there is can be looked at meanwhile.
        draw(results, &options.out)?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// What is asked in a row, unless it is a part.
fn scenario(row: &Row, seconds: f64) -> Option<Scenario> {
    let Asked::Scenario { workload, adjust } = row.asked else {
        return None;
    };
    let mut scenario = Scenario::of(rows::workload(workload)?);
    scenario.seconds = seconds;
    adjust(&mut scenario);
    Some(scenario)
}

fn in_turns(
    track: &mut Track,
    scenario: &Scenario,
    names: &[&str],
    turn: impl Fn(&str),
) -> Vec<Turn> {
    let contenders: Vec<_> = names
        .iter()
        .filter_map(|name| contenders::named(name).ok())
        .collect();
    let measured = track.measure(scenario, &contenders, |contender| turn(contender.name));
    let turns = measured.into_iter().map(|m| m.map(Turn::Measured));
    turns
        .map(|turn| turn.unwrap_or_else(|error| Turn::failed(&*error)))
        .collect()
}

/// By the program `parts`, which is built beside this one.
fn a_part(row: &Row, names: &[&str], turn: impl Fn(&str)) -> Vec<Turn> {
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.with_file_name("parts");
    let asked = turns::ask_for_a_part(&program, row.name, names, turn);
    let told = asked.into_iter().map(|laps| laps.map(Turn::Part));
    told.map(|turn| turn.unwrap_or_else(|error| Turn::failed(&*error)))
        .collect()
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
