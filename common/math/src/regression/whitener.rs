//! The basis in which systems are solved: the transfer set's kernel becomes
//! the identity there.

use ndarray::{Array2, ArrayView2};

use super::{MomentSystem, RegressionError, widen};
use crate::kernel::{Ntk, Real};
use crate::linalg::Cholesky;

/// What is added to K(S,S), relative to its mean diagonal entry, so that
/// near-equal points do not blow the basis up.
const RIDGE: f64 = 1e-6;

/// R with R·Rᵀ = K(S,S) (and a small ridge). A row x has the features
/// φ(x) = R⁻¹·K(S,x), whose squared norm is at most K(x,x), and coefficients
/// in this basis are β = Rᵀ·α.
#[derive(Debug, Clone)]
pub struct Whitener {
    factor: Cholesky,
}

impl Whitener {
    /// The basis of a transfer set `points` (m×d). Both sides compute it, in
    /// `f64`. Cost m²·d + m³/3.
    ///
    /// # Errors
    /// If K(S,S) cannot be factored.
    pub fn of<T: Real>(ntk: &Ntk, points: ArrayView2<'_, T>) -> Result<Self, RegressionError> {
        let mut support = ntk.symmetric(widen(points).view());
        let ridge = RIDGE * support.diag().sum() / support.nrows().max(1) as f64;
        support.diag_mut().map_inplace(|value| *value += ridge);
        Ok(Self {
            factor: Cholesky::factor(support.view())?,
        })
    }

    /// φ of each point, m×m: K(S,S) = R·Rᵀ, so R itself.
    pub fn features(&self) -> ArrayView2<'_, f64> {
        self.factor.lower()
    }

    /// R⁻¹·K: the features of rows, as columns, whose kernels with the points
    /// are the columns of K (m×n). Cost m²·n.
    ///
    /// # Errors
    /// If the columns stand on another number of points.
    pub fn embed(&self, kernel: ArrayView2<'_, f64>) -> Result<Array2<f64>, RegressionError> {
        Ok(self.factor.solve_lower(kernel)?)
    }

    /// A system in this basis: R⁻¹GR⁻ᵀ, R⁻¹B, and the identity for K(S,S).
    /// Cost 2m³.
    ///
    /// # Errors
    /// If the system stands on another number of points.
    pub fn whiten(&self, system: &MomentSystem) -> Result<MomentSystem, RegressionError> {
        let half = self.factor.solve_lower(system.gram.view())?;
        let mut gram = self.factor.solve_lower(half.t())?;
        let mirrored = gram.t().to_owned();
        gram.zip_mut_with(&mirrored, |entry, &mirror| *entry = 0.5 * (*entry + mirror));
        Ok(MomentSystem {
            gram,
            cross: self.factor.solve_lower(system.cross.view())?,
            support: Array2::eye(system.gram.nrows()),
            rows: system.rows,
            target_square: system.target_square,
        })
    }

    /// α = R⁻ᵀ·β, the coefficients on the points themselves.
    ///
    /// # Errors
    /// If β stands on another number of points.
    pub fn coefficients(&self, beta: ArrayView2<'_, f64>) -> Result<Array2<f64>, RegressionError> {
        Ok(self.factor.solve_upper(beta)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::rng;
    use rand::Rng;

    #[test]
    fn solving_in_the_basis_gives_the_same_teacher() {
        let ntk = Ntk::new(2);
        let mut random = rng(4, "whitener");
        let x = Array2::from_shape_fn((200, 5), |_| random.random_range(-1.0f64..1.0));
        let t = Array2::from_shape_fn((200, 2), |(row, class)| x[[row, class]] * x[[row, 2]]);
        let points = x.slice(ndarray::s![..30, ..]);
        let system = MomentSystem::gather(&ntk, points, x.view(), t.view()).unwrap();
        let whitener = Whitener::of(&ntk, points).unwrap();
        let white = whitener.whiten(&system).unwrap();
        let beta = white.solve_absolute(0.1, 0.0).unwrap().alpha;
        let alpha = whitener.coefficients(beta.view()).unwrap();
        let direct = system.solve_absolute(0.1, 0.0).unwrap().alpha;
        let error = (&alpha - &direct).mapv(|value| value * value).sum().sqrt();
        assert!(
            error / direct.mapv(|value| value * value).sum().sqrt() < 1e-3,
            "{error}"
        );
        let trace: f64 = white.gram.diag().sum();
        let bound: f64 = ntk.diagonal(x.view()).sum();
        assert!(trace <= bound * (1.0 + 1e-9));
    }
}
