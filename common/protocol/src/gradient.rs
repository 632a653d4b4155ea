//! The gradient of a released student's last layer on a device's rows: sums
//! that add up over devices, by which the coordinator moves that layer towards
//! the rows' own labels ([`math::last_layer`]).
//!
//! A gradient of C classes has C − 1 numbers for each unit before the last layer,
//! since the errors of a row's probabilities sum to nought, and one of N numbers has N:
//! as many directions
//! of the device's rows, and as many again with each further step ([`directions`]).

use bincode::{Decode, Encode};
use math::last_layer::Residuals;
use math::quantise::{Layout, QuantiseError, QuantisedMatrix, RawQuantisedMatrix, Scheme};
use math::shape::{ShapeError, check_count, check_shape};

use crate::ids::Version;
use crate::limits::ROWS_MAX;
use crate::task::Task;

/// A gradient as a peer may send it. Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawGradient {
    /// The student it is of.
    pub version: Version,
    /// By how many steps that student had been refined.
    pub refined: u32,
    /// Rows summed over, by class; of numbers all of them.
    pub class_counts: Vec<u64>,
    /// Σ‖p − y‖² over them.
    pub square: f32,
    /// The mean of (p − y)·hᵀ over them, shape (outputs, units + 1).
    pub mean: RawQuantisedMatrix,
}

/// A gradient that fits its task's student.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// The student it is of.
    pub version: Version,
    /// Rows of each class.
    pub class_counts: Vec<u64>,
    /// What the rows say, in sums.
    pub residuals: Residuals,
}

/// Why a gradient was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GradientError {
    /// The matrix does not decode.
    #[error("the gradient does not decode: {0}")]
    Quantise(#[from] QuantiseError),
    /// It is of another layer.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Of a student that was refined more often than the task asks for.
    #[error("a gradient of a student refined {refined} times, in a task of {steps} steps")]
    Step {
        /// Steps before it.
        refined: u32,
        /// Steps that the task asks for at most.
        steps: u32,
    },
    /// No rows or too many.
    #[error("{0} rows are not possible")]
    Rows(u64),
    /// More error than there can be: two of each row, where it is sure of a wrong
    /// class; of numbers what is no number.
    #[error("a squared error of {square} on {rows} rows is not possible")]
    Square {
        /// The error claimed.
        square: f32,
        /// Rows claimed.
        rows: u64,
    },
}

/// The number of directions of a device's rows that its gradients reveal in total, for
/// a student already refined `refined` times: classes − 1, or as many as it says numbers,
/// for each of those steps and for the one that is computed now.
pub fn directions(task: &Task, refined: u32) -> usize {
    let steps = (refined as usize).saturating_add(1);
    let sum_to_nought = usize::from(task.target().is_class());
    steps.saturating_mul(task.outputs().saturating_sub(sum_to_nought))
}

/// Bits a number; rows of a class share a scale.
const BITS: u8 = 8;

impl RawGradient {
    /// What `residuals` on this many rows of each class, at least one in all, of the
    /// student of this version, which was refined by `refined` steps, are sent as: a
    /// byte a number.
    ///
    /// # Errors
    /// If they are not finite.
    pub fn of(
        version: Version,
        refined: u32,
        class_counts: Vec<u64>,
        residuals: &Residuals,
    ) -> Result<Self, QuantiseError> {
        let rows = residuals.rows.max(1) as f64;
        let mean = residuals.gradient.mapv(|sum| (sum / rows) as f32);
        let mean = QuantisedMatrix::encode(mean.view(), BITS, Layout::Row, Scheme::Symmetric)?;
        Ok(Self {
            version,
            refined,
            class_counts,
            square: residuals.square as f32,
            mean: mean.into_raw(),
        })
    }

    /// Rows summed over.
    pub fn rows(&self) -> u64 {
        let sum = |sum: u64, rows: &u64| sum.saturating_add(*rows);
        self.class_counts.iter().fold(0, sum)
    }
}

