//! One soft label for each point, from all devices' labels.

use ndarray::Array2;

use common::labels::Labels;

/// How labels are joined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConsensusParams {
    /// p̄^β/Σp̄^β; 1 leaves the consensus as it is.
    pub sharpening: f32,
    /// Most that one device may move a point's consensus, as a share of all
    /// votes on it; 1 lets a lone device decide.
    pub share_max: f32,
}

impl Default for ConsensusParams {
    fn default() -> Self {
        Self {
            sharpening: 1.5,
            share_max: 1.0,
        }
    }
}

/// The class-masked, nearness-weighted consensus (points, classes): device k
/// votes on class c with weight n_kc·(how near the point lies to its data),
/// p̄_c ∝ Σ_k w_kc·p_kc / Σ_k w_kc, renormalised over the classes, then
/// sharpened. A device that never saw a class or a region does not vote on
/// it. Also returns each point's total nearness, capped at 1: how much
/// anyone knows about it. Rows of points nobody may speak of are uniform with
/// weight 0.
pub fn consensus(
    devices: &[Labels],
    points: usize,
    classes: usize,
    params: ConsensusParams,
) -> (Array2<f32>, Vec<f32>) {
    let mut joined = Array2::from_elem((points, classes), 1.0 / classes as f32);
    let mut weights = vec![0.0f32; points];
    for point in 0..points {
        let mut row = vec![0.0f64; classes];
        for (class, value) in row.iter_mut().enumerate() {
            *value = class_vote(devices, point, class, f64::from(params.share_max));
        }
        for value in &mut row {
            *value = value.powf(f64::from(params.sharpening));
        }
        let total: f64 = row.iter().sum();
        if total > 0.0 {
            for (class, value) in row.iter().enumerate() {
                joined[[point, class]] = (value / total) as f32;
            }
            weights[point] = devices
                .iter()
                .map(|labels| labels.nearness[point])
                .sum::<f32>()
                .min(1.0);
        }
    }
    (joined, weights)
}

/// Σ w·p/Σ w over the devices that saw the class.
fn class_vote(devices: &[Labels], point: usize, class: usize, share_max: f64) -> f64 {
    let weight = |labels: &Labels| {
        labels.class_counts[class] as f64 * (f64::from(labels.nearness[point]) + 1e-6)
    };
    let all: f64 = devices.iter().map(weight).sum();
    let (mut votes, mut total) = (0.0, 0.0);
    for labels in devices {
        let weight = weight(labels).min(all * share_max);
        votes += weight * f64::from(labels.probabilities[[point, class]]);
        total += weight;
    }
    if total > 0.0 { votes / total } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(counts: [u64; 2], probabilities: [f32; 2], near: f32) -> Labels {
        Labels {
            rows: 100,
            class_counts: counts.to_vec(),
            probabilities: Array2::from_shape_fn((1, 2), |(_, class)| probabilities[class]),
            nearness: vec![near],
        }
    }

    #[test]
    fn a_device_does_not_vote_on_a_class_it_never_saw() {
        // The first knows class 0 only and so is sure of it everywhere.
        let only_zero = device([50, 0], [1.0, 0.0], 0.1);
        let both = device([50, 50], [0.1, 0.9], 1.0);
        let (joined, weights) = consensus(&[only_zero, both], 1, 2, ConsensusParams::default());
        assert!(joined[[0, 1]] > 0.8, "{joined}");
        assert_eq!(weights, vec![1.0]);
    }

    #[test]
    fn a_point_nobody_knows_has_no_weight() {
        let (joined, weights) = consensus(&[], 2, 4, ConsensusParams::default());
        assert_eq!(weights, vec![0.0, 0.0]);
        assert!(joined.iter().all(|&value| value == 0.25));
    }
}
