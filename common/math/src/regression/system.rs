//! The moments of data on a transfer set, and the solve they allow.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use super::{RegressionError, check_finite, check_ridge, check_shape, widen};
use crate::kernel::{Ntk, Real, rows_per_block};
use crate::linalg::Cholesky;

/// All that regression on a transfer set S needs to know of some rows X with
/// targets T: sums, which add over devices and do not care how rows are
/// spread over them.
#[derive(Debug, Clone, PartialEq)]
pub struct MomentSystem {
    /// G = K(S,X)·K(X,S), m×m.
    pub gram: Array2<f64>,
    /// B = K(S,X)·T, m×C.
    pub cross: Array2<f64>,
    /// K(S,S), m×m.
    pub support: Array2<f64>,
    /// Rows of X.
    pub rows: f64,
    /// ‖T‖², the sum of all squared targets.
    pub target_square: f64,
}

/// Coefficients α of f(x) = K(x,S)·α, and how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// α, m×C.
    pub alpha: Array2<f64>,
    /// What had to be added to the diagonal of the system beyond the ridges,
    /// relative to G's mean diagonal entry.
    pub jitter: f64,
    /// λ as it stands in ½‖Kα−T‖² + ½λ·tr(αᵀK_SSα) + ½ρ‖α‖².
    pub lambda: f64,
    /// ρ as it stands there.
    pub rho: f64,
}

impl MomentSystem {
    /// Nothing yet: the system of no rows, C = `classes`, on the transfer
    /// set `points` (m×d).
    pub fn empty<T: Real>(ntk: &Ntk, points: ArrayView2<'_, T>, classes: usize) -> Self {
        let m = points.nrows();
        Self {
            gram: Array2::zeros((m, m)),
            cross: Array2::zeros((m, classes)),
            support: ntk.symmetric(widen(points).view()),
            rows: 0.0,
            target_square: 0.0,
        }
    }

    /// The moments of rows `x` (n×d) with targets `t` (n×C) on the transfer
    /// set `points` (m×d).
    ///
    /// Products run in `T`, sums over blocks in `f64`. Memory: m² doubles and
    /// a block of about 2¹⁹ kernel entries, whatever n is. Cost n·m·(2d+2m).
    pub fn gather<T: Real>(
        ntk: &Ntk,
        points: ArrayView2<'_, T>,
        x: ArrayView2<'_, T>,
        t: ArrayView2<'_, T>,
    ) -> Result<Self, RegressionError> {
        check_shape("targets", [x.nrows(), t.ncols()], t.dim())?;
        check_finite("inputs", x)?;
        check_finite("targets", t)?;
        check_finite("transfer set", points)?;
        let m = points.nrows();
        let mut system = Self::empty(ntk, points, t.ncols());
        let mut gram = Array2::zeros((m, m));
        let mut cross = Array2::zeros((m, t.ncols()));
        ntk.for_each_block(x, points, rows_per_block(m), |k, rows| {
            general_mat_mul(T::one(), &k.t(), &k, T::zero(), &mut gram);
            general_mat_mul(
                T::one(),
                &k.t(),
                &t.slice(s![rows, ..]),
                T::zero(),
                &mut cross,
            );
            system
                .gram
                .zip_mut_with(&gram, |sum, &part| *sum += part.wide());
            system
                .cross
                .zip_mut_with(&cross, |sum, &part| *sum += part.wide());
        })?;
        // The product may round mirrored entries apart.
        let mirrored = system.gram.t().to_owned();
        system
            .gram
            .zip_mut_with(&mirrored, |entry, &mirror| *entry = 0.5 * (*entry + mirror));
        system.rows = x.nrows() as f64;
        system.target_square = t.iter().map(|value| value.wide() * value.wide()).sum();
        Ok(system)
    }

    /// Adds another system's rows to this one's, on the same transfer set.
    pub fn add(&mut self, other: &Self) -> Result<(), RegressionError> {
        self.combine(other, 1.0)
    }

