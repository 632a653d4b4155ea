//! Choosing the ridge by generalised cross-validation, from summed moments.
//!
//! Leaving whole devices out picks an absurd ridge where a class lives on one
//! device only; this criterion does not depend on how rows are spread over
//! devices. Source: Golub, Heath & Wahba 1979, for the smoother that the
//! moments define.

use ndarray::{Array1, Array2};

use super::{MomentSystem, RegressionError};
use crate::linalg::{Cholesky, symmetric_eigen};

/// A ridge and what it is expected to cost on unseen rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RidgeScore {
    /// λ as it stands in (G + λ·K_SS)·α = B.
    pub lambda: f64,
    /// Estimated squared error on unseen rows, per row and class.
    pub error: f64,
}

/// The λ among `lambdas` whose generalised cross-validation error,
/// n·RSS/(n − tr H)², is least, and that error divided by the number of
/// classes. One eigendecomposition (about 9m³) serves all candidates.
///
/// # Errors
/// If the system's parts do not fit, K(S,S) cannot be factored, or there is
/// no candidate.
pub fn choose_ridge_gcv(
    system: &MomentSystem,
    lambdas: &[f64],
) -> Result<RidgeScore, RegressionError> {
    system.check()?;
    let (weights, squares) = spectrum(system)?;
    let (rows, classes) = (system.rows, system.cross.ncols().max(1) as f64);
    let score = |&lambda: &f64| {
        let (mut residual, mut freedom) = (system.target_square, 0.0);
        for (&weight, &square) in weights.iter().zip(&squares) {
            let shrunk = 1.0 / (weight.max(0.0) + lambda);
            residual += square * shrunk * (weight.max(0.0) * shrunk - 2.0);
            freedom += weight.max(0.0) * shrunk;
        }
        // More degrees of freedom than rows fit anything; never choose that.
        let left = (rows - freedom).max(rows * 1e-3).max(1e-9);
        RidgeScore {
            lambda,
            error: rows * residual.max(0.0) / (left * left) / classes,
        }
    };
    lambdas
        .iter()
        .map(score)
        .min_by(|one, other| {
            one.error
                .total_cmp(&other.error)
                .then(other.lambda.total_cmp(&one.lambda))
        })
        .ok_or(RegressionError::NoCandidate)
}

/// Eigenvalues w of R⁻¹·G·R⁻ᵀ with R·Rᵀ = K_SS, and the squared norms of the
/// rows of Uᵀ·R⁻¹·B.
fn spectrum(system: &MomentSystem) -> Result<(Array1<f64>, Array1<f64>), RegressionError> {
    let m = system.support.nrows().max(1) as f64;
    let mut support = system.support.clone();
    let ridge = 1e-10 * support.diag().sum() / m;
    support.diag_mut().map_inplace(|value| *value += ridge);
    let factor = Cholesky::factor(support.view())?;
    let half = factor.solve_lower(system.gram.view())?;
    let mut whitened = factor.solve_lower(half.t())?;
    let mirrored = whitened.t().to_owned();
    whitened.zip_mut_with(&mirrored, |entry, &mirror| *entry = 0.5 * (*entry + mirror));
    let (weights, vectors) = symmetric_eigen(whitened.view())?;
    let cross: Array2<f64> = factor.solve_lower(system.cross.view())?;
    let rotated = vectors.t().dot(&cross);
    let squares = rotated
        .rows()
        .into_iter()
        .map(|row| row.dot(&row))
        .collect();
    Ok((weights, squares))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kernel::Ntk;
    use crate::random::rng;
    use rand::Rng;

    fn noisy(rows: usize, noise: f64, stream: &str) -> (Array2<f64>, Array2<f64>) {
        let mut rng = rng(3, stream);
        let x = Array2::from_shape_fn((rows, 3), |_| rng.random_range(-1.0..1.0));
        let t = Array2::from_shape_fn((rows, 1), |(row, _)| {
            x[[row, 0]] * x[[row, 1]] + noise * rng.random_range(-1.0..1.0)
        });
        (x, t)
    }

    #[test]
    fn the_estimate_is_near_the_error_on_unseen_rows() {
        let ntk = Ntk::new(1);
        let (x, t) = noisy(400, 0.5, "train");
        let (unseen, truth) = noisy(2_000, 0.5, "unseen");
        let points = x.slice(ndarray::s![..60, ..]);
        let system = MomentSystem::gather(&ntk, points, x.view(), t.view()).unwrap();
        let test = MomentSystem::gather(&ntk, points, unseen.view(), truth.view()).unwrap();
        let lambdas: Vec<f64> = (-12..=6)
            .map(|power| 10f64.powf(f64::from(power) / 2.0))
            .collect();
        let chosen = choose_ridge_gcv(&system, &lambdas).unwrap();
        let error = |lambda: f64| {
            let alpha = system.solve_absolute(lambda, 0.0).unwrap().alpha;
            test.squared_error(alpha.view()).unwrap() / test.rows
        };
        let best = lambdas
            .iter()
            .map(|&lambda| error(lambda))
            .fold(f64::INFINITY, f64::min);
        assert!(
            error(chosen.lambda) < 1.05 * best,
            "{} against {best}",
            error(chosen.lambda)
        );
        assert!((chosen.error / error(chosen.lambda) - 1.0).abs() < 0.2);
    }

    #[test]
    fn no_candidate_is_an_error() {
        let ntk = Ntk::new(1);
        let (x, t) = noisy(10, 0.1, "train");
        let system = MomentSystem::gather(&ntk, x.view(), x.view(), t.view()).unwrap();
        assert_eq!(
            choose_ridge_gcv(&system, &[]).unwrap_err(),
            RegressionError::NoCandidate
        );
    }
}
