//! A device's evaluation of a released student.

use super::{CheckContext, Contribution, StandsOn, decoded};
use crate::report::{RawReport, Report, ReportError};
use crate::round::{Kind, Reason};

impl Contribution for Report {
    const KIND: Kind = Kind::Report;
    const STANDS_ON: StandsOn = StandsOn::Release;
    type Raw = RawReport;

    fn decode(bytes: &[u8], _: &CheckContext<'_>) -> Result<Self::Raw, Reason> {
        decoded(bytes)
    }

    fn check(raw: RawReport, context: &CheckContext<'_>) -> Result<Self, Reason> {
        let numbers = context.task.target().numbers().len();
        Self::check(raw, numbers).map_err(|error| match error {
            ReportError::Shape(_) => Reason::WrongShape,
            _ => Reason::OutOfBounds,
        })
    }

    fn rows(&self) -> u64 {
        self.as_raw().rows
    }
}
