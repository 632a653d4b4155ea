//! Kernel ridge regression on weighted rows: a teacher from distilled points
//! alone.

use ndarray::{Array2, ArrayView2, Axis};

use super::{RegressionError, RidgeScore, check_finite, check_ridge, check_shape, widen};
use crate::kernel::{Ntk, Real};
use crate::linalg::{Cholesky, symmetric_eigen};

/// α (m×C) of f(x) = K(x, S)·α that minimises
/// Σᵢ wᵢ·‖f(sᵢ) − tᵢ‖² + λ·tr(αᵀKα), that is (K + λ·W⁻¹)·α = T: each point
/// counts as often as the rows it stands for.
///
/// `points` S is m×d, `weights` are the m positive numbers wᵢ, `targets` T is
/// m×C and centred; λ is absolute. Memory: one m×m matrix of doubles (800 MB
/// for 10,000 points), whatever C is. Cost m²·d + m³/3. Source: weighted
/// kernel ridge, Saunders, Gammerman & Vovk 1998 with a variance for each row.
///
/// # Errors
/// If λ is not positive, the lengths differ, or a number is not finite.
pub fn weighted_ridge<T: Real>(
    ntk: &Ntk,
    points: ArrayView2<'_, T>,
    weights: &[f64],
    targets: ArrayView2<'_, f64>,
    lambda: f64,
) -> Result<Array2<f64>, RegressionError> {
    check_ridge("lambda", lambda)?;
    let m = points.nrows();
    check_shape("weights", [m, 1], (weights.len(), 1))?;
    check_shape("targets", [m, targets.ncols()], targets.dim())?;
    check_finite("points", points)?;
    check_finite("targets", targets)?;
    let mut system = ntk.symmetric(widen(points).view());
    // A point that stands for nothing would need an infinite ridge.
    for (entry, &weight) in system.diag_mut().iter_mut().zip(weights) {
        *entry += lambda / weight.max(WEIGHT_MIN);
    }
    Ok(Cholesky::factor_in_place(system)?.solve(targets)?)
}

/// The λ among `lambdas` under which [`weighted_ridge`] without a point is nearest to
/// what that point says, Σᵢ wᵢ·‖f₋ᵢ(sᵢ) − tᵢ‖² / (C·Σᵢ wᵢ); the smallest of equal ones.
///
/// With H the smoother of the points times √w, f₋ᵢ misses tᵢ by (tᵢ − f(sᵢ)) / (1 − Hᵢᵢ)
/// (Allen 1974, the PRESS statistic), and one eigendecomposition (about 9m³) serves all
/// candidates. Centres of a class carry no noise of their own; what they miss of one
/// another is how far classes overlap.
///
/// # Errors
/// As [`weighted_ridge`], or without a candidate.
pub fn leave_one_point_out<T: Real>(
    ntk: &Ntk,
    points: ArrayView2<'_, T>,
    weights: &[f64],
    targets: ArrayView2<'_, f64>,
    lambdas: &[f64],
) -> Result<RidgeScore, RegressionError> {
    let m = points.nrows();
    check_shape("weights", [m, 1], (weights.len(), 1))?;
    check_shape("targets", [m, targets.ncols()], targets.dim())?;
    check_finite("points", points)?;
    check_finite("targets", targets)?;
    let roots: Vec<f64> = weights.iter().map(|w| w.max(WEIGHT_MIN).sqrt()).collect();
    let mut system = ntk.symmetric(widen(points).view());
    let mut wanted = targets.to_owned();
    for (row, &root) in roots.iter().enumerate() {
        system.row_mut(row).mapv_inplace(|value| value * root);
        wanted.row_mut(row).mapv_inplace(|value| value * root);
    }
    for (column, &root) in roots.iter().enumerate() {
        system.column_mut(column).mapv_inplace(|value| value * root);
    }
    let system = (&system + &system.t()) / 2.0;
    let (values, vectors) = symmetric_eigen(system.view())?;
    let turned = vectors.t().dot(&wanted);
    let squares = vectors.mapv(|value| value * value);
    let all: f64 = roots.iter().map(|root| root * root).sum();
    let per = all.max(WEIGHT_MIN) * targets.ncols().max(1) as f64;
    let mut best: Option<RidgeScore> = None;
    for &lambda in lambdas {
        check_ridge("lambda", lambda)?;
        // 1 − H and T − f without the difference of what is nearly equal.
        let left = values.mapv(|value| lambda / (value.max(0.0) + lambda));
        let missed = vectors.dot(&(&turned * &left.view().insert_axis(Axis(1))));
        let free = squares.dot(&left);
        let rows = missed.rows().into_iter().zip(&free);
        let sum: f64 = rows
            .map(|(row, &free)| row.dot(&row) / free.max(FREE_MIN).powi(2))
            .sum();
        let score = RidgeScore {
            lambda,
            error: sum / per,
        };
        if best.is_none_or(|best| score.error < best.error) {
            best = Some(score);
        }
    }
    best.ok_or(RegressionError::NoCandidate)
}

