#![allow(clippy::unwrap_used)]

use ndarray::array;
use proptest::prelude::*;

use super::*;

fn rows() -> impl Strategy<Value = Array2<f32>> {
    (2usize..20, 1usize..6).prop_flat_map(|(n, d)| {
        proptest::collection::vec(-1e4f32..1e4, n * d)
            .prop_map(move |values| Array2::from_shape_vec((n, d), values).unwrap())
    })
}

fn learnt(rows: &Array2<f32>, clip: f32) -> Normaliser {
    let rows = rows.mapv(f64::from);
    let mean = rows.mean_axis(Axis(0)).unwrap();
    let variance = rows.var_axis(Axis(0), 0.0);
    Normaliser::of_moments(&mean.to_vec(), &variance.to_vec(), clip).unwrap()
}

#[test]
fn constant_features_become_zero() {
    let rows = array![[7.0, 1.0], [7.0, 3.0]];
    let out = learnt(&rows, 5.0).apply(rows.view()).unwrap();
    let root = 2f32.sqrt();
    assert_eq!(out, array![[0.0, -root], [0.0, root]]);
}

#[test]
fn zero_of_a_range_stays_zero() {
    let normaliser = Normaliser::of_range(2, 0.0, 255.0).unwrap();
    let out = normaliser
        .apply(array![[0.0, 255.0], [0.0, 0.0]].view())
        .unwrap();
    assert_eq!(out, array![[0.0, 2f32.sqrt()], [0.0, 0.0]]);
    let plain = normaliser.with_unit_norm(false);
    let out = plain.apply(array![[51.0, 510.0]].view()).unwrap();
    assert_eq!(out, array![[0.2, 1.0]]);
}

#[test]
fn range_that_holds_zero_keeps_signs() {
    let normaliser = Normaliser::of_range(1, -4.0, 2.0)
        .unwrap()
        .with_unit_norm(false);
    assert_eq!(
        normaliser.apply(array![[-4.0], [2.0]].view()).unwrap(),
        array![[-1.0], [0.5]]
    );
    let normaliser = Normaliser::of_range(1, 20.0, 80.0)
        .unwrap()
        .with_unit_norm(false);
    assert_eq!(
        normaliser.apply(array![[20.0], [80.0]].view()).unwrap(),
        array![[0.0], [1.0]]
    );
}

#[test]
fn hostile_normalisers_are_refused() {
    let good = learnt(&array![[1.0, 5.0], [2.0, 9.0]], 5.0);
    let refusal = |change: &dyn Fn(&mut Normaliser)| {
        let mut bad = good.clone();
        change(&mut bad);
        let mut rows = array![[1.0, 2.0]];
        assert!(bad.apply_in_place(&mut rows).is_err());
        assert_eq!(rows, array![[1.0, 2.0]]);
        bad.check(2).unwrap_err()
    };
    assert_eq!(good.check(2), Ok(()));
    assert_eq!(
        refusal(&|bad| bad.mean.push(0.0)),
        NormaliserError::Length {
            expected: 2,
            means: 3,
            scales: 2
        }
    );
    for value in [f32::NAN, f32::INFINITY, -1.0, 1e-42] {
        assert!(matches!(
            refusal(&|bad| bad.scale[1] = value),
            NormaliserError::Value {
                what: "scale",
                index: 1,
                ..
            }
        ));
    }
    assert!(matches!(
        refusal(&|bad| bad.mean[0] = f32::NAN),
        NormaliserError::Value {
            what: "mean",
            index: 0,
            ..
        }
    ));
    for clip in [0.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(
            refusal(&|bad| bad.clip = clip),
            NormaliserError::Clip { .. }
        ));
    }
    assert!(Normaliser::of_moments(&[0.0], &[f64::NAN], 5.0).is_err());
    assert!(Normaliser::of_moments(&[0.0, 1.0], &[1.0], 5.0).is_err());
}

