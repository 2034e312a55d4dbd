//! The table, and the JSON.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;

use crate::{Figures, Options};

/// A row a part, a column a contender: the median of its rounds, and the median of its ratios to the first one's in the same
/// turns.
pub(crate) fn print(options: &Options, figures: &Figures) {
    println!(
        "CPU time, medians of {} rounds; in brackets the ratio to {} in the same turns",
        options.rounds, options.contenders[0].name
    );
    let mut head = vec![String::new(), "unit".to_owned()];
    head.extend(
        options
            .contenders
            .iter()
            .map(|contender| contender.name.to_owned()),
    );
    let mut lines = vec![head];
    for (row, figures) in options.rows.iter().zip(figures) {
        let mut line = vec![row.name.to_owned(), row.unit.to_owned()];
        line.extend(figures.iter().map(|rounds| cell(rounds, &figures[0])));
        lines.push(line);
    }
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate();
        let text: Vec<String> = cells
            .map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        println!("{}", text.join("  ").trim_end());
    }
}

fn cell(rounds: &[Vec<f64>], first: &[Vec<f64>]) -> String {
    let figures = rounds
        .iter()
        .filter_map(|laps| median(laps.iter().copied()));
    let Some(figure) = median(figures) else {
        return "-".to_owned();
    };
    let ratios = rounds.iter().zip(first).filter_map(|(laps, first)| {
        let laps = laps.iter().zip(first);
        median(laps.map(|(figure, first)| figure / first))
    });
    match median(ratios) {
        Some(ratio) => format!("{figure:.1} ({ratio:.2})"),
        None => format!("{figure:.1}"),
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(figures[middle]),
        _ => Some((figures[middle - 1] + figures[middle]) / 2.0),
    }
}

pub(crate) fn write_json(path: &Path, options: &Options, figures: &Figures) -> io::Result<()> {
    let rows: Vec<_> = options
        .rows
        .iter()
        .zip(figures)
        .map(|(row, figures)| {
            let by_contender: serde_json::Map<_, _> = options
                .contenders
                .iter()
                .zip(figures)
                .map(|(contender, rounds)| (contender.name.to_owned(), json!(rounds)))
                .collect();
            json!({ "row": row.name, "about": row.about, "unit": row.unit, "rounds": by_contender })
        })
        .collect();
    fs::write(
        path,
        serde_json::to_string_pretty(&json!({ "rows": rows }))? + "\n",
    )
}
