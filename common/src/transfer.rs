//! The transfer set: the points that every device answers on.

use bincode::{Decode, Encode};

use crate::summary::{Points, PointsError, PointsFrame, RawPoints};

/// Bits a value at which the transfer set travels.
pub const TRANSFER_BITS: u8 = 8;

/// A transfer set as it travels.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawTransferSet {
    /// The points of all devices.
    pub points: RawPoints,
}

/// The transfer set. What decodes from its bytes *is* the set: the
/// coordinator uses the decoded points as well, so that both sides compute
/// on the same numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferSet {
    /// Its points.
    pub points: Points,
}

impl TransferSet {
    /// Decodes and checks a transfer set. At least one point is needed.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(raw: RawTransferSet, frame: PointsFrame) -> Result<Self, PointsError> {
        let points = Points::check(raw.points, frame)?;
        if points.is_empty() {
            return Err(PointsError::Shape {
                what: "points",
                expected: 1,
                got: 0,
            });
        }
        Ok(Self { points })
    }
}
