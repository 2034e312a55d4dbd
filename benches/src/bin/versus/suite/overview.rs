//! All rows in one picture: what each runtime costs as a multiple of the floor, a line a row.

use super::results::{Ranking, Results};
use super::rows;
use super::svg::{Anchor, Canvas, amount, class};

const LEFT: f64 = 24.0;
const NAMES: f64 = 196.0;
const FROM: f64 = 232.0;
const TO: f64 = 900.0;
const LINE: f64 = 22.0;
/// Multiples from and up to which dots are drawn; what is beyond sits at the edge.
const LEAST: f64 = 0.25;
const MOST: f64 = 8.0;

/// On a logarithmic scale: twice is as far as half.
fn place(ratio: f64) -> f64 {
    let ratio = ratio.clamp(LEAST, MOST);
    FROM + (ratio / LEAST).ln() / (MOST / LEAST).ln() * (TO - FROM)
}

pub(super) fn chart(results: &Results) -> String {
    let mut canvas = Canvas::new();
    let title = "What it costs, as a multiple of the floor";
    canvas.text(LEFT, 34.0, "head ink", Anchor::Start, title);
    legend(&mut canvas);
    let mut y = 82.0;
    for section in rows::SECTIONS {
        let mut rankings = results.rankings(section.name);
        // Dots further left are better, so rates have no place here.
        rankings.retain(|ranking| !ranking.view.more_is_better && ranking.reference.is_some());
        if rankings.is_empty() {
            continue;
        }
        canvas.text(LEFT, y + 14.0, "title ink", Anchor::Start, section.title);
        let top = y;
        y += LINE;
        let end = y + LINE * rankings.len() as f64;
        for ratio in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0] {
            let class = if ratio == 1.0 { "whisker" } else { "rule" };
            canvas.line((place(ratio), top + 18.0), (place(ratio), end), class);
            let told = format!("{ratio}×");
            canvas.text(
                place(ratio),
                top + 14.0,
                "muted small",
                Anchor::Middle,
                &told,
            );
        }
        for ranking in &rankings {
            row(&mut canvas, y, ranking);
            y += LINE;
        }
        y += 16.0;
    }
    canvas.finish(y + 6.0, title, results)
}

fn legend(canvas: &mut Canvas) {
    let entries = [
        ("ours", "Annulet"),
        ("peer", "other runtimes"),
        (
            "hand",
            "by hand: the best of io_uring's is 1×; tokio where there is none",
        ),
    ];
    let mut x = LEFT + 6.0;
    for (class, told) in entries {
        canvas.dot(x, 56.0, 5.0, class, told);
        canvas.text(x + 10.0, 60.0, "muted", Anchor::Start, told);
        x += 40.0 + told.len() as f64 * 6.2;
    }
}

fn row(canvas: &mut Canvas, y: f64, ranking: &Ranking<'_>) {
    let middle = y + LINE / 2.0;
    canvas.text(
        NAMES + 24.0,
        middle + 4.0,
        "ink",
        Anchor::End,
        ranking.view.name,
    );
    // Ours last, and so on top.
    let mut standings: Vec<_> = ranking.standings.iter().collect();
    standings.sort_by_key(|standing| standing.name == rows::OURS);
    for standing in standings {
        let (Some(ratio), Some(figure)) = (standing.ratio, standing.figure) else {
            continue;
        };
        let is_ours = standing.name == rows::OURS;
        let told = format!(
            "{}: {} {}, {}×",
            standing.name,
            amount(figure.median),
            ranking.view.unit,
            amount(ratio.median)
        );
        let radius = if is_ours { 6.0 } else { 4.5 };
        canvas.dot(
            place(ratio.median),
            middle,
            radius,
            class(standing.name),
            &told,
        );
        if is_ours {
            let told = format!("{}×", amount(ratio.median));
            canvas.text(976.0, middle + 4.0, "title ours", Anchor::End, &told);
        }
    }
}
