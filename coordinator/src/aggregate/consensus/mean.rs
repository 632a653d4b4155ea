//! The plain mean.

use super::{Rule, Vote};

/// (1/K)·Σ_k p_k: every device votes on everything. For comparison, and for
/// fleets whose devices all see all classes.
pub(super) struct Mean;

impl Rule for Mean {
    fn join(&self, votes: &[Vote<'_>], classes: usize) -> Vec<f64> {
        let mut sums = vec![0.0; classes];
        for vote in votes {
            for (sum, &value) in sums.iter_mut().zip(vote.probabilities) {
                *sum += f64::from(value);
            }
        }
        sums
    }
}
