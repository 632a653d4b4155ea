#![allow(clippy::unwrap_used)]

use ndarray::{Array2, Axis, s};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::network::{Batch, Mlp, MlpShape, Student, StudentShape};
use crate::random::rng;

const CLASSES: usize = 4;

/// Rows of four classes that overlap.
fn rows(count: usize, seed: u64) -> (Array2<f32>, Vec<u16>) {
    let mut random = rng(seed, "rows");
    let labels: Vec<u16> = (0..count).map(|_| random.random_range(0..4)).collect();
    let inputs = Array2::from_shape_fn((count, 3), |(row, at)| {
        let noise: f32 = StandardNormal.sample(&mut random);
        let centre = [
            [1.0, 0.0, 0.5],
            [-1.0, 0.3, 0.0],
            [0.0, 1.0, -1.0],
            [0.2, -1.0, 0.4],
        ];
        centre[usize::from(labels[row])][at] + 0.6 * noise
    });
    (inputs, labels)
}

fn network(seed: u64) -> Student {
    let shape = MlpShape {
        inputs: 3,
        hidden: vec![12],
        outputs: CLASSES,
    };
    Student::new(&StudentShape::Mlp(shape), &mut rng(seed, "weights")).unwrap()
}

fn loss(network: &Student, inputs: &Array2<f32>, labels: &[u16]) -> f64 {
    let logits = network.logits(inputs.view()).unwrap().mapv(f64::from);
    let each = logits.rows().into_iter().zip(labels);
    let each = each.map(|(row, &label)| {
        let largest = row.iter().fold(f64::NEG_INFINITY, |most, &z| most.max(z));
        let sum: f64 = row.iter().map(|z| (z - largest).exp()).sum();
        sum.ln() + largest - row[usize::from(label)]
    });
    each.sum::<f64>() / labels.len() as f64
}

#[test]
fn the_gradient_is_that_of_the_whole_network() {
    let (inputs, labels) = rows(300, 1);
    let network = network(2);
    let found = Residuals::of(&network, inputs.view(), Wanted::Classes(&labels)).unwrap();
    let mut targets = Array2::<f32>::zeros((labels.len(), CLASSES));
    for (row, &label) in labels.iter().enumerate() {
        targets[[row, usize::from(label)]] = 1.0;
    }
    let batch = Batch {
        inputs: inputs.view(),
        targets: targets.view(),
    };
    let mut gradient = vec![0.0; network.parameters().len()];
    let mut workspace = network.workspace(300);
    network
        .loss_gradient(batch, 1.0.into(), &mut workspace, &mut gradient)
        .unwrap();
    let mut like = network.clone();
    like.load_flat(&gradient).unwrap();
    let expected = weights(&like) * 300.0;
    assert!(
        (&found.gradient - &expected)
            .iter()
            .all(|off| off.abs() < 1e-3)
    );
    assert_eq!(found.rows, 300);
}

