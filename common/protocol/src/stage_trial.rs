//! How well each of several feature stages suits a device's own rows, as counts.

use bincode::{Decode, Encode};

use crate::limits::ROWS_MAX;

/// What a device tells of candidate stages, as a peer may send it. Nothing is
/// known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawStageTrial {
    /// Rows that every candidate was judged on, by teachers that had not seen them.
    pub rows: u64,
    /// Of each candidate, the sum of its scores of those rows. The score of a row is
    /// 1 or 0, right or wrong; where numbers are asked for, it is what is left of 1 by
    /// the squared error as a share of the numbers' variance, 0 at least.
    pub scores: Vec<f32>,
    /// Of each candidate, the sum over the rows of the square of how much its score
    /// differs from the first one's: in classes, the rows on which one of both is
    /// right and the other wrong.
    pub differences: Vec<f32>,
}

/// A trial of as many candidates as there are, with sums that rows can have.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTrial(RawStageTrial);

/// Why a trial was refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum StageTrialError {
    /// Not a pair of sums for each candidate.
    #[error("expected scores of {expected} stages, got {scores} and {differences} differences")]
    Length {
        /// Candidates.
        expected: usize,
        /// Sums of scores.
        scores: usize,
        /// Sums of differences.
        differences: usize,
    },
    /// No rows, or more than a device can have.
    #[error("stages cannot be judged on {0} rows")]
    Rows(u64),
    /// Sums that no rows have.
    #[error("stage {candidate} cannot score {score} and differ by {difference} on {rows} rows")]
    Sums {
        /// Which.
        candidate: usize,
        /// Sum of its scores.
        score: f32,
        /// Sum of squared differences from the first.
        difference: f32,
        /// Rows.
        rows: u64,
    },
}

impl StageTrial {
    /// Holds a trial against the number of candidates.
    ///
    /// # Errors
    /// Sums of other candidates, or that no rows have.
    pub fn check(raw: RawStageTrial, candidates: usize) -> Result<Self, StageTrialError> {
        if raw.scores.len() != candidates || raw.differences.len() != candidates {
            return Err(StageTrialError::Length {
                expected: candidates,
                scores: raw.scores.len(),
                differences: raw.differences.len(),
            });
        }
        if raw.rows == 0 || raw.rows > ROWS_MAX {
            return Err(StageTrialError::Rows(raw.rows));
        }
        let rows = raw.rows as f64;
        let first = raw.scores.first().copied().unwrap_or_default();
        let pairs = raw.scores.iter().zip(&raw.differences).enumerate();
        for (candidate, (&score, &difference)) in pairs {
            let (sum, square) = (f64::from(score), f64::from(difference));
            let apart = (sum - f64::from(first)).abs();
            // Scores are from 0 to 1, so no square is above its difference.
            let within = |value: f64| (0.0..=rows * (1.0 + ROUNDING)).contains(&value);
            let least = apart * apart / rows;
            let fits = within(sum) && within(square) && square >= least - ROUNDING * rows;
            if !fits || (candidate == 0 && difference != 0.0) {
                return Err(StageTrialError::Sums {
                    candidate,
                    score,
                    difference,
                    rows: raw.rows,
                });
            }
        }
        Ok(Self(raw))
    }

    /// Rows that it was judged on.
    pub fn rows(&self) -> u64 {
        self.0.rows
    }

    /// Of each candidate, the sum of its scores.
    pub fn scores(&self) -> &[f32] {
        &self.0.scores
    }

    /// The candidate that these rows alone call better than the first, the best of
    /// several; the first if none is.
    pub fn best(&self) -> usize {
        let gain = |at: usize| f64::from(self.scores()[at] - self.scores()[0]);
        let chance = |at: usize| f64::from(self.differences()[at]).sqrt();
        let rows = self.rows() as f64;
        let missed = rows - f64::from(self.scores()[0]);
        let better =
            (1..self.scores().len()).filter(|&at| is_better(gain(at), chance(at), missed, rows));
        let best = better.max_by(|&one, &other| gain(one).total_cmp(&gain(other)));
        best.unwrap_or(0)
    }

    /// Of each candidate, the sum of squared differences from the first one's scores.
    pub fn differences(&self) -> &[f32] {
        &self.0.differences
    }
}

