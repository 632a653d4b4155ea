//! Which of several feature stages suits the rows of all devices, from what each
//! tells of its own.

use std::fmt;

use common::features::FeatureStage;
use common::stage_trial::{StageTrial, is_better};

use super::cap::{ROWS_OVER_MEDIAN_MAX, RowsCap};

/// What devices' trials say together.
#[derive(Clone, Debug, PartialEq)]
pub struct StageChoice {
    /// The candidates, the default first.
    pub candidates: Vec<FeatureStage>,
    /// The place of the one that is taken.
    pub chosen: usize,
    /// Devices that could judge.
    pub devices: usize,
    /// Rows that were judged, as far as they count.
    pub rows: f64,
    /// Of each candidate, the mean score of a row: the share of rows that are right.
    pub scores: Vec<f64>,
    /// Of each candidate, by how many deviations of chance it is better than the
    /// first.
    pub deviations: Vec<f64>,
}

/// The best candidate that is better than the first one beyond chance
/// ([`is_better`]), and still by `OTHERS_MIN` deviations without the device that gains
/// most by it: no device decides alone. With nobody to judge it is the first.
///
/// A deviation is that of pairs: of the rows on which one is right and the other wrong
/// (McNemar 1947). No device counts for more rows than three times the median's.
///
/// # Panics
/// Without candidates, or if trials are of others.
pub fn choose_stage(candidates: &[FeatureStage], trials: &[StageTrial]) -> StageChoice {
    assert!(!candidates.is_empty(), "a default is always there");
    let claimed: Vec<u64> = trials.iter().map(StageTrial::rows).collect();
    let cap = RowsCap::of(&claimed, ROWS_OVER_MEDIAN_MAX);
    let weights: Vec<f64> = claimed.iter().map(|&rows| cap.share(rows)).collect();
    let rows: f64 = claimed
        .iter()
        .zip(&weights)
        .map(|(&rows, weight)| rows as f64 * weight)
        .sum();
    let mut choice = StageChoice {
        candidates: candidates.to_vec(),
        chosen: 0,
        devices: trials.len(),
        rows,
        scores: Vec::new(),
        deviations: Vec::new(),
    };
    let mut best = 0.0;
    let devices = || trials.iter().zip(&weights);
    let mean = |at: usize| {
        let all = devices().map(|(trial, weight)| weight * f64::from(trial.scores()[at]));
        // An empty sum is -0.
        (0.0 + all.sum::<f64>()) / rows.max(1.0)
    };
    let missed = (1.0 - mean(0)) * rows;
    for at in 0..candidates.len() {
        let paired: Vec<Paired> = devices()
            .map(|(trial, weight)| Paired::of(trial, at, *weight))
            .collect();
        let all = Paired::sum(&paired);
        let most = { paired.iter() }.max_by(|one, other| one.gain.total_cmp(&other.gain));
        let others = most.map_or(Paired::default(), |most| Paired {
            gain: all.gain - most.gain,
            square: (all.square - most.square).max(0.0),
        });
        choice.scores.push(mean(at));
        choice.deviations.push(all.deviations());
        let agreed = others.gain > 0.0 && others.deviations() >= OTHERS_MIN;
        let better = agreed && is_better(all.gain, all.square.sqrt(), missed, rows);
        if better && all.gain > best {
            (choice.chosen, best) = (at, all.gain);
        }
    }
    choice
}

/// What a candidate gains on the first one, and the square of its deviation.
#[derive(Clone, Copy, Debug, Default)]
struct Paired {
    gain: f64,
    square: f64,
}

impl Paired {
    fn of(trial: &StageTrial, at: usize, weight: f64) -> Self {
        Self {
            gain: weight * f64::from(trial.scores()[at] - trial.scores()[0]),
            square: weight * weight * f64::from(trial.differences()[at]),
        }
    }

    fn sum(all: &[Self]) -> Self {
        Self {
            gain: all.iter().map(|one| one.gain).sum(),
            square: all.iter().map(|one| one.square).sum(),
        }
    }

    /// By how many deviations it gains; 0 where nothing differs.
    fn deviations(self) -> f64 {
        match self.square > 0.0 {
            true => self.gain / self.square.sqrt(),
            false => 0.0,
        }
    }
}

/// Deviations by which a candidate must be better on all devices but one.
const OTHERS_MIN: f64 = 2.0;

