//! The geometric median.

use super::{Rule, Vote, capped_weights};

/// The distribution with the least weighted sum of distances to the votes,
/// each device's distance over the classes that it has seen. Up to half of
/// the weight may lie anywhere without drawing it far off. By Weiszfeld's
/// iteration: each vote counts by its inverse distance to the last estimate.
/// Source: Weiszfeld 1937; Pillutla, Kakade & Harchaoui 2022, algorithm 2
/// (the smoothing).
pub(super) struct Median;

/// The iteration ends where nothing moves further than this, or here.
const MOVE_MIN: f64 = 1e-7;
const STEPS_MAX: usize = 60;
/// A vote nearer than this counts as if it were this near.
const DISTANCE_MIN: f64 = 1e-4;

impl Rule for Median {
    fn join(&self, votes: &[Vote<'_>], classes: usize) -> Vec<f64> {
        let weights: Vec<Vec<f64>> = (0..classes)
            .map(|class| capped_weights(votes, class))
            .collect();
        let mut nearness = vec![1.0; votes.len()];
        let mut estimate = weighted(votes, &weights, &nearness);
        for _ in 0..STEPS_MAX {
            for (near, vote) in nearness.iter_mut().zip(votes) {
                *near = 1.0 / distance(vote, &estimate).max(DISTANCE_MIN);
            }
            let next = weighted(votes, &weights, &nearness);
            let moves = estimate.iter().zip(&next);
            let moved = moves
                .map(|(one, other)| (one - other).abs())
                .fold(0.0, f64::max);
            estimate = next;
            if moved < MOVE_MIN {
                break;
            }
        }
        estimate
    }
}

/// For each class the mean of the votes on it, by weight and nearness to the
/// last estimate.
fn weighted(votes: &[Vote<'_>], weights: &[Vec<f64>], nearness: &[f64]) -> Vec<f64> {
    weights
        .iter()
        .enumerate()
        .map(|(class, weights)| {
            let (mut sum, mut total) = (0.0, 0.0);
            for ((vote, weight), near) in votes.iter().zip(weights).zip(nearness) {
                sum += weight * near * f64::from(vote.probabilities[class]);
                total += weight * near;
            }
            if total > 0.0 { sum / total } else { 0.0 }
        })
        .collect()
}

fn distance(vote: &Vote<'_>, estimate: &[f64]) -> f64 {
    let of_class = |(class, value): (usize, &f64)| match vote.class_counts[class] {
        0 => 0.0,
        _ => (f64::from(vote.probabilities[class]) - value).powi(2),
    };
    estimate
        .iter()
        .enumerate()
        .map(of_class)
        .sum::<f64>()
        .sqrt()
}
