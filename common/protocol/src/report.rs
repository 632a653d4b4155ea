//! A device's verdict on a released student.

use bincode::{Decode, Encode};
use math::shape::{ShapeError, check_count};

use crate::codec::Trailing;
use crate::ids::Version;
use crate::limits::ROWS_MAX;

/// A report as a peer may send it. Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
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
    /// How far off its numbers are, where the task asks for numbers; no row is
    /// then right or wrong.
    pub errors: Trailing<RawErrors>,
}

/// How far off numbers are: sums over the held-out rows, one a value, in the
/// values' units.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct RawErrors {
    /// Σ(said − true)².
    pub squared: Vec<f64>,
    /// Σ|said − true|.
    pub absolute: Vec<f64>,
    /// Σ(said − true)² of the student before it, if there was one.
    pub previous_squared: Option<Vec<f64>>,
}

/// A report whose counts are possible.
#[derive(Clone, Debug, PartialEq)]
pub struct Report(RawReport);

/// Why a report was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReportError {
    /// More right answers than rows, no rows or too many.
    #[error("{correct} right answers on {rows} rows are not possible")]
    Counts {
        /// Rows claimed.
        rows: u64,
        /// Right answers claimed.
        correct: u64,
    },
    /// Errors where the task asks for none, or not one a value.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Sums of errors that no rows have.
    #[error(
        "errors of value {value} on {rows} rows: a sum of squares of {squared} and of \
         magnitudes of {absolute} are not possible"
    )]
    Errors {
        /// Which value.
        value: usize,
        /// Rows claimed.
        rows: u64,
        /// Its sum of squares.
        squared: f64,
        /// Its sum of magnitudes.
        absolute: f64,
    },
}

impl Report {
    /// Checks a report of a task that asks for `numbers` numbers, none where it
    /// asks for a class.
    ///
    /// # Errors
    /// If its counts or sums are not possible.
    pub fn check(raw: RawReport, numbers: usize) -> Result<Self, ReportError> {
        let correct = raw.correct.max(raw.previous_correct.unwrap_or(0));
        if raw.rows == 0 || raw.rows > ROWS_MAX || correct > raw.rows {
            return Err(ReportError::Counts {
                rows: raw.rows,
                correct,
            });
        }
        let given = usize::from(raw.errors.0.is_some());
        check_count("sets of errors", usize::from(numbers > 0), given)?;
        if let Some(errors) = &raw.errors.0 {
            errors.check(raw.rows, numbers)?;
        }
        Ok(Self(raw))
    }

    /// What it says.
    pub fn as_raw(&self) -> &RawReport {
        &self.0
    }
}

impl RawErrors {
    fn check(&self, rows: u64, values: usize) -> Result<(), ReportError> {
        check_count("sums of squares", values, self.squared.len())?;
        check_count("sums of magnitudes", values, self.absolute.len())?;
        let previous = self.previous_squared.as_deref().unwrap_or(&self.squared);
        check_count("sums of squares before", values, previous.len())?;
        for (value, (&squared, &absolute)) in self.squared.iter().zip(&self.absolute).enumerate() {
            // (Σ|e|)² ≤ n·Σe² (Cauchy and Schwarz), with room for rounding.
            let most = (rows as f64 * squared).sqrt() * (1.0 + 1e-6) + 1e-6;
            let sums = [squared, absolute, previous[value]];
            let fits = sums.iter().all(|sum| sum.is_finite() && *sum >= 0.0);
            if !(fits && absolute <= most) {
                return Err(ReportError::Errors {
                    value,
                    rows,
                    squared,
                    absolute,
                });
            }
        }
        Ok(())
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
            errors: Trailing(None),
        };
        assert!(Report::check(raw.clone(), 0).is_ok());
        let refused = Report::check(
            RawReport {
                correct: 31,
                ..raw.clone()
            },
            0,
        );
        assert_eq!(
            refused,
            Err(ReportError::Counts {
                rows: 30,
                correct: 31
            })
        );
        assert!(
            Report::check(
                RawReport {
                    previous_correct: Some(31),
                    ..raw.clone()
                },
                0
            )
            .is_err()
        );
        assert!(
            Report::check(
                RawReport {
                    rows: 0,
                    correct: 0,
                    ..raw.clone()
                },
                0
            )
            .is_err()
        );
    }

    #[test]
    fn errors_are_those_of_as_many_rows_and_values() {
        let with = |errors: Option<RawErrors>| RawReport {
            version: Version {
                epoch: 1,
                number: 1,
            },
            rows: 4,
            correct: 0,
            previous_correct: None,
            installed: true,
            errors: Trailing(errors),
        };
        let errors = |squared: f64, absolute: f64| RawErrors {
            squared: vec![squared],
            absolute: vec![absolute],
            previous_squared: None,
        };
        assert!(Report::check(with(Some(errors(16.0, 8.0))), 1).is_ok());
        for (squared, absolute) in [(16.0, 8.1), (f64::NAN, 1.0), (16.0, -1.0)] {
            let refused = Report::check(with(Some(errors(squared, absolute))), 1);
            assert!(
                matches!(refused, Err(ReportError::Errors { value: 0, .. })),
                "{refused:?}"
            );
        }
        for (errors, numbers) in [
            (None, 1),
            (Some(errors(1.0, 1.0)), 0),
            (Some(errors(1.0, 1.0)), 2),
        ] {
            let refused = Report::check(with(errors), numbers);
            assert!(matches!(refused, Err(ReportError::Shape(_))), "{refused:?}");
        }
    }
}
