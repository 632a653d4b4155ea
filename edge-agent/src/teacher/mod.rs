//! The local teacher: what a device learns from its own rows alone.

mod comparison;
mod kernel;
mod model;
mod network;
#[cfg(not(feature = "onnx"))]
mod no_runtime;
#[cfg(feature = "onnx")]
mod runtime;
mod stages;

use ndarray::{Array2, ArrayView2};

pub use comparison::{ComparisonError, TeacherComparison, standardised, tried};
pub use kernel::KernelTeacher;
pub use model::{ModelChoice, ModelError, Said};
pub use network::NetworkTeacher;
#[cfg(not(feature = "onnx"))]
pub use no_runtime::ModelTeacher;
#[cfg(feature = "onnx")]
pub use runtime::ModelTeacher;

pub use stages::{StageRows, try_stages};

use common::math::network::NetworkError;
use common::math::regression::RegressionError;

/// Labelled rows in the task's normalised feature space.
#[derive(Clone, Copy, Debug)]
pub struct LabelledRows<'a> {
    /// Inputs, shape (rows, features).
    pub inputs: ArrayView2<'a, f32>,
    /// The class of each row.
    pub labels: &'a [u16],
    /// Classes of the task.
    pub classes: usize,
    /// The standardised numbers of each row, shape (rows, numbers), where the
    /// task asks for numbers.
    pub numbers: Option<ArrayView2<'a, f32>>,
    /// The probability of each class of each row, shape (rows, classes), where
    /// another teacher labelled some of them.
    pub soft: Option<ArrayView2<'a, f32>>,
}

impl LabelledRows<'_> {
    /// What is learnt: the numbers, or the classes' probabilities centred by
    /// 1/C, which are one-hot unless another teacher gave them.
    pub fn targets(&self) -> Array2<f32> {
        match (self.numbers, self.soft) {
            (Some(numbers), _) => numbers.to_owned(),
            (None, Some(soft)) => soft.mapv(|share| share - 1.0 / self.classes as f32),
            (None, None) => centred_one_hot(self.labels, self.classes),
        }
    }
}

/// Something that answers with class probabilities.
pub trait LocalTeacher {
    /// Class probabilities of inputs (rows, features), shape (rows, classes).
    ///
    /// # Errors
    /// If the inputs have another width than the rows it learnt from.
    fn probabilities(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, TeacherError>;

    /// What it would have learnt of inputs (rows, features): the numbers, or
    /// class probabilities centred by 1/C.
    ///
    /// # Errors
    /// As [`Self::probabilities`].
    fn targets(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, TeacherError>;
}

/// Why a teacher could not learn or answer.
#[derive(Debug, thiserror::Error)]
pub enum TeacherError {
    /// Nothing to learn from.
    #[error("no labelled rows to learn from")]
    NoRows,
    /// The kernel system could not be solved.
    #[error("the kernel teacher failed: {0}")]
    Regression(#[from] RegressionError),
    /// The network could not be trained.
    #[error("the network teacher failed: {0}")]
    Network(#[from] NetworkError),
    /// The global teacher did not fit.
    #[error(transparent)]
    Global(#[from] common::teacher::TeacherError),
}

/// One-hot targets centred by 1/C, shape (rows, classes).
pub fn centred_one_hot(labels: &[u16], classes: usize) -> Array2<f32> {
    let off = -1.0 / classes as f32;
    Array2::from_shape_fn((labels.len(), classes), |(row, class)| {
        if usize::from(labels[row]) == class {
            1.0 + off
        } else {
            off
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::math::random::rng;
    use rand::Rng;

    fn two_moons(rows: usize) -> (Array2<f32>, Vec<u16>) {
        let mut rng = rng(1, "moons");
        let mut inputs = Array2::zeros((rows, 2));
        let labels: Vec<u16> = (0..rows).map(|row| (row % 2) as u16).collect();
        for (row, &label) in labels.iter().enumerate() {
            let angle: f32 = rng.random_range(0.0..std::f32::consts::PI);
            let noise: f32 = rng.random_range(-0.1..0.1);
            let (x, y) = (angle.cos() + noise, angle.sin() + noise);
            let (x, y) = if label == 0 {
                (x, y)
            } else {
                (1.0 - x, 0.4 - y)
            };
            inputs[[row, 0]] = x;
            inputs[[row, 1]] = y;
        }
        (inputs, labels)
    }

    fn accuracy(teacher: &dyn LocalTeacher, inputs: ArrayView2<'_, f32>, labels: &[u16]) -> f64 {
        let probabilities = teacher.probabilities(inputs).unwrap();
        let right = probabilities
            .rows()
            .into_iter()
            .zip(labels)
            .filter(|(row, label)| row[usize::from(**label)] > 0.5)
            .count();
        right as f64 / labels.len() as f64
    }

    #[test]
    fn both_teachers_learn_what_no_line_separates() {
        let (inputs, labels) = two_moons(600);
        let (train, test) = inputs.view().split_at(ndarray::Axis(0), 400);
        let rows = LabelledRows {
            inputs: train,
            labels: &labels[..400],
            classes: 2,
            numbers: None,
            soft: None,
        };
        let kernel = KernelTeacher::fit(rows, 2, 7).unwrap();
        assert!(accuracy(&kernel, test, &labels[400..]) > 0.95);
        let network = NetworkTeacher::fit(rows, &[32], 7).unwrap();
        assert!(accuracy(&network, test, &labels[400..]) > 0.95);
    }

    #[test]
    fn a_device_with_one_class_gets_a_teacher_that_says_so() {
        let (inputs, _) = two_moons(50);
        let labels = vec![1u16; 50];
        let rows = LabelledRows {
            inputs: inputs.view(),
            labels: &labels,
            classes: 3,
            numbers: None,
            soft: None,
        };
        let teacher = KernelTeacher::fit(rows, 2, 7).unwrap();
        let probabilities = teacher.probabilities(inputs.view()).unwrap();
        assert!(probabilities.rows().into_iter().all(|row| row[1] > 0.8));
    }

    #[test]
    fn no_rows_are_an_error() {
        let inputs = Array2::zeros((0, 2));
        let rows = LabelledRows {
            inputs: inputs.view(),
            labels: &[],
            classes: 2,
            numbers: None,
            soft: None,
        };
        assert!(matches!(
            KernelTeacher::fit(rows, 2, 7),
            Err(TeacherError::NoRows)
        ));
    }
}
