#![allow(clippy::unwrap_used)]
use super::*;

const FRAME: PointsFrame = PointsFrame {
    features: 4,
    classes: 3,
    points_max: 10,
    cluster_size_min: 5,
    numbers: 0,
};

fn points() -> Points {
    Points {
        inputs: Array2::from_shape_fn((3, 4), |(row, column)| row as f32 - column as f32 * 0.3),
        classes: vec![0, 2, 1],
        counts: vec![5, 9, 7],
        spreads: vec![0.5, 0.0, 1.25],
        targets: None,
    }
}

#[test]
fn points_survive_the_wire_within_their_quantisation() {
    let before = points();
    let after = Points::check(before.to_raw(8).unwrap(), FRAME).unwrap();
    assert_eq!(after.classes, before.classes);
    assert_eq!(after.counts, before.counts);
    let worst = (&after.inputs - &before.inputs)
        .iter()
        .fold(0f32, |max, x| max.max(x.abs()));
    assert!(worst < 0.01, "{worst}");
}

#[test]
fn a_singleton_centre_is_refused() {
    let mut raw = points().to_raw(8).unwrap();
    raw.counts[1] = 1;
    assert!(matches!(
        Points::check(raw, FRAME),
        Err(PointsError::Count {
            index: 1,
            count: 1,
            min: 5
        })
    ));
}

#[test]
fn malformed_points_are_refused() {
    let mut class = points().to_raw(8).unwrap();
    class.classes[0] = 3;
    assert!(matches!(
        Points::check(class, FRAME),
        Err(PointsError::Class { class: 3, .. })
    ));
    let narrow = PointsFrame {
        features: 5,
        ..FRAME
    };
    let raw = points().to_raw(8).unwrap();
    assert!(matches!(
        Points::check(raw.clone(), narrow),
        Err(PointsError::Shape(shape)) if shape == ShapeError::count("features", 5, 4)
    ));
    let few = PointsFrame {
        points_max: 2,
        ..FRAME
    };
    assert!(matches!(
        Points::check(raw, few),
        Err(PointsError::TooMany { got: 3, max: 2 })
    ));
}

#[test]
fn nan_in_a_scale_is_refused() {
    let mut raw = points().to_raw(8).unwrap();
    raw.inputs.scales[0] = f32::NAN;
    assert!(matches!(
        Points::check(raw, FRAME),
        Err(PointsError::Quantise(_))
    ));
}

#[test]
fn points_lie_where_normalised_rows_can() {
    let at = |value: f32, spread: f32| Points {
        inputs: ndarray::Array2::from_elem((1, 4), value),
        classes: vec![0],
        counts: vec![5],
        spreads: vec![spread],
        targets: None,
    };
    at(1.0, 4.0).check_place().unwrap();
    for (value, spread, place) in [
        (1.5, 0.0, "square"),
        (1e30, 0.0, "square"),
        (f32::NAN, 0.0, "square"),
        (0.0, 6.0, "spread"),
        (0.0, f32::NAN, "spread"),
    ] {
        let error = at(value, spread).check_place().unwrap_err();
        assert!(
            matches!(error, PointsError::Outside { what, .. } if what == place),
            "{error}"
        );
    }
}

#[test]
fn noise_on_a_centre_shows_by_its_length() {
    // Rows of norm √2 in two directions 60° apart: their mean has the norm
    // √2·cos 30°, and lies √2·sin 30° from each.
    let (mean, spread) = (1.5f32.sqrt(), 0.5f32.sqrt());
    let at = |length: f32| Points {
        inputs: ndarray::array![[length, 0.0]],
        classes: vec![0],
        counts: vec![4],
        spreads: vec![spread],
        targets: None,
    };
    assert_eq!(at(mean).certainty(0), 1.0);
    assert_eq!(at(mean * 0.97).certainty(0), 1.0);
    let noisy = at(2.0f32.sqrt());
    assert!((noisy.certainty(0) - 0.75).abs() < 1e-6);
    assert!((noisy.mean_certainty() - 0.75).abs() < 1e-6);
    assert_eq!(at(1e9).certainty(0), 1.0);
    let mut vague = noisy.clone();
    vague.spreads[0] = 2.0f32.sqrt();
    assert_eq!(vague.certainty(0), CERTAINTY_MIN);
    assert_eq!(Points::none(2).mean_certainty(), 1.0);
}
