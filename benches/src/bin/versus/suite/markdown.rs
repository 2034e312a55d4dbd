//! The page `README.md` in `docs/benchmarks/`, and what is printed.

use std::fmt::Write;

use super::ratio::{Ratio, Verdict};
use super::results::{Ranking, Results, Standing};
use super::rows::{self, Aim, Figure};
use super::svg::amount;
use crate::contenders;

pub(super) fn page(results: &Results) -> String {
    let setting = &results.setting;
    let mut page = format!(
        "# Benchmarks

Written by `versus --suite`; do not edit. {date}, on a {machine}.

{versions}.

![What it costs, as a multiple of the floor](overview.svg)

**How.** In each of {rounds} rounds all contenders of a row are started afresh, and measured for {seconds} s each, a tenth
of a second at a time in turn, so that whatever else the machine does hits all of them (parts: five times 30 ms). A ratio is
taken between laps of the same turn, their median is the round's; given is the median of the rounds and, in brackets,
between which of them the true one lies with more than nine chances in ten. Annulet is *ahead* of another, or *behind* it,
where these brackets leave out 1; else the two are *level*. Figures by themselves are medians of the rounds, with the
least and the most.

Ratios are to what the same work costs by hand: to the better of the loops over io_uring, or to tokio where there is no
such loop. Buffers of 64 KiB and more begin with a page, everyone's: what a copy costs depends on where they lie, which would
otherwise be the allocator's doing. A contender that fails or hangs is told of beneath its table. Every figure of every lap is in
[results.json](results.json).

To measure again, on a machine that does nothing else:

```sh
cargo build --release -p annulet-benches --features peers --bins
target/release/versus --suite full
```

With `--suite quick` it takes three minutes, and compares Annulet with tokio only.

## At a glance

{summary}",
        date = setting.date,
        machine = setting.machine(),
        versions = results.versions().join(", "),
        rounds = results.rounds,
        seconds = results.seconds,
        summary = summary(results),
    );
    for section in rows::SECTIONS {
        let rankings = results.rankings(section.name);
        if rankings.is_empty() {
            continue;
        }
        let (title, name, about) = (section.title, section.name, section.about);
        write!(page, "\n## {title}\n\n{about}\n\n![{title}]({name}.svg)\n")
            .expect("a string takes all");
        for ranking in rankings.iter().filter(|ranking| ranking.is_first) {
            page += &table(ranking);
        }
    }
    page += &set_up(results);
    page
}

/// A row a view: where Annulet stands.
pub(super) fn summary(results: &Results) -> String {
    let header = [
        "",
        "floor",
        "Annulet",
        "to the floor",
        "best other runtime",
        "Annulet to it",
        "aim",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for section in rows::SECTIONS {
        for ranking in results.rankings(section.name) {
            rows.extend(glance(&ranking));
        }
    }
    aligned(&rows)
}

fn glance(ranking: &Ranking<'_>) -> Option<Vec<String>> {
    let unit = ranking.view.unit;
    let ours = ranking.ours()?;
    let figure = |standing: &Standing<'_>| {
        let median = standing.figure.map(|figure| figure.median);
        median.map_or(String::new(), |median| format!("{} {unit}", amount(median)))
    };
    let floor = ranking.floor();
    Some(vec![
        ranking.view.name.to_owned(),
        floor.map_or("-".into(), figure),
        figure(ours),
        floor.and(ours.ratio).map_or("-".into(), ratio),
        ranking
            .best_peer()
            .map_or("-".into(), |peer| format!("{} {}", figure(peer), peer.name)),
        ranking
            .best_peer()
            .and_then(|peer| peer.ours)
            .map_or("-".into(), ratio),
        aims(ranking),
    ])
}

fn ratio(ratio: Ratio) -> String {
    format!(
        "{:.2} ({:.2} to {:.2})",
        ratio.median, ratio.low, ratio.high
    )
}

/// What was aimed at, and whether it is met.
fn aims(ranking: &Ranking<'_>) -> String {
    let told: Vec<String> = ranking
        .view
        .aims
        .iter()
        .map(|aim| told(ranking, *aim))
        .collect();
    told.join("; ")
}

fn told(ranking: &Ranking<'_>, aim: Aim) -> String {
    let ours = ranking.ours();
    let (aim, is_met) = match aim {
        Aim::Floor(most) => (
            format!("≤ {most:.2}×"),
            ranking
                .floor()
                .and(ours)
                .and_then(|ours| Some(ours.ratio?.median <= most)),
        ),
        Aim::Figure(most) => (
            format!("≤ {} {}", amount(most), ranking.view.unit),
            ours.and_then(|ours| Some(ours.figure?.median <= most)),
        ),
        Aim::Peers => return among_others(ranking),
    };
    match is_met {
        Some(true) => format!("{aim}: met"),
        Some(false) => format!("{aim}: **missed**"),
        None => aim,
    }
}

