#![allow(clippy::unwrap_used)]

use ndarray::Array2;
use proptest::prelude::*;

use super::*;
use crate::features::FeatureStage;

fn stage(sides: &[usize]) -> (InputShape, Window) {
    let shape = InputShape::new(sides.to_vec()).unwrap();
    let window = Window::new(&shape).unwrap();
    (shape, window)
}

/// One window of one channel, by the name of the feature.
fn features_of(signal: impl Fn(usize) -> f32, steps: usize) -> impl Fn(&str) -> f32 {
    let (_, window) = stage(&[steps, 1]);
    let rows = Array2::from_shape_fn((1, steps), |(_, step)| signal(step));
    let features = window.compute(rows.view());
    let names = window.names();
    move |name| {
        let index = names
            .iter()
            .position(|n| *n == format!("channel 0: {name}"));
        features[(0, index.unwrap())]
    }
}

#[test]
fn six_channels_of_a_wearable_give_212_features() {
    let (shape, _) = stage(&[128, 6]);
    assert_eq!(FeatureStage::window().features(&shape), Ok(212));
}

#[test]
fn names_are_as_many_as_features_and_distinct() {
    for channels in 1..=20 {
        let (_, window) = stage(&[8, channels]);
        let mut names = window.names();
        assert_eq!(names.len(), window.features());
        names.sort();
        names.dedup();
        assert_eq!(names.len(), window.features());
    }
}

#[test]
fn short_windows_and_other_ranks_are_refused() {
    for sides in [vec![7, 1], vec![128], vec![16, 16, 3]] {
        let shape = InputShape::new(sides.clone()).unwrap();
        assert!(matches!(
            Window::new(&shape).err(),
            Some(FeatureError::Unfit { shape, .. }) if shape == sides
        ));
    }
    let wide = InputShape::new(vec![8, 100_000]).unwrap();
    let refused = Window::new(&wide).err().unwrap().to_string();
    assert!(refused.contains("at most"), "{refused}");
}

#[test]
fn constant_window_has_finite_features_and_no_spectrum() {
    let of = features_of(|_| 3.0, 64);
    assert_eq!(of("mean"), 3.0);
    assert_eq!(of("root mean square"), 3.0);
    assert_eq!(of("mean crossings"), 0.0);
    assert_eq!(of("autocorrelation at 1/8"), 0.0);
    assert_eq!(of("spectral entropy"), 0.0);
    assert!((f64::from(of("log energy of band 0")) - POWER_FLOOR.ln()).abs() < 1e-3);
}

#[test]
fn energy_of_a_sine_lies_in_the_band_of_its_frequency() {
    // 16 periods in 128 steps: bin 16; edges are 65^(band/10) − 1.
    let of = features_of(
        |step| (2.0 * PI * 16.0 * step as f64 / 128.0).sin() as f32,
        128,
    );
    let energies: Vec<f32> = (0..BANDS)
        .map(|band| of(&format!("log energy of band {band}")))
        .collect();
    let largest = (0..BANDS).max_by(|&a, &b| energies[a].total_cmp(&energies[b]));
    assert_eq!(largest, Some(6));
    assert!(of("spectral entropy") < 0.3);
    assert!((of("root mean square") - 0.5f32.sqrt()).abs() < 1e-5);
    assert!((of("mean crossings") - 31.0 / 127.0).abs() < 0.01);
}

#[test]
fn noise_has_a_higher_entropy_than_a_sine() {
    let noise = features_of(|step| ((step * step * 7919) % 101) as f32, 128);
    assert!(noise("spectral entropy") > 0.7);
}

#[test]
fn bands_cover_the_spectrum_without_gap_or_overlap() {
    for bins in [4, 5, 64, 1000] {
        let edges = band_edges(bins);
        let positions: Vec<f64> = edges
            .iter()
            .map(|&(bin, share)| bin as f64 + share)
            .collect();
        assert_eq!(positions[0], 0.0);
        assert!((positions[BANDS] - bins as f64).abs() < 1e-9);
        assert!(positions.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[test]
fn norm_of_three_channels_does_not_see_a_turn() {
    let (shape, window) = stage(&[16, 3]);
    let row = |turned: bool| {
        Array2::from_shape_fn((1, 48), |(_, index)| {
            let (step, axis) = ((index / 3) as f32, index % 3);
            let vector = [step.sin(), 0.3 * step, (0.7 * step).cos()];
            if turned {
                vector[(axis + 1) % 3]
            } else {
                vector[axis]
            }
        })
    };
    let stage = FeatureStage::window();
    let one = stage.compute(&shape, row(false).view()).unwrap();
    let other = stage.compute(&shape, row(true).view()).unwrap();
    for (index, name) in window.names().iter().enumerate() {
        if name.starts_with("norm of channels 0 to 2:") {
            assert!((one[(0, index)] - other[(0, index)]).abs() < 1e-4, "{name}");
        }
    }
}

#[test]
fn correlation_with_itself_is_one() {
    let (_, window) = stage(&[32, 2]);
    let rows = Array2::from_shape_fn((1, 64), |(_, index)| (100 * (index / 2) % 37) as f32);
    let features = window.compute(rows.view());
    assert!((features[(0, window.features() - 1)] - 1.0).abs() < 1e-3);
}

fn any_window() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
    (STEPS_MIN..70, 1usize..8).prop_flat_map(|(steps, channels)| {
        let value = prop_oneof![
            8 => -10f32..10.0,
            1 => Just(0.0f32),
            1 => prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL,
        ];
        proptest::collection::vec(value, 2 * steps * channels)
            .prop_map(move |values| (steps, channels, values))
    })
}

proptest! {
    #[test]
    fn any_finite_window_has_finite_features((steps, channels, values) in any_window()) {
        let (shape, _) = stage(&[steps, channels]);
        let rows = Array2::from_shape_vec((2, steps * channels), values).unwrap();
        let features = FeatureStage::window().compute(&shape, rows.view()).unwrap();
        prop_assert!(features.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn row_has_the_same_features_alone_and_among_others((steps, channels, values) in any_window()) {
        let (_, window) = stage(&[steps, channels]);
        let rows = Array2::from_shape_vec((2, steps * channels), values).unwrap();
        let both = window.compute(rows.view());
        let second = window.compute(rows.slice(ndarray::s![1.., ..]));
        prop_assert_eq!(both.row(1), second.row(0));
    }
}
