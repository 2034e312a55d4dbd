//! The table, and the JSON.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;

use crate::calls::Calls;
use crate::contenders::FLOORS;
use crate::meter::Measure;
use crate::options::Options;
use crate::rounds::Outcome;
use crate::workloads::Kind;

/// The middle of some figures, and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            (figures[middle - 1] + figures[middle]) / 2.0
        };
        Some(Spread { median, min, max })
    }
}

/// The median of one's figures as multiples of another's in the same turns.
pub(crate) fn ratio_by_lap(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    let laps = ours.iter().zip(theirs);
    Spread::of(laps.map(|(ours, theirs)| ours / theirs)).map(|spread| spread.median)
}

impl Measure {
    fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    fn cpu_us_per_request(&self) -> f64 {
        self.cpu_ns as f64 / self.requests as f64 / 1e3
    }
}

const HEADER: [&str; 10] = [
    "contender",
    "requests/s",
    "CPU/request",
    "in user",
    "p50",
    "p99",
    "p99.9",
    "to the floor",
    "calls",
    "preempted",
];

pub(crate) fn print(options: &Options, outcome: &Outcome) {
    let scenario = &options.scenario;
    let (asked, cores) = match (&scenario.workload.kind, outcome.cores) {
        (Kind::Alone(_), cores) => (
            format!("{} at a time", scenario.depth),
            cores.map(|(core, _)| format!("; on core {core}")),
        ),
        (Kind::Served { .. }, Some((server, load))) => (
            format!("{} connections", scenario.connections),
            Some(format!("; server on core {server}, load on core {load}")),
        ),
        (Kind::Served { .. }, None) => (
            format!("{} connections", scenario.connections),
            Some("; server and load share what cores there are".to_owned()),
        ),
    };
    println!(
        "{}: {asked} x {} bytes; median of {} rounds of {} s{}",
        scenario.workload.name,
        scenario.size,
        options.rounds,
        scenario.seconds,
        cores.unwrap_or_default(),
    );
    let mut rows = vec![HEADER.map(str::to_owned)];
    for (index, contender) in options.contenders.iter().enumerate() {
        rows.extend(row(contender.name, index, options, outcome));
    }
    let widths: Vec<usize> = (0..HEADER.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in &rows {
        let (name, figures) = (&row[0], row[1..].iter().zip(&widths[1..]));
        let figures: String = figures
            .map(|(cell, width)| format!("  {cell:>width$}"))
            .collect();
        println!("{name:<width$}{figures}", width = widths[0]);
    }
    for (contender, measures) in options.contenders.iter().zip(&outcome.measures) {
        let bytes = measures
            .iter()
            .flatten()
            .filter_map(|m| m.bytes_per_connection);
        if let Some(bytes) = Spread::of(bytes) {
            println!("{}: {:.0} bytes a connection", contender.name, bytes.median);
        }
    }
    let mut measures = outcome.measures.iter().flatten().flatten();
    if matches!(scenario.workload.kind, Kind::Served { .. })
        && measures.all(|measure| measure.system_calls.is_none())
        && let Err(error) = Calls::of(std::process::id())
    {
        println!("system calls are not counted: {error}");
    }
    for failure in &outcome.failures {
        println!("failed: {failure}");
    }
}

fn row(name: &str, index: usize, options: &Options, outcome: &Outcome) -> Option<[String; 10]> {
    let of = |figure: fn(&Measure) -> f64| {
        Spread::of(outcome.measures[index].iter().flatten().map(figure)).map(|s| s.median)
    };
    let us = |figure: fn(&Measure) -> f64| of(figure).map(|ns| format!("{:.0} us", ns / 1e3));
    let preempted: u64 = outcome.measures[index]
        .iter()
        .flatten()
        .map(|m| m.preemptions)
        .sum();
    Some([
        name.to_owned(),
        format!("{:.0}", of(Measure::requests_per_second)?),
        format!("{:.3} us", of(Measure::cpu_us_per_request)?),
        format!("{:.0} %", of(|m| m.user_share * 100.0)?),
        us(|m| m.p50_ns as f64)?,
        us(|m| m.p99_ns as f64)?,
        us(|m| m.p999_ns as f64)?,
        ratio(index, options, outcome).map_or("-".to_owned(), |r| {
            format!("{:.3} ({:.3}-{:.3})", r.median, r.min, r.max)
        }),
        Spread::of(
            outcome.measures[index]
                .iter()
                .flatten()
                .filter_map(|m| m.system_calls),
        )
        .map_or("-".to_owned(), |calls| format!("{:.2}", calls.median)),
        preempted.to_string(),
    ])
}

/// The cheapest of the loops by hand, whose costs the others' are given as multiples of.
fn baseline(options: &Options, outcome: &Outcome) -> Option<usize> {
    let cost = |measure: &Measure| options.scenario.workload.cost(measure);
    let floors = options.contenders.iter().enumerate();
    let floors = floors.filter(|(_, contender)| FLOORS.contains(&contender.name));
    let costs = floors.filter_map(|(index, _)| {
        let spread = Spread::of(outcome.measures[index].iter().flatten().filter_map(cost))?;
        Some((index, spread.median))
    });
    let cheapest = costs.min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(cheapest.0)
}

/// What a request costs as a multiple of the baseline's in the same round.
fn ratio(index: usize, options: &Options, outcome: &Outcome) -> Option<Spread> {
    let baseline = baseline(options, outcome)?;
    let rounds = outcome.measures[index]
        .iter()
        .zip(&outcome.measures[baseline]);
    let cost = |measure: &Measure| options.scenario.workload.cost(measure);
    Spread::of(rounds.filter_map(|(ours, baseline)| ours.as_ref()?.to(baseline.as_ref()?, cost)))
}

pub(crate) fn write_json(path: &Path, options: &Options, outcome: &Outcome) -> io::Result<()> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let contenders = options.contenders.iter().zip(&outcome.measures);
    let contenders: Vec<_> = contenders
        .enumerate()
        .map(|(index, (contender, rounds))| {
            let ratio = ratio(index, options, outcome);
            json!({
                "name": contender.name,
                "rounds": rounds,
                "cost_to_baseline": ratio.map(|r| json!({ "median": r.median, "min": r.min, "max": r.max })),
            })
        })
        .collect();
    let all = json!({
        "kernel": kernel.trim(),
        "options": options,
        "baseline": baseline(options, outcome).map(|index| options.contenders[index].name),
        "cores": outcome.cores,
        "contenders": contenders,
        "failures": outcome.failures,
    });
    fs::write(path, format!("{all:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_between_the_extremes() {
        let of = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(
            of(&[3.0, 1.0, 2.0]),
            Some(Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(
            of(&[4.0, 1.0]),
            Some(Spread {
                median: 2.5,
                min: 1.0,
                max: 4.0
            })
        );
    }
}
