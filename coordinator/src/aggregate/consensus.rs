//! One soft label for each point, from all devices' labels.

mod mean;
mod median;
mod trimmed;
mod weighted;

use ndarray::{Array2, ArrayView1};

use common::labels::Labels;
use common::task::{Consensus, ConsensusRule};

use super::cap::{ROWS_OVER_MEDIAN_MAX, RowsCap, scaled};

/// What one device says of one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vote<'a> {
    /// Its distribution over the classes.
    pub(super) probabilities: ArrayView1<'a, f32>,
    /// Labelled rows of each class that it has.
    pub(super) class_counts: &'a [u64],
    /// How near the point lies to its rows, 0 to 1.
    pub(super) nearness: f32,
}

/// A way to join the votes on one point.
pub(super) trait Rule {
    /// Support for each class, not negative and finite, in any scale; all
    /// zero where nobody may speak.
    fn join(&self, votes: &[Vote<'_>], classes: usize) -> Vec<f64>;
}

/// The rule that a task names.
pub(super) fn rule(rule: ConsensusRule) -> &'static dyn Rule {
    match rule {
        ConsensusRule::Weighted => &weighted::Weighted,
        ConsensusRule::Mean => &mean::Mean,
        ConsensusRule::Median => &median::Median,
        ConsensusRule::Trimmed => &trimmed::Trimmed,
    }
}

/// The consensus (points, classes) of all devices by the rule that is asked
/// for, then sharpened: p̄^β/Σp̄^β. No device counts for more rows than is
/// allowed beside the median device's. Also returns each point's total nearness,
/// capped at 1: how much anyone knows about it. Rows of points nobody may
/// speak of are uniform with weight 0.
pub fn consensus(
    devices: &[Labels],
    points: usize,
    classes: usize,
    asked: Consensus,
) -> (Array2<f32>, Vec<f32>) {
    let rows: Vec<u64> = devices.iter().map(|labels| labels.rows).collect();
    let cap = RowsCap::of(&rows, ROWS_OVER_MEDIAN_MAX);
    let counts: Vec<Vec<u64>> = devices
        .iter()
        .map(|labels| {
            let share = cap.share(labels.rows);
            let counts = labels.class_counts.iter();
            counts.map(|&count| scaled(count, share)).collect()
        })
        .collect();
    let mut joined = Array2::from_elem((points, classes), 1.0 / classes as f32);
    let mut weights = vec![0.0f32; points];
    let rule = rule(asked.rule);
    for point in 0..points {
        let votes: Vec<Vote<'_>> = devices
            .iter()
            .zip(&counts)
            .map(|(labels, class_counts)| Vote {
                probabilities: labels.probabilities.row(point),
                class_counts,
                nearness: labels.nearness[point],
            })
            .collect();
        let mut row = rule.join(&votes, classes);
        // Relative to the largest, so that no power of it vanishes.
        let largest = row.iter().copied().fold(0.0, f64::max);
        if largest <= 0.0 {
            continue;
        }
        for value in &mut row {
            *value = (*value / largest).powf(f64::from(asked.sharpening));
        }
        let total: f64 = row.iter().sum();
        for (class, value) in row.iter().enumerate() {
            joined[[point, class]] = (value / total) as f32;
        }
        let known: f32 = votes.iter().map(|vote| vote.nearness).sum();
        weights[point] = known.min(1.0);
    }
    (joined, weights)
}

/// What a robust rule lets a vote weigh on a class: rows count up to the
/// median of the devices that have the class, for counts are as easily made up
/// as labels.
fn capped_weights(votes: &[Vote<'_>], class: usize) -> Vec<f64> {
    let mut counts: Vec<u64> = votes
        .iter()
        .map(|vote| vote.class_counts[class])
        .filter(|&count| count > 0)
        .collect();
    counts.sort_unstable();
    let most = counts.get(counts.len() / 2).copied().unwrap_or(0);
    votes
        .iter()
        .map(|vote| {
            vote.class_counts[class].min(most) as f64 * (f64::from(vote.nearness) + NEARNESS_FLOOR)
        })
        .collect()
}

/// Where no device is near, those that are least far decide.
const NEARNESS_FLOOR: f64 = 1e-6;

#[cfg(test)]
mod tests;