#[test]
fn a_transform_bends_its_feature_before_it_is_scaled() {
    use super::super::quantile_transform::Atom;
    let atom = |index: i32| Atom {
        value: f64::from(index).exp(),
        rows: 5.0,
    };
    let mut atoms: Vec<Atom> = (-9..=9).map(atom).collect();
    let transform = QuantileTransform::of(1, &mut atoms, 1e3).unwrap();
    let straight = Normaliser::of_moments(&[0.0, 0.0], &[1.0, 1.0], 5.0).unwrap();
    let bent = straight.clone().with_transforms(vec![transform.clone()]);
    let out = bent.apply(array![[1.0, 1e4]].view()).unwrap();
    let expected = array![[1.0, transform.apply(1e4)]];
    let norm: f32 = expected.iter().map(|value| value * value).sum();
    assert!(
        (&out - &(expected * (2.0 / norm).sqrt()))
            .iter()
            .all(|gap| gap.abs() < 1e-6)
    );
    assert!(matches!(bent.check(1), Err(NormaliserError::Length { .. })));
    let twice = straight
        .clone()
        .with_transforms(vec![transform.clone(), transform.clone()]);
    assert_eq!(
        twice.check(2),
        Err(NormaliserError::Transform { feature: 1 })
    );
    let mut outside = transform;
    outside.feature = 2;
    let outside = straight.with_transforms(vec![outside]);
    assert_eq!(
        outside.check(2),
        Err(NormaliserError::Transform { feature: 2 })
    );
}

#[test]
fn a_projection_follows_the_scales() {
    let directions = array![[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]];
    let projection = Projection::of(directions.view()).unwrap();
    let plain = Normaliser::of_moments(&[1.0, 0.0, 0.0], &[4.0, 1.0, 1.0], 5.0).unwrap();
    let normaliser = plain.clone().with_projection(projection.clone());
    assert_eq!(normaliser.width(), 2);
    assert_eq!(normaliser.check_widths(3, 2), Ok(()));
    // (4, 0, 100) is cut to (1.5, 0, 5), projected to (1.5, 10).
    let out = normaliser.apply(array![[4.0, 0.0, 100.0]].view()).unwrap();
    let expected = array![[1.5f32, 10.0]] * (2.0f32 / (2.25 + 100.0)).sqrt();
    let near = (&out - &expected).iter().all(|gap| gap.abs() < 1e-2);
    assert!(near, "{out}");
    assert_eq!(
        normaliser.check_widths(3, 3),
        Err(NormaliserError::Width {
            expected: 3,
            got: 2
        })
    );
    let short = Normaliser::of_moments(&[0.0; 2], &[1.0; 2], 5.0).unwrap();
    assert!(matches!(
        short.with_projection(projection).check(2),
        Err(NormaliserError::Directions { length: 3, .. })
    ));
}

#[test]
fn range_that_is_none_is_refused() {
    for (low, high) in [
        (1.0, 1.0),
        (2.0, 1.0),
        (f32::NAN, 1.0),
        (0.0, f32::INFINITY),
    ] {
        assert!(matches!(
            Normaliser::of_range(1, low, high),
            Err(FeatureError::Normaliser(NormaliserError::Range { .. }))
        ));
    }
}

proptest! {
    #[test]
    fn average_row_has_the_norm_of_the_dimension(rows in rows()) {
        let out = learnt(&rows, 100.0).apply(rows.view()).unwrap();
        let square: f64 = out.iter().map(|&x| f64::from(x).powi(2)).sum();
        let average = square / rows.nrows() as f64;
        prop_assert!((average / rows.ncols() as f64 - 1.0).abs() < 1e-3, "{average}");
    }

    #[test]
    fn unit_norm_rows_have_the_norm_of_the_dimension(rows in rows()) {
        let out = learnt(&rows, 3.0).with_unit_norm(true).apply(rows.view()).unwrap();
        for row in out.axis_iter(Axis(0)) {
            let square: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
            prop_assert!(square == 0.0 || (square / row.len() as f64 - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn any_finite_input_gives_a_finite_row_within_the_clip(
        rows in rows(),
        extreme in prop::sample::select(vec![f32::MAX, f32::MIN, 0.0, 1e-40]),
    ) {
        let normaliser = learnt(&rows, 5.0);
        let row = Array2::from_elem((1, rows.ncols()), extreme);
        let out = normaliser.apply(row.view()).unwrap();
        let bound = 5.0 * (rows.ncols() as f32).sqrt() + 1e-3;
        prop_assert!(out.iter().all(|x| x.is_finite() && x.abs() <= bound));
    }

    #[test]
    fn normalised_features_do_not_depend_on_their_unit(rows in rows(), unit in 0.01f32..100.0) {
        let before = learnt(&rows, 5.0).apply(rows.view()).unwrap();
        let other = rows.mapv(|x| x * unit);
        let after = learnt(&other, 5.0).apply(other.view()).unwrap();
        for (a, b) in before.iter().zip(&after) {
            prop_assert!((a - b).abs() < 1e-2 * (1.0 + a.abs()), "{a} {b}");
        }
    }
}
