//! The global teacher: kernel regression on the transfer set.

use bincode::{Decode, Encode};
use math::shape::{ShapeError, check_count};
use ndarray::{Array2, ArrayView2, s};

use crate::feature_weights::FeatureWeights;
use crate::transfer::TransferSet;
use math::kernel::{KernelError, Ntk, rows_per_block};
use math::network::softmax_rows;

/// A teacher as it travels. Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawTeacher {
    /// Hidden layers of the kernel's network.
    pub depth: u8,
    /// α, row by row, points × classes.
    pub alpha: Vec<f32>,
    /// What its answers are divided by before the softmax.
    pub temperature: f32,
    /// How it was solved, for reports.
    pub facts: TeacherFacts,
}

/// How a teacher was solved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub struct TeacherFacts {
    /// The relative ridge that held-out devices chose.
    pub lambda: f64,
    /// What the factorisation needed beyond it.
    pub jitter: f64,
    /// Mean squared error on held-out devices, per row and class; negative if
    /// there was nothing to hold out.
    pub held_out_error: f64,
    /// Rows whose moments are in it.
    pub rows: u64,
    /// Devices whose moments are in it.
    pub moments: u32,
    /// Devices whose labels are in it.
    pub labels: u32,
}

/// f(x) = K(x, S)·α, and probabilities by a tempered softmax. The kernel sees
/// x and S through the weights of their features.
#[derive(Clone, Debug)]
pub struct Teacher {
    ntk: Ntk,
    feature_weights: FeatureWeights,
    /// As the kernel sees them.
    points: Array2<f32>,
    alpha: Array2<f32>,
    temperature: f32,
    facts: TeacherFacts,
}

/// Why a teacher was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TeacherError {
    /// α of the wrong length.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A coefficient or the temperature is no usable number.
    #[error("the teacher holds a value that is not finite or a temperature that is not positive")]
    NotFinite,
    /// Inputs of another width than the points.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl Teacher {
    /// Checks a teacher against the transfer set it stands on.
    ///
    /// # Errors
    /// A wrong length, or a number that is not finite.
    pub fn on(raw: RawTeacher, set: &TransferSet, classes: usize) -> Result<Self, TeacherError> {
        Ok(Self {
            feature_weights: set.feature_weights.clone(),
            ..Self::check(raw, set.seen().into_owned(), classes)?
        })
    }

    /// Checks a teacher against points (m×d) whose features all count alike.
    ///
    /// # Errors
    /// A wrong length, or a number that is not finite.
    pub fn check(
        raw: RawTeacher,
        points: Array2<f32>,
        classes: usize,
    ) -> Result<Self, TeacherError> {
        let expected = points.nrows() * classes;
        let got = raw.alpha.len();
        let finite = raw.alpha.iter().all(|value| value.is_finite());
        let positive = raw.temperature > 0.0 && raw.temperature.is_finite();
        if !finite || !positive {
            return Err(TeacherError::NotFinite);
        }
        let alpha = Array2::from_shape_vec((points.nrows(), classes), raw.alpha)
            .map_err(|_| ShapeError::count("coefficients", expected, got))?;
        Ok(Self {
            ntk: Ntk::new(raw.depth),
            feature_weights: FeatureWeights::alike(),
            points,
            alpha,
            temperature: raw.temperature,
            facts: raw.facts,
        })
    }

    /// The form that travels.
    pub fn to_raw(&self) -> RawTeacher {
        RawTeacher {
            depth: self.ntk.depth(),
            alpha: self.alpha.iter().copied().collect(),
            temperature: self.temperature,
            facts: self.facts,
        }
    }

    /// Its coefficients α, points × classes.
    pub fn alpha(&self) -> ArrayView2<'_, f32> {
        self.alpha.view()
    }

    /// How it was solved.
    pub fn facts(&self) -> TeacherFacts {
        self.facts
    }

    /// What its answers are divided by before the softmax.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// f(x) of inputs x (n×d): an estimate of the centred class indicator,
    /// shape (n, classes). Cost n·m·(2d + 2C), in blocks; a copy of the
    /// inputs where features do not count alike.
    ///
    /// # Errors
    /// If the inputs have another width than the points.
    pub fn answers(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, TeacherError> {
        let mut out = Array2::zeros((inputs.nrows(), self.alpha.ncols()));
        let step = rows_per_block(self.points.nrows());
        let width = self.points.ncols();
        check_count("features of an input", width, inputs.ncols())?;
        let seen = self.feature_weights.through(inputs);
        self.ntk
            .for_each_block(seen.view(), self.points.view(), step, |block, rows| {
                out.slice_mut(s![rows, ..]).assign(&block.dot(&self.alpha));
            })?;
        Ok(out)
    }

    /// Class probabilities of inputs (n×d), shape (n, classes).
    ///
    /// # Errors
    /// If the inputs have another width than the points.
    pub fn probabilities(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, TeacherError> {
        let mut answers = self.answers(inputs)?;
        softmax_rows(answers.view_mut(), f64::from(self.temperature));
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn raw(alpha: Vec<f32>) -> RawTeacher {
        RawTeacher {
            depth: 1,
            alpha,
            temperature: 0.5,
            facts: TeacherFacts::default(),
        }
    }

    #[test]
    fn a_teacher_survives_the_wire_and_answers_distributions() {
        let points = ndarray::array![[1.0f32, 0.0], [0.0, 1.0]];
        let teacher = Teacher::check(raw(vec![1.0, -1.0, -1.0, 1.0]), points.clone(), 2).unwrap();
        let probabilities = teacher.probabilities(points.view()).unwrap();
        assert!(probabilities[[0, 0]] > 0.5 && probabilities[[1, 1]] > 0.5);
        assert!(
            probabilities
                .rows()
                .into_iter()
                .all(|row| (row.sum() - 1.0).abs() < 1e-6)
        );
        assert_eq!(
            Teacher::check(teacher.to_raw(), points, 2)
                .unwrap()
                .to_raw(),
            teacher.to_raw()
        );
    }

    #[test]
    fn a_wrong_length_and_nan_are_refused() {
        let points = ndarray::array![[1.0f32, 0.0]];
        assert_eq!(
            Teacher::check(raw(vec![1.0]), points.clone(), 2).unwrap_err(),
            TeacherError::Shape(ShapeError::count("coefficients", 2, 1))
        );
        assert_eq!(
            Teacher::check(raw(vec![1.0, f32::NAN]), points, 2).unwrap_err(),
            TeacherError::NotFinite
        );
    }
}
