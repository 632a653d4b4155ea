//! How a student does on the device's held-out rows, beside the one at hand.

use bincode::{Decode, Encode};
use common::model::{Release, ReleaseError};
use common::report::RawErrors;
use ndarray::{Array2, ArrayView2};

use crate::driver::backend::Score;

/// Labelled rows that no teacher on this device has learnt from.
#[derive(Clone, Copy, Debug)]
pub struct HeldOut<'a> {
    /// Raw inputs, shape (rows, values of one input).
    pub inputs: ArrayView2<'a, f32>,
    /// The class of each row; of a task without classes one entry a row.
    pub labels: &'a [u16],
    /// The numbers of each row, shape (rows, numbers), where the task asks for
    /// numbers.
    pub numbers: Option<ArrayView2<'a, f32>>,
}

/// How a student did on the held-out rows, beside the one at hand.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Comparison {
    /// Rows.
    pub rows: u64,
    /// Rows the new student gets right.
    pub correct: u64,
    /// Rows the one at hand gets right, if there is one.
    pub previous: Option<u64>,
    /// Rows that only the one at hand gets right.
    pub lost: u64,
    /// Rows that only the new one gets right.
    pub won: u64,
    /// Classes of the task.
    pub classes: u64,
    /// How far off numbers are, where the task asks for numbers; no row is
    /// then right or wrong.
    pub numbers: Option<Numbers>,
}

/// How far off numbers are on the held-out rows.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Numbers {
    /// Sums for each value, in its unit.
    pub errors: RawErrors,
    /// The sum of squared errors of all values, in the fleet's variances.
    pub standard: f64,
    /// The same of the fleet's mean as the answer to every row; no less than a
    /// variance a row and value.
    pub unanswered: f64,
    /// By how much the squared error of a row, in variances, grows from the
    /// student at hand to the new one: the sum over rows and the sum of its
    /// squares. None without a student at hand.
    pub lost: Option<(f64, f64)>,
}

impl Comparison {
    /// Tries both students on the same rows.
    ///
    /// # Errors
    /// If the rows do not have the task's shape, or no numbers where it asks
    /// for some.
    pub fn of(
        new: &Release,
        previous: Option<&Release>,
        held_out: HeldOut<'_>,
    ) -> Result<Self, ReleaseError> {
        if !new.task().target().is_class() {
            return Self::of_numbers(new, previous, held_out);
        }
        let right = |release: &Release| -> Result<Vec<bool>, ReleaseError> {
            let predicted = release.predict(held_out.inputs)?;
            let pairs = predicted.iter().zip(held_out.labels);
            Ok(pairs.map(|(one, other)| one == other).collect())
        };
        let classes = new.task().classes();
        let count = |right: &[bool]| right.iter().filter(|right| **right).count() as u64;
        let new = right(new)?;
        let mut comparison = Self {
            rows: held_out.labels.len() as u64,
            correct: count(&new),
            classes: classes as u64,
            ..Self::default()
        };
        if let Some(previous) = previous {
            let old = right(previous)?;
            comparison.previous = Some(count(&old));
            for (new, old) in new.iter().zip(&old) {
                comparison.lost += u64::from(*old && !new);
                comparison.won += u64::from(*new && !old);
            }
        }
        Ok(comparison)
    }

    fn of_numbers(
        new: &Release,
        previous: Option<&Release>,
        held_out: HeldOut<'_>,
    ) -> Result<Self, ReleaseError> {
        let none = Array2::zeros((0, 0));
        let given = held_out.numbers.unwrap_or(none.view());
        let truth = new.task().target().within(given.to_owned());
        let said = new.numbers(held_out.inputs)?;
        let deviation = |value: usize| {
            let scale = new.as_raw().targets();
            scale.map_or(1.0, |scale| f64::from(scale.deviation()[value]))
        };
        let off = Off::of(&said, &truth, &deviation);
        let mean = new.as_raw().targets().map(|scale| scale.mean().to_vec());
        let mean = mean.unwrap_or_default();
        let means = Array2::from_shape_fn(truth.raw_dim(), |(_, value)| mean[value]);
        let floor = truth.len() as f64;
        let mut numbers = Numbers {
            standard: off.rows.iter().sum(),
            unanswered: floor.max(Off::of(&means, &truth, &deviation).rows.iter().sum()),
            errors: RawErrors {
                squared: off.squared,
                absolute: off.absolute,
                previous_squared: None,
            },
            lost: None,
        };
        if let Some(previous) = previous {
            let before = Off::of(&previous.numbers(held_out.inputs)?, &truth, &deviation);
            let grown = off.rows.iter().zip(&before.rows);
            let grown: Vec<f64> = grown.map(|(new, old)| new - old).collect();
            let squares = grown.iter().map(|one| one * one);
            numbers.lost = Some((grown.iter().sum(), squares.sum()));
            numbers.errors.previous_squared = Some(before.squared);
        }
        Ok(Self {
            rows: truth.nrows() as u64,
            numbers: Some(numbers),
            ..Self::default()
        })
    }

