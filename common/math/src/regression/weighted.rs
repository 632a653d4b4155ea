//! Kernel ridge regression on weighted rows: a teacher from distilled points
//! alone.

use ndarray::{Array2, ArrayView2};

use super::{RegressionError, check_finite, check_ridge, check_shape, widen};
use crate::kernel::{Ntk, Real};
use crate::linalg::Cholesky;

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

/// Weights below this count as this.
const WEIGHT_MIN: f64 = 1e-6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::rng;
    use crate::regression::MomentSystem;
    use ndarray::{Axis, concatenate};
    use rand::Rng;

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