    /// Takes rows out again that were added. In `f64`, so up to rounding;
    /// [`crate::exact::ExactSum`] does it exactly.
    pub fn subtract(&mut self, other: &Self) -> Result<(), RegressionError> {
        self.combine(other, -1.0)
    }

    /// α of (G + λ'·K(S,S) + ρ'·I)·α = B with λ' = λ·tr(G)/tr(K_SS) and
    /// ρ' = ρ·tr(G)/m, so that λ and ρ mean the same on any amount of data
    /// and any scale of kernel. Cost m³/3.
    pub fn solve(&self, lambda: f64, rho: f64) -> Result<Solution, RegressionError> {
        check_ridge("lambda", lambda)?;
        check_ridge("rho", rho)?;
        self.check()?;
        let trace = self.gram.diag().sum();
        let support = self.support.diag().sum();
        let m = self.gram.nrows().max(1) as f64;
        let lambda = if support > 0.0 {
            lambda * trace / support
        } else {
            0.0
        };
        self.solve_absolute(lambda, rho * trace / m)
    }

    /// α of (G + λ·K(S,S) + ρ·I)·α = B, with λ and ρ as they are: the
    /// minimiser of ½‖Kα−T‖² + ½λ·tr(αᵀK_SSα) + ½ρ‖α‖². Cost m³/3.
    pub fn solve_absolute(&self, lambda: f64, rho: f64) -> Result<Solution, RegressionError> {
        check_ridge("lambda", lambda)?;
        check_ridge("rho", rho)?;
        self.check()?;
        let m = self.gram.nrows().max(1) as f64;
        let scale = self.gram.diag().sum() / m;
        // G's trace says how large the system is; a system of no rows has
        // none, and its answer is zero whatever the scale.
        let scale = if scale > 0.0 { scale } else { 1.0 };
        let mut system = &self.gram + &(&self.support * lambda);
        system.diag_mut().map_inplace(|value| *value += rho);
        system /= scale;
        let factor = Cholesky::factor(system.view())?;
        let alpha = factor.solve((&self.cross / scale).view())?;
        Ok(Solution {
            alpha,
            jitter: factor.jitter(),
            lambda,
            rho,
        })
    }

    /// ‖K(X,S)·α − T‖² = tr(αᵀGα) − 2·tr(αᵀB) + ‖T‖² over the rows of this
    /// system, without those rows. Exact up to cancellation of about 1e-16 of
    /// ‖T‖² (`f64` moments; 1e-6 of it for moments gathered in `f32`).
    pub fn squared_error(&self, alpha: ArrayView2<'_, f64>) -> Result<f64, RegressionError> {
        check_shape(
            "alpha",
            [self.cross.nrows(), self.cross.ncols()],
            alpha.dim(),
        )?;
        let quadratic = (&self.gram.dot(&alpha) * &alpha).sum();
        let linear = (&self.cross * &alpha).sum();
        Ok((quadratic - 2.0 * linear + self.target_square).max(0.0))
    }

    /// Shapes that belong together and finite entries.
    pub fn check(&self) -> Result<(), RegressionError> {
        let m = self.gram.nrows();
        check_shape("gram", [m, m], self.gram.dim())?;
        check_shape("support", [m, m], self.support.dim())?;
        check_shape("cross", [m, self.cross.ncols()], self.cross.dim())?;
        check_finite("gram", self.gram.view())?;
        check_finite("support", self.support.view())?;
        check_finite("cross", self.cross.view())
    }

    fn combine(&mut self, other: &Self, sign: f64) -> Result<(), RegressionError> {
        check_shape("gram", self.gram.dim().into(), other.gram.dim())?;
        check_shape("cross", self.cross.dim().into(), other.cross.dim())?;
        self.gram.scaled_add(sign, &other.gram);
        self.cross.scaled_add(sign, &other.cross);
        self.rows += sign * other.rows;
        self.target_square += sign * other.target_square;
        Ok(())
    }
}
