//! The trimmed mean.

use super::{Rule, Vote, capped_weights};

/// For each class the weighted mean of the votes on it, without the highest
/// and the lowest quarter of their weight. As long as liars hold less than a
/// quarter of it, what is left lies between honest votes. Source: Yin, Chen,
/// Ramchandran & Bartlett 2018, definition 2, with weights.
pub(super) struct Trimmed;

/// Share of the weight that goes at either end.
const SHARE: f64 = 0.25;

impl Rule for Trimmed {
    fn join(&self, votes: &[Vote<'_>], classes: usize) -> Vec<f64> {
        (0..classes).map(|class| trimmed(votes, class)).collect()
    }
}

fn trimmed(votes: &[Vote<'_>], class: usize) -> f64 {
    let weights = capped_weights(votes, class);
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let value = |vote: usize| f64::from(votes[vote].probabilities[class]);
    let mut order: Vec<usize> = (0..votes.len()).collect();
    order.sort_by(|&one, &other| value(one).total_cmp(&value(other)));
    let (low, high) = (SHARE * total, (1.0 - SHARE) * total);
    let (mut before, mut sum) = (0.0, 0.0);
    for vote in order {
        let after = before + weights[vote];
        sum += value(vote) * (after.min(high) - f64::max(before, low)).max(0.0);
        before = after;
    }
    sum / (high - low)
}
