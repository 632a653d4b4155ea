//! The kernel's backward pass: from ∂L/∂Θ to ∂L/∂S⁰ and ∂L/∂q⁰ of the
//! columns, row by row.

use super::Ntk;
use super::forward::{Arc, CHUNK, Norms, load, padded};
use super::real::Real;
use super::simd::Work;

/// One backward pass over a whole matrix.
pub(super) struct Backward<'a, T> {
    pub(super) ntk: &'a Ntk,
    /// (w/d)·x·z, row-major.
    pub(super) dots: &'a [T],
    /// On entry ∂L/∂Θ, on return ∂L/∂S⁰; row-major.
    pub(super) gradient: &'a mut [T],
    pub(super) columns: usize,
    pub(super) x: &'a Norms<T>,
    pub(super) z: &'a Norms<T>,
    /// Gains ∂L/∂q⁰ of every column; padded as `z` is.
    pub(super) norms: &'a mut [T],
}

impl<T: Real> Work for Backward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let depth = usize::from(self.ntk.depth());
        let mut tape = Tape::new(depth);
        let rows = self
            .dots
            .chunks_exact(self.columns)
            .zip(self.gradient.chunks_exact_mut(self.columns));
        for (i, (dots, gradient)) in rows.enumerate() {
            let chunks = dots.chunks(CHUNK).zip(gradient.chunks_mut(CHUNK));
            for ((dots, gradient), from) in chunks.zip((0..).step_by(CHUNK)) {
                tape.record(self.ntk, dots, (self.x, i), (self.z, from));
                let norms = &mut self.norms[from..from + padded(dots.len())];
                tape.rewind(self.ntk, gradient, (self.x, i), (self.z, from), norms);
            }
        }
    }
}

/// What each layer keeps of one chunk, recomputed from the dot products: that
/// costs less than a pass through memory would.
struct Tape<T> {
    layers: Vec<Kept<T>>,
    sums: [T; CHUNK],
    thetas: [T; CHUNK],
}

struct Kept<T> {
    cosines: [T; CHUNK],
    sines: [T; CHUNK],
    kappa0s: [T; CHUNK],
    /// Θ as it entered the layer.
    thetas: [T; CHUNK],
}

impl<T: Real> Tape<T> {
    fn new(depth: usize) -> Self {
        let zeros = [T::zero(); CHUNK];
        let kept = || Kept {
            cosines: zeros,
            sines: zeros,
            kappa0s: zeros,
            thetas: zeros,
        };
        Self {
            layers: (0..depth).map(|_| kept()).collect(),
            sums: zeros,
            thetas: zeros,
        }
    }

    /// The forward pass of one chunk.
    #[inline(always)]
    fn record(
        &mut self,
        ntk: &Ntk,
        dots: &[T],
        (x, i): (&Norms<T>, usize),
        (z, from): (&Norms<T>, usize),
    ) {
        let (half, bias) = (
            T::of(ntk.weight_variance() / 2.0),
            T::of(ntk.bias_variance()),
        );
        let count = padded(dots.len());
        let (sums, thetas) = (&mut self.sums[..count], &mut self.thetas[..count]);
        load(sums, thetas, dots, bias);
        for (layer, kept) in self.layers.iter_mut().enumerate() {
            let (root_x, inverse_x) = x.at(layer, i);
            let (roots_z, inverses_z) = z.columns(layer, from, count);
            kept.record(sums, thetas, inverse_x, inverses_z);
            let scale = half * root_x;
            let kept = kept.cosines.iter().zip(&kept.sines).zip(&kept.kappa0s);
            for (((sum, theta), &root_z), ((&cosine, &sine), &kappa0)) in sums
                .iter_mut()
                .zip(thetas.iter_mut())
                .zip(roots_z)
                .zip(kept)
            {
                *sum = scale
                    * root_z
                    * Arc {
                        cosine,
                        sine,
                        kappa0,
                    }
                    .kappa1()
                    + bias;
                *theta = *sum + half * kappa0 * *theta;
            }
        }
    }

