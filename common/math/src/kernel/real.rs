//! The two floating-point types the mathematics is written for.

use ndarray::NdFloat;

/// `f32` or `f64`: one generic bound for every kernel and gradient.
///
/// `f32` is what devices compute with; `f64` is for the coordinator's m×m
/// work and for checking gradients.
pub trait Real: NdFloat {
    /// Least value that divides in the slope of κ₀, 1/√(1−c²). Below it the
    /// cosine's own rounding error would be all that the slope shows.
    const SINE_MIN: Self;

    /// The nearest value of this type.
    fn of(value: f64) -> Self;

    /// This value as `f64`, exactly.
    fn wide(self) -> f64;

    /// acos(u) for u in \[0, 1\], given `root` = √(1−u).
    ///
    /// `f32`: absolute error at most 3e-7. `f64`: the library's acos.
    fn acos_unit(u: Self, root: Self) -> Self;
}

impl Real for f32 {
    const SINE_MIN: Self = 1e-3;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    /// √(1−u)·P(u), the form of Hastings (1955) and of Abramowitz & Stegun
    /// 4.4.46; the coefficients are a Remez fit of acos(u)/√(1−u) on
    /// \[0, 1\], error 2.2e-8 before rounding. No branch and no table, so a
    /// slice of these vectorises; no fused multiply-add, so every machine
    /// gets the same bits.
    #[inline(always)]
    fn acos_unit(u: Self, root: Self) -> Self {
        let mut p = ACOS[7];
        p = p * u + ACOS[6];
        p = p * u + ACOS[5];
        p = p * u + ACOS[4];
        p = p * u + ACOS[3];
        p = p * u + ACOS[2];
        p = p * u + ACOS[1];
        p = p * u + ACOS[0];
        root * p
    }
}

impl Real for f64 {
    const SINE_MIN: Self = 1e-6;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    #[inline(always)]
    fn acos_unit(u: Self, _root: Self) -> Self {
        u.acos()
    }
}

/// Coefficients of P, lowest power first.
const ACOS: [f32; 8] = [
    std::f32::consts::FRAC_PI_2,
    -0.214_598_8,
    0.088_979_05,
    -0.050_174_715,
    0.030_893_054,
    -0.017_089_81,
    0.006_671_293,
    -0.001_262_830_9,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_acos_stays_within_its_documented_error() {
        for i in 0..=1_000_000_u32 {
            let u = i as f32 / 1e6;
            let error =
                (f64::from(f32::acos_unit(u, (1.0 - u).sqrt())) - f64::from(u).acos()).abs();
            assert!(error <= 3e-7, "acos({u}) is off by {error:e}");
        }
    }
}