impl Gradient {
    /// Decodes and checks a gradient of a task's student.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(raw: RawGradient, task: &Task) -> Result<Self, GradientError> {
        check_count("classes", task.classes(), raw.class_counts.len())?;
        let (refined, steps) = (raw.refined, task.definition().refinement_steps);
        // Whether a task refines at all is asked where contributions are called for.
        if refined >= steps.max(1) {
            return Err(GradientError::Step { refined, steps });
        }
        let (rows, square) = (raw.rows(), raw.square);
        if rows == 0 || rows > ROWS_MAX {
            return Err(GradientError::Rows(rows));
        }
        let most = match task.target().is_class() {
            true => 2.0 * rows as f32 * (1.0 + 1e-5),
            false => f32::MAX,
        };
        if !(square.is_finite() && (0.0..=most).contains(&square)) {
            return Err(GradientError::Square { square, rows });
        }
        let shape = [task.outputs(), task.student().before_last() + 1];
        let got = [raw.mean.rows as usize, raw.mean.columns as usize];
        check_shape("gradient", &shape, &got)?;
        let mean = QuantisedMatrix::try_from(raw.mean)?.decode();
        Ok(Self {
            version: raw.version,
            class_counts: raw.class_counts,
            residuals: Residuals {
                gradient: mean.mapv(|value| f64::from(value) * rows as f64),
                square: f64::from(square),
                rows,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{decode_blob, encode};
    use crate::task::RawTask;

    const VERSION: Version = Version {
        epoch: 1,
        number: 7,
    };

    fn task(steps: u32) -> Task {
        let text = format!(
            "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\", \"c\"]\n\
             [student]\nhidden = [4]\n[distillation]\nrefinement_steps = {steps}"
        );
        RawTask::parse(&text).unwrap()
    }

    fn residuals(gradient: Array2<f64>) -> Residuals {
        Residuals {
            gradient,
            square: 12.0,
            rows: 40,
        }
    }

    proptest! {
        #[test]
        fn what_arrives_is_what_was_sent_within_rounding(
            values in prop::collection::vec(-30.0..30.0f64, 15),
        ) {
            let sent = residuals(Array2::from_shape_vec((3, 5), values).unwrap());
            let bytes = encode(&RawGradient::of(VERSION, 0, vec![10, 0, 30], &sent).unwrap());
            let raw: RawGradient = decode_blob(&bytes).unwrap();
            let read = Gradient::check(raw, &task(1)).unwrap();
            prop_assert_eq!(read.version, VERSION);
            prop_assert_eq!((read.residuals.rows, read.residuals.square), (40, 12.0));
            for (row, other) in sent.gradient.rows().into_iter().zip(read.residuals.gradient.rows()) {
                let most = row.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
                for (a, b) in row.iter().zip(other) {
                    prop_assert!((a - b).abs() <= most / 250.0);
                }
            }
        }
    }

    #[test]
    fn what_no_rows_can_produce_is_refused() {
        let raw =
            RawGradient::of(VERSION, 0, vec![40, 0, 0], &residuals(Array2::ones((3, 5)))).unwrap();
        let task = task(1);
        assert!(Gradient::check(raw.clone(), &task).is_ok());
        for rows in [0, ROWS_MAX + 1] {
            let odd = RawGradient {
                class_counts: vec![0, 0, rows],
                ..raw.clone()
            };
            assert_eq!(Gradient::check(odd, &task), Err(GradientError::Rows(rows)));
        }
        for square in [-1.0, 81.0, f32::NAN, f32::INFINITY] {
            let odd = RawGradient {
                square,
                ..raw.clone()
            };
            let refused = Gradient::check(odd, &task);
            assert!(matches!(
                refused,
                Err(GradientError::Square { rows: 40, .. })
            ));
        }
        let odd = RawGradient {
            refined: 1,
            ..raw.clone()
        };
        let refused = Gradient::check(odd, &task);
        assert!(matches!(
            refused,
            Err(GradientError::Step {
                refined: 1,
                steps: 1
            })
        ));
        let odd = RawGradient {
            class_counts: vec![40],
            ..raw.clone()
        };
        let refused = Gradient::check(odd, &task);
        assert!(matches!(refused, Err(GradientError::Shape(_))));
        let other =
            RawGradient::of(VERSION, 0, vec![40, 0, 0], &residuals(Array2::ones((3, 6)))).unwrap();
        let refused = Gradient::check(other, &task);
        assert!(matches!(refused, Err(GradientError::Shape(_))));
        let infinite = residuals(Array2::from_elem((3, 5), f64::INFINITY));
        assert!(RawGradient::of(VERSION, 0, vec![40, 0, 0], &infinite).is_err());
    }

    #[test]
    fn a_task_keeps_its_name_unless_it_refines() {
        let (plain, refining) = (task(0), task(3));
        assert_eq!(Task::from_bytes(refining.bytes()).unwrap(), refining);
        assert_ne!(plain.hash(), refining.hash());
        assert!(refining.bytes().starts_with(plain.bytes()));
        assert_eq!((directions(&refining, 0), directions(&refining, 2)), (2, 6));
        let mut twice = plain.bytes().to_vec();
        twice.extend([5, 0]);
        assert!(Task::from_bytes(&twice).is_err(), "none has one encoding");
    }

    #[test]
    fn numbers_are_refined_by_all_their_rows() {
        let text = "name = \"t\"\n[input]\nshape = [2]\n[target]\nkind = \"number\"\n\
                    [student]\nhidden = [4]\n[distillation]\nrefinement_steps = 2";
        let task = RawTask::parse(text).unwrap();
        assert_eq!((directions(&task, 0), directions(&task, 1)), (1, 2));
        let sums = Residuals {
            square: 1e6,
            ..residuals(Array2::ones((1, 5)))
        };
        let raw = RawGradient::of(VERSION, 1, vec![40], &sums).unwrap();
        let read = Gradient::check(raw.clone(), &task).unwrap();
        assert_eq!((read.residuals.rows, read.class_counts), (40, vec![40]));
        let odd = RawGradient {
            square: f32::INFINITY,
            ..raw.clone()
        };
        let refused = Gradient::check(odd, &task);
        assert!(matches!(refused, Err(GradientError::Square { .. })));
        let odd = RawGradient {
            class_counts: vec![20, 20],
            ..raw
        };
        let refused = Gradient::check(odd, &task);
        assert!(matches!(refused, Err(GradientError::Shape(_))));
    }

    #[test]
    fn a_single_class_is_not_refined() {
        let text = "name = \"t\"\n[input]\nshape = [2]\n[target]\nkind = \"none\"\n\
                    [distillation]\nrefinement_steps = 1";
        assert!(RawTask::parse(text).is_err());
        let text = text.replace("\n[distillation]\nrefinement_steps = 1", "");
        assert!(RawTask::parse(&text).is_ok());
    }
}
