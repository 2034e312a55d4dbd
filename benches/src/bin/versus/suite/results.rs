//! Every round's figures, and what follows from them.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::to_string;

use super::Options;
use super::ratio::{Ratio, Verdict};
use super::rows::{self, Row, View};
use super::setting::Setting;
use crate::meter::Measure;
use crate::report::{Spread, ratio_by_lap};

/// What `results.json` has.
#[derive(Serialize, Deserialize)]
pub(crate) struct Results {
    pub(super) setting: Setting,
    pub(super) rounds: usize,
    pub(super) seconds: f64,
    rows: Vec<RowResults>,
}

#[derive(Serialize, Deserialize)]
struct RowResults {
    name: String,
    contenders: Vec<Column>,
}

/// One contender in one row.
#[derive(Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    /// A round each.
    pub(super) turns: Vec<Turn>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Turn {
    Failed {
        failed: String,
    },
    Measured(Measure),
    /// What a part costs, by the lap; empty: the contender has no such part.
    Part(Vec<f64>),
}

impl Turn {
    pub(super) fn failed(error: &dyn Error) -> Turn {
        Turn::Failed {
            failed: error.to_string(),
        }
    }

    /// A figure as a multiple of the other's of the same round.
    fn to(&self, other: &Turn, view: &View) -> Option<f64> {
        match (self, other) {
            (Turn::Measured(ours), Turn::Measured(theirs)) => ours.to(theirs, view.figure),
            (Turn::Part(ours), Turn::Part(theirs)) => ratio_by_lap(ours, theirs),
            _ => None,
        }
    }

    fn figure(&self, view: &View) -> Option<f64> {
        match self {
            Turn::Failed { .. } => None,
            Turn::Measured(measure) => (view.figure)(measure),
            Turn::Part(laps) => Spread::of(laps.iter().copied()).map(|spread| spread.median),
        }
    }
}

/// One contender's figures in one view.
pub(super) struct Standing<'a> {
    pub(super) name: &'a str,
    /// None: not one round gave a figure; then [`failed`](Standing::failed) may tell why.
    pub(super) figure: Option<Spread>,
    /// To the reference's in the same rounds.
    pub(super) ratio: Option<Ratio>,
    /// Annulet's to it; none for Annulet itself.
    pub(super) ours: Option<Ratio>,
    pub(super) failed: Option<&'a str>,
    /// In how many rounds.
    pub(super) failures: usize,
    column: &'a Column,
}

impl Standing<'_> {
    /// The median of something else that was measured in the same rounds.
    pub(super) fn median(&self, figure: impl Fn(&Measure) -> Option<f64>) -> Option<f64> {
        let measures = self.column.turns.iter().filter_map(|turn| match turn {
            Turn::Measured(measure) => figure(measure),
            _ => None,
        });
        Spread::of(measures).map(|spread| spread.median)
    }
}

/// One view: the contenders in it, best first, and whom they are compared with.
pub(super) struct Ranking<'a> {
    pub(super) view: &'static View,
    /// The row's main one.
    pub(super) is_first: bool,
    pub(super) standings: Vec<Standing<'a>>,
    pub(super) reference: Option<&'a str>,
}

impl Results {
    pub(super) fn empty(options: &Options) -> io::Result<Results> {
        Ok(Results {
            setting: Setting::here(&options.place.dir)?,
            rounds: options.rounds,
            seconds: options.seconds,
            rows: Vec::new(),
        })
    }

    pub(super) fn load(path: &Path) -> Result<Results, Box<dyn Error>> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Whether it was measured here, and with what this program was built from: else nothing may be added to it.
    pub(super) fn is_of(&self, options: &Options) -> io::Result<bool> {
        Ok(self.setting.is_like(&Setting::here(&options.place.dir)?))
    }

