//! Moments: additive kernel statistics of a device's rows on the transfer
//! set, from which the coordinator solves one teacher for all devices.
//!
//! With K = K(S, X) (points × rows) and centred targets T (rows × classes),
//! a device's moments are G = K·Kᵀ and B = K·T. They travel as *pseudo-rows*:
//! a factor V (points × rank) and targets W (rank × classes) with G = V·Vᵀ
//! and B = V·W. So G is positive semi-definite by construction, a lower rank
//! is simply fewer pseudo-rows, and the squared error that the solve
//! minimises, ‖Vᵀα − W‖², keeps its meaning at any rank.

use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView2};

use crate::limits::ROWS_MAX;
use crate::math::kernel::Ntk;
use crate::math::quantise::{QuantiseError, QuantisedMatrix, RawQuantisedMatrix};

/// Moments as a peer may send them. Nothing is known about them.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawMoments {
    /// Rows summed over.
    pub rows: u64,
    /// ‖T‖², the sum of the squared centred targets.
    pub target_square: f32,
    /// Vᵀ: one pseudo-row a row, shape (rank, points).
    pub factor: RawQuantisedMatrix,
    /// W: the target of each pseudo-row, shape (rank, classes).
    pub targets: RawQuantisedMatrix,
}

/// Moments that fit their transfer set and that so many rows can produce.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Rows summed over.
    pub rows: u64,
    /// The sum of the squared centred targets.
    pub target_square: f64,
    /// Vᵀ, shape (rank, points).
    pub factor: Array2<f32>,
    /// W, shape (rank, classes).
    pub targets: Array2<f32>,
}

/// What moments are held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentsFrame {
    /// Points of the transfer set.
    pub points: usize,
    /// Classes of the task.
    pub classes: usize,
    /// The largest ‖K(S, x)‖² one row can have.
    pub row_square_max: f64,
}

impl MomentsFrame {
    /// The frame of a transfer set `points` (m×d) under a kernel. Inputs have
    /// at most one as their mean square, so by Cauchy and Schwarz ‖K(S,x)‖²
    /// is at most K(x,x)·Σ K(s,s).
    pub fn of(ntk: &Ntk, points: ArrayView2<'_, f32>, classes: usize) -> Self {
        let longest = Array2::ones((1, points.ncols()));
        let own = f64::from(ntk.diagonal::<f32>(longest.view())[0]);
        let support: f64 = ntk
            .diagonal(points)
            .iter()
            .map(|&value| f64::from(value))
            .sum();
        Self {
            points: points.nrows(),
            classes,
            row_square_max: own * support,
        }
    }
}