    /// The layers in reverse. With D = ∂L/∂S, Γ = ∂L/∂Θ, h = w/2, and
    /// r = Γ·Θ/(π·√(1−c²)·g), a layer does
    /// D ← h·((D+Γ)·κ₀ + r), ∂g = h·((D+Γ)·√(1−c²)/π − c·r), Γ ← h·κ₀·Γ;
    /// the parts of ∂g in κ₀·c cancel, because κ₁ = √(1−c²)/π + κ₀·c.
    #[inline(always)]
    fn rewind(
        &mut self,
        ntk: &Ntk,
        gradient: &mut [T],
        (x, i): (&Norms<T>, usize),
        (z, from): (&Norms<T>, usize),
        norms: &mut [T],
    ) {
        let half = T::of(ntk.weight_variance() / 2.0);
        let count = norms.len();
        // D and Γ take the place of S and Θ, which are no longer needed.
        let (sums, thetas) = (&mut self.sums[..count], &mut self.thetas[..count]);
        thetas[..gradient.len()].copy_from_slice(gradient);
        thetas[gradient.len()..].fill(T::zero());
        sums.fill(T::zero());
        let mut carried = [T::zero(); CHUNK];
        let carried = &mut carried[..count];
        for (layer, kept) in self.layers.iter().enumerate().rev() {
            let (point, columns) = (x.at(layer, i), z.columns(layer, from, count));
            kept.rewind(sums, thetas, carried, point, columns, half);
        }
        for (norm, &own) in norms.iter_mut().zip(&*carried) {
            *norm += own;
        }
        for ((out, &sum), &theta) in gradient.iter_mut().zip(&*sums).zip(&*thetas) {
            *out = sum + theta;
        }
    }
}

impl<T: Real> Kept<T> {
    #[inline(always)]
    fn record(&mut self, sums: &[T], thetas: &[T], inverse_x: T, inverses_z: &[T]) {
        let slots = self
            .cosines
            .iter_mut()
            .zip(&mut self.sines)
            .zip(&mut self.kappa0s)
            .zip(&mut self.thetas);
        for ((((cosine, sine), kappa0), kept), ((&sum, &theta), &inverse_z)) in
            slots.zip(sums.iter().zip(thetas).zip(inverses_z))
        {
            let arc = Arc::of(sum * (inverse_x * inverse_z));
            *cosine = arc.cosine;
            *sine = arc.sine;
            *kappa0 = arc.kappa0;
            *kept = theta;
        }
    }

    /// `carried` is ∂L/∂q of the column: q ← h·q + b, so what came from the
    /// layer above counts h times, and this layer adds ½·∂g·g/q_z.
    #[inline(always)]
    fn rewind(
        &self,
        sums: &mut [T],
        thetas: &mut [T],
        carried: &mut [T],
        (root_x, inverse_x): (T, T),
        (_, inverses_z): (&[T], &[T]),
        half: T,
    ) {
        let part = T::of(std::f64::consts::FRAC_1_PI);
        let weight = T::of(0.5) * root_x;
        let kept = self
            .cosines
            .iter()
            .zip(&self.sines)
            .zip(&self.kappa0s)
            .zip(&self.thetas);
        let state = sums.iter_mut().zip(thetas).zip(carried).zip(inverses_z);
        for ((((d, gamma), carried), &inverse_z), (((&cosine, &sine), &kappa0), &theta)) in
            state.zip(kept)
        {
            let floored = if sine > T::SINE_MIN {
                sine
            } else {
                T::SINE_MIN
            };
            let r = part * *gamma * theta * (inverse_x * inverse_z) / floored;
            let both = *d + *gamma;
            let slope = half * (both * sine * part - cosine * r);
            *carried = half * *carried + weight * slope * inverse_z;
            *d = half * (both * kappa0 + r);
            *gamma = half * kappa0 * *gamma;
        }
    }
}

/// ∂L/∂S⁰ of a diagonal entry, where κ₀ = κ₁ = 1 at every layer.
pub(super) fn diagonal_gradient<T: Real>(ntk: &Ntk, gradient: T) -> T {
    let half = T::of(ntk.weight_variance() / 2.0);
    let (mut d, mut gamma) = (T::zero(), gradient);
    for _ in 0..ntk.depth() {
        d = half * (d + gamma);
        gamma = half * gamma;
    }
    d + gamma
}