impl StageChoice {
    /// The stage that is taken.
    pub fn stage(&self) -> FeatureStage {
        self.candidates[self.chosen]
    }

    /// Whether it is another than the default.
    pub fn departs(&self) -> bool {
        self.chosen > 0
    }
}

impl fmt::Display for StageChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.devices == 0 {
            return write!(f, "no device could judge others by its own rows");
        }
        let percent = |at: usize| 100.0 * self.scores[at];
        let Self { devices, rows, .. } = self;
        let default = self.candidates[0];
        if self.departs() {
            return write!(
                f,
                "{devices} devices judged {} stages on {rows:.0} of their own rows: {:.1} %, {:.1} % \
                 with {default}, the default, {:.1} deviations of chance below",
                self.candidates.len(),
                percent(self.chosen),
                percent(0),
                self.deviations[self.chosen],
            );
        }
        let others = (1..self.candidates.len())
            .max_by(|&one, &other| self.scores[one].total_cmp(&self.scores[other]));
        write!(
            f,
            "{devices} devices judged {} stages on {rows:.0} of their own rows: ",
            self.candidates.len()
        )?;
        match others {
            Some(other) => write!(
                f,
                "{:.1} %, and none is better beyond chance ({} has {:.1} %)",
                percent(0),
                self.candidates[other],
                percent(other)
            ),
            None => write!(f, "{:.1} %", percent(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::stage_trial::{DEVIATIONS_MIN, RawStageTrial};

    const CANDIDATES: [FeatureStage; 2] = [FeatureStage::window(), FeatureStage::Raw];

    /// Of a device on whose rows the second stage is right and the first wrong `won`
    /// times, and the other way round `lost` times.
    fn trial(rows: u64, won: u64, lost: u64) -> StageTrial {
        let first = (rows - won).min(rows / 2 + lost) as f32;
        let raw = RawStageTrial {
            rows,
            scores: vec![first, first + won as f32 - lost as f32],
            differences: vec![0.0, (won + lost) as f32],
        };
        StageTrial::check(raw, 2).unwrap()
    }

    fn chosen(trials: &[StageTrial]) -> FeatureStage {
        choose_stage(&CANDIDATES, trials).stage()
    }

    #[test]
    fn a_better_stage_is_taken_beyond_chance_alone() {
        assert_eq!(
            chosen(&[trial(100, 20, 2), trial(100, 15, 1)]),
            FeatureStage::Raw
        );
        assert_eq!(chosen(&[trial(100, 8, 4), trial(100, 5, 4)]), CANDIDATES[0]);
        assert_eq!(
            chosen(&[trial(100, 1, 20), trial(100, 2, 30)]),
            CANDIDATES[0]
        );
    }

    #[test]
    fn with_nobody_to_judge_the_default_stays() {
        let choice = choose_stage(&CANDIDATES, &[]);
        assert_eq!((choice.stage(), choice.departs()), (CANDIDATES[0], false));
        assert!(choice.to_string().contains("no device"), "{choice}");
    }

    #[test]
    fn a_gain_that_is_certain_but_small_is_left() {
        let trials = vec![trial(1_000, 10, 0); 20];
        let choice = choose_stage(&CANDIDATES, &trials);
        assert!(choice.deviations[1] > DEVIATIONS_MIN, "{choice:?}");
        assert_eq!(choice.stage(), CANDIDATES[0]);
    }

    #[test]
    fn one_device_of_many_claimed_rows_does_not_decide() {
        let mut trials = vec![trial(100, 3, 4); 9];
        trials.push(trial(1_000_000, 400_000, 0));
        assert_eq!(chosen(&trials), CANDIDATES[0]);
    }

    #[test]
    fn one_device_that_can_judge_does_not_decide() {
        assert_eq!(chosen(&[trial(100, 40, 0)]), CANDIDATES[0]);
        assert_eq!(
            chosen(&[trial(100, 40, 0), trial(100, 9, 0)]),
            FeatureStage::Raw
        );
    }

    #[test]
    fn devices_that_differ_leave_the_default() {
        // Together 60 rows of 400, from one device of four.
        let mut trials = vec![trial(100, 0, 0); 3];
        trials.push(trial(100, 60, 0));
        assert_eq!(chosen(&trials), CANDIDATES[0]);
    }
}
