//! From (ε, δ) to ρ and back.

/// The noise (standard deviation, in units of the sensitivity) that costs `rho`.
pub fn sigma_of(rho: f64) -> f64 {
    (0.5 / rho).sqrt()
}

/// A δ for which every mechanism of ρ-zCDP is (ε, δ)-differentially private:
/// the least of exp((α − 1)(αρ − ε)) / (α − 1) · (1 − 1/α)^α over orders α > 1
/// (Canonne, Kamath & Steinke 2020, Corollary 13).
pub fn delta_of(rho: f64, epsilon: f64) -> f64 {
    if rho <= 0.0 {
        return 0.0;
    }
    // The logarithm has one minimum, which lies near (ε + ρ)/(2ρ).
    let log_delta = |order: f64| {
        let less = order - 1.0;
        less * (order * rho - epsilon) + order * (-1.0 / order).ln_1p() - less.ln()
    };
    let (mut low, mut high) = (1.0 + 1e-9, (epsilon + 1.0) / rho + 2.0);
    for _ in 0..STEPS {
        let third = (high - low) / 3.0;
        let (one, other) = (low + third, high - third);
        if log_delta(one) < log_delta(other) {
            high = other;
        } else {
            low = one;
        }
    }
    log_delta(0.5 * (low + high)).exp().min(1.0)
}

/// The most ρ that is (ε, δ)-differentially private, by bisection, rounded down.
pub fn rho_of(epsilon: f64, delta: f64) -> f64 {
    let (mut low, mut high) = (0.0, epsilon + 1.0);
    for _ in 0..STEPS {
        let middle = 0.5 * (low + high);
        if delta_of(middle, epsilon) <= delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The least ε for which ρ-zCDP is (ε, δ)-differentially private, rounded up.
pub fn epsilon_of(rho: f64, delta: f64) -> f64 {
    if rho <= 0.0 {
        return 0.0;
    }
    // Bun & Steinke 2016, Proposition 1.3, is an upper bound.
    let (mut low, mut high) = (0.0, rho + 2.0 * (rho * -delta.ln()).sqrt() + 1e-9);
    for _ in 0..STEPS {
        let middle = 0.5 * (low + high);
        if delta_of(rho, middle) <= delta {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// Enough for every bit of a double.
const STEPS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_directions_agree() {
        for epsilon in [0.1, 1.0, 3.0, 8.0] {
            let rho = rho_of(epsilon, 1e-5);
            assert!(
                (epsilon_of(rho, 1e-5) / epsilon - 1.0).abs() < 1e-6,
                "{epsilon}"
            );
            assert!(delta_of(rho, epsilon) <= 1e-5);
        }
    }

    #[test]
    fn noise_is_below_the_simple_bound() {
        // For one Gaussian the exact figure is known (Balle & Wang 2018,
        // Theorem 8), the σ beside these ε at δ = 1e-5.
        for (epsilon, exact) in [(8.0, 0.600), (3.0, 1.390), (1.0, 3.730)] {
            let sigma = sigma_of(rho_of(epsilon, 1e-5));
            assert!(sigma >= exact, "{epsilon}: {sigma} < {exact}");
            assert!(sigma < 1.1 * exact, "{epsilon}: {sigma} > 1.1 × {exact}");
            let rho = rho_of(epsilon, 1e-5);
            assert!(epsilon <= rho + 2.0 * (rho * 1e5f64.ln()).sqrt());
        }
    }

    #[test]
    fn nothing_spent_is_nothing_told() {
        assert_eq!((delta_of(0.0, 1.0), epsilon_of(0.0, 1e-5)), (0.0, 0.0));
    }
}
