//! Numbers that a task asks for, on one scale for the whole fleet.

use bincode::{Decode, Encode};
use math::shape::{ShapeError, check_count};
use ndarray::{Array2, ArrayView2};

/// Mean and standard deviation of each value that a task asks for, over the
/// rows of all devices: teachers and students speak in these, people in the
/// values' own units.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TargetScale {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// Why a scale was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TargetScaleError {
    /// Not one mean and deviation for each value.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A mean that is not finite, or a deviation that is not above 0.
    #[error("value {index} has the mean {mean} and the deviation {deviation}")]
    Value {
        /// Which value.
        index: usize,
        /// Its mean.
        mean: f32,
        /// Its deviation.
        deviation: f32,
    },
}

/// Standard deviations from the fleet's mean beyond which a number counts as
/// that far, so that no row outweighs all others.
pub const TARGET_CLIP: f32 = 6.0;

impl TargetScale {
    /// Of these means and variances. A value that never varies keeps its unit.
    pub fn of(mean: &[f64], variance: &[f64]) -> Self {
        let deviation = |(variance, mean): (&f64, &f64)| {
            let root = variance.max(0.0).sqrt() as f32;
            let rounding = f32::EPSILON * mean.abs() as f32;
            if root.is_finite() && root > rounding {
                root
            } else {
                1.0
            }
        };
        Self {
            mean: mean.iter().map(|&mean| mean as f32).collect(),
            deviation: variance.iter().zip(mean).map(deviation).collect(),
        }
    }

    /// Means and deviations, as many as values.
    pub fn parts(&self) -> (&[f32], &[f32]) {
        (&self.mean, &self.deviation)
    }

    /// Holds the scale against the number of values of its task.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self, values: usize) -> Result<(), TargetScaleError> {
        check_count("means of values", values, self.mean.len())?;
        check_count("deviations of values", values, self.deviation.len())?;
        let pairs = self.mean.iter().zip(&self.deviation).enumerate();
        for (index, (&mean, &deviation)) in pairs {
            if !(mean.is_finite() && deviation.is_finite() && deviation > 0.0) {
                return Err(TargetScaleError::Value {
                    index,
                    mean,
                    deviation,
                });
            }
        }
        Ok(())
    }

    /// How many values.
    pub fn values(&self) -> usize {
        self.mean.len()
    }

    /// The fleet's mean of each value, in its unit.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Its standard deviation, in its unit.
    pub fn deviation(&self) -> &[f32] {
        &self.deviation
    }

    /// Numbers (rows × values) in standard deviations from the mean, cut at
    /// [`TARGET_CLIP`].
    pub fn standardise(&self, numbers: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut out = numbers.to_owned();
        for mut row in out.rows_mut() {
            let scale = self.mean.iter().zip(&self.deviation);
            for (value, (mean, deviation)) in row.iter_mut().zip(scale) {
                *value = ((*value - mean) / deviation).clamp(-TARGET_CLIP, TARGET_CLIP);
            }
        }
        out
    }

    /// Numbers (rows × values) from standard deviations back in their units.
    pub fn restore(&self, mut standard: Array2<f32>) -> Array2<f32> {
        for mut row in standard.rows_mut() {
            let scale = self.mean.iter().zip(&self.deviation);
            for (value, (mean, deviation)) in row.iter_mut().zip(scale) {
                *value = *value * deviation + mean;
            }
        }
        standard
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::array;

    #[test]
    fn numbers_come_back_but_for_those_far_out() {
        let scale = TargetScale::of(&[10.0, -2.0], &[4.0, 0.0]);
        scale.check(2).unwrap();
        let numbers = array![[12.0f32, -2.0], [8.0, -1.0], [1e9, -2.0]];
        let standard = scale.standardise(numbers.view());
        assert_eq!(
            standard,
            array![[1.0, 0.0], [-1.0, 1.0], [TARGET_CLIP, 0.0]]
        );
        let back = scale.restore(standard);
        assert_eq!(back.row(0), numbers.row(0));
        assert_eq!(back[[2, 0]], 22.0);
    }

    #[test]
    fn a_scale_of_wrong_shape_or_no_width_is_refused() {
        let scale = TargetScale::of(&[1.0], &[1.0]);
        assert!(matches!(scale.check(2), Err(TargetScaleError::Shape(_))));
        let flat = TargetScale {
            mean: vec![0.0],
            deviation: vec![0.0],
        };
        assert!(matches!(
            flat.check(1),
            Err(TargetScaleError::Value { index: 0, .. })
        ));
    }
}
