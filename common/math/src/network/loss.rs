//! Softmax and the tempered cross-entropy of distillation.

use ndarray::{ArrayView2, ArrayViewMut1, ArrayViewMut2};

use super::{NetworkError, Real};

/// What a network is trained to make small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Tempered [`cross_entropy`] against distributions.
    CrossEntropy {
        /// Above 0.
        temperature: f64,
    },
    /// [`squared_error`] against numbers.
    Squared,
}

impl From<f64> for Loss {
    /// Cross-entropy at this temperature.
    fn from(temperature: f64) -> Self {
        Self::CrossEntropy { temperature }
    }
}

impl Loss {
    /// Refuses a temperature that is not positive and finite.
    pub(super) fn check(self) -> Result<(), NetworkError> {
        match self {
            Self::CrossEntropy { temperature }
                if !(temperature.is_finite() && temperature > 0.0) =>
            {
                Err(NetworkError::Temperature(temperature))
            }
            _ => Ok(()),
        }
    }

    /// Its value; `gradient` becomes the derivative in the outputs.
    pub(super) fn of<T: Real>(
        self,
        outputs: ArrayView2<'_, T>,
        targets: ArrayView2<'_, T>,
        gradient: ArrayViewMut2<'_, T>,
    ) -> f64 {
        match self {
            Self::CrossEntropy { temperature } => {
                cross_entropy(outputs, targets, temperature, gradient)
            }
            Self::Squared => squared_error(outputs, targets, gradient),
        }
    }
}

/// The loss ½·mean_i Σ_v (z_iv − t_iv)² of outputs z against numbers t, both
/// of shape (rows, values). `gradient` (same shape) becomes ∂loss/∂z =
/// (z − t) / rows.
///
/// # Panics
/// If the three shapes differ.
pub fn squared_error<T: Real>(
    outputs: ArrayView2<'_, T>,
    targets: ArrayView2<'_, T>,
    mut gradient: ArrayViewMut2<'_, T>,
) -> f64 {
    assert_eq!(outputs.dim(), targets.dim(), "outputs and targets");
    let rows = outputs.nrows().max(1) as f64;
    let each = T::of(1.0 / rows);
    let mut loss = 0.0;
    gradient.assign(&outputs);
    for (target, mut row) in targets.rows().into_iter().zip(gradient.rows_mut()) {
        for (value, &t) in row.iter_mut().zip(target) {
            let apart = *value - t;
            loss += 0.5 * apart.wide() * apart.wide();
            *value = each * apart;
        }
    }
    loss / rows
}

/// Replaces each row of logits z by softmax(z / temperature), in place. The
/// largest logit is taken off first, so nothing overflows.
pub fn softmax_rows<T: Real>(mut logits: ArrayViewMut2<'_, T>, temperature: f64) {
    for row in logits.rows_mut() {
        softmax_row(row, T::of(1.0 / temperature));
    }
}

/// The distillation loss T²·mean_i(−Σ_c p_ic ln softmax(z_i / T)_c) of logits
/// z against soft targets p, both of shape (rows, classes), at the
/// temperature T > 0. `gradient` (same shape) becomes ∂loss/∂z =
/// T·(Σ_c p_ic·softmax(z_i / T) − p_i) / rows. The factor T² keeps the
/// gradient's size when the temperature changes (Hinton, Vinyals and Dean
/// 2015, section 2.1). A row of zeros counts for nothing, and one that sums
/// to w counts w times.
///
/// # Panics
/// If the three shapes differ.
pub fn cross_entropy<T: Real>(
    logits: ArrayView2<'_, T>,
    targets: ArrayView2<'_, T>,
    temperature: f64,
    mut gradient: ArrayViewMut2<'_, T>,
) -> f64 {
    assert_eq!(logits.dim(), targets.dim(), "logits and targets");
    let rows = logits.nrows().max(1) as f64;
    let factor = T::of(temperature / rows);
    let inverse = T::of(1.0 / temperature);
    let mut loss = 0.0;
    gradient.assign(&logits);
    for (target, mut row) in targets.rows().into_iter().zip(gradient.rows_mut()) {
        // Σ p (log Σ exp(z/T) − z/T), from z before it turns into softmax.
        let weight = target.sum();
        let expected: T = target
            .iter()
            .zip(&row)
            .fold(T::zero(), |sum, (&p, &z)| sum + p * z);
        let log_sum = softmax_row(row.view_mut(), inverse);
        loss += (weight * log_sum - expected * inverse).wide();
        for (value, &p) in row.iter_mut().zip(target) {
            *value = factor * (weight * *value - p);
        }
    }
    temperature * temperature * loss / rows
}

/// Turns one row of logits into probabilities and returns log Σ exp(z/T).
fn softmax_row<T: Real>(mut row: ArrayViewMut1<'_, T>, inverse: T) -> T {
    let largest = row.iter().fold(T::neg_infinity(), |best, &z| best.max(z));
    let mut sum = T::zero();
    for value in &mut row {
        *value = ((*value - largest) * inverse).exp();
        sum += *value;
    }
    let scale = T::one() / sum;
    for value in &mut row {
        *value *= scale;
    }
    sum.ln() + largest * inverse
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::*;

    fn loss_of(logits: &Array2<f64>, targets: &Array2<f64>, temperature: f64) -> f64 {
        let mut gradient = Array2::zeros(logits.dim());
        cross_entropy(
            logits.view(),
            targets.view(),
            temperature,
            gradient.view_mut(),
        )
    }

    #[test]
    fn hard_label_at_temperature_one_is_the_log_loss() {
        let loss = loss_of(
            &array![[0.0, 0.0, 0.0, 0.0]],
            &array![[0.0, 1.0, 0.0, 0.0]],
            1.0,
        );
        assert!((loss - 4f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let mut logits = array![[3e4_f32, -3e4, 0.0]];
        softmax_rows(logits.view_mut(), 1.0);
        assert_eq!(logits, array![[1.0, 0.0, 0.0]]);
    }

    proptest! {
        #[test]
        fn gradient_agrees_with_finite_differences(
            logits in prop::collection::vec(-4.0..4.0f64, 6),
            targets in prop::collection::vec(0.0..1.0f64, 6),
            temperature in 0.5..8.0f64,
        ) {
            let logits = Array2::from_shape_vec((2, 3), logits).unwrap();
            let targets = Array2::from_shape_vec((2, 3), targets).unwrap();
            let mut gradient = Array2::zeros((2, 3));
            cross_entropy(logits.view(), targets.view(), temperature, gradient.view_mut());
            let step = 1e-5;
            for index in [(0, 0), (0, 2), (1, 1)] {
                let (mut above, mut below) = (logits.clone(), logits.clone());
                above[index] += step;
                below[index] -= step;
                let expected = (loss_of(&above, &targets, temperature)
                    - loss_of(&below, &targets, temperature)) / (2.0 * step);
                let scale = expected.abs().max(1e-2);
                prop_assert!((gradient[index] - expected).abs() <= 1e-6 * scale);
            }
        }

        #[test]
        fn softmax_rows_are_probabilities(
            logits in prop::collection::vec(-50.0..50.0f32, 12),
            temperature in 0.1..20.0f64,
        ) {
            let mut rows = Array2::from_shape_vec((3, 4), logits).unwrap();
            softmax_rows(rows.view_mut(), temperature);
            for row in rows.rows() {
                prop_assert!(row.iter().all(|&p| (0.0..=1.0).contains(&p)));
                prop_assert!((row.sum() - 1.0).abs() < 1e-5);
            }
        }
    }
}
