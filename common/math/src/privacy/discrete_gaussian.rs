//! Integers drawn from the discrete Gaussian, with integer arithmetic alone.
//!
//! Noise computed in floating point has gaps that can give a sum away (Mironov
//! 2012). Sums of integers with this noise are ρ-zCDP exactly as the theorem
//! says: ρ = Δ²/(2σ²) (Canonne, Kamath & Steinke 2020, Theorem 4).

use rand::Rng;

/// Largest σ, so that every product fits 128 bits.
pub const SIGMA_MAX: u64 = 1 << 24;

/// Integers x with a probability in proportion to exp(−x²/(2σ²)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscreteGaussian {
    sigma: u64,
}

impl DiscreteGaussian {
    /// Of this σ, at least 1; none beyond [`SIGMA_MAX`].
    pub fn new(sigma: u64) -> Option<Self> {
        (1..=SIGMA_MAX).contains(&sigma).then_some(Self { sigma })
    }

    /// Its σ.
    pub fn sigma(&self) -> u64 {
        self.sigma
    }

    /// One draw: Algorithm 3 of the paper, a discrete Laplace of scale ⌊σ⌋ + 1
    /// of which some draws are refused. About two in three are taken.
    pub fn draw(&self, random: &mut impl Rng) -> i64 {
        let (sigma, scale) = (u128::from(self.sigma), u128::from(self.sigma) + 1);
        loop {
            let (magnitude, negative) = laplace(scale, random);
            // exp(−(|y| − σ²/t)²/(2σ²)), both sides of the fraction times t².
            let near = (magnitude * scale).abs_diff(sigma * sigma);
            let Some(numerator) = near.checked_mul(near) else {
                continue; // further out than can be drawn in practice
            };
            if bernoulli_exp(numerator, 2 * sigma * sigma * scale * scale, random) {
                let value = i64::try_from(magnitude).unwrap_or(i64::MAX);
                return if negative { -value } else { value };
            }
        }
    }
}

/// A draw from the discrete Laplace of an integer scale: its size, and whether
/// it is negative (Algorithm 2).
fn laplace(scale: u128, random: &mut impl Rng) -> (u128, bool) {
    loop {
        let fraction = random.random_range(0..scale);
        if !bernoulli_exp(fraction, scale, random) {
            continue;
        }
        let mut whole = 0u128;
        while bernoulli_exp(1, 1, random) {
            whole += 1;
        }
        let magnitude = fraction + scale * whole;
        let negative = random.random::<bool>();
        if !(negative && magnitude == 0) {
            return (magnitude, negative);
        }
    }
}

/// True with the probability exp(−numerator/denominator) (Algorithm 1).
fn bernoulli_exp(numerator: u128, denominator: u128, random: &mut impl Rng) -> bool {
    for _ in 0..numerator / denominator {
        if !bernoulli_exp_unit(1, 1, random) {
            return false;
        }
    }
    bernoulli_exp_unit(numerator % denominator, denominator, random)
}

/// The same of a fraction of at most one.
fn bernoulli_exp_unit(numerator: u128, denominator: u128, random: &mut impl Rng) -> bool {
    let mut trials = 1u128;
    while random.random_range(0..denominator * trials) < numerator {
        trials += 1;
    }
    trials % 2 == 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::rng;

    #[test]
    fn its_probabilities_are_those_of_the_formula() {
        let (gaussian, draws) = (DiscreteGaussian::new(2).unwrap(), 200_000);
        let mut random = rng(1, "noise");
        let mut counts = [0u32; 21];
        for _ in 0..draws {
            let value = gaussian.draw(&mut random);
            if value.abs() <= 10 {
                counts[(value + 10) as usize] += 1;
            }
        }
        let weight = |value: i64| (-(value * value) as f64 / 8.0).exp();
        let sum: f64 = (-40..=40).map(weight).sum();
        for (value, &count) in (-10..=10).zip(&counts) {
            let expected = f64::from(draws) * weight(value) / sum;
            let deviation = expected.sqrt().max(1.0);
            let apart = (f64::from(count) - expected).abs();
            assert!(
                apart < 5.0 * deviation,
                "{value}: {count}, {expected:.1} expected"
            );
        }
    }

    #[test]
    fn wide_noise_has_its_variance_and_no_bias() {
        for sigma in [1, 40_000, SIGMA_MAX] {
            let gaussian = DiscreteGaussian::new(sigma).unwrap();
            let mut random = rng(sigma, "wide");
            let draws = 20_000;
            let values: Vec<f64> = (0..draws)
                .map(|_| gaussian.draw(&mut random) as f64)
                .collect();
            let mean = values.iter().sum::<f64>() / f64::from(draws);
            let square = values.iter().map(|value| value * value).sum::<f64>() / f64::from(draws);
            let wide = sigma as f64;
            assert!(
                mean.abs() < 5.0 * wide / f64::from(draws).sqrt(),
                "{sigma}: {mean}"
            );
            let ratio = square / (wide * wide);
            assert!((ratio - 1.0).abs() < 0.06, "{sigma}: {ratio}");
        }
    }

    #[test]
    fn noise_without_width_and_wider_than_fits_is_refused() {
        assert_eq!(DiscreteGaussian::new(0), None);
        assert_eq!(DiscreteGaussian::new(SIGMA_MAX + 1), None);
    }
}
