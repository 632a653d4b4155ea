//! How much each feature counts in the kernel of the teachers.

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2};

use math::quantise::{QuantiseError, RawScaledF16, ScaledF16};

/// A weight for each feature, or none where all count alike.
///
/// What the kernel sees of an input x is w∘x, brought back to ‖·‖² = features.
/// Features that tell classes apart then move a row further than those that do
/// not, which a kernel of normalised features cannot know by itself (automatic
/// relevance determination; MacKay 1994, Neal 1996).
///
/// It is decoded from what travels on both sides, so that all compute on the
/// same numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureWeights {
    weights: Vec<f32>,
}

/// Why weights were refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FeatureWeightsError {
    /// Not one for each feature.
    #[error("expected a weight for each of {expected} features or none at all, got {got}")]
    Length {
        /// Features of the task.
        expected: usize,
        /// Weights given.
        got: usize,
    },
    /// A weight that is negative, or all of them zero.
    #[error("weights of features must not be negative and not all be zero")]
    Range,
    /// Bytes that are no weights.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
}

impl FeatureWeights {
    /// All features count alike.
    pub fn alike() -> Self {
        Self::default()
    }

    /// What decodes from the bytes of these weights, two bytes each.
    ///
    /// # Errors
    /// If one is negative or not finite, or all are zero.
    pub fn of(weights: &[f32]) -> Result<Self, FeatureWeightsError> {
        Self::check(ScaledF16::encode(weights)?.into_raw(), weights.len())
    }

    /// Holds weights against a task of this many features.
    ///
    /// # Errors
    /// A wrong number of them, or one that is not a number.
    pub fn check(raw: RawScaledF16, features: usize) -> Result<Self, FeatureWeightsError> {
        let weights = ScaledF16::try_from(raw)?.decode();
        if !weights.is_empty() && weights.len() != features {
            return Err(FeatureWeightsError::Length {
                expected: features,
                got: weights.len(),
            });
        }
        let positive = weights.iter().any(|&weight| weight > 0.0);
        if weights.iter().any(|&weight| weight < 0.0) || (!weights.is_empty() && !positive) {
            return Err(FeatureWeightsError::Range);
        }
        Ok(Self { weights })
    }

    /// The form that travels.
    pub fn to_raw(&self) -> RawScaledF16 {
        let packed = ScaledF16::encode(&self.weights);
        packed.expect("checked weights are finite").into_raw()
    }

    /// Whether all features count alike.
    pub fn is_alike(&self) -> bool {
        self.weights.is_empty()
    }

    /// A weight for each feature; none where all count alike.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// What the kernel sees of normalised rows (n × features), same shape: a
    /// copy, or the rows themselves where all features count alike. A row of
    /// which nothing is left stays zero.
    ///
    /// # Panics
    /// If the rows have another width than there are weights; what checked
    /// this checked rows and weights against the same task.
    pub fn through<'a>(&self, rows: ArrayView2<'a, f32>) -> CowArray<'a, f32, Ix2> {
        if self.is_alike() {
            return rows.into();
        }
        assert_eq!(rows.ncols(), self.weights.len(), "rows of another task");
        let mut seen: Array2<f32> = rows.as_standard_layout().into_owned();
        for mut row in seen.axis_iter_mut(Axis(0)) {
            // Whatever came over the wire, products of two f32 and their
            // squares are finite in f64.
            let weighed = |(value, weight): (&f32, &f32)| f64::from(*value) * f64::from(*weight);
            let pairs = row.iter().zip(&self.weights);
            let square: f64 = pairs.map(|pair| weighed(pair).powi(2)).sum();
            let factor = match square > 0.0 {
                true => (row.len() as f64 / square).sqrt(),
                false => 0.0,
            };
            for (value, weight) in row.iter_mut().zip(&self.weights) {
                *value = (weighed((value, weight)) * factor) as f32;
            }
        }
        seen.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_are_weighed_and_keep_their_length() {
        let rows = array![[1.0f32, 1.0], [0.0, 0.0]];
        let seen = FeatureWeights::of(&[3.0, 4.0]).unwrap();
        let seen = seen.through(rows.view());
        assert!((seen[[0, 0]] - 0.6 * 2f32.sqrt()).abs() < 1e-3, "{seen}");
        assert!((seen.row(0).dot(&seen.row(0)) - 2.0).abs() < 1e-5);
        assert_eq!(seen.row(1), array![0.0, 0.0]);
        assert_eq!(FeatureWeights::alike().through(rows.view()), rows);
    }

    #[test]
    fn weights_survive_the_wire_exactly() {
        let weights = FeatureWeights::of(&[0.1, 2.7, 0.0]).unwrap();
        assert_eq!(FeatureWeights::check(weights.to_raw(), 3), Ok(weights));
        let none = FeatureWeights::alike();
        assert_eq!(FeatureWeights::check(none.to_raw(), 3), Ok(none));
    }

    #[test]
    fn hostile_weights_are_refused() {
        let raw = |weights: &[f32]| ScaledF16::encode(weights).unwrap().into_raw();
        assert_eq!(
            FeatureWeights::check(raw(&[1.0]), 2),
            Err(FeatureWeightsError::Length {
                expected: 2,
                got: 1
            })
        );
        for weights in [[-1.0, 1.0], [0.0, 0.0]] {
            assert_eq!(
                FeatureWeights::check(raw(&weights), 2),
                Err(FeatureWeightsError::Range)
            );
        }
        assert!(matches!(
            FeatureWeights::of(&[f32::NAN]),
            Err(FeatureWeightsError::Quantise(_))
        ));
    }
}
