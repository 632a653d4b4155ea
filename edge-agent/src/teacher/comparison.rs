//! Whether a model is as good as what the device's own labelled rows teach.

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom as _;

use common::math::random::rng;
use common::task::Task;

use super::{KernelTeacher, LabelledRows, LocalTeacher as _, TeacherError};

/// How many labelled rows a model and a local teacher are right on, neither of
/// which has seen them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TeacherComparison {
    /// Labelled rows.
    pub rows: u64,
    /// Those that the model is right on.
    pub model: u64,
    /// Those that a local teacher is right on that learnt from the others (five
    /// folds); none where there are too few rows to compare on.
    pub local: Option<u64>,
}

/// Why a model could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// The local teacher failed.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    /// Rows that do not fit the task.
    #[error("the data does not fit the task: {0}")]
    Features(#[from] common::features::FeatureError),
}

/// The indices of the labelled rows on which teachers are compared: at most 500 of
/// `rows`, drawn by `seed`.
pub fn tried(rows: usize, seed: u64) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..rows).collect();
    chosen.shuffle(&mut rng(seed, "rows that teachers are tried on"));
    chosen.truncate(ROWS_MAX);
    chosen
}

impl TeacherComparison {
    /// Of labelled rows as a task has them, shape (rows, values), with what the
    /// model says of each. Cost: five fits of a [`KernelTeacher`].
    ///
    /// # Errors
    /// If the rows do not fit the task, or the local teacher cannot be fitted.
    pub fn of(
        task: &Task,
        inputs: ArrayView2<'_, f32>,
        truth: &[u16],
        said: &[Option<u16>],
        seed: u64,
    ) -> Result<Self, ComparisonError> {
        let pairs = said.iter().zip(truth);
        let right = pairs.filter(|(said, label)| **said == Some(**label));
        let mut found = Self {
            rows: truth.len() as u64,
            model: right.count() as u64,
            local: None,
        };
        if truth.len() >= ROWS_MIN {
            let features = standardised(task.features_of(inputs)?);
            let local = folds_right(features.view(), truth, task, seed)?;
            found.local = Some(local as u64);
        }
        Ok(found)
    }

    /// Whether the model is right on as many rows as the local teacher, or there
    /// are too few to tell.
    pub fn is_as_good(&self) -> bool {
        self.local.is_none_or(|local| self.model >= local)
    }
}

impl std::fmt::Display for TeacherComparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, model, local } = self;
        match (rows, local) {
            (0, _) => f.write_str("no labelled row to compare it on"),
            (_, None) => write!(
                f,
                "right on {model} of {rows} labelled rows, too few to compare it on"
            ),
            (_, Some(local)) => write!(
                f,
                "right on {model} of {rows} labelled rows, the local teacher on {local}"
            ),
        }
    }
}

/// How many rows a local teacher gets right that learnt from the other folds.
fn folds_right(
    features: ArrayView2<'_, f32>,
    truth: &[u16],
    task: &Task,
    seed: u64,
) -> Result<usize, TeacherError> {
    let mut right = 0;
    for fold in 0..FOLDS {
        let (held, learnt): (Vec<usize>, Vec<usize>) =
            (0..truth.len()).partition(|row| row % FOLDS == fold);
        let labels: Vec<u16> = learnt.iter().map(|&row| truth[row]).collect();
        let inputs = features.select(Axis(0), &learnt);
        let rows = LabelledRows {
            inputs: inputs.view(),
            labels: &labels,
            classes: task.classes(),
            numbers: None,
            soft: None,
        };
        let teacher = KernelTeacher::fit(rows, task.definition().teacher.depth, seed)?;
        let answers = teacher.probabilities(features.select(Axis(0), &held).view())?;
        for (answer, &row) in answers.rows().into_iter().zip(&held) {
            let better = |best: usize, at: usize| if answer[at] > answer[best] { at } else { best };
            let class = (0..answer.len()).fold(0, better);
            right += usize::from(class == usize::from(truth[row]));
        }
        common::liveness::heartbeat();
    }
    Ok(right)
}

/// Features, shape (rows, features), each with mean 0 and deviation 1; 0 where a
/// value is missing.
pub fn standardised(mut features: Array2<f32>) -> Array2<f32> {
    for mut column in features.columns_mut() {
        let known: Vec<f32> = column.iter().copied().filter(|one| !one.is_nan()).collect();
        let known = ndarray::Array1::from(known);
        let mean = known.mean().unwrap_or(0.0);
        let deviation = if known.is_empty() {
            0.0
        } else {
            known.std(0.0)
        };
        let scale = if deviation > 1e-6 { deviation } else { 1.0 };
        column.mapv_inplace(|value| match value.is_nan() {
            true => 0.0,
            false => (value - mean) / scale,
        });
    }
    features
}

/// Fewest and most labelled rows that teachers are compared on.
const ROWS_MIN: usize = 10;
const ROWS_MAX: usize = 500;
/// Parts of them, of each of which the local teacher has seen the others.
const FOLDS: usize = 5;
