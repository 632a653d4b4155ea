//! The kernel's forward pass: from scaled dot products to Θ, row by row.

use std::ops::Range;

use ndarray::{Array1, ArrayView2};

use super::Ntk;
use super::real::Real;
use super::simd::Work;

/// √q and 1/√q of every point at every layer, `layers[l * stride + i]`. Rows
/// of the table are padded with ones to whole vectors.
pub(super) struct Norms<T> {
    pub(super) root: Vec<T>,
    pub(super) inverse: Vec<T>,
    pub(super) stride: usize,
}

impl<T: Real> Norms<T> {
    /// Norms of the rows of `x`, in O(n·(d + depth)).
    pub(super) fn of(ntk: &Ntk, x: ArrayView2<'_, T>) -> Self {
        let stride = padded(x.nrows());
        let depth = usize::from(ntk.depth());
        let mut root = vec![T::one(); depth * stride];
        let mut inverse = vec![T::one(); depth * stride];
        let (half, bias) = (
            T::of(ntk.weight_variance() / 2.0),
            T::of(ntk.bias_variance()),
        );
        for (i, first) in first_layer(ntk, x).into_iter().enumerate() {
            let mut q = first;
            for layer in 0..depth {
                // A point at the origin with no bias has no direction; the
                // floor makes its cosine 0 instead of NaN.
                let floored = if q < T::of(NORM_MIN) {
                    T::of(NORM_MIN)
                } else {
                    q
                };
                root[layer * stride + i] = floored.sqrt();
                inverse[layer * stride + i] = floored.sqrt().recip();
                q = half * q + bias;
            }
        }
        Self {
            root,
            inverse,
            stride,
        }
    }

    /// (√q, 1/√q) of point `i` at `layer`.
    #[inline(always)]
    pub(super) fn at(&self, layer: usize, i: usize) -> (T, T) {
        let at = layer * self.stride + i;
        (self.root[at], self.inverse[at])
    }

    /// √q and 1/√q of some columns at `layer`.
    #[inline(always)]
    pub(super) fn columns(&self, layer: usize, from: usize, count: usize) -> (&[T], &[T]) {
        let from = layer * self.stride + from;
        (
            &self.root[from..from + count],
            &self.inverse[from..from + count],
        )
    }
}

/// q⁰ = w·‖x‖²/d + b of every row.
pub(super) fn first_layer<T: Real>(ntk: &Ntk, x: ArrayView2<'_, T>) -> Array1<T> {
    let scale = T::of(ntk.dot_scale(x.ncols()));
    let bias = T::of(ntk.bias_variance());
    x.rows()
        .into_iter()
        .map(|row| scale * row.dot(&row) + bias)
        .collect()
}

/// K(x, x) from q⁰: on the diagonal the cosine is one at every layer.
pub(super) fn diagonal_value<T: Real>(ntk: &Ntk, first: T) -> T {
    let (half, bias) = (
        T::of(ntk.weight_variance() / 2.0),
        T::of(ntk.bias_variance()),
    );
    let (mut q, mut theta) = (first, first);
    for _ in 0..ntk.depth() {
        q = half * q + bias;
        theta = q + half * theta;
    }
    theta
}

/// One forward pass over whole rows of a matrix, in place.
pub(super) struct Forward<'a, T> {
    pub(super) ntk: &'a Ntk,
    /// On entry (w/d)·x·z, on return Θ; row-major, `columns` wide.
    pub(super) values: &'a mut [T],
    pub(super) columns: usize,
    /// Norms of the points of all rows.
    pub(super) x: &'a Norms<T>,
    /// Which of them `values` holds.
    pub(super) rows: Range<usize>,
    pub(super) z: &'a Norms<T>,
    /// Compute only columns from the row's own number on.
    pub(super) upper_only: bool,
}

