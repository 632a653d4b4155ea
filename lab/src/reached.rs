//! How right a student and its teacher are on the test set.

use ndarray::Array2;

use common::model::{Release, ReleaseError};
use common::scales::Scales;
use common::task::USUAL;
use common::teacher::{Teacher, TeacherError};

use crate::data::Dataset;
use crate::metrics::{accuracy, macro_f1, mae, rmse, rmse_each};
use crate::outcome::Reached;

/// Why a student or its teacher cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum ReachedError {
    /// The student does not fit the test set.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The test inputs have no features.
    #[error(transparent)]
    Features(#[from] common::features::FeatureError),
    /// The teacher does not fit the task.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
}

/// Tries both on the test set, which nothing was chosen on.
///
/// # Errors
/// If one of them does not fit the test inputs.
pub fn reached(
    data: &Dataset,
    release: &Release,
    teacher: &Teacher,
    scales: &Scales,
) -> Result<Reached, ReachedError> {
    let task = release.task();
    let inputs = data.test.inputs.view();
    let stage = &task.definition().features;
    let features = stage.compute(task.input_shape(), inputs)?;
    let view = scales.normaliser.apply(features.view())?;
    let answers = teacher.answers(view.view())?;
    Ok(match (&data.test.numbers, &scales.targets) {
        (Some(truth), Some(scale)) => {
            let said = release.numbers(inputs)?;
            let taught = task.target().within(scale.restore(answers));
            Reached::Numbers {
                student_rmse: rmse(&said, truth),
                student_mae: mae(&said, truth),
                student_rmse_each: rmse_each(&said, truth),
                teacher_rmse: rmse(&taught, truth),
                student_teacher_rmse: rmse(&said, &taught),
            }
        }
        _ if data.classes == [USUAL] => Reached::Nothing {},
        _ => of_classes(data, &release.predict(inputs)?, &answers),
    })
}

fn of_classes(data: &Dataset, said: &[u16], answers: &Array2<f32>) -> Reached {
    let largest = |row: ndarray::ArrayView1<'_, f32>| {
        (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best }) as u16
    };
    let taught: Vec<u16> = answers.rows().into_iter().map(largest).collect();
    Reached::Classes {
        student_accuracy: accuracy(said, &data.test.labels),
        student_macro_f1: macro_f1(said, &data.test.labels, data.classes.len()),
        teacher_accuracy: accuracy(&taught, &data.test.labels),
        student_teacher_agreement: accuracy(said, &taught),
    }
}
