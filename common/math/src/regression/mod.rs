//! Kernel ridge regression: by itself, from moments, and differentiated for
//! distillation.
//!
//! Every m×m system is solved in `f64`; what touches all rows of a data set
//! runs in blocks, in `f32` or `f64`.

mod choose;
mod distil;
mod gcv;
mod preconditioner;
mod shared;
mod system;
mod weighted;
mod whitener;

use crate::shape::{self, ShapeError};
use ndarray::{Array2, ArrayView2};

pub use choose::{Choice, choose_ridge, leave_one_out};
pub use distil::{KipStep, kip_loss_and_gradient};
pub use gcv::{RidgeScore, choose_ridge_gcv};
pub use preconditioner::Preconditioner;
pub use shared::{DataTerm, data_term};
pub use system::{MomentSystem, Solution};
pub use weighted::{leave_one_point_out, weighted_ridge};
pub use whitener::Whitener;

use super::kernel::{KernelError, Real};
use super::linalg::{Cholesky, LinalgError};

/// A regression could not be done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RegressionError {
    /// Two arrays do not belong together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A ridge is negative or not a number.
    #[error("{name} must be finite and at least 0, got {value}")]
    Ridge {
        /// `lambda` or `rho`.
        name: &'static str,
        /// What came.
        value: f64,
    },
    /// An input holds a NaN or an infinity.
    #[error("{what} is not finite")]
    NonFinite {
        /// Which input.
        what: &'static str,
    },
    /// Too few groups to leave one out.
    #[error("expected at least 2 groups, got {0}")]
    Groups(usize),
    /// Nothing to choose from.
    #[error("expected at least one candidate for lambda")]
    NoCandidate,
    /// The kernel refused its inputs.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The system could not be solved.
    #[error(transparent)]
    Linalg(#[from] LinalgError),
}

/// Kernel ridge regression on a device's own rows: α (n×C) with
/// (K + ρ·tr(K)/n·I)·α = T.
///
/// `k_ss` is K(X, X), n×n; `targets` T, n×C, centred; ρ is relative to the
/// kernel's mean diagonal entry. Cost n³/3. Source: Nguyen, Chen & Lee 2021,
/// eq. 3.
pub fn kernel_ridge(
    k_ss: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    rho: f64,
) -> Result<Array2<f64>, RegressionError> {
    check_ridge("rho", rho)?;
    check_shape("targets", [k_ss.nrows(), targets.ncols()], targets.dim())?;
    check_finite("targets", targets)?;
    Ok(ridge_factor(k_ss, rho)?.solve(targets)?)
}

/// The factor of K + ρ·tr(K)/m·I.
fn ridge_factor(kernel: ArrayView2<'_, f64>, rho: f64) -> Result<Cholesky, RegressionError> {
    let mut shifted = kernel.to_owned();
    let ridge = rho * shifted.diag().sum() / shifted.nrows().max(1) as f64;
    shifted.diag_mut().map_inplace(|value| *value += ridge);
    Ok(Cholesky::factor(shifted.view())?)
}

fn check_ridge(name: &'static str, value: f64) -> Result<(), RegressionError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(RegressionError::Ridge { name, value })
    }
}

fn check_shape(
    what: &'static str,
    expected: [usize; 2],
    (rows, columns): (usize, usize),
) -> Result<(), ShapeError> {
    shape::check_shape(what, &expected, &[rows, columns])
}

fn check_finite<T: Real>(
    what: &'static str,
    values: ArrayView2<'_, T>,
) -> Result<(), RegressionError> {
    let finite = match values.as_slice() {
        // Without an early exit inside a chunk the check vectorises.
        Some(slice) => slice
            .chunks(1024)
            .all(|chunk| chunk.iter().fold(true, |ok, value| ok & value.is_finite())),
        None => values.iter().all(|value| value.is_finite()),
    };
    if finite {
        Ok(())
    } else {
        Err(RegressionError::NonFinite { what })
    }
}

fn widen<T: Real>(values: ArrayView2<'_, T>) -> Array2<f64> {
    values.mapv(T::wide)
}

fn narrow<T: Real>(values: &Array2<f64>) -> Array2<T> {
    values.mapv(T::of)
}

#[cfg(test)]
mod tests;
