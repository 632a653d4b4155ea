//! A local teacher's soft labels on the transfer set, whole or as what changed
//! since a key frame.

use super::{BaseOf, CheckContext, Contribution, StandsOn, quantise_reason};
use crate::codec::decode_blob;
use crate::labels::{FrameError, Labels, LabelsError, RawLabels, base_of, unframed};
use crate::round::{Kind, Reason};

impl Contribution for Labels {
    const KIND: Kind = Kind::Labels;
    const STANDS_ON: StandsOn = StandsOn::TransferSet;
    const BASE: Option<BaseOf> = Some(base_of);
    type Raw = RawLabels;

    fn decode(bytes: &[u8], context: &CheckContext<'_>) -> Result<RawLabels, Reason> {
        let bytes = unframed(bytes, context.read).map_err(|error| match error {
            FrameError::UnknownBase(_) => Reason::UnknownBase,
            _ => Reason::Malformed,
        })?;
        decode_blob(&bytes).map_err(|_| Reason::Malformed)
    }

    fn check(raw: RawLabels, context: &CheckContext<'_>) -> Result<Self, Reason> {
        let points = context.support()?.points;
        Self::check(raw, points, context.task.classes()).map_err(|error| match error {
            LabelsError::Quantise(inner) => quantise_reason(&inner),
            LabelsError::Shape { .. } => Reason::WrongShape,
            LabelsError::Rows { .. } => Reason::OutOfBounds,
        })
    }

    fn rows(&self) -> u64 {
        self.rows
    }
}
