//! The mean weighted by classes and nearness.

use super::{NEARNESS_FLOOR, Rule, Vote};

/// p̄_c ∝ Σ_k w_kc·p_kc / Σ_k w_kc with w_kc = n_kc·(how near the point lies to
/// device k's rows): a device that never saw a class or a region does not vote
/// on it.
pub(super) struct Weighted;

impl Rule for Weighted {
    fn join(&self, votes: &[Vote<'_>], classes: usize) -> Vec<f64> {
        let support = |class: usize| {
            let (mut sum, mut total) = (0.0, 0.0);
            for vote in votes {
                let near = f64::from(vote.nearness) + NEARNESS_FLOOR;
                let weight = vote.class_counts[class] as f64 * near;
                sum += weight * f64::from(vote.probabilities[class]);
                total += weight;
            }
            if total > 0.0 { sum / total } else { 0.0 }
        };
        (0..classes).map(support).collect()
    }
}
