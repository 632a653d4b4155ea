//! The transfer set: the points that every device answers on.

use math::shape::ShapeError;
use ndarray::{Array2, Axis, CowArray, Ix2, concatenate};

use crate::codec::{DecodeError, decode_blob, encode};
use crate::feature_weights::{FeatureWeights, FeatureWeightsError};
use crate::landmarks::{landmark_count, landmarks};
use crate::summary::{Points, PointsError, PointsFrame, RawPoints};
use crate::task::Task;
use math::quantise::{RawQuantisedMatrix, RawScaledF16};

/// Bits a value at which the transfer set travels.
pub const TRANSFER_BITS: u8 = 8;

/// A transfer set as it travels.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTransferSet {
    /// The points of all devices.
    pub points: RawPoints,
    /// How much each feature counts, where the task has that learnt.
    pub feature_weights: Option<RawScaledF16>,
    /// The numbers of each point, where the task asks for numbers.
    pub targets: Option<RawQuantisedMatrix>,
}

impl RawTransferSet {
    /// The points, and behind them weights of features and numbers of points if
    /// there are any.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(&self.points);
        if let Some(feature_weights) = &self.feature_weights {
            bytes.extend(encode(feature_weights));
        }
        if let Some(targets) = &self.targets {
            bytes.extend(encode(targets));
        }
        bytes
    }

    /// Of a task that has weights of features learnt, or has not, and asks for
    /// numbers, or does not.
    ///
    /// # Errors
    /// If the bytes are no such set.
    pub fn from_bytes(
        bytes: &[u8],
        feature_weights: bool,
        numbers: bool,
    ) -> Result<Self, DecodeError> {
        let (points, feature_weights, targets) = match (feature_weights, numbers) {
            (false, false) => (decode_blob(bytes)?, None, None),
            (true, false) => {
                let (points, feature_weights) = decode_blob(bytes)?;
                (points, Some(feature_weights), None)
            }
            (false, true) => {
                let (points, targets) = decode_blob(bytes)?;
                (points, None, Some(targets))
            }
            (true, true) => {
                let (points, feature_weights, targets) = decode_blob(bytes)?;
                (points, Some(feature_weights), Some(targets))
            }
        };
        Ok(Self {
            points,
            feature_weights,
            targets,
        })
    }
}

/// The transfer set. What decodes from its bytes *is* the set: the
/// coordinator uses the decoded points as well, so that both sides compute
/// on the same numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferSet {
    /// Its points, in the space of normalised features.
    pub points: Points,
    /// How much each feature counts in the kernel.
    pub feature_weights: FeatureWeights,
    /// Synthetic inputs beside the points on which the kernel stands as well,
    /// landmarks × features.
    pub landmarks: Array2<f32>,
}

/// Why a transfer set was refused.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Its bytes are malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its points are malformed, or not of this task.
    #[error(transparent)]
    Points(#[from] PointsError),
    /// The weights of its features are malformed.
    #[error(transparent)]
    FeatureWeights(#[from] FeatureWeightsError),
}

impl TransferSet {
    /// Reads a task's transfer set and draws its landmarks.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn read(task: &Task, bytes: &[u8]) -> Result<Self, TransferError> {
        let definition = task.definition();
        let numbers = definition.target.numbers().len();
        let feature_weights = definition.method.feature_weights;
        let raw = RawTransferSet::from_bytes(bytes, feature_weights, numbers > 0)?;
        let frame = PointsFrame {
            features: task.features(),
            classes: task.classes(),
            points_max: definition.budget.points_max as usize,
            cluster_size_min: 1,
            numbers,
        };
        let mut set = Self::check(raw, frame)?;
        let count = landmark_count(set.points.len(), definition.method.landmarks_max);
        if count > 0 {
            let seed = definition.distillation.seed;
            set.landmarks = landmarks(set.points.inputs.view(), count, seed);
        }
        Ok(set)
    }

    /// Decodes and checks a transfer set without landmarks. At least one point
    /// is needed.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(raw: RawTransferSet, frame: PointsFrame) -> Result<Self, TransferError> {
        let feature_weights = match raw.feature_weights {
            Some(raw) => FeatureWeights::check(raw, frame.features)?,
            None => FeatureWeights::alike(),
        };
        let points = match raw.targets {
            Some(targets) => Points::check_with_targets(raw.points, targets, frame)?,
            None => Points::check(raw.points, frame)?,
        };
        if points.is_empty() {
            return Err(TransferError::Points(
                ShapeError::count("points", 1, 0).into(),
            ));
        }
        Ok(Self {
            landmarks: Array2::zeros((0, frame.features)),
            points,
            feature_weights,
        })
    }

    /// How many inputs the kernel stands on: points, then landmarks.
    pub fn support(&self) -> usize {
        self.points.len() + self.landmarks.nrows()
    }

    /// What the kernel stands on as it sees it, support × features.
    pub fn seen(&self) -> CowArray<'_, f32, Ix2> {
        if self.landmarks.is_empty() {
            return self.seen_points();
        }
        let both = [self.points.inputs.view(), self.landmarks.view()];
        let both = concatenate(Axis(0), &both).expect("both have the task's features");
        self.feature_weights
            .through(both.view())
            .into_owned()
            .into()
    }

    /// Its points as the kernel sees them, m × features.
    pub fn seen_points(&self) -> CowArray<'_, f32, Ix2> {
        self.feature_weights.through(self.points.inputs.view())
    }

    /// Rows that each of the support stands for: landmarks for none. (Taken for
    /// as many as points are, they foretell statistics where no row is: digits
    /// through filters then lost 1.4 points.)
    pub fn support_counts(&self) -> Vec<u32> {
        let landmarks = std::iter::repeat_n(0, self.landmarks.nrows());
        self.points
            .counts
            .iter()
            .copied()
            .chain(landmarks)
            .collect()
    }
}
