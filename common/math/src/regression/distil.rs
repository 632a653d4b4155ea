//! Kernel inducing points: the loss of points that stand for a data set, and
//! its gradient in closed form.

use ndarray::{Array2, ArrayView2};

use super::shared::data_term;
use super::{RegressionError, check_ridge, check_shape, narrow, ridge_factor, widen};
use crate::kernel::{Ntk, Real};

/// One evaluation of the KIP objective.
#[derive(Debug, Clone, PartialEq)]
pub struct KipStep<T> {
    /// ½·mean((K(X,S)·α − T)²) over rows and classes.
    pub loss: f64,
    /// Its gradient in the points, m×d.
    pub d_support: Array2<T>,
    /// Its gradient in their labels, m×C.
    pub d_labels: Array2<T>,
    /// α = (K(S,S) + ρ·tr/m·I)⁻¹·Y, m×C, in passing.
    pub alpha: Array2<f64>,
    /// What had to be added to the diagonal beyond the ridge.
    pub jitter: f64,
}

/// Loss and gradients of points `points` (m×d) with labels `labels` (m×C) on
/// targets `x` (n×d), `t` (n×C); ρ is relative to K(S,S)'s mean diagonal
/// entry.
///
/// With G = (K(X,S)α − T)/(nC) and V = A⁻¹·K(S,X)·G: ∂Y = V,
/// ∂K(X,S) = Gαᵀ, ∂A = −Vαᵀ, ∂K(S,S) = ∂A + (ρ/m)·tr(∂A)·I. What is m×m runs
/// in `f64`, what has n rows in `T`, by blocks. A jitter counts as constant.
///
/// Cost: two n×m×d products and m³/3. Source: Nguyen, Chen & Lee 2021, eq. 4
/// (the loss); Nguyen, Novak, Xiao & Lee 2021 (learned labels).
pub fn kip_loss_and_gradient<T: Real>(
    ntk: &Ntk,
    points: ArrayView2<'_, T>,
    labels: ArrayView2<'_, T>,
    x: ArrayView2<'_, T>,
    t: ArrayView2<'_, T>,
    rho: f64,
) -> Result<KipStep<T>, RegressionError> {
    check_ridge("rho", rho)?;
    let m = points.nrows();
    check_shape("labels", [m, t.ncols()], labels.dim())?;
    let wide = widen(points);
    let pass = ntk.pass(wide.view(), wide.view())?;
    let factor = ridge_factor(pass.kernel_symmetric().view(), rho)?;
    let alpha = factor.solve(widen(labels).view())?;

    let data = data_term(ntk, points, narrow::<T>(&alpha).view(), x, t)?;
    let mean = 1.0 / (x.nrows() * t.ncols()).max(1) as f64;
    let v = factor.solve((widen(data.d_alpha.view()) * mean).view())?;

    let mut d_kernel = v.dot(&alpha.t());
    d_kernel.mapv_inplace(|value| -value);
    let through_ridge = rho / m.max(1) as f64 * d_kernel.diag().sum();
    d_kernel
        .diag_mut()
        .map_inplace(|value| *value += through_ridge);
    let mut own = Array2::zeros(wide.raw_dim());
    pass.backward_symmetric(&d_kernel, &mut own)?;

    let mut d_support = data.d_support;
    d_support.zip_mut_with(&own, |sum, &own| *sum = T::of(sum.wide() * mean + own));
    Ok(KipStep {
        loss: data.loss * mean,
        d_support,
        d_labels: narrow(&v),
        alpha,
        jitter: factor.jitter(),
    })
}