    /// Whether the new student is worse beyond what chance does: it loses
    /// more rows than it wins by over two standard deviations of their
    /// difference (McNemar 1947: lost − won has variance lost + won if both
    /// are equally good). Of numbers, the same of the squared errors: their sum
    /// grows by over two roots of the sum of the squared differences. The first
    /// student has none before it, but has to be right on more rows than who
    /// guesses the class is, or nearer than the mean, where there are
    /// `FLOOR_ROWS_MIN` rows to tell: one that liars spoilt is not.
    pub fn is_worse(&self) -> bool {
        if let Some(numbers) = &self.numbers {
            return match numbers.lost {
                Some((lost, squares)) => lost > 2.0 * squares.sqrt(),
                None => self.rows >= FLOOR_ROWS_MIN && numbers.standard >= numbers.unanswered,
            };
        }
        if self.previous.is_none() {
            let guessed = self.correct.saturating_mul(self.classes) <= self.rows;
            return guessed && self.classes > 1 && self.rows >= FLOOR_ROWS_MIN;
        }
        let deviation = ((self.lost + self.won) as f64).sqrt();
        self.lost as f64 - self.won as f64 > 2.0 * deviation
    }

    /// How the new student did.
    pub fn score(&self) -> Score {
        match &self.numbers {
            Some(numbers) => Score::off(&numbers.errors.squared, self.rows),
            None => Score::Right {
                correct: self.correct,
                rows: self.rows,
            },
        }
    }

    /// How the student at hand did, if there is one.
    pub fn previous_score(&self) -> Option<Score> {
        match &self.numbers {
            Some(numbers) => {
                let squared = numbers.errors.previous_squared.as_ref()?;
                Some(Score::off(squared, self.rows))
            }
            None => Some(Score::Right {
                correct: self.previous?,
                rows: self.rows,
            }),
        }
    }
}

/// Errors of numbers (rows × values).
struct Off {
    squared: Vec<f64>,
    absolute: Vec<f64>,
    /// Squared errors of each row in variances, of all values together.
    rows: Vec<f64>,
}

impl Off {
    fn of(said: &Array2<f32>, truth: &Array2<f32>, deviation: &dyn Fn(usize) -> f64) -> Self {
        let values = truth.ncols();
        let mut off = Self {
            squared: vec![0.0; values],
            absolute: vec![0.0; values],
            rows: Vec::with_capacity(truth.nrows()),
        };
        for (said, truth) in said.rows().into_iter().zip(truth.rows()) {
            let mut row = 0.0;
            for (value, (said, truth)) in said.iter().zip(truth).enumerate() {
                let apart = f64::from(*said) - f64::from(*truth);
                off.squared[value] += apart * apart;
                off.absolute[value] += apart.abs();
                row += (apart / deviation(value)).powi(2);
            }
            off.rows.push(row);
        }
        off
    }
}

/// Fewest held-out rows on which a first student is held against a guess.
const FLOOR_ROWS_MIN: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_student_has_to_beat_a_guess() {
        let first = |rows, correct| Comparison {
            rows,
            correct,
            classes: 6,
            ..Comparison::default()
        };
        assert!(first(60, 10).is_worse());
        assert!(!first(60, 11).is_worse());
        assert!(!first(19, 0).is_worse());
    }

    #[test]
    fn only_a_loss_beyond_chance_counts_as_worse() {
        let comparison = |lost, won| Comparison {
            rows: 100,
            correct: 0,
            previous: Some(0),
            lost,
            won,
            classes: 2,
            numbers: None,
        };
        assert!(!comparison(0, 0).is_worse());
        assert!(!comparison(3, 0).is_worse());
        assert!(comparison(5, 0).is_worse());
        assert!(!comparison(20, 15).is_worse());
        assert!(comparison(40, 10).is_worse());
        assert!(!comparison(0, 40).is_worse());
    }

    fn numbers(differences: &[f64], errors: f64) -> Comparison {
        let rows = differences.len() as f64;
        Comparison {
            rows: differences.len() as u64,
            numbers: Some(Numbers {
                standard: errors,
                unanswered: rows,
                lost: Some((
                    differences.iter().sum(),
                    differences.iter().map(|one| one * one).sum(),
                )),
                ..Numbers::default()
            }),
            ..Comparison::default()
        }
    }

    #[test]
    fn numbers_are_worse_where_their_errors_grow_beyond_chance() {
        assert!(numbers(&[0.5; 20], 10.0).is_worse());
        assert!(!numbers(&[-0.5; 20], 10.0).is_worse());
        let mut one = [0.0; 20];
        one[3] = 30.0;
        assert!(!numbers(&one, 30.0).is_worse(), "one row is chance");
        let mixed: Vec<f64> = (0..20)
            .map(|at| if at % 2 == 0 { 0.5 } else { -0.4 })
            .collect();
        assert!(!numbers(&mixed, 10.0).is_worse());
    }

    #[test]
    fn a_first_student_of_numbers_has_to_beat_the_mean() {
        let first = |rows: usize, errors: f64| {
            let mut found = numbers(&vec![0.0; rows], errors);
            found
                .numbers
                .iter_mut()
                .for_each(|numbers| numbers.lost = None);
            found
        };
        assert!(first(40, 41.0).is_worse());
        assert!(!first(40, 39.0).is_worse());
        assert!(!first(19, 100.0).is_worse());
    }
}