/// Behind whom, else level with whom, else ahead of all.
fn among_others(ranking: &Ranking<'_>) -> String {
    let [ahead, level, behind] =
        [Verdict::Ahead, Verdict::Level, Verdict::Behind].map(|verdict| ranking.peers_to(verdict));
    if !behind.is_empty() {
        format!("**behind** {}", behind.join(", "))
    } else if !level.is_empty() {
        format!("level with {}", shortened(&level))
    } else if !ahead.is_empty() {
        "ahead of others".to_owned()
    } else {
        "to be ahead of others".to_owned()
    }
}

/// The first of them, who are the closest; the table beneath names all.
fn shortened(names: &[&str]) -> String {
    match names {
        [first, second, others @ ..] if others.len() > 1 => {
            format!("{first}, {second} and {} others", others.len())
        }
        few => few.join(", "),
    }
}

/// All that was measured in a row.
fn table(ranking: &Ranking<'_>) -> String {
    let view = ranking.view;
    let mut rows = vec![vec![
        String::new(),
        format!("median, {}", view.unit),
        "least to most".to_owned(),
        format!("to {}", ranking.reference.unwrap_or("-")),
        "Annulet to it".to_owned(),
    ]];
    let mut failures = String::new();
    for standing in &ranking.standings {
        if let Some(failed) = standing.failed {
            let (name, times) = (standing.name, standing.failures);
            failures += &format!("\n`{name}` failed in {times} of the rounds: {failed}.\n");
        }
        let Some(figure) = standing.figure else {
            continue;
        };
        rows.push(vec![
            standing.name.to_owned(),
            amount(figure.median),
            format!("{} to {}", amount(figure.min), amount(figure.max)),
            standing.ratio.map_or("-".into(), ratio),
            beside_ours(ranking, standing),
        ]);
    }
    for (name, beside) in BESIDE {
        let cells: Vec<Option<f64>> = ranking
            .standings
            .iter()
            .filter(|standing| standing.figure.is_some())
            .map(|standing| standing.median(beside).filter(|figure| *figure > 0.0))
            .collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        rows[0].push((*name).to_owned());
        for (row, cell) in rows[1..].iter_mut().zip(cells) {
            row.push(cell.map_or("-".into(), amount));
        }
    }
    format!("\n### {}\n\n{}{failures}", view.title, aligned(&rows))
}

fn beside_ours(ranking: &Ranking<'_>, other: &Standing<'_>) -> String {
    let Some(ours) = other.ours else {
        return "-".to_owned();
    };
    let verdict = match ranking.verdict(other) {
        Some(Verdict::Ahead) => " ahead",
        Some(Verdict::Level) => " level",
        Some(Verdict::Behind) => " behind",
        None => "",
    };
    ratio(ours) + verdict
}

/// What is told beside the figure that counts.
const BESIDE: [(&str, Figure); 5] = [
    ("a second", |measure| {
        // Of idle connections there is none.
        let of_requests = measure.bytes_per_connection.is_none();
        rows::per_second(measure).filter(|_| of_requests)
    }),
    ("p50, µs", |measure| Some(measure.p50_ns as f64 / 1e3)),
    ("p99, µs", |measure| Some(measure.p99_ns as f64 / 1e3)),
    ("p99.9, µs", |measure| Some(measure.p999_ns as f64 / 1e3)),
    ("system calls", |measure| measure.system_calls),
];

/// A table whose columns are aligned for those, too, who read it as it is; figures to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0).max(3)
    };
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            text += &if column == 0 {
                format!("| {cell:<width$} ")
            } else {
                format!("| {cell:>width$} ")
            };
        }
        text += "|\n";
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let (line, end) = ("-".repeat(width - 1), if column == 0 { "-" } else { ":" });
                text += &format!("| {line}{end} ");
            }
            text += "|\n";
        }
    }
    text
}

/// What was set, for whom.
fn set_up(results: &Results) -> String {
    let mut text = "\n## Who was compared\n\n".to_owned();
    for name in results.contenders() {
        let about = contenders::named(name).map_or("", |contender| contender.about);
        let version = results.setting.version(name).unwrap_or_default();
        let colon = if about.is_empty() { "" } else { ": " };
        writeln!(text, "- `{name}`{colon}{about} ({version})").expect("a string takes all");
    }
    text
}

impl Results {
    /// Of those who took part.
    pub(super) fn versions(&self) -> Vec<String> {
        let mut versions = Vec::new();
        for name in self.contenders() {
            if let Some(version) = self.setting.version(name)
                && !versions.contains(&version)
            {
                versions.push(version);
            }
        }
        versions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_names_are_left_out_than_it_takes_words_to_say_so() {
        assert_eq!(shortened(&["a"]), "a");
        assert_eq!(shortened(&["a", "b", "c"]), "a, b, c");
        assert_eq!(shortened(&["a", "b", "c", "d"]), "a, b and 2 others");
    }
}
