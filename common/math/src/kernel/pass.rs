//! A forward pass kept for its backward pass.

use crate::shape::check_shape;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis};

use super::backward::{Backward, diagonal_gradient};
use super::forward::{Forward, Norms};
use super::real::Real;
use super::{KernelError, Ntk, check_width, simd};

/// The dot products of K(x, z), from which both the kernel and its gradient
/// follow at little cost. Memory: one n×m matrix.
pub struct Pass<'a, T> {
    ntk: Ntk,
    x: ArrayView2<'a, T>,
    z: ArrayView2<'a, T>,
    dots: Array2<T>,
    x_norms: Norms<T>,
    z_norms: Norms<T>,
}

impl<'a, T: Real> Pass<'a, T> {
    pub(super) fn new(
        ntk: Ntk,
        x: ArrayView2<'a, T>,
        z: ArrayView2<'a, T>,
    ) -> Result<Self, KernelError> {
        check_width(x, z)?;
        let dots = ntk.dots(x, z);
        Ok(Self {
            ntk,
            x,
            z,
            dots,
            x_norms: Norms::of(&ntk, x),
            z_norms: Norms::of(&ntk, z),
        })
    }

    /// K(x, z), n×m.
    pub fn kernel(&self) -> Array2<T> {
        let mut kernel = self.dots.clone();
        let columns = self.z.nrows();
        if let (Some(values), 1..) = (kernel.as_slice_mut(), columns) {
            let (x, z, rows) = (&self.x_norms, &self.z_norms, 0..self.x.nrows());
            simd::run(Forward {
                ntk: &self.ntk,
                values,
                columns,
                x,
                rows,
                z,
                upper_only: false,
            });
        }
        kernel
    }

    /// Adds ∂L/∂Z of L = Σ Γ∘K(x, z) to `out` (m×d), with Γ = `gradient`
    /// (n×m), whose memory becomes scratch.
    ///
    /// Cost: one n×m×d product.
    pub fn backward(&self, gradient: Array2<T>, out: &mut Array2<T>) -> Result<(), KernelError> {
        self.check(gradient.dim(), out.dim())?;
        // The rows are walked as one slice; only a standard layout has it.
        let mut gradient = standard(gradient);
        let mut norms = vec![T::zero(); self.z_norms.stride];
        self.walk(&mut gradient, &mut norms);
        self.spread(&gradient, &norms, out);
        Ok(())
    }

    /// K(s, s) of a pass with x = z = s: the diagonal is exact.
    pub fn kernel_symmetric(&self) -> Array2<T> {
        let mut kernel = self.dots.clone();
        self.ntk.finish_symmetric(self.z, &mut kernel);
        kernel
    }

    /// Adds ∂L/∂S of L = Σ Γ∘K(s, s) to `out`, for a pass with x = z = s.
    ///
    /// K is symmetric, so moving its first argument under Γ is moving its
    /// second under Γᵀ, and one walk with Γ + Γᵀ does both. On the diagonal
    /// the cosine stays 1 whatever the point, so only q carries gradient.
    pub fn backward_symmetric(
        &self,
        gradient: &Array2<T>,
        out: &mut Array2<T>,
    ) -> Result<(), KernelError> {
        self.check(gradient.dim(), out.dim())?;
        let mut both = gradient + &gradient.t();
        let diagonal = both
            .diag()
            .mapv(|value| diagonal_gradient(&self.ntk, value));
        both.diag_mut().fill(T::zero());
        let mut both = standard(both);
        let mut norms = vec![T::zero(); self.z_norms.stride];
        self.walk(&mut both, &mut norms);
        both.diag_mut().assign(&diagonal);
        self.spread(&both, &norms, out);
        Ok(())
    }

    fn walk(&self, gradient: &mut Array2<T>, norms: &mut [T]) {
        let columns = self.z.nrows();
        if let (Some(dots), Some(gradient), 1..) =
            (self.dots.as_slice(), gradient.as_slice_mut(), columns)
        {
            let (x, z) = (&self.x_norms, &self.z_norms);
            simd::run(Backward {
                ntk: &self.ntk,
                dots,
                gradient,
                columns,
                x,
                z,
                norms,
            });
        }
    }

    /// ∂Z += (w/d)·Dᵀ·X + (2w/d)·∂q∘Z.
    fn spread(&self, d: &Array2<T>, norms: &[T], out: &mut Array2<T>) {
        let scale = T::of(self.ntk.dot_scale(self.x.ncols()));
        general_mat_mul(scale, &d.t(), &self.x, T::one(), out);
        for ((mut row, point), &norm) in out.axis_iter_mut(Axis(0)).zip(self.z.rows()).zip(norms) {
            row.scaled_add(T::of(2.0) * scale * norm, &point);
        }
    }

    fn check(&self, gradient: (usize, usize), out: (usize, usize)) -> Result<(), KernelError> {
        check_shape("gradient", self.dots.shape(), &<[usize; 2]>::from(gradient))?;
        Ok(check_shape(
            "gradient of points",
            self.z.shape(),
            &<[usize; 2]>::from(out),
        )?)
    }
}

/// Row-major, copied only if it was not.
fn standard<T: Real>(values: Array2<T>) -> Array2<T> {
    if values.is_standard_layout() {
        values
    } else {
        values.as_standard_layout().into_owned()
    }
}