/// Why moments were refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MomentsError {
    /// The quantised parts do not hold together.
    #[error("the moments do not decode: {0}")]
    Quantise(#[from] QuantiseError),
    /// A wrong number of something.
    #[error("expected {expected} {what}, got {got}")]
    Shape {
        /// What is counted.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// More than the claimed rows can produce.
    #[error("{what} is {got:.4e}, but {rows} rows produce at most {max:.4e}")]
    TooLarge {
        /// Which statistic.
        what: &'static str,
        /// Its value.
        got: f64,
        /// The most it can be.
        max: f64,
        /// Rows claimed.
        rows: u64,
    },
    /// No rows or too many.
    #[error("{0} rows are not possible")]
    Rows(u64),
}

/// What the bounds may be exceeded by, for quantisation and rounding.
const SLACK: f64 = 1.05;

impl Moments {
    /// Decodes and checks moments. Symmetry and positive semi-definiteness
    /// hold by construction; trace and norms are held against what the rows
    /// can produce: tr G ≤ n·max‖K(S,x)‖², ‖W‖² ≤ ‖T‖² ≤ n·(1 − 1/C).
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(raw: RawMoments, frame: MomentsFrame) -> Result<Self, MomentsError> {
        let rank = raw.factor.rows as usize;
        same("points", frame.points, raw.factor.columns as usize)?;
        same("targets", rank, raw.targets.rows as usize)?;
        same("classes", frame.classes, raw.targets.columns as usize)?;
        if raw.rows == 0 || raw.rows > ROWS_MAX {
            return Err(MomentsError::Rows(raw.rows));
        }
        let rank_max = frame
            .points
            .min(usize::try_from(raw.rows).unwrap_or(usize::MAX));
        if rank > rank_max {
            return Err(MomentsError::Shape {
                what: "pseudo-rows",
                expected: rank_max,
                got: rank,
            });
        }
        let rows = raw.rows as f64;
        let target_max = rows * (1.0 - 1.0 / frame.classes as f64);
        let target_square = f64::from(raw.target_square);
        within("the target norm", target_square, target_max, raw.rows)?;
        let factor = QuantisedMatrix::try_from(raw.factor)?.decode();
        let targets = QuantisedMatrix::try_from(raw.targets)?.decode();
        within(
            "the trace",
            square(&factor),
            rows * frame.row_square_max,
            raw.rows,
        )?;
        within(
            "the norm of the targets",
            square(&targets),
            target_square,
            raw.rows,
        )?;
        Ok(Self {
            rows: raw.rows,
            target_square,
            factor,
            targets,
        })
    }

    /// Pseudo-rows.
    pub fn rank(&self) -> usize {
        self.factor.nrows()
    }
}

fn same(what: &'static str, expected: usize, got: usize) -> Result<(), MomentsError> {
    if expected == got {
        Ok(())
    } else {
        Err(MomentsError::Shape {
            what,
            expected,
            got,
        })
    }
}

/// Refuses what is too large, negative or not finite.
fn within(what: &'static str, got: f64, max: f64, rows: u64) -> Result<(), MomentsError> {
    if got >= 0.0 && got <= max * SLACK + 1e-3 {
        Ok(())
    } else {
        Err(MomentsError::TooLarge {
            what,
            got,
            max,
            rows,
        })
    }
}

fn square(values: &Array2<f32>) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::math::quantise::{Layout, Scheme};

    const FRAME: MomentsFrame = MomentsFrame {
        points: 4,
        classes: 2,
        row_square_max: 4.0,
    };

    fn quantised(values: Array2<f32>) -> RawQuantisedMatrix {
        let scheme = Scheme::Symmetric;
        QuantisedMatrix::encode(values.view(), 8, Layout::Row, scheme)
            .unwrap()
            .into_raw()
    }

    fn raw() -> RawMoments {
        RawMoments {
            rows: 20,
            target_square: 10.0,
            factor: quantised(Array2::from_elem((3, 4), 1.0)),
            targets: quantised(Array2::from_elem((3, 2), 0.5)),
        }
    }

    #[test]
    fn honest_moments_are_taken() {
        let moments = Moments::check(raw(), FRAME).unwrap();
        assert_eq!((moments.rank(), moments.rows), (3, 20));
    }

    #[test]
    fn a_trace_beyond_the_rows_is_refused() {
        let mut liar = raw();
        liar.factor = quantised(Array2::from_elem((3, 4), 100.0));
        assert!(matches!(
            Moments::check(liar, FRAME),
            Err(MomentsError::TooLarge {
                what: "the trace",
                ..
            })
        ));
    }

    #[test]
    fn targets_beyond_the_rows_and_nan_are_refused() {
        let mut liar = raw();
        liar.targets = quantised(Array2::from_elem((3, 2), 50.0));
        assert!(matches!(
            Moments::check(liar, FRAME),
            Err(MomentsError::TooLarge { .. })
        ));
        let mut nan = raw();
        nan.target_square = f32::NAN;
        assert!(matches!(
            Moments::check(nan, FRAME),
            Err(MomentsError::TooLarge { .. })
        ));
    }

    #[test]
    fn more_pseudo_rows_than_rows_are_refused() {
        let mut odd = raw();
        odd.rows = 2;
        odd.target_square = 1.0;
        assert!(matches!(
            Moments::check(odd, FRAME),
            Err(MomentsError::Shape {
                what: "pseudo-rows",
                expected: 2,
                got: 3
            })
        ));
    }

    #[test]
    fn another_transfer_set_is_refused() {
        let other = MomentsFrame { points: 5, ..FRAME };
        assert!(matches!(
            Moments::check(raw(), other),
            Err(MomentsError::Shape {
                what: "points",
                expected: 5,
                got: 4
            })
        ));
    }
}
