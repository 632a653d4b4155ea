//! How much each feature counts, from the points alone.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use common::feature_weights::FeatureWeights;
use common::math::kernel::Ntk;
use common::math::regression::RegressionError;
use common::summary::Points;
use common::task::Task;

use super::teacher::point_coefficients;

/// Weights as large as the answers of a teacher of the points alone change
/// with each feature: the root of the mean square of that derivative over the
/// points, each as often as the rows it stands for. Then once more under the
/// weights so found. Devices have sent nothing for it but the points.
///
/// Few points say little of many features, so their mean square is mixed with
/// one that all features share, as much of it as there are features a point.
/// The constant beside a list of features keeps its place.
///
/// Cost, with m points (of more than [`POINTS_MAX`], this many are looked at):
/// twice m³/3 + 2·C·m²·d. Source: the diagonal of the average gradient outer
/// product, Radhakrishnan, Beaglehole, Pandit & Belkin 2024.
///
/// # Errors
/// If no teacher can be solved.
pub(super) fn learn_feature_weights(
    task: &Task,
    points: &Points,
) -> Result<FeatureWeights, RegressionError> {
    let every = points.len().div_ceil(POINTS_MAX).max(1);
    let chosen: Vec<usize> = (0..points.len()).step_by(every).collect();
    let points = points.select(&chosen);
    let free = task.definition().features.varying(task.features());
    let mut feature_weights = FeatureWeights::alike();
    for _ in 0..PASSES {
        let squares = derivatives(task, &points, &feature_weights)?;
        let weights = weights(squares.as_slice().unwrap_or_default(), free, points.len());
        // Nothing to tell features by, or nothing that can be told.
        let Ok(found) = FeatureWeights::of(&weights) else {
            break;
        };
        feature_weights = found;
    }
    Ok(feature_weights)
}

/// For each feature the mean over the points of Σ_c (∂f_c/∂x)², with f the
/// teacher of the points whose kernel sees x through `feature_weights`.
fn derivatives(
    task: &Task,
    points: &Points,
    feature_weights: &FeatureWeights,
) -> Result<Array1<f64>, RegressionError> {
    let ntk = Ntk::new(task.definition().teacher.depth);
    let inputs = points.inputs.view();
    let seen = feature_weights.through(inputs);
    let alpha = point_coefficients(task, points, seen.view())?;
    let pass = ntk.pass(seen.view(), seen.view())?;
    let mut squares = Array1::<f64>::zeros(points.inputs.ncols());
    for class in alpha.axis_iter(Axis(1)) {
        // Σ f(x) over the points as the kernel's second argument: its
        // gradient in each is the derivative of f there.
        let column = class.mapv(|value| value as f32).insert_axis(Axis(1));
        let spread = column.broadcast((points.len(), points.len()));
        let gradient = spread.expect("a column fits a square").to_owned();
        let mut slopes = Array2::zeros(inputs.raw_dim());
        pass.backward(gradient, &mut slopes)?;
        add_squares(
            &mut squares,
            slopes.view(),
            seen.view(),
            points,
            feature_weights,
        );
    }
    let rows = points.rows().max(1) as f64;
    Ok(squares / rows)
}

/// Adds the squares of derivatives in x, from those in what the kernel sees of
/// it, z = w∘x·√d/‖w∘x‖: what lies along z is lost, the rest is scaled.
fn add_squares(
    squares: &mut Array1<f64>,
    slopes: ArrayView2<'_, f32>,
    seen: ArrayView2<'_, f32>,
    points: &Points,
    feature_weights: &FeatureWeights,
) {
    let features = seen.ncols() as f64;
    let weight = |feature: usize| {
        feature_weights
            .weights()
            .get(feature)
            .map_or(1.0, |&w| w.into())
    };
    for (point, (slope, z)) in slopes.rows().into_iter().zip(seen.rows()).enumerate() {
        let norm = |values: ndarray::ArrayView1<'_, f32>| -> f64 {
            values.iter().map(|&value| f64::from(value).powi(2)).sum()
        };
        let weighed: f64 = points
            .inputs
            .row(point)
            .iter()
            .enumerate()
            .map(|(feature, &value)| (weight(feature) * f64::from(value)).powi(2))
            .sum();
        let along = f64::from(slope.dot(&z)) / norm(z).max(f64::MIN_POSITIVE);
        let stretch = features / weighed.max(f64::MIN_POSITIVE);
        let count = f64::from(points.counts[point]);
        for (feature, (&slope, &z)) in slope.iter().zip(z).enumerate() {
            let across = f64::from(slope) - along * f64::from(z);
            squares[feature] += count * stretch * (weight(feature) * across).powi(2);
        }
    }
}

