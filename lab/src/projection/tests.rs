#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ndarray::Array2;
use rand_distr::{Distribution as _, StandardNormal};

use common::math::random::rng;

use super::*;

/// Rows of three classes in 120 features, of which six directions vary much
/// and hold the classes.
fn data(rows: usize) -> Dataset {
    let mut random = rng(7, "projection");
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let basis = Array2::from_shape_simple_fn((6, 120), &mut normal);
    let labels: Vec<u16> = (0..rows).map(|row| (row % 3) as u16).collect();
    let hidden = Array2::from_shape_fn((rows, 6), |(row, at)| {
        2.0 * normal()
            + if at == usize::from(labels[row]) {
                4.0
            } else {
                0.0
            }
    });
    let noise = Array2::from_shape_simple_fn((rows, 120), || 0.5 * normal());
    let inputs = (hidden.dot(&basis) + noise).mapv(|value| value as f32);
    let part = Part {
        inputs,
        labels,
        numbers: None,
        users: None,
        groups: None,
    };
    Dataset {
        name: "t".into(),
        shape: vec![120],
        classes: ["a", "b", "c"].map(String::from).to_vec(),
        numbers: Vec::new(),
        range: None,
        offset: None,
        sound_rate: None,
        train: Arc::new(part.clone()),
        test: part,
    }
}

const PRIVACY: Privacy = Privacy {
    rows_min: 20,
    cluster_size_min: 5,
    rows_per_direction: 15,
};

fn learn(data: &Dataset, parts: &[Vec<usize>], uplink_bytes: u64) -> Projection {
    let setting = Setting {
        parts,
        privacy: PRIVACY,
        uplink_bytes,
        seed: 1,
    };
    Projection::learn(data, setting).unwrap()
}

/// The share of what varies in the class means that the directions hold.
fn held(projection: &Projection, data: &Dataset) -> f64 {
    let standard = projection.scales.standard(data.train.inputs.view());
    let mut means = Array2::<f64>::zeros((3, 120));
    for (row, &label) in standard.rows().into_iter().zip(&data.train.labels) {
        let mut mean = means.row_mut(usize::from(label));
        mean += &row;
    }
    let middle = means.mean_axis(Axis(0)).unwrap();
    let means = &means - &middle;
    let basis =
        common::math::subspace::orthonormal(&projection.directions, &Array2::zeros((120, 0)), 120);
    let seen = means.dot(&basis);
    seen.iter().map(|v| v * v).sum::<f64>() / means.iter().map(|v| v * v).sum::<f64>()
}

#[test]
fn any_partition_gives_the_same_space() {
    let data = data(3_000);
    let even: Vec<Vec<usize>> = (0..5).map(|at| (at..3_000).step_by(5).collect()).collect();
    let by_class: Vec<Vec<usize>> = (0..3).map(|at| (at..3_000).step_by(3).collect()).collect();
    for parts in [even, by_class] {
        let projection = learn(&data, &parts, 60_000);
        assert!(held(&projection, &data) > 0.98);
        let (before, after) = projection.widths();
        assert_eq!(before, 120);
        assert!((8..=63).contains(&after), "{after}");
        assert_eq!(projection.discriminants, 2);
        let projected = projection.apply(&data);
        assert_eq!(projected.train.inputs.dim(), (3_000, after));
        assert_eq!(projected.shape, [after as u32]);
    }
}

#[test]
fn no_device_sends_more_than_it_may() {
    let data = data(3_000);
    let parts: Vec<Vec<usize>> = (0..5).map(|at| (at..3_000).step_by(5).collect()).collect();
    for bytes in [3_000, 8_000, 60_000] {
        let projection = learn(&data, &parts, bytes);
        assert!((1..=5).contains(&projection.blocks.len()));
        for sent in &projection.sent {
            assert_eq!(sent.len(), 2 + projection.blocks.len());
            assert!(sent.iter().sum::<u64>() <= bytes, "{sent:?} of {bytes}");
        }
    }
}

#[test]
fn fewer_rows_tell_fewer_directions_and_too_few_none() {
    let data = data(3_000);
    // Ten devices of 150 rows: eight directions, of which three are classes.
    let parts: Vec<Vec<usize>> = (0..10)
        .map(|at| (at * 150..(at + 1) * 150).collect())
        .collect();
    let projection = learn(&data, &parts, 60_000);
    // Eight directions are told of 150 rows less the held-out ones: fewer than six
    // beside three class means, at six bits.
    let blocks = projection
        .sent
        .iter()
        .map(|sent| sent[2..].iter().sum::<u64>());
    let most = blocks.max().unwrap();
    assert!(most < 5 * 120, "{most}");
    assert!(held(&projection, &data) > 0.9);
    let few: Vec<Vec<usize>> = (0..10)
        .map(|at| (at * 20..(at + 1) * 20).collect())
        .collect();
    let setting = Setting {
        parts: &few,
        privacy: PRIVACY,
        uplink_bytes: 60_000,
        seed: 1,
    };
    let error = Projection::learn(&data, setting).unwrap_err();
    assert!(matches!(error, ProjectionError::Nobody { .. }), "{error}");
}
