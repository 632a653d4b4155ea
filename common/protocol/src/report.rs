//! A device's verdict on a released student.

use bincode::{Decode, Encode};

use crate::ids::Version;
use crate::limits::ROWS_MAX;

/// A report as a peer may send it. Nothing is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RawReport {
    /// The student it speaks of.
    pub version: Version,
    /// Held-out labelled rows it was tried on.
    pub rows: u64,
    /// Rows it got right.
    pub correct: u64,
    /// Rows the student before it got right, if there was one.
    pub previous_correct: Option<u64>,
    /// Whether the device now uses it.
    pub installed: bool,
}

/// A report whose counts are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report(RawReport);

/// Why a report was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{correct} right answers on {rows} rows are not possible")]
pub struct ReportError {
    /// Rows claimed.
    pub rows: u64,
    /// Right answers claimed.
    pub correct: u64,
}

impl Report {
    /// Checks a report.
    ///
    /// # Errors
    /// If its counts are not possible.
    pub fn check(raw: RawReport) -> Result<Self, ReportError> {
        let correct = raw.correct.max(raw.previous_correct.unwrap_or(0));
        if raw.rows == 0 || raw.rows > ROWS_MAX || correct > raw.rows {
            return Err(ReportError {
                rows: raw.rows,
                correct,
            });
        }
        Ok(Self(raw))
    }

    /// What it says.
    pub fn as_raw(&self) -> &RawReport {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_right_answers_than_rows_are_refused() {
        let version = Version {
            epoch: 1,
            number: 1,
        };
        let raw = RawReport {
            version,
            rows: 30,
            correct: 20,
            previous_correct: None,
            installed: true,
        };
        assert!(Report::check(raw).is_ok());
        let refused = Report::check(RawReport { correct: 31, ..raw });
        assert_eq!(
            refused,
            Err(ReportError {
                rows: 30,
                correct: 31
            })
        );
        assert!(
            Report::check(RawReport {
                previous_correct: Some(31),
                ..raw
            })
            .is_err()
        );
        assert!(
            Report::check(RawReport {
                rows: 0,
                correct: 0,
                ..raw
            })
            .is_err()
        );
    }
}