/// From mean squares to weights whose own mean square is 1 over the first
/// `free` features that tell anything; the others weigh 1.
fn weights(squares: &[f64], free: usize, points: usize) -> Vec<f32> {
    let telling: Vec<f64> = squares[..free.min(squares.len())].to_vec();
    let alive = telling.iter().filter(|&&square| square > 0.0).count();
    let mean = telling.iter().sum::<f64>() / alive.max(1) as f64;
    let shared = SHARED * alive as f64 / points.max(1) as f64;
    let weight = |feature: usize| match telling.get(feature) {
        Some(square) if mean > 0.0 => ((square / mean + shared) / (1.0 + shared)).sqrt() as f32,
        _ => 1.0,
    };
    (0..squares.len()).map(weight).collect()
}

/// How often weights are found; they hardly change after the second time.
const PASSES: usize = 2;
/// Points that are looked at.
const POINTS_MAX: usize = 1_000;
/// What all features share is this times as much as there are features a point.
const SHARED: f64 = 1.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::math::random::rng;
    use common::task::RawTask;
    use rand::Rng;

    fn task() -> Task {
        let task = "name = \"t\"\n[input]\nshape = [5]\n[classes]\nnames = [\"a\", \"b\"]\n\
                    [features]\nstage = \"lifted\"";
        RawTask::parse(task).unwrap()
    }

    /// Points whose class is the sign of the second of five features.
    fn points(count: usize) -> Points {
        let mut random = rng(3, "feature_weights");
        let mut inputs = Array2::from_shape_fn((count, 6), |_| random.random_range(-1.0f32..1.0));
        inputs.column_mut(5).fill(0.5);
        for mut row in inputs.rows_mut() {
            let norm = (row.dot(&row) / 6.0).sqrt();
            row /= norm;
        }
        Points {
            classes: inputs
                .column(1)
                .iter()
                .map(|&x| u16::from(x > 0.0))
                .collect(),
            counts: vec![10; count],
            spreads: vec![0.1; count],
            targets: None,
            inputs,
        }
    }

    #[test]
    fn the_feature_that_tells_classes_apart_counts_most() {
        let found = learn_feature_weights(&task(), &points(200)).unwrap();
        let weights = found.weights();
        assert_eq!(weights.len(), 6);
        for other in [0, 2, 3, 4] {
            assert!(weights[1] > 3.0 * weights[other], "{weights:?}");
        }
        assert!((weights[5] - 1.0).abs() < 1e-3, "{weights:?}");
    }

    #[test]
    fn derivatives_agree_with_differences() {
        let (task, points) = (task(), points(40));
        let feature_weights = FeatureWeights::of(&[0.5, 2.0, 1.0, 0.7, 1.0, 1.0]).unwrap();
        let found = derivatives(&task, &points, &feature_weights).unwrap();
        let ntk = Ntk::new(task.definition().teacher.depth);
        let seen = feature_weights.through(points.inputs.view());
        let wide = |x: ArrayView2<'_, f32>| x.mapv(f64::from);
        let alpha = point_coefficients(&task, &points, seen.view()).unwrap();
        // Far enough from the cusp at each point itself: leave it out, as the
        // derivative of its smooth part does.
        let answers = |feature: usize, by: f32, point: usize| {
            let mut moved = points.inputs.clone();
            moved[[point, feature]] += by;
            let moved = feature_weights.through(moved.view());
            let kernel = ntk.matrix(wide(moved.view()).view(), wide(seen.view()).view());
            let mut row = kernel.unwrap().row(point).to_owned();
            row[point] = 0.0;
            row.dot(&alpha)
        };
        for feature in 0..6 {
            let mut sum = 0.0;
            for point in 0..points.len() {
                let step = 1e-2;
                let slope = (answers(feature, step, point) - answers(feature, -step, point))
                    / f64::from(2.0 * step);
                sum += slope.dot(&slope);
            }
            let expected = sum / points.len() as f64;
            assert!(
                (found[feature] / expected - 1.0).abs() < 0.1,
                "feature {feature}: {} against {expected}",
                found[feature]
            );
        }
    }

    #[test]
    fn points_of_a_single_class_leave_equal_weights() {
        let mut one = points(20);
        one.classes.fill(0);
        let found = learn_feature_weights(&task(), &one).unwrap();
        assert!(found.weights().iter().all(|weight| weight.is_finite()));
    }

    #[test]
    fn few_points_hardly_tell_features_apart() {
        let spread = |count| {
            let found = learn_feature_weights(&task(), &points(count)).unwrap();
            let weights = &found.weights()[..5];
            let most = weights.iter().copied().fold(0.0, f32::max);
            let least = weights.iter().copied().fold(f32::MAX, f32::min);
            most / least
        };
        assert!(spread(4) < spread(200));
    }
}