#[test]
fn sums_do_not_depend_on_who_holds_which_rows() {
    let (inputs, labels) = rows(500, 3);
    let network = network(4);
    let whole = Residuals::of(&network, inputs.view(), Wanted::Classes(&labels)).unwrap();
    let mut order: Vec<usize> = (0..500).collect();
    order.sort_by_key(|&row| labels[row]);
    let mut sum = Residuals::zeros(CLASSES, 12);
    for mine in order.chunks(130) {
        let own: Vec<u16> = mine.iter().map(|&row| labels[row]).collect();
        let part = Residuals::of(
            &network,
            inputs.select(Axis(0), mine).view(),
            Wanted::Classes(&own),
        )
        .unwrap();
        sum.add(&part, 1.0).unwrap();
    }
    assert_eq!(sum.rows, whole.rows);
    assert!((sum.square - whole.square).abs() < 1e-9);
    assert!(
        (&sum.gradient - &whole.gradient)
            .iter()
            .all(|off| off.abs() < 1e-9)
    );
    let (mut one, mut other) = (network.clone(), network);
    step(&mut one, inputs.view(), &whole, Answers::Classes).unwrap();
    step(&mut other, inputs.view(), &sum, Answers::Classes).unwrap();
    let same = one.parameters().iter().zip(other.parameters());
    assert!(same.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn each_step_lowers_the_loss_with_the_curvature_of_other_rows() {
    for seed in 0..8 {
        let (inputs, labels) = rows(800, seed);
        let (others, _) = rows(400, 100 + seed);
        let mut network = network(seed);
        let mut before = loss(&network, &inputs, &labels);
        let first = before;
        for _ in 0..6 {
            let found = Residuals::of(&network, inputs.view(), Wanted::Classes(&labels)).unwrap();
            step(&mut network, others.view(), &found, Answers::Classes).unwrap();
            let after = loss(&network, &inputs, &labels);
            assert!(after < before + 1e-4, "seed {seed}: {before} to {after}");
            before = after;
        }
        assert!(before < 0.75 * first, "seed {seed}: {first} to {before}");
    }
}

#[test]
fn a_network_that_is_too_sure_takes_no_step_too_far() {
    for seed in 0..8 {
        let (inputs, labels) = rows(600, seed);
        let mut network = network(seed);
        let sure = weights(&network) * 40.0;
        replace(&mut network, sure.view()).unwrap();
        let mut before = loss(&network, &inputs, &labels);
        for _ in 0..4 {
            let found = Residuals::of(&network, inputs.view(), Wanted::Classes(&labels)).unwrap();
            step(
                &mut network,
                inputs.slice(s![..300, ..]),
                &found,
                Answers::Classes,
            )
            .unwrap();
            let after = loss(&network, &inputs, &labels);
            assert!(after < before, "seed {seed}: {before} to {after}");
            before = after;
        }
    }
}

#[test]
fn one_step_of_numbers_is_the_least_squares_fit() {
    let (inputs, _) = rows(500, 3);
    let shape = MlpShape {
        inputs: 3,
        hidden: vec![12],
        outputs: 2,
    };
    let mut network = Student::new(&StudentShape::Mlp(shape), &mut rng(4, "weights")).unwrap();
    // Two numbers that a last layer of the same hidden units has exactly.
    let mut truth = network.clone();
    let mut wanted = weights(&network);
    wanted.mapv_inplace(|value| 0.3 - 2.0 * value);
    replace(&mut truth, wanted.view()).unwrap();
    let numbers = truth.logits(inputs.view()).unwrap();
    let of = |network: &Student, rows: std::ops::Range<usize>| {
        let wanted = Wanted::Numbers(numbers.slice(s![rows.clone(), ..]));
        Residuals::of(network, inputs.slice(s![rows, ..]), wanted).unwrap()
    };
    let mut found = of(&network, 0..180);
    found.add(&of(&network, 180..500), 1.0).unwrap();
    let before = found.square;
    assert_eq!(found.rows, 500);
    step(&mut network, inputs.view(), &found, Answers::Numbers).unwrap();
    let after = of(&network, 0..500).square;
    assert!(after < 1e-3 * before, "{before} to {after}");
    let short = Wanted::Numbers(numbers.slice(s![..4, ..]));
    assert!(matches!(
        Residuals::of(&network, inputs.view(), short),
        Err(LastLayerError::Shape(_))
    ));
}

#[test]
fn the_best_last_layer_stays() {
    let (inputs, labels) = rows(400, 7);
    let mut network = network(8);
    for _ in 0..200 {
        let found = Residuals::of(&network, inputs.view(), Wanted::Classes(&labels)).unwrap();
        step(&mut network, inputs.view(), &found, Answers::Classes).unwrap();
    }
    let found = Residuals::of(&network, inputs.view(), Wanted::Classes(&labels)).unwrap();
    let steepest = found
        .gradient
        .iter()
        .fold(0.0, |most: f64, &g| most.max(g.abs()));
    assert!(steepest / 400.0 < 2e-3, "{steepest}");
}

#[test]
fn a_network_without_hidden_layers_is_all_last_layer() {
    let (inputs, labels) = rows(200, 9);
    let shape = MlpShape {
        inputs: 3,
        hidden: Vec::new(),
        outputs: CLASSES,
    };
    let mut network = Mlp::<f32>::new(shape, &mut rng(1, "weights")).unwrap();
    let found = Residuals::of(&network, inputs.view(), Wanted::Classes(&labels)).unwrap();
    assert_eq!(found.gradient.dim(), (CLASSES, 4));
    let before = found.square;
    step(&mut network, inputs.view(), &found, Answers::Classes).unwrap();
    let after = Residuals::of(&network, inputs.view(), Wanted::Classes(&labels)).unwrap();
    assert!(after.square < before);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (inputs, mut labels) = rows(20, 1);
    let mut network = network(1);
    let before = network.to_flat();
    assert!(matches!(
        Residuals::of(&network, inputs.view(), Wanted::Classes(&labels[1..])),
        Err(LastLayerError::Shape(_))
    ));
    labels[3] = 4;
    assert_eq!(
        Residuals::of(&network, inputs.view(), Wanted::Classes(&labels)),
        Err(LastLayerError::Label {
            label: 4,
            classes: 4
        })
    );
    let other = Residuals::zeros(CLASSES, 11);
    assert!(matches!(
        step(&mut network, inputs.view(), &other, Answers::Classes),
        Err(LastLayerError::Shape(_))
    ));
    let mut odd = Residuals::zeros(CLASSES, 12);
    odd.gradient[[0, 0]] = f64::NAN;
    assert!(step(&mut network, inputs.view(), &odd, Answers::Classes).is_err());
    assert_eq!(network.to_flat(), before);
}
