//! Additive kernel statistics of a device's rows on the transfer set.

use super::{CheckContext, Contribution, StandsOn, decoded, quantise_reason};
use crate::moments::{Moments, MomentsError, MomentsFrame, RawMoments};
use crate::round::{Kind, Reason};

impl Contribution for Moments {
    const KIND: Kind = Kind::Moments;
    const STANDS_ON: StandsOn = StandsOn::TransferSet;
    type Raw = RawMoments;

    fn decode(bytes: &[u8], _: &CheckContext<'_>) -> Result<Self::Raw, Reason> {
        decoded(bytes)
    }

    fn check(raw: RawMoments, context: &CheckContext<'_>) -> Result<Self, Reason> {
        let frame = MomentsFrame::for_task(context.task, context.support()?.all);
        Self::check(raw, frame).map_err(|error| match error {
            MomentsError::Quantise(inner) => quantise_reason(&inner),
            MomentsError::Shape { .. } => Reason::WrongShape,
            MomentsError::TooLarge { got, .. } if !got.is_finite() => Reason::NotFinite,
            _ => Reason::OutOfBounds,
        })
    }

    fn rows(&self) -> u64 {
        self.rows
    }
}
