//! A device's evaluation of a released student.

use super::{CheckContext, Contribution, StandsOn};
use crate::report::{RawReport, Report};
use crate::round::{Kind, Reason};

impl Contribution for Report {
    const KIND: Kind = Kind::Report;
    const STANDS_ON: StandsOn = StandsOn::Release;
    type Raw = RawReport;

    fn check(raw: RawReport, _: &CheckContext<'_>) -> Result<Self, Reason> {
        Self::check(raw).map_err(|_| Reason::OutOfBounds)
    }

    fn rows(&self) -> u64 {
        self.as_raw().rows
    }
}
