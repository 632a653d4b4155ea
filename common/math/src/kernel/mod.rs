//! The neural tangent kernel of a fully connected ReLU network of infinite
//! width, and its exact gradient.
//!
//! From S⁰ = Θ⁰ = w·x·z/d + b and q⁰ = w·‖x‖²/d + b, each layer does
//! g = √(q_x·q_z), c = S/g, S ← (w/2)·g·κ₁(c) + b, Θ ← S + (w/2)·κ₀(c)·Θ,
//! q ← (w/2)·q + b; the kernel is the last Θ. κ₀ and κ₁ are the arc-cosine
//! kernels of degree 0 and 1.
//!
//! Sources: Jacot, Gabriel & Hongler 2018, theorem 1; Cho & Saul 2009, eq. 6;
//! Nguyen, Chen & Lee 2021 for its use in distillation.

mod backward;
mod forward;
mod pass;
mod real;
mod simd;

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, s};

pub use pass::Pass;
pub use real::Real;

use crate::shape::{ShapeError, check_count};

use forward::{Forward, Norms, diagonal_value, first_layer};

/// The kernel could not be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// Two sets of points do not live in the same space, or a gradient does not
    /// fit the kernel matrix it belongs to.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The weight variance is not a positive number.
    #[error("weight variance must be finite and above 0, got {0}")]
    WeightVariance(f64),
    /// The bias variance is negative or not a number.
    #[error("bias variance must be finite and at least 0, got {0}")]
    BiasVariance(f64),
}

/// Unchecked parameters of [`Ntk`].
///
/// | name | default | range |
/// |---|---|---|
/// | `depth` | 1 | 0 (a linear kernel) to 255 hidden layers |
/// | `weight_variance` | 2 | above 0; 2 keeps a ReLU network's signal level |
/// | `bias_variance` | 0.01 | at least 0 |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NtkParams {
    /// Hidden layers.
    pub depth: u8,
    /// Variance of the weights, w.
    pub weight_variance: f64,
    /// Variance of the biases, b.
    pub bias_variance: f64,
}

impl Default for NtkParams {
    fn default() -> Self {
        Self {
            depth: 1,
            weight_variance: 2.0,
            bias_variance: 0.01,
        }
    }
}

impl NtkParams {
    /// The kernel with these parameters, or what is wrong with them.
    pub fn check(self) -> Result<Ntk, KernelError> {
        if !(self.weight_variance.is_finite() && self.weight_variance > 0.0) {
            return Err(KernelError::WeightVariance(self.weight_variance));
        }
        if !(self.bias_variance.is_finite() && self.bias_variance >= 0.0) {
            return Err(KernelError::BiasVariance(self.bias_variance));
        }
        Ok(Ntk(self))
    }
}

/// A neural tangent kernel with checked parameters.
///
/// Points are rows; their width is checked, their values are not: a NaN in a
/// point makes that point's rows and columns NaN and no others. Kernel
/// matrices are row-major. The caller's BLAS threads are used as they are
/// (see [`super::blas`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ntk(NtkParams);

impl Ntk {
    /// A kernel of `depth` hidden layers with the default variances.
    pub fn new(depth: u8) -> Self {
        Self(NtkParams {
            depth,
            ..NtkParams::default()
        })
    }

    /// Hidden layers.
    pub fn depth(&self) -> u8 {
        self.0.depth
    }

    /// Variance of the weights, w.
    pub fn weight_variance(&self) -> f64 {
        self.0.weight_variance
    }

    /// Variance of the biases, b.
    pub fn bias_variance(&self) -> f64 {
        self.0.bias_variance
    }

    /// K(a, b), n×m, of points a (n×d) and b (m×d).
    ///
    /// Cost: one n×m×d product plus about 20 operations an entry and layer.
    /// In `f32` an entry is within 1e-5 of the `f64` one relative to
    /// √(K(a,a)·K(b,b)), except that near-equal points (c → 1) feel the
    /// rounding of their dot product by its square root: up to 1e-3.
    pub fn matrix<T: Real>(
        &self,
        a: ArrayView2<'_, T>,
        b: ArrayView2<'_, T>,
    ) -> Result<Array2<T>, KernelError> {
        check_width(a, b)?;
        let mut kernel = Array2::zeros((a.nrows(), b.nrows()));
        let (x, z) = (Norms::of(self, a), Norms::of(self, b));
        let step = rows_per_block(b.nrows());
        for rows in blocks(a.nrows(), step) {
            let block = kernel.slice_mut(s![rows.clone(), ..]);
            self.fill(a.slice(s![rows.clone(), ..]), b, (&x, rows), &z, block);
        }
        Ok(kernel)
    }

    /// K(s, s), m×m: exactly symmetric, with cosine 1 on the diagonal.
    ///
    /// Cost: one m×m×d product plus half of the entries of
    /// [`Ntk::matrix`].
    pub fn symmetric<T: Real>(&self, points: ArrayView2<'_, T>) -> Array2<T> {
        let mut kernel = self.dots(points, points);
        self.finish_symmetric(points, &mut kernel);
        kernel
    }

    /// K(x, x) of every row of x alone, n values, in O(n·(d + depth)).
    pub fn diagonal<T: Real>(&self, x: ArrayView2<'_, T>) -> Array1<T> {
        first_layer(self, x).mapv(|first| diagonal_value(self, first))
    }