/// What a point leaves open of itself is at least this.
const FREE_MIN: f64 = 1e-9;
/// Weights below this count as this.
const WEIGHT_MIN: f64 = 1e-6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::rng;
    use crate::regression::MomentSystem;
    use ndarray::concatenate;
    use rand::Rng;

    #[test]
    fn leaving_a_point_out_is_solving_without_it() {
        let ntk = Ntk::new(2);
        let mut random = rng(5, "left out");
        let points = Array2::from_shape_fn((14, 4), |_| random.random_range(-1.0f64..1.0));
        let targets = Array2::from_shape_fn((14, 2), |_| random.random_range(-1.0f64..1.0));
        let weights: Vec<f64> = (0..14).map(|at| f64::from(1 + at % 4)).collect();
        let plain = |lambda: f64| {
            let missed = (0..14).map(|out| {
                let kept: Vec<usize> = (0..14).filter(|&at| at != out).collect();
                let (x, y) = (
                    points.select(Axis(0), &kept),
                    targets.select(Axis(0), &kept),
                );
                let w: Vec<f64> = kept.iter().map(|&at| weights[at]).collect();
                let alpha = weighted_ridge(&ntk, x.view(), &w, y.view(), lambda).unwrap();
                let own = points.select(Axis(0), &[out]);
                let said = ntk.matrix(own.view(), x.view()).unwrap().dot(&alpha);
                let apart = &said.row(0) - &targets.row(out);
                weights[out] * apart.dot(&apart)
            });
            missed.sum::<f64>() / (2.0 * weights.iter().sum::<f64>())
        };
        for lambda in [0.03, 1.0, 30.0] {
            let found =
                leave_one_point_out(&ntk, points.view(), &weights, targets.view(), &[lambda]);
            let (found, plain) = (found.unwrap().error, plain(lambda));
            assert!(
                (found - plain).abs() < 1e-8 * plain.max(1.0),
                "{found} and {plain}"
            );
        }
        let all = [0.03, 1.0, 30.0];
        let best =
            leave_one_point_out(&ntk, points.view(), &weights, targets.view(), &all).unwrap();
        assert!(all.iter().all(|&lambda| plain(lambda) >= best.error - 1e-9));
        let none = leave_one_point_out(&ntk, points.view(), &weights, targets.view(), &[]);
        assert_eq!(none, Err(RegressionError::NoCandidate));
    }

    #[test]
    fn a_point_of_weight_three_is_that_point_three_times() {
        let ntk = Ntk::new(2);
        let mut random = rng(4, "weighted");
        let points = Array2::from_shape_fn((6, 5), |_| random.random_range(-1.0f64..1.0));
        let targets = Array2::from_shape_fn((6, 2), |_| random.random_range(-1.0f64..1.0));
        let weights = [3.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let alpha = weighted_ridge(&ntk, points.view(), &weights, targets.view(), 0.2).unwrap();
        let first = points.select(Axis(0), &[0, 0]);
        let rows = concatenate(Axis(0), &[points.view(), first.view()]).unwrap();
        let labels = targets.select(Axis(0), &[0, 1, 2, 3, 4, 5, 0, 0]);
        let system = MomentSystem::gather(&ntk, points.view(), rows.view(), labels.view()).unwrap();
        let other = system.solve_absolute(0.2, 0.0).unwrap().alpha;
        assert!(
            (&alpha - &other).iter().all(|gap| gap.abs() < 1e-6),
            "{alpha} {other}"
        );
    }

    #[test]
    fn equal_points_are_no_obstacle_and_a_missing_ridge_is() {
        let ntk = Ntk::new(1);
        let points = Array2::<f64>::ones((3, 2));
        let targets = Array2::<f64>::ones((3, 1));
        let solve = |lambda| weighted_ridge(&ntk, points.view(), &[1.0; 3], targets.view(), lambda);
        assert!(solve(0.1).unwrap().iter().all(|value| value.is_finite()));
        assert!(matches!(solve(-1.0), Err(RegressionError::Ridge { .. })));
        assert!(solve(f64::NAN).is_err());
    }
}
