//! Bars, drawn as SVG: a chart a section, a panel a view in it.
//!
//! By hand, as no plotting library draws for light and dark pages alike: colours are classes, which a style sheet in the
//! picture resolves.

use std::fmt::Write;

use super::results::{Ranking, Results, Standing};
use super::rows;

/// Two panels side by side, and what is around them.
const WIDTH: f64 = 1000.0;
const MARGIN: f64 = 24.0;
const PANEL: f64 = 464.0;
/// In a panel: names to the left, bars, figures to the right.
const NAMES: f64 = 140.0;
const BARS: f64 = 190.0;
const LINE: f64 = 20.0;
const TITLE: f64 = 26.0;
const GAP: f64 = 26.0;

const STYLE: &str = "
.page{fill:#ffffff}.ink{fill:#1f2328}.muted{fill:#59636e}.ours{fill:#d9480f}.own{fill:#f0a07c}.peer{fill:#4c78a8}\
.hand{fill:#a7adb5}.rule{stroke:#d1d9e0}.whisker{stroke:#1f2328}
@media (prefers-color-scheme:dark){.page{fill:#0d1117}.ink{fill:#f0f6fc}.muted{fill:#9198a1}.ours{fill:#ff8a4c}\
.own{fill:#a35a35}.peer{fill:#6ea3d8}.hand{fill:#656c76}.rule{stroke:#3d444d}.whisker{stroke:#f0f6fc}}
text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}.title{font-size:13px;font-weight:600}\
.head{font-size:17px;font-weight:600}.small{font-size:11px}
";

/// What is drawn on.
pub(super) struct Canvas {
    body: String,
}

#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    pub(super) fn new() -> Canvas {
        Canvas {
            body: String::new(),
        }
    }

    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// `told` is shown to who points at it.
    pub(super) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str, told: &str) {
        let told = escaped(told);
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" class=\"{class}\">\
             <title>{told}</title></rect>"
        ));
    }

    pub(super) fn dot(&mut self, x: f64, y: f64, radius: f64, class: &str, told: &str) {
        let told = escaped(told);
        self.add(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" class=\"{class}\"><title>{told}</title></circle>"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string takes all");
    }

    /// The picture, with what it was measured on at its foot.
    pub(super) fn finish(mut self, height: f64, title: &str, results: &Results) -> String {
        let mut y = height + 10.0;
        for note in notes(results) {
            self.text(MARGIN, y, "muted small", Anchor::Start, &note);
            y += 15.0;
        }
        let (height, title, body) = (y + 8.0, escaped(title), self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" class=\"page\"/>\n{body}</svg>\n"
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Machine, date, versions: lines that fit.
fn notes(results: &Results) -> Vec<String> {
    let setting = &results.setting;
    let mut notes = vec![
        format!(
            "Medians of {} rounds, contenders in turn; whiskers: the least and the most. {}.",
            results.rounds, setting.date
        ),
        format!("A {}.", setting.machine()),
    ];
    let mut line = String::new();
    for version in results.versions() {
        if line.len() + version.len() > 150 {
            notes.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line += ", ";
        }
        line += &version;
    }
    notes.push(line);
    notes
}

/// All of a section's panels, the shorter column next.
pub(super) fn chart(
    results: &Results,
    section: &rows::Section,
    rankings: &[Ranking<'_>],
) -> String {
    let mut canvas = Canvas::new();
    canvas.text(MARGIN, 34.0, "head ink", Anchor::Start, section.title);
    let hint = "shorter bars are better, unless it is a rate";
    canvas.text(WIDTH - MARGIN, 34.0, "muted", Anchor::End, hint);
    let mut ends = [56.0, 56.0];
    for ranking in rankings {
        let column = usize::from(ends[1] < ends[0]);
        let x = MARGIN + column as f64 * (WIDTH - 2.0 * MARGIN - PANEL);
        ends[column] = panel(&mut canvas, x, ends[column], ranking) + GAP;
    }
    canvas.finish(ends[0].max(ends[1]), section.title, results)
}

/// Draws it from `y` on, and tells where it ends.
fn panel(canvas: &mut Canvas, x: f64, y: f64, ranking: &Ranking<'_>) -> f64 {
    canvas.text(x, y + 12.0, "title ink", Anchor::Start, ranking.view.title);
    let longest = longest(&ranking.standings);
    let from = x + NAMES;
    let mut y = y + TITLE;
    for standing in &ranking.standings {
        let middle = y + LINE / 2.0;
        let is_ours = standing.name == rows::OURS;
        let name = if is_ours { "title ink" } else { "ink" };
        canvas.text(from - 8.0, middle + 4.0, name, Anchor::End, standing.name);
        match standing.figure {
            Some(figure) => {
                let scale = |figure: f64| from + (figure / longest).min(1.0) * BARS;
                let end = scale(figure.median);
                let told = format!(
                    "{}: {} {unit}, of {} to {} {unit}",
                    standing.name,
                    amount(figure.median),
                    amount(figure.min),
                    amount(figure.max),
                    unit = ranking.view.unit
                );
                let class = class(standing.name);
                canvas.bar(
                    from,
                    y + 3.0,
                    (end - from).max(1.0),
                    LINE - 6.0,
                    class,
                    &told,
                );
                if figure.median > longest {
                    // The bar is longer than there is room for: cut through.
                    canvas.bar(end - 14.0, y + 1.0, 4.0, LINE - 2.0, "page", &told);
                }
                let (least, most) = (scale(figure.min), scale(figure.max));
                canvas.line((least, middle), (most, middle), "whisker");
                for at in [least, most] {
                    canvas.line((at, middle - 3.0), (at, middle + 3.0), "whisker");
                }
                let label = label(standing, ranking);
                canvas.text(
                    end.max(most) + 8.0,
                    middle + 4.0,
                    "ink",
                    Anchor::Start,
                    &label,
                );
            }
            None => canvas.text(from, middle + 4.0, "muted", Anchor::Start, "failed"),
        }
        y += LINE;
    }
    canvas.line(
        (from, y),
        (from, y - LINE * ranking.standings.len() as f64),
        "rule",
    );
    y
}

/// What the bars are scaled to. One that is far longer than most is cut, or the others could not be told apart.
fn longest(standings: &[Standing<'_>]) -> f64 {
    let figures = standings.iter().filter_map(|standing| standing.figure);
    let mut medians: Vec<f64> = figures.clone().map(|figure| figure.median).collect();
    medians.sort_by(f64::total_cmp);
    let middle = medians.get(medians.len() / 2).copied().unwrap_or(1.0);
    let most = figures.map(|figure| figure.max).fold(0.0, f64::max);
    most.min(middle * 4.0).max(f64::MIN_POSITIVE)
}

fn label(standing: &Standing<'_>, ranking: &Ranking<'_>) -> String {
    let figure = standing.figure.map_or(f64::NAN, |figure| figure.median);
    let mut label = format!("{} {}", amount(figure), ranking.view.unit);
    if let Some(ratio) = standing.ratio
        && ranking.reference != Some(standing.name)
    {
        label += &format!(" · {}×", amount(ratio.median));
    }
    label
}

pub(super) fn class(contender: &str) -> &'static str {
    match contender {
        rows::OURS => "ours",
        name if rows::is_by_hand(name) => "hand",
        name if rows::is_peer(name) => "peer",
        // Another way to use ours.
        _ => "own",
    }
}

/// Three digits, or all before the point.
pub(super) fn amount(figure: f64) -> String {
    if figure >= 999.5 {
        let whole = format!("{figure:.0}");
        let mut grouped = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    } else if figure >= 99.95 {
        format!("{figure:.0}")
    } else if figure >= 9.995 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_digits_or_more() {
        let figures = [0.704, 9.876, 9.996, 12.34, 234.4, 999.6, 1_234_567.0];
        let told = ["0.70", "9.88", "10.0", "12.3", "234", "1,000", "1,234,567"];
        assert_eq!(figures.map(amount), told);
    }

    #[test]
    fn what_is_said_is_no_markup() {
        assert_eq!(escaped("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }
}
