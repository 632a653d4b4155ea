#![allow(clippy::unwrap_used)]

use super::*;

const RATE: u32 = 8_000;

fn mel(samples: usize) -> Mel {
    let shape = InputShape::new(vec![samples]).unwrap();
    Mel::new(&shape, Some(SampleRate(RATE))).unwrap()
}

/// A tone that climbs from 200 Hz beside one of 2,500 Hz.
fn chirp(samples: usize) -> Vec<f32> {
    let sample = |at: usize| {
        let time = at as f64 / f64::from(RATE);
        let climbing = 0.4 * (2.0 * PI * (200.0 * time + 900.0 * time * time)).sin();
        (climbing + 0.1 * (2.0 * PI * 2_500.0 * time).cos()) as f32
    };
    (0..samples).map(sample).collect()
}

#[test]
fn the_spectrum_is_that_of_the_formulas() {
    // Written by scripts/mel_reference.py.
    let reference = include_str!("reference.txt");
    let spectrum = mel(4_000).spectrum(ArrayView1::from(&chirp(4_000)));
    assert_eq!(spectrum.dim(), (48, BANDS));
    let mut compared = 0;
    for (line, frame) in reference.lines().zip([0, 10, 20, 47]) {
        for (band, expected) in line.split(' ').enumerate() {
            let expected: f64 = expected.parse().unwrap();
            let got = (spectrum[[frame, band]] + ENERGY_FLOOR).ln();
            assert!(
                (got - expected).abs() < 1e-4,
                "frame {frame}, band {band}: {got} and {expected}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 4 * BANDS);
}

#[test]
fn a_sound_is_the_same_wherever_it_is_and_however_loud() {
    let mel = mel(8_000);
    let mut random = math::random::rng(4, "noise");
    let mut rows = Array2::from_shape_fn((2, 8_000), |_| {
        1e-4 * rand::Rng::random_range(&mut random, -1.0f32..1.0)
    });
    for (at, value) in chirp(3_200).into_iter().enumerate() {
        rows[[0, 800 + at]] += value;
        rows[[1, 4_000 + at]] += 0.3 * value;
    }
    let features = mel.compute(rows.view());
    for (one, other) in features.row(0).iter().zip(features.row(1)) {
        assert!((one - other).abs() < 0.4, "{one} and {other}");
    }
    // Some 40 frames, and what overlaps its ends.
    let frames = f64::from(*features.row(0).last().unwrap()).exp();
    assert!((38.0..44.0).contains(&frames), "{frames}");
}

#[test]
fn silence_and_extreme_sounds_have_finite_features() {
    let mel = mel(400);
    let mut rows = Array2::zeros((3, 400));
    rows.row_mut(1).fill(f32::MAX);
    rows[[2, 200]] = 1.0;
    let features = mel.compute(rows.view());
    assert!(features.iter().all(|value| value.is_finite()));
    assert_eq!(mel.names().len(), mel.features());
}

#[test]
fn what_is_no_sound_of_one_channel_is_refused() {
    let refused = |sides: &[usize], rate: Option<u32>| {
        let shape = InputShape::new(sides.to_vec()).unwrap();
        Mel::new(&shape, rate.map(SampleRate)).is_err()
    };
    assert!(!refused(&[8_000], Some(8_000)));
    assert!(!refused(&[8_000, 1], None));
    assert!(refused(&[8_000, 2], None));
    assert!(refused(&[100], Some(8_000)));
    assert!(refused(&[8_000], Some(100)));
    let named: FeatureStage = "mel/1:8000".parse().unwrap();
    assert_eq!(named, FeatureStage::mel(Some(SampleRate(8_000))));
    assert!("mel/1:08000".parse::<FeatureStage>().is_err());
}
