//! How rows fit the predictions K(X,S)α of points S at a fixed α, and the
//! gradients of that in S and in α.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use super::{RegressionError, check_finite, check_shape};
use crate::kernel::{Ntk, Real, rows_per_block};

/// What some rows contribute to the objective at a fixed α.
#[derive(Debug, Clone, PartialEq)]
pub struct DataTerm<T> {
    /// ½‖K(X,S)α − T‖².
    pub loss: f64,
    /// Its gradient in S, m×d.
    pub d_support: Array2<T>,
    /// Its gradient in α, K(S,X)·(K(X,S)α − T), m×C.
    pub d_alpha: Array2<T>,
}

/// Loss and gradients of rows `x` (n×d) with targets `t` (n×C) on points
/// `points` (m×d) with coefficients `alpha` (m×C).
///
/// Cost: two n×m×d products and three of n×m×C. Memory: two blocks of
/// about 2¹⁹ entries, whatever n is. Source: method of Nguyen, Chen & Lee
/// 2021, differentiated by hand.
pub fn data_term<T: Real>(
    ntk: &Ntk,
    points: ArrayView2<'_, T>,
    alpha: ArrayView2<'_, T>,
    x: ArrayView2<'_, T>,
    t: ArrayView2<'_, T>,
) -> Result<DataTerm<T>, RegressionError> {
    let m = points.nrows();
    check_shape("alpha", [m, t.ncols()], alpha.dim())?;
    check_shape("targets", [x.nrows(), t.ncols()], t.dim())?;
    check_finite("transfer set", points)?;
    check_finite("alpha", alpha)?;
    let mut term = DataTerm {
        loss: 0.0,
        d_support: Array2::zeros(points.raw_dim()),
        d_alpha: Array2::zeros(alpha.raw_dim()),
    };
    let step = rows_per_block(m);
    for from in (0..x.nrows()).step_by(step) {
        let rows = from..x.nrows().min(from + step);
        let pass = ntk.pass(x.slice(s![rows.clone(), ..]), points)?;
        let kernel = pass.kernel();
        let mut error = t.slice(s![rows, ..]).to_owned();
        general_mat_mul(T::one(), &kernel, &alpha, -T::one(), &mut error);
        term.loss += 0.5
            * error
                .iter()
                .map(|value| value.wide() * value.wide())
                .sum::<f64>();
        general_mat_mul(T::one(), &kernel.t(), &error, T::one(), &mut term.d_alpha);
        // The kernel is no longer needed: its memory takes the gradient.
        let mut gradient = kernel;
        general_mat_mul(T::one(), &error, &alpha.t(), T::zero(), &mut gradient);
        pass.backward(gradient, &mut term.d_support)?;
    }
    // A NaN or an overflow anywhere in a row ends up in its residual, so
    // looking at the sum saves a pass over all inputs on every step.
    if !term.loss.is_finite() {
        return Err(RegressionError::NonFinite {
            what: "inputs, targets or predictions",
        });
    }
    Ok(term)
}
