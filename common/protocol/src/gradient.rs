//! The gradient of the global teacher's error in the points of the transfer
//! set, summed over a device's rows.
//!
//! At the α that minimises J = ½‖K(X,S)α − T‖² + ½λ·tr(αᵀK(S,S)α) over all
//! devices' rows, ∂J/∂S is the sum of every device's ∂(½‖K(X_k,S)α − T_k‖²)/∂S
//! at that α and the coordinator's ∂(½λ·tr(αᵀK(S,S)α))/∂S; see
//! [`math::regression::data_term`].

use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView2};

use crate::limits::ROWS_MAX;
use math::quantise::{Layout, QuantiseError, QuantisedMatrix, RawQuantisedMatrix, Scheme};

/// Bits a value of a gradient.
pub const GRADIENT_BITS: u8 = 8;

/// A gradient as a peer may send it. Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawGradient {
    /// Rows summed over.
    pub rows: u64,
    /// The gradient, shape (points, features), a scale for each point.
    pub gradient: RawQuantisedMatrix,
}

/// A gradient that fits its transfer set and can be summed.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// Rows summed over.
    pub rows: u64,
    /// The gradient, shape (points, features).
    pub gradient: Array2<f32>,
}

/// Why a gradient was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GradientError {
    /// The quantised values do not hold together.
    #[error("the gradient does not decode: {0}")]
    Quantise(#[from] QuantiseError),
    /// A wrong number of something.
    #[error("expected {expected} {what}, got {got}")]
    Shape {
        /// What is counted.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// No rows or too many.
    #[error("{0} rows are not possible")]
    Rows(u64),
    /// Beyond what sums exactly.
    #[error("a value of the gradient is {0:e}, at most {VALUE_MAX:e} are possible")]
    TooLarge(f32),
}

/// Largest value of a gradient. It keeps sums of all devices within the fixed
/// point; how far a point moves does not depend on it.
const VALUE_MAX: f32 = 1e12;

impl Gradient {
    /// Decodes and checks a gradient for `points` points of `features`
    /// features.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(raw: RawGradient, points: usize, features: usize) -> Result<Self, GradientError> {
        same("points", points, raw.gradient.rows as usize)?;
        same("features", features, raw.gradient.columns as usize)?;
        if raw.rows == 0 || raw.rows > ROWS_MAX {
            return Err(GradientError::Rows(raw.rows));
        }
        let gradient = QuantisedMatrix::try_from(raw.gradient)?.decode();
        match gradient.iter().find(|value| value.abs() > VALUE_MAX) {
            Some(&value) => Err(GradientError::TooLarge(value)),
            None => Ok(Self {
                rows: raw.rows,
                gradient,
            }),
        }
    }

    /// The form that travels. No value moves by more than 1/252 of the
    /// largest of its point.
    ///
    /// # Errors
    /// If a value is not finite.
    pub fn to_raw(rows: u64, gradient: ArrayView2<'_, f32>) -> Result<RawGradient, QuantiseError> {
        let (layout, scheme) = (Layout::Row, Scheme::Symmetric);
        Ok(RawGradient {
            rows,
            gradient: QuantisedMatrix::encode(gradient, GRADIENT_BITS, layout, scheme)?.into_raw(),
        })
    }
}

fn same(what: &'static str, expected: usize, got: usize) -> Result<(), GradientError> {
    if expected == got {
        Ok(())
    } else {
        Err(GradientError::Shape {
            what,
            expected,
            got,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn gradient() -> Array2<f32> {
        Array2::from_shape_fn((3, 5), |(i, j)| (i as f32 + 0.3) * (j as f32 - 2.2))
    }

    proptest! {
        #[test]
        fn no_value_moves_by_more_than_its_point_allows(
            values in prop::collection::vec(-1e6f32..1e6, 12),
            size in 1e-6f32..1e3,
        ) {
            let before = Array2::from_shape_vec((3, 4), values).unwrap() * size;
            let raw = Gradient::to_raw(20, before.view()).unwrap();
            let after = Gradient::check(raw, 3, 4).unwrap();
            for (before, after) in before.rows().into_iter().zip(after.gradient.rows()) {
                let largest = before.iter().fold(0f32, |most, x| most.max(x.abs()));
                for (x, y) in before.iter().zip(after) {
                    prop_assert!((x - y).abs() <= largest / 252.0, "{x} became {y}");
                }
            }
        }
    }

    #[test]
    fn a_gradient_for_other_points_or_of_no_rows_is_refused() {
        let raw = Gradient::to_raw(20, gradient().view()).unwrap();
        assert!(matches!(
            Gradient::check(raw.clone(), 4, 5),
            Err(GradientError::Shape {
                what: "points",
                expected: 4,
                got: 3
            })
        ));
        assert!(matches!(
            Gradient::check(raw.clone(), 3, 6),
            Err(GradientError::Shape {
                what: "features",
                ..
            })
        ));
        let of_none = RawGradient { rows: 0, ..raw };
        assert_eq!(Gradient::check(of_none, 3, 5), Err(GradientError::Rows(0)));
    }

    #[test]
    fn what_cannot_be_summed_is_refused() {
        let huge = gradient() * 1e30;
        let raw = Gradient::to_raw(20, huge.view()).unwrap();
        assert!(matches!(
            Gradient::check(raw, 3, 5),
            Err(GradientError::TooLarge(_))
        ));
        let mut raw = Gradient::to_raw(20, gradient().view()).unwrap();
        raw.gradient.scales[1] = f32::NAN;
        assert!(matches!(
            Gradient::check(raw, 3, 5),
            Err(GradientError::Quantise(_))
        ));
    }
}