    /// All of it or nothing: it may be interrupted.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("json.new");
        fs::write(&new, self.json()?)?;
        fs::rename(new, path)
    }

    /// A line a contender in a row.
    fn json(&self) -> serde_json::Result<String> {
        let mut rows = Vec::new();
        for row in &self.rows {
            let columns: Result<Vec<_>, _> = row.contenders.iter().map(to_string).collect();
            let (name, columns) = (to_string(&row.name)?, columns?.join(",\n"));
            rows.push(format!(
                "{{\"name\":{name},\"contenders\":[\n{columns}\n]}}"
            ));
        }
        Ok(format!(
            "{{\"setting\":{},\n\"rounds\":{},\n\"seconds\":{},\n\"rows\":[\n{}\n]}}\n",
            to_string(&self.setting)?,
            self.rounds,
            self.seconds,
            rows.join(",\n")
        ))
    }

    /// For all that the options ask for. What is there already stays.
    pub(super) fn make_room(&mut self, options: &Options) {
        self.rounds = self.rounds.max(options.rounds);
        for row in options.rows() {
            if !self.rows.iter().any(|known| known.name == row.name) {
                self.rows.push(RowResults {
                    name: row.name.to_owned(),
                    contenders: Vec::new(),
                });
            }
            for name in options.contenders(row) {
                if self.column(row.name, name).is_none()
                    && let Some(known) = self.rows.iter_mut().find(|known| known.name == row.name)
                {
                    known.contenders.push(Column {
                        name: name.to_owned(),
                        turns: Vec::new(),
                    });
                }
            }
        }
    }

    pub(super) fn column(&mut self, row: &str, name: &str) -> Option<&mut Column> {
        let row = self.rows.iter_mut().find(|known| known.name == row)?;
        row.contenders.iter_mut().find(|column| column.name == name)
    }

    /// Whoever failed twice running is not tried again: its round is a failure, too.
    pub(super) fn pass_over(&mut self, row: &str, name: &str, round: usize) {
        let Some(column) = self.column(row, name) else {
            return;
        };
        if let [.., Turn::Failed { .. }, Turn::Failed { failed }] = &column.turns[..]
            && column.turns.len() <= round
        {
            let failed = failed.clone();
            column.turns.push(Turn::Failed { failed });
        }
    }

    /// Names of all who took part in anything.
    pub(super) fn contenders(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for column in self.rows.iter().flat_map(|row| &row.contenders) {
            if !names.contains(&&*column.name) {
                names.push(&column.name);
            }
        }
        names
    }

    /// The rankings of a section, in the order of its rows.
    pub(super) fn rankings(&self, section: &str) -> Vec<Ranking<'_>> {
        rows::ALL
            .iter()
            .filter(|row| row.section == section)
            .flat_map(|row| row.views.iter().map(move |view| (row, view)))
            .filter_map(|(row, view)| self.ranking(row, view))
            .collect()
    }

    fn ranking(&self, row: &'static Row, view: &'static View) -> Option<Ranking<'_>> {
        let columns = &self
            .rows
            .iter()
            .find(|known| known.name == row.name)?
            .contenders;
        let named = |name: &str| columns.iter().find(|column| column.name == name);
        let measured = |column: &&Column| column.figure(view).is_some();
        let floors = || {
            let floors = columns.iter().filter(|c| rows::is_floor(&c.name));
            floors.filter(measured)
        };
        let to_first = |column: &Column| {
            let ratio = floors().next().and_then(|first| column.to(first, view));
            ratio.map_or(f64::NAN, |ratio| ratio.median)
        };
        let floor = floors().min_by(|a, b| view.compare(to_first(a), to_first(b)));
        let reference = floor.or_else(|| named(rows::FAMILIAR).filter(measured));
        let ours = named(rows::OURS).filter(measured);
        let mut standings: Vec<Standing<'_>> = columns
            .iter()
            .map(|column| standing(view, column, reference, ours))
            .filter(|standing| standing.figure.is_some() || standing.failed.is_some())
            .collect();
        let place = |standing: &Standing<'_>| match reference {
            Some(_) => standing.ratio.map_or(f64::NAN, |ratio| ratio.median),
            None => standing.figure.map_or(f64::NAN, |figure| figure.median),
        };
        standings.sort_by(|a, b| view.compare(place(a), place(b)));
        let reference = reference.map(|column| &*column.name);
        (!standings.is_empty()).then_some(Ranking {
            view,
            is_first: std::ptr::eq(view, &row.views[0]),
            standings,
            reference,
        })
    }
}

impl Column {
    fn figure(&self, view: &View) -> Option<Spread> {
        Spread::of(self.turns.iter().filter_map(|turn| turn.figure(view)))
    }

    /// Its figures as multiples of another's.
    fn to(&self, other: &Column, view: &View) -> Option<Ratio> {
        let rounds = self.turns.iter().zip(&other.turns);
        Ratio::of(rounds.filter_map(|(ours, theirs)| ours.to(theirs, view)))
    }
}

fn standing<'a>(
    view: &View,
    column: &'a Column,
    reference: Option<&Column>,
    ours: Option<&Column>,
) -> Standing<'a> {
    let failures = column.turns.iter().rev().filter_map(|turn| match turn {
        Turn::Failed { failed } => Some(&**failed),
        _ => None,
    });
    Standing {
        name: &column.name,
        figure: column.figure(view),
        ratio: reference.and_then(|reference| column.to(reference, view)),
        ours: ours
            .filter(|ours| ours.name != column.name)
            .and_then(|ours| ours.to(column, view)),
        failed: failures.clone().next(),
        failures: failures.count(),
        column,
    }
}

impl<'a> Ranking<'a> {
    fn of(&self, name: &str) -> Option<&Standing<'a>> {
        self.standings.iter().find(|standing| standing.name == name)
    }

    /// What the same costs by hand.
    pub(super) fn floor(&self) -> Option<&Standing<'a>> {
        self.of(self.reference.filter(|name| rows::is_by_hand(name))?)
    }

    fn peers(&self) -> impl Iterator<Item = &Standing<'a>> {
        self.standings.iter().filter(|s| rows::is_peer(s.name))
    }

    /// The other runtime that does best beside Annulet.
    pub(super) fn best_peer(&self) -> Option<&Standing<'a>> {
        let ratios = self.peers().filter_map(|peer| Some((peer.ours?, peer)));
        let best = ratios.max_by(|a, b| self.view.compare(a.0.median, b.0.median));
        Some(best?.1)
    }

    /// The other runtimes that Annulet stands so to.
    pub(super) fn peers_to(&self, verdict: Verdict) -> Vec<&'a str> {
        let stands = |peer: &&Standing<'_>| self.verdict(peer) == Some(verdict);
        self.peers().filter(stands).map(|peer| peer.name).collect()
    }

    /// How Annulet stands to another.
    pub(super) fn verdict(&self, other: &Standing<'_>) -> Option<Verdict> {
        other.ours?.verdict(self.view.more_is_better)
    }

    /// Annulet, with its defaults.
    pub(super) fn ours(&self) -> Option<&Standing<'a>> {
        self.of(rows::OURS)
            .filter(|standing| standing.figure.is_some())
    }
}
