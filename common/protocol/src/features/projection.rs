//! A linear projection behind the scales of features.

use bincode::{Decode, Encode};
use math::quantise::{Layout, QuantiseError, QuantisedMatrix, RawQuantisedMatrix, Scheme};
use ndarray::{Array2, ArrayView2};

use super::NormaliserError;

/// Directions that scaled features are projected onto: few numbers a row in place of
/// many. They travel at eight bits a value, each with a scale of its own.
///
/// Decoding gives whatever the bytes say; [`Self::check`], which every use begins
/// with, refuses what is no projection of the task's features.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Projection(RawQuantisedMatrix);

impl Projection {
    /// Onto these directions, shape (features, directions).
    ///
    /// # Errors
    /// If a value is not finite.
    pub fn of(directions: ArrayView2<'_, f64>) -> Result<Self, QuantiseError> {
        let narrow = directions.t().mapv(|value| value as f32);
        let sent = QuantisedMatrix::encode(narrow.view(), BITS, Layout::Row, Scheme::Symmetric)?;
        Ok(Self(sent.into_raw()))
    }

    /// How many.
    pub fn directions(&self) -> usize {
        self.0.rows as usize
    }

    /// Holds it against a task of this many features; the directions, shape
    /// (directions, features).
    ///
    /// # Errors
    /// Directions of another length or none, and what no encoder writes.
    pub fn check(&self, features: usize) -> Result<Array2<f32>, NormaliserError> {
        let (directions, length) = (self.directions(), self.0.columns as usize);
        if directions == 0 || directions > features || length != features {
            return Err(NormaliserError::Directions {
                features,
                directions,
                length,
            });
        }
        Ok(QuantisedMatrix::try_from(self.0.clone())?.decode())
    }
}

/// Bits of a direction's values.
const BITS: u8 = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ndarray::array;

    use super::*;

    #[test]
    fn directions_arrive_within_their_rounding() {
        let directions = array![[1.0, 0.01], [-0.5, 0.02], [0.25, -0.03]];
        let projection = Projection::of(directions.view()).unwrap();
        assert_eq!(projection.directions(), 2);
        let found = projection.check(3).unwrap();
        for (at, length) in [(0, 1.0), (1, 0.03)] {
            for (found, sent) in found.row(at).iter().zip(directions.column(at)) {
                assert!((f64::from(*found) - sent).abs() <= length / 200.0, "{at}");
            }
        }
    }

    #[test]
    fn what_fits_no_task_is_refused() {
        let projection = Projection::of(array![[1.0], [0.5]].view()).unwrap();
        assert_eq!(
            projection.check(3),
            Err(NormaliserError::Directions {
                features: 3,
                directions: 1,
                length: 2
            })
        );
        let wide = Projection::of(array![[1.0, 0.5, 0.1]].view()).unwrap();
        assert!(matches!(
            wide.check(1),
            Err(NormaliserError::Directions { directions: 3, .. })
        ));
        let mut damaged = projection;
        damaged.0.packed.pop();
        assert!(matches!(
            damaged.check(2),
            Err(NormaliserError::Quantise(_))
        ));
        assert!(Projection::of(array![[f64::NAN]].view()).is_err());
    }
}
