//! How unlike the rows that a fleet has seen a row is.

use bincode::{Decode, Encode};
use math::network::{MlpShape, Network, NetworkError, Student, StudentShape};
use ndarray::ArrayView2;

use crate::weights::{RawWeights, WeightsError};

/// What tells how unlike a row is, as it travels. Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawNovelty {
    /// Every parameter of a small network of the normalised features.
    pub weights: RawWeights,
    /// Its answer on a usual row of the training: half of them have less.
    pub usual: f32,
    /// Its answer that one in twenty rows of the training exceeds.
    pub far: f32,
}

/// What tells how unlike a row is.
#[derive(Clone, Debug)]
pub struct Novelty {
    network: Student,
    usual: f32,
    far: f32,
}

/// Why it was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoveltyError {
    /// Its weights do not fit the features.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Its levels do not rise.
    #[error("a usual row has {usual} and a far one {far}; expected two numbers, the smaller first")]
    Levels {
        /// The usual answer.
        usual: f32,
        /// The one of a far row.
        far: f32,
    },
}

/// A score from which on a row is said to be unlike anything the student was
/// trained on: well beyond the one row of the training in twenty that has 0.5.
pub const NOVEL: f32 = 0.75;

impl Novelty {
    /// The shape of the network for so many features.
    pub fn shape(features: usize) -> StudentShape {
        StudentShape::Mlp(MlpShape {
            inputs: features,
            hidden: vec![UNITS],
            outputs: 1,
        })
    }

    /// Checks one for so many features.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check(raw: RawNovelty, features: usize) -> Result<Self, NoveltyError> {
        let RawNovelty {
            weights,
            usual,
            far,
        } = raw;
        if !(usual.is_finite() && far.is_finite() && usual < far) {
            return Err(NoveltyError::Levels { usual, far });
        }
        Ok(Self {
            network: weights.decode(&Self::shape(features))?,
            usual,
            far,
        })
    }

    /// A score of each normalised row (rows × features), from 0 to 1: 0.05 for
    /// a usual row, 0.5 for one as far out as one row of the training in twenty,
    /// nearer to 1 the further out it is.
    ///
    /// # Errors
    /// If the rows have another width.
    pub fn scores(&self, view: ArrayView2<'_, f32>) -> Result<Vec<f32>, NetworkError> {
        let said = self.network.logits(view)?;
        let odds = |&raw: &f32| f64::from(raw - self.far) / f64::from(self.far - self.usual);
        let score = |raw: &f32| (1.0 / (1.0 + (-STEEP * odds(raw)).exp())) as f32;
        Ok(said.iter().map(score).collect())
    }
}

/// Units of the hidden layer.
const UNITS: usize = 64;
/// ln 19: the odds of 0.05, one level below those of 0.5.
const STEEP: f64 = 2.944_438_979_166_44;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::array;

    /// A network that answers twice the first feature.
    fn raw() -> RawNovelty {
        let shape = Novelty::shape(2);
        let mut weights = vec![0.0; shape.parameters()];
        weights[0] = 1.0;
        let last = 2 * UNITS + UNITS;
        weights[last] = 2.0;
        RawNovelty {
            weights: RawWeights::encode(&shape, &weights).unwrap(),
            usual: 1.0,
            far: 3.0,
        }
    }

    #[test]
    fn scores_rise_with_the_answer_and_have_their_levels() {
        let novelty = Novelty::check(raw(), 2).unwrap();
        let rows = array![[0.5f32, 9.0], [1.5, 0.0], [2.0, 0.0], [40.0, 0.0]];
        let scores = novelty.scores(rows.view()).unwrap();
        assert!((scores[0] - 0.05).abs() < 1e-3, "{scores:?}");
        assert!((scores[1] - 0.5).abs() < 1e-2, "{scores:?}");
        assert!(scores.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(scores[3] <= 1.0);
        assert!(novelty.scores(array![[1.0f32]].view()).is_err());
    }

    #[test]
    fn levels_that_do_not_rise_and_other_features_are_refused() {
        for (usual, far) in [(1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0)] {
            let refused = Novelty::check(
                RawNovelty {
                    usual,
                    far,
                    ..raw()
                },
                2,
            );
            assert!(matches!(refused, Err(NoveltyError::Levels { .. })));
        }
        assert!(matches!(
            Novelty::check(raw(), 3),
            Err(NoveltyError::Weights(_))
        ));
    }
}
