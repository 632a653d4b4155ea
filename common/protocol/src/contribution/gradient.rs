//! What a released student's last layer has wrong on a device's rows.

use super::{CheckContext, Contribution, StandsOn, decoded, quantise_reason};
use crate::gradient::{Gradient, GradientError, RawGradient};
use crate::round::{Kind, Reason};

impl Contribution for Gradient {
    const KIND: Kind = Kind::Gradient;
    const STANDS_ON: StandsOn = StandsOn::Release;
    type Raw = RawGradient;

    fn decode(bytes: &[u8], _: &CheckContext<'_>) -> Result<Self::Raw, Reason> {
        decoded(bytes)
    }

    fn check(raw: RawGradient, context: &CheckContext<'_>) -> Result<Self, Reason> {
        Self::check(raw, context.task).map_err(|error| match error {
            GradientError::Quantise(inner) => quantise_reason(&inner),
            GradientError::Shape(_) => Reason::WrongShape,
            GradientError::Step { .. } | GradientError::Rows(_) | GradientError::Square { .. } => {
                Reason::OutOfBounds
            }
        })
    }

    fn rows(&self) -> u64 {
        self.residuals.rows
    }
}
