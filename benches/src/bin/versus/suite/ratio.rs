//! One contender's figures as multiples of another's of the same rounds, and what may be said from them.

use std::cmp::Ordering;

use crate::report::Spread;

/// The median of the rounds, and between which of them the true median lies with more than nine chances in ten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// There are enough rounds for that; else these are the least and the most.
    is_sure: bool,
}

/// How one stands to another, as far as the spread lets tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Ahead,
    /// It could be either.
    Level,
    Behind,
}

impl Ratio {
    pub(super) fn of(rounds: impl Iterator<Item = f64>) -> Option<Ratio> {
        let mut rounds: Vec<f64> = rounds.collect();
        rounds.sort_by(f64::total_cmp);
        let median = Spread::of(rounds.iter().copied())?.median;
        let left_out = left_out(rounds.len());
        let from = left_out.unwrap_or(0);
        Some(Ratio {
            median,
            low: rounds[from],
            high: rounds[rounds.len() - 1 - from],
            is_sure: left_out.is_some(),
        })
    }

    /// None: too few rounds.
    pub(super) fn verdict(&self, more_is_better: bool) -> Option<Verdict> {
        let side = if self.low > 1.0 {
            Ordering::Greater
        } else if self.high < 1.0 {
            Ordering::Less
        } else {
            Ordering::Equal
        };
        let verdict = match side {
            Ordering::Equal => Verdict::Level,
            side if (side == Ordering::Greater) == more_is_better => Verdict::Ahead,
            _ => Verdict::Behind,
        };
        self.is_sure.then_some(verdict)
    }
}

/// How many of so many rounds may be left out at each end, so that the median is between the others with more than nine
/// chances in ten: each round is as likely to be above the true median as below, whatever disturbs it.
fn left_out(rounds: usize) -> Option<usize> {
    let all = 2_f64.powi(i32::try_from(rounds).ok()?);
    let mut outside = 0.0;
    let mut ways = 1.0;
    let mut left_out = None;
    for at in 0..rounds {
        // So many rounds on one side, or on the other.
        outside += 2.0 * ways / all;
        if outside >= 0.1 {
            break;
        }
        left_out = Some(at);
        ways *= (rounds - at) as f64 / (at + 1) as f64;
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(rounds: &[f64]) -> Ratio {
        Ratio::of(rounds.iter().copied()).unwrap()
    }

    #[test]
    fn so_many_rounds_may_be_left_out_that_nine_chances_in_ten_are_left() {
        let expected = [
            (0, None),
            (4, None),
            (5, Some(0)),
            (7, Some(0)),
            (8, Some(1)),
            (9, Some(1)),
            (11, Some(2)),
        ];
        for (rounds, left) in expected {
            assert_eq!(left_out(rounds), left, "{rounds}");
        }
    }

    #[test]
    fn who_is_ahead_is_said_only_if_the_spread_leaves_out_one() {
        // One round of nine may say otherwise, two may not.
        let less = [0.9, 0.9, 0.9, 0.9, 0.95, 0.97, 0.98, 0.99, 1.5];
        assert_eq!(ratio(&less).verdict(false), Some(Verdict::Ahead));
        assert_eq!(ratio(&less).verdict(true), Some(Verdict::Behind));
        let level = [0.9, 0.9, 0.9, 0.9, 0.95, 0.97, 0.98, 1.01, 1.5];
        assert_eq!(ratio(&level).verdict(false), Some(Verdict::Level));
        let more = less.map(f64::recip);
        assert_eq!(ratio(&more).verdict(false), Some(Verdict::Behind));
        assert_eq!(ratio(&more).verdict(true), Some(Verdict::Ahead));
        assert_eq!(ratio(&[0.5; 4]).verdict(false), None);
        assert_eq!(Ratio::of(std::iter::empty()), None);
    }
}