impl<T: Real> Work for Forward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let half = T::of(self.ntk.weight_variance() / 2.0);
        let bias = T::of(self.ntk.bias_variance());
        let depth = usize::from(self.ntk.depth());
        let mut sums = [T::zero(); CHUNK];
        let mut thetas = [T::zero(); CHUNK];
        for (row, i) in self.values.chunks_exact_mut(self.columns).zip(self.rows) {
            let first = if self.upper_only { i - i % LANES } else { 0 };
            for (chunk, from) in row[first..].chunks_mut(CHUNK).zip((first..).step_by(CHUNK)) {
                let count = padded(chunk.len());
                let (sums, thetas) = (&mut sums[..count], &mut thetas[..count]);
                load(sums, thetas, chunk, bias);
                for layer in 0..depth {
                    let point = self.x.at(layer, i);
                    forward_layer(
                        sums,
                        thetas,
                        point,
                        self.z.columns(layer, from, count),
                        half,
                        bias,
                    );
                }
                chunk.copy_from_slice(&thetas[..chunk.len()]);
            }
        }
    }
}

/// S⁰ = Θ⁰ = (w/d)·x·z + b of one chunk; the padding becomes zero.
#[inline(always)]
pub(super) fn load<T: Real>(sums: &mut [T], thetas: &mut [T], dots: &[T], bias: T) {
    for (sum, &dot) in sums.iter_mut().zip(dots) {
        *sum = dot + bias;
    }
    sums[dots.len()..].fill(T::zero());
    thetas.copy_from_slice(sums);
}

/// One layer on one chunk: S ← h·g·κ₁ + b, Θ ← S + h·κ₀·Θ, with h = w/2.
#[inline(always)]
fn forward_layer<T: Real>(
    sums: &mut [T],
    thetas: &mut [T],
    (root_x, inverse_x): (T, T),
    (roots_z, inverses_z): (&[T], &[T]),
    half: T,
    bias: T,
) {
    let scale = half * root_x;
    for (((sum, theta), &root_z), &inverse_z) in
        sums.iter_mut().zip(thetas).zip(roots_z).zip(inverses_z)
    {
        let arc = Arc::of(*sum * (inverse_x * inverse_z));
        *sum = scale * root_z * arc.kappa1() + bias;
        *theta = *sum + half * arc.kappa0 * *theta;
    }
}

/// What the arc-cosine kernels of degree 0 and 1 need of one cosine (Cho &
/// Saul 2009, eq. 6).
pub(super) struct Arc<T> {
    /// The cosine, clamped to \[−1, 1\].
    pub(super) cosine: T,
    /// √(1−c²).
    pub(super) sine: T,
    /// (π − acos c)/π.
    pub(super) kappa0: T,
}

impl<T: Real> Arc<T> {
    /// Branch-free. The comparisons are written so that each becomes one
    /// vector instruction.
    #[inline(always)]
    pub(super) fn of(cosine: T) -> Self {
        let one = T::one();
        let cosine = if cosine < one { cosine } else { one };
        let cosine = if cosine > -one { cosine } else { -one };
        let size = cosine.abs();
        let gap = one - size;
        let root = gap.sqrt();
        let sine = (gap * (one + size)).sqrt();
        // The angle as a part of π, of |c| first.
        let part = T::acos_unit(size, root) * T::of(std::f64::consts::FRAC_1_PI);
        let kappa0 = if cosine < T::zero() { part } else { one - part };
        Self {
            cosine,
            sine,
            kappa0,
        }
    }

    /// (√(1−c²) + (π − acos c)·c)/π.
    #[inline(always)]
    pub(super) fn kappa1(&self) -> T {
        self.sine * T::of(std::f64::consts::FRAC_1_PI) + self.kappa0 * self.cosine
    }
}

/// `count` rounded up to whole vectors.
#[inline(always)]
pub(super) fn padded(count: usize) -> usize {
    count.next_multiple_of(LANES)
}

/// Columns worked on at a time: few enough that all scratch stays in L1.
pub(super) const CHUNK: usize = 256;
/// A whole number of vectors on every machine.
pub(super) const LANES: usize = 16;
/// Least q that a cosine divides by.
const NORM_MIN: f64 = 1e-30;

const _: () = assert!(CHUNK.is_multiple_of(LANES));
