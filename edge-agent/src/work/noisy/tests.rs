#![allow(clippy::unwrap_used)]
use super::*;
use common::math::privacy::rho_of;
use common::math::random::rng;

/// Rows of norm 1 around one of two centres for each class.
fn rows(many: usize, features: usize) -> Rows {
    let mut random = rng(5, "rows");
    let mut inputs = Array2::zeros((many, features));
    let mut labels = Vec::new();
    for (at, mut row) in inputs.rows_mut().into_iter().enumerate() {
        let (class, side) = (at % 2, at / 2 % 2);
        row.mapv_inplace(|_: f32| random.random_range(-0.2f32..0.2));
        row[2 * class + side] += 2.0;
        let norm = row.dot(&row).sqrt();
        row.mapv_inplace(|value| value / norm);
        labels.push(class);
    }
    Rows { inputs, labels }
}

#[test]
fn one_row_changes_all_sums_by_its_norm_at_most() {
    let (features, many) = (17, 60);
    let whole = rows(many, features);
    let (value, count) = {
        let length = (1.0 + COUNT_WEIGHT * COUNT_WEIGHT).sqrt();
        (GRID / length, (GRID * COUNT_WEIGHT / length).floor())
    };
    for row in whole.inputs.rows() {
        let square: f64 = row
            .iter()
            .map(|&one| (f64::from(one) * value).trunc().powi(2))
            .sum();
        assert!(square + count * count <= GRID * GRID, "{square}");
    }
}

#[test]
fn with_many_rows_the_cells_of_a_class_are_found() {
    let rows = rows(20_000, 8);
    let mut random = rng(1, "noise");
    let points = rows
        .summarise(2, rho_of(3.0, 1e-5), 20, 10.0, &mut random)
        .unwrap();
    assert!(points.len() >= 6, "{}", points.len());
    let total: u32 = points.counts.iter().sum();
    assert!((f64::from(total) / 20_000.0 - 1.0).abs() < 0.05, "{total}");
    for (input, &class) in points.inputs.rows().into_iter().zip(&points.classes) {
        let own: f32 = input.iter().skip(2 * usize::from(class)).take(2).sum();
        let others: f32 = input
            .iter()
            .skip(2 * (1 - usize::from(class)))
            .take(2)
            .sum();
        assert!(own > 4.0 * others.abs(), "{input}");
    }
}

#[test]
fn few_rows_make_one_point_a_class() {
    let (features, classes) = (200, 2);
    let rows = rows(400, features);
    let cost = rho_of(3.0, 1e-5);
    let exact = |class: usize| {
        let of_class: Vec<usize> = (class..400).step_by(2).collect();
        rows.inputs
            .select(Axis(0), &of_class)
            .mean_axis(Axis(0))
            .unwrap()
    };
    let (mut square, draws) = (0.0, 40);
    for draw in 0..draws {
        let mut random = rng(draw, "noise");
        let points = rows
            .summarise(classes, cost, 20, 10.0, &mut random)
            .unwrap();
        assert_eq!(points.classes, [0, 1]);
        for (class, input) in points.inputs.rows().into_iter().enumerate() {
            let unit = input.mapv(|value| value / (features as f32).sqrt());
            let away = &unit - &exact(class);
            square += f64::from(away.dot(&away));
        }
    }
    // σ for a row and its count, over the rows of the class.
    let sigma = sigma_of(cost) * (1.0 + COUNT_WEIGHT * COUNT_WEIGHT).sqrt();
    let expected = features as f64 * (sigma / 200.0).powi(2);
    let ratio = square / f64::from(2 * draws as u32) / expected;
    assert!((0.8..1.3).contains(&ratio), "{ratio}");
}

#[test]
fn a_class_that_noise_could_make_up_is_not_told_of() {
    let mut rows = rows(400, 6);
    rows.labels = rows.labels.iter().map(|label| 2 * label).collect();
    let mut random = rng(2, "noise");
    let points = rows
        .summarise(3, rho_of(8.0, 1e-5), 20, 10.0, &mut random)
        .unwrap();
    assert!(
        points.classes.iter().all(|&class| class != 1),
        "{:?}",
        points.classes
    );
}