/// Whether a candidate that gains so much on the first, which misses `missed` of the
/// scores of `rows` rows, is better: by [`DEVIATIONS_MIN`] deviations of chance, of which
/// one is `deviation`, and by [`GAIN_MIN`] of the rows, below which the default keeps
/// what else it was made for. Devices of few classes miss little with any stage; there
/// [`MISSED_MIN`] of what is missed is as much, from [`GAIN_LEAST`] of the rows on.
pub fn is_better(gain: f64, deviation: f64, missed: f64, rows: f64) -> bool {
    let is_large = gain >= GAIN_MIN * rows;
    let is_most = gain >= GAIN_LEAST * rows && gain >= MISSED_MIN * missed;
    gain > 0.0 && gain >= DEVIATIONS_MIN * deviation && (is_large || is_most)
}

/// Deviations of chance that another stage must be better than the default.
pub const DEVIATIONS_MIN: f64 = 3.0;
/// Share of the rows that it must be right on beside.
pub const GAIN_MIN: f64 = 0.05;
/// Share of what the default misses that is as much.
pub const MISSED_MIN: f64 = 2.0 / 3.0;
/// Share of the rows that this must be at least.
pub const GAIN_LEAST: f64 = 0.01;
/// Of sums in single precision.
const ROUNDING: f64 = 1e-5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn trial(rows: u64, scores: &[f32], differences: &[f32]) -> RawStageTrial {
        RawStageTrial {
            rows,
            scores: scores.to_vec(),
            differences: differences.to_vec(),
        }
    }

    #[test]
    fn sums_that_rows_can_have_are_taken() {
        let raw = trial(100, &[50.0, 90.0, 49.5], &[0.0, 44.0, 3.0]);
        let checked = StageTrial::check(raw, 3).unwrap();
        assert_eq!((checked.rows(), checked.scores()[1]), (100, 90.0));
        assert_eq!(checked.best(), 1);
        let raw = trial(100, &[50.0, 54.0], &[0.0, 10.0]);
        assert_eq!(
            StageTrial::check(raw, 2).unwrap().best(),
            0,
            "that may be chance"
        );
    }

    #[test]
    fn few_errors_must_fall_by_two_thirds() {
        assert!(
            is_better(60.0, 8.0, 500.0, 1_000.0),
            "six rows in a hundred"
        );
        assert!(is_better(30.0, 6.0, 35.0, 1_000.0), "most of the errors");
        assert!(!is_better(18.0, 5.0, 33.0, 1_000.0), "half of them");
        assert!(
            !is_better(8.0, 2.0, 8.0, 1_000.0),
            "less than one in a hundred"
        );
        assert!(!is_better(60.0, 30.0, 500.0, 1_000.0), "chance");
        assert!(!is_better(0.0, 0.0, 0.0, 1_000.0), "nothing");
    }

    #[test]
    fn sums_that_no_rows_have_are_refused() {
        for (scores, differences, candidate) in [
            ([50.0, 101.0], [0.0, 51.0], 1),
            ([-1.0, 50.0], [0.0, 51.0], 0),
            ([50.0, f32::NAN], [0.0, 3.0], 1),
            ([50.0, 60.0], [0.0, f32::INFINITY], 1),
            ([50.0, 60.0], [0.0, 101.0], 1),
            ([50.0, 60.0], [1.0, 20.0], 0),
            ([50.0, 90.0], [0.0, 3.0], 1),
        ] {
            let refused = StageTrial::check(trial(100, &scores, &differences), 2);
            let Err(StageTrialError::Sums { candidate: at, .. }) = refused else {
                panic!("{scores:?}, {differences:?}: {refused:?}");
            };
            assert_eq!(at, candidate);
        }
    }

    #[test]
    fn other_candidates_and_no_rows_are_refused() {
        let raw = trial(100, &[50.0], &[0.0]);
        let refused = StageTrial::check(raw.clone(), 2);
        let length = StageTrialError::Length {
            expected: 2,
            scores: 1,
            differences: 1,
        };
        assert_eq!(refused, Err(length));
        let refused = StageTrial::check(RawStageTrial { rows: 0, ..raw }, 1);
        assert_eq!(refused, Err(StageTrialError::Rows(0)));
    }
}
