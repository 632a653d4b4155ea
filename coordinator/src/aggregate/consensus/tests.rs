#![allow(clippy::unwrap_used)]
use super::*;
use common::math::random::rng;
use proptest::prelude::*;
use rand::Rng;

fn device(counts: [u64; 2], probabilities: [f32; 2], near: f32) -> Labels {
    Labels {
        rows: 100,
        class_counts: counts.to_vec(),
        probabilities: Array2::from_shape_fn((1, 2), |(_, class)| probabilities[class]),
        nearness: vec![near],
    }
}

fn by(rule: ConsensusRule) -> Consensus {
    Consensus {
        rule,
        ..Consensus::default()
    }
}

#[test]
fn a_device_does_not_vote_on_a_class_it_never_saw() {
    // The first knows class 0 only and so is sure of it everywhere.
    let only_zero = device([50, 0], [1.0, 0.0], 0.1);
    let both = device([50, 50], [0.1, 0.9], 1.0);
    for rule in [
        ConsensusRule::Weighted,
        ConsensusRule::Median,
        ConsensusRule::Trimmed,
    ] {
        let devices = [only_zero.clone(), both.clone()];
        let (joined, weights) = consensus(&devices, 1, 2, by(rule));
        assert!(joined[[0, 1]] > 0.8, "{rule:?}: {joined}");
        assert_eq!(weights, vec![1.0]);
    }
    let (joined, _) = consensus(&[only_zero, both], 1, 2, by(ConsensusRule::Mean));
    assert!(joined[[0, 1]] < 0.5, "the plain mean does let it vote");
}

#[test]
fn a_point_nobody_knows_has_no_weight() {
    for rule in ConsensusRule::ALL {
        let (joined, weights) = consensus(&[], 2, 4, by(rule));
        assert_eq!(weights, vec![0.0, 0.0]);
        assert!(joined.iter().all(|&value| value == 0.25));
    }
}

const CLASSES: usize = 4;
const POINTS: usize = 40;

/// Point p is of class p mod 4; honest devices are right and not quite sure.
fn honest(seed: u64) -> Labels {
    let mut random = rng(seed, "honest");
    let mut probabilities = Array2::from_shape_fn((POINTS, CLASSES), |(point, class)| {
        let is_right = point % CLASSES == class;
        if is_right {
            1.0
        } else {
            random.random_range(0.0f32..0.3)
        }
    });
    for mut row in probabilities.rows_mut() {
        let total = row.sum();
        row /= total;
    }
    Labels {
        rows: 400,
        class_counts: vec![80 + seed; CLASSES],
        nearness: vec![0.9; POINTS],
        probabilities,
    }
}

/// Sure of the next class, near everything, and of a million rows.
fn liar() -> Labels {
    let wrong = |(point, class)| f32::from(u8::from((point + 1) % CLASSES == class));
    Labels {
        rows: 4_000_000,
        class_counts: vec![1_000_000; CLASSES],
        nearness: vec![1.0; POINTS],
        probabilities: Array2::from_shape_fn((POINTS, CLASSES), wrong),
    }
}

/// Share of the points whose consensus is right.
fn right(devices: &[Labels], rule: ConsensusRule) -> f64 {
    let (joined, _) = consensus(devices, POINTS, CLASSES, by(rule));
    let is_right = |point: &usize| {
        let row = joined.row(*point);
        (0..CLASSES).all(|class| class == point % CLASSES || row[class] < row[point % CLASSES])
    };
    (0..POINTS).filter(is_right).count() as f64 / POINTS as f64
}

#[test]
fn liars_win_the_weighted_mean_and_not_the_robust_rules() {
    let mut devices: Vec<Labels> = (0..8).map(honest).collect();
    for rule in ConsensusRule::ALL {
        assert_eq!(right(&devices, rule), 1.0, "{rule:?}");
    }
    devices.extend([liar(), liar()]);
    assert_eq!(right(&devices, ConsensusRule::Weighted), 0.0);
    assert_eq!(right(&devices, ConsensusRule::Median), 1.0);
    assert_eq!(right(&devices, ConsensusRule::Trimmed), 1.0);
}

#[test]
fn a_liar_moves_the_median_within_its_weight() {
    let devices: Vec<Labels> = (0..9).map(honest).collect();
    let with: Vec<Labels> = devices.iter().cloned().chain([liar()]).collect();
    let soft = Consensus {
        sharpening: 1.0,
        ..by(ConsensusRule::Median)
    };
    let (without, _) = consensus(&devices, POINTS, CLASSES, soft);
    let (with, _) = consensus(&with, POINTS, CLASSES, soft);
    let apart = (&with - &without)
        .iter()
        .fold(0f32, |most, x| most.max(x.abs()));
    assert!(apart < 0.1, "{apart}");
}

#[test]
fn sharpening_raises_the_likely_class() {
    let devices = [device([50, 50], [0.3, 0.7], 1.0)];
    let at = |sharpening| {
        let asked = Consensus {
            sharpening,
            ..Consensus::default()
        };
        consensus(&devices, 1, 2, asked).0[[0, 1]]
    };
    assert!((at(1.0) - 0.7).abs() < 1e-6);
    assert!(at(2.0) > 0.8 && at(0.5) < 0.65);
}

fn anything() -> impl Strategy<Value = Vec<Labels>> {
    let one = (
        prop::collection::vec(prop_oneof![Just(0u64), 1..1000u64, Just(u64::MAX >> 24)], 3),
        prop::collection::vec(prop_oneof![Just(0f32), 0f32..1.0, Just(1e-30f32)], 6),
        prop::collection::vec(prop_oneof![Just(0f32), 0f32..=1.0], 2),
    );
    let labels = one.prop_map(|(class_counts, values, nearness)| {
        let mut probabilities = Array2::from_shape_vec((2, 3), values).unwrap();
        for mut row in probabilities.rows_mut() {
            row[0] += 1e-3;
            let total = row.sum();
            row /= total;
        }
        Labels {
            rows: u64::MAX >> 24,
            class_counts,
            probabilities,
            nearness,
        }
    });
    prop::collection::vec(labels, 0..6)
}

proptest! {
    #[test]
    fn whatever_devices_say_every_row_is_a_distribution(
        devices in anything(),
        sharpening in 0.1f32..10.0,
    ) {
        for rule in ConsensusRule::ALL {
            let (joined, weights) = consensus(&devices, 2, 3, Consensus { rule, sharpening });
            for row in joined.rows() {
                prop_assert!(row.iter().all(|value| (0.0..=1.0).contains(value)), "{rule:?} {row}");
                prop_assert!((row.sum() - 1.0).abs() < 1e-5, "{rule:?} {row}");
            }
            prop_assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)));
        }
    }
}
