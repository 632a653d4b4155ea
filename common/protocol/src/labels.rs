//! Soft labels: what a device's teacher says of the transfer set, and how
//! near each point lies to what the device has seen.

mod frame;

use bincode::{Decode, Encode};
use math::shape::{ShapeError, check_count};
use ndarray::Array2;

use crate::limits::ROWS_MAX;
use math::quantise::{QuantiseError, QuantisedSimplex, RawQuantisedSimplex};

pub use frame::{FrameError, base_of, framed, is_whole, unframed};

/// Labels as a peer may send them. Nothing is known about them.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawLabels {
    /// Rows the teacher learnt from.
    pub rows: u64,
    /// Labelled rows of each class; zero where the device may not say, and
    /// then it does not vote on that class.
    pub class_counts: Vec<u64>,
    /// One distribution over the classes for each point.
    pub probabilities: RawQuantisedSimplex,
    /// How near each point lies to the device's data, 0 (far) to 255 (as
    /// near as its own rows).
    pub nearness: Vec<u8>,
}

/// Labels that fit their task and transfer set.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// Rows the teacher learnt from.
    pub rows: u64,
    /// Labelled rows of each class.
    pub class_counts: Vec<u64>,
    /// Probability rows, shape (points, classes).
    pub probabilities: Array2<f32>,
    /// Nearness of each point, 0 to 1.
    pub nearness: Vec<f32>,
}

/// Why labels were refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LabelsError {
    /// The probabilities do not hold together.
    #[error("the probabilities do not decode: {0}")]
    Quantise(#[from] QuantiseError),
    /// A wrong number of something.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// No rows, too many, or more labelled rows than rows.
    #[error("{rows} rows with {labelled} labels are not possible")]
    Rows {
        /// Rows claimed.
        rows: u64,
        /// Sum of the class counts.
        labelled: u64,
    },
}

impl Labels {
    /// Decodes and checks labels against a transfer set of `points` points
    /// and a task of `classes` classes.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(raw: RawLabels, points: usize, classes: usize) -> Result<Self, LabelsError> {
        check_count("probability rows", points, raw.probabilities.rows as usize)?;
        check_count("classes", classes, raw.probabilities.classes as usize)?;
        check_count("nearness values", points, raw.nearness.len())?;
        check_count("class counts", classes, raw.class_counts.len())?;
        let labelled = raw
            .class_counts
            .iter()
            .fold(0u64, |sum, count| sum.saturating_add(*count));
        if raw.rows == 0 || raw.rows > ROWS_MAX || labelled > raw.rows {
            return Err(LabelsError::Rows {
                rows: raw.rows,
                labelled,
            });
        }
        let probabilities = QuantisedSimplex::try_from(raw.probabilities)?.decode();
        Ok(Self {
            rows: raw.rows,
            class_counts: raw.class_counts,
            probabilities,
            nearness: raw
                .nearness
                .iter()
                .map(|&near| f32::from(near) / 255.0)
                .collect(),
        })
    }

    /// The form that travels, at `bits` bits a probability.
    ///
    /// # Errors
    /// If a row is not a distribution.
    pub fn to_raw(&self, bits: u8) -> Result<RawLabels, QuantiseError> {
        let probabilities = QuantisedSimplex::encode(self.probabilities.view(), bits)?;
        Ok(RawLabels {
            rows: self.rows,
            class_counts: self.class_counts.clone(),
            probabilities: probabilities.into_raw(),
            nearness: self
                .nearness
                .iter()
                .map(|near| (near.clamp(0.0, 1.0) * 255.0).round() as u8)
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn labels() -> Labels {
        Labels {
            rows: 50,
            class_counts: vec![20, 0, 30],
            probabilities: ndarray::array![[0.25, 0.0, 0.75], [1.0, 0.0, 0.0]],
            nearness: vec![1.0, 0.2],
        }
    }

    #[test]
    fn labels_survive_the_wire_as_distributions() {
        let after = Labels::check(labels().to_raw(8).unwrap(), 2, 3).unwrap();
        for row in after.probabilities.rows() {
            assert!((row.sum() - 1.0).abs() < 1e-6);
        }
        assert!((after.nearness[1] - 0.2).abs() < 0.003);
    }

    #[test]
    fn labels_for_another_transfer_set_are_refused() {
        let refused = Labels::check(labels().to_raw(8).unwrap(), 3, 3);
        assert!(matches!(
            refused,
            Err(LabelsError::Shape(shape)) if shape == ShapeError::count("probability rows", 3, 2)
        ));
    }

    #[test]
    fn impossible_counts_are_refused() {
        let mut raw = labels().to_raw(8).unwrap();
        raw.class_counts[0] = 1_000;
        assert!(matches!(
            Labels::check(raw, 2, 3),
            Err(LabelsError::Rows { .. })
        ));
    }
}