    /// K(x, s) by blocks of at most `rows_per_block` rows (at least one), in
    /// order, so that sums over rows need no n×m matrix. `visit` gets the
    /// block and which rows of x it belongs to.
    ///
    /// Memory: `rows_per_block`·m entries. Cost as [`Ntk::matrix`]; blocks
    /// under some 200 rows lose speed in the product.
    pub fn for_each_block<T: Real>(
        &self,
        x: ArrayView2<'_, T>,
        points: ArrayView2<'_, T>,
        rows_per_block: usize,
        mut visit: impl FnMut(ArrayView2<'_, T>, Range<usize>),
    ) -> Result<(), KernelError> {
        check_width(x, points)?;
        let step = rows_per_block.clamp(1, x.nrows().max(1));
        let z = Norms::of(self, points);
        let mut buffer = Array2::zeros((step, points.nrows()));
        for rows in blocks(x.nrows(), step) {
            let part = x.slice(s![rows.clone(), ..]);
            let norms = Norms::of(self, part);
            let mut block = buffer.slice_mut(s![..rows.len(), ..]);
            self.fill(part, points, (&norms, 0..rows.len()), &z, block.view_mut());
            visit(block.view(), rows);
            crate::liveness::heartbeat();
        }
        Ok(())
    }

    /// ∂L/∂Z, m×d, of L = Σ Γ∘K(x, z), with Γ = `gradient` (n×m).
    ///
    /// Cost: two n×m×d products; a caller who needs the kernel too saves one
    /// with [`Ntk::pass`]. Where a row of x equals one of z the kernel has a
    /// cusp; the gradient there is that of its smooth part.
    pub fn backward<T: Real>(
        &self,
        x: ArrayView2<'_, T>,
        z: ArrayView2<'_, T>,
        gradient: Array2<T>,
    ) -> Result<Array2<T>, KernelError> {
        let mut out = Array2::zeros(z.raw_dim());
        self.pass(x, z)?.backward(gradient, &mut out)?;
        Ok(out)
    }

    /// ∂L/∂S, m×d, of L = Σ Γ∘K(s, s), with Γ = `gradient` (m×m, symmetric
    /// or not). Both arguments of the kernel move.
    ///
    /// Cost: two m×m×d products.
    pub fn backward_symmetric<T: Real>(
        &self,
        points: ArrayView2<'_, T>,
        gradient: &Array2<T>,
    ) -> Result<Array2<T>, KernelError> {
        let mut out = Array2::zeros(points.raw_dim());
        self.pass(points, points)?
            .backward_symmetric(gradient, &mut out)?;
        Ok(out)
    }

    /// The forward pass on K(x, z), kept for one backward pass.
    pub fn pass<'a, T: Real>(
        &self,
        x: ArrayView2<'a, T>,
        z: ArrayView2<'a, T>,
    ) -> Result<Pass<'a, T>, KernelError> {
        Pass::new(*self, x, z)
    }

    /// w/d, which scales a dot product of points.
    fn dot_scale(&self, width: usize) -> f64 {
        self.0.weight_variance / width.max(1) as f64
    }

    /// (w/d)·a·bᵀ.
    fn dots<T: Real>(&self, a: ArrayView2<'_, T>, b: ArrayView2<'_, T>) -> Array2<T> {
        let mut out = Array2::zeros((a.nrows(), b.nrows()));
        self.dots_into(a, b, &mut out.view_mut());
        out
    }

    fn dots_into<T: Real>(
        &self,
        a: ArrayView2<'_, T>,
        b: ArrayView2<'_, T>,
        out: &mut ArrayViewMut2<'_, T>,
    ) {
        let scale = T::of(self.dot_scale(a.ncols()));
        general_mat_mul(scale, &a, &b.t(), T::zero(), out);
    }

    /// K(a, b) into `out`, which is row-major without gaps.
    fn fill<T: Real>(
        &self,
        a: ArrayView2<'_, T>,
        b: ArrayView2<'_, T>,
        (x, rows): (&Norms<T>, Range<usize>),
        z: &Norms<T>,
        mut out: ArrayViewMut2<'_, T>,
    ) {
        self.dots_into(a, b, &mut out);
        let columns = b.nrows();
        // A matrix without columns has no slice worth visiting.
        if let (Some(values), 1..) = (out.as_slice_mut(), columns) {
            simd::run(Forward {
                ntk: self,
                values,
                columns,
                x,
                rows,
                z,
                upper_only: false,
            });
        }
    }

    /// Dot products to K(points, points): upper half computed, then mirrored.
    fn finish_symmetric<T: Real>(&self, points: ArrayView2<'_, T>, kernel: &mut Array2<T>) {
        let columns = points.nrows();
        let norms = Norms::of(self, points);
        if let (Some(values), 1..) = (kernel.as_slice_mut(), columns) {
            let (x, z, rows) = (&norms, &norms, 0..columns);
            simd::run(Forward {
                ntk: self,
                values,
                columns,
                x,
                rows,
                z,
                upper_only: true,
            });
        }
        for (i, value) in self.diagonal(points).into_iter().enumerate() {
            kernel[[i, i]] = value;
            for j in 0..i {
                kernel[[i, j]] = kernel[[j, i]];
            }
        }
    }
}

/// Rows of a block of a kernel matrix of `columns` columns, such that the
/// block and the points of its rows stay in a processor's cache (2 MiB of
/// `f32` for the block) and the matrix product still has enough to do.
pub fn rows_per_block(columns: usize) -> usize {
    (BLOCK_VALUES / columns.max(1)).clamp(BLOCK_ROWS_MIN, BLOCK_ROWS_MAX)
}

/// `0..rows` in pieces of `step`.
fn blocks(rows: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows)
        .step_by(step)
        .map(move |from| from..rows.min(from + step))
}

fn check_width<T>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>) -> Result<(), KernelError> {
    Ok(check_count("features of a point", a.ncols(), b.ncols())?)
}

const BLOCK_VALUES: usize = 1 << 19;
const BLOCK_ROWS_MIN: usize = 128;
const BLOCK_ROWS_MAX: usize = 512;

#[cfg(test)]
mod tests;
