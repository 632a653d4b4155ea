//! The transfer set: the points that every device answers on.

use ndarray::{CowArray, Ix2};

use crate::math::quantise::RawScaledF16;
use crate::relevance::{Relevance, RelevanceError};
use crate::summary::{Points, PointsError, PointsFrame, RawPoints};
use crate::wire::codec::{DecodeError, decode_blob, encode};

/// Bits a value at which the transfer set travels.
pub const TRANSFER_BITS: u8 = 8;

/// A transfer set as it travels.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTransferSet {
    /// The points of all devices.
    pub points: RawPoints,
    /// How much each feature counts, where the task has that learnt.
    pub relevance: Option<RawScaledF16>,
}

impl RawTransferSet {
    /// The points, and the weights of features behind them if there are any.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(&self.points);
        if let Some(relevance) = &self.relevance {
            bytes.extend(encode(relevance));
        }
        bytes
    }

    /// Of a task that has weights of features learnt, or has not.
    ///
    /// # Errors
    /// If the bytes are no such set.
    pub fn from_bytes(bytes: &[u8], relevance: bool) -> Result<Self, DecodeError> {
        if relevance {
            let (points, relevance) = decode_blob(bytes)?;
            return Ok(Self {
                points,
                relevance: Some(relevance),
            });
        }
        Ok(Self {
            points: decode_blob(bytes)?,
            relevance: None,
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
    pub relevance: Relevance,
}

/// Why a transfer set was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransferError {
    /// Its points are none, or not of this task.
    #[error(transparent)]
    Points(#[from] PointsError),
    /// The weights of its features are none.
    #[error(transparent)]
    Relevance(#[from] RelevanceError),
}

impl TransferSet {
    /// Decodes and checks a transfer set. At least one point is needed.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(raw: RawTransferSet, frame: PointsFrame) -> Result<Self, TransferError> {
        let relevance = match raw.relevance {
            Some(raw) => Relevance::check(raw, frame.features)?,
            None => Relevance::alike(),
        };
        let points = Points::check(raw.points, frame)?;
        if points.is_empty() {
            return Err(TransferError::Points(PointsError::Shape {
                what: "points",
                expected: 1,
                got: 0,
            }));
        }
        Ok(Self { points, relevance })
    }

    /// Its points as the kernel sees them, m × features.
    pub fn seen(&self) -> CowArray<'_, f32, Ix2> {
        self.relevance.through(self.points.inputs.view())
    }
}
