//! Rows through the frozen model of their task.

use common::task::Task;
use common::withheld::WithheldCode;

use super::explained;
use super::holdings::Source;
use super::in_process::InProcess;
use crate::backbone::{BackboneError, at_hand, permitted, seen};
use crate::data::{Dataset, Split};
use crate::driver::backend::BackendError;

impl<S: Source> InProcess<S> {
    /// Has the rows of a task seen through its model, if it has one.
    pub(super) fn see(&self, task: &Task, split: &mut Split) -> Result<(), BackendError> {
        self.may_have(task)?;
        let sets = [split.training.inputs(), split.held_out.inputs()];
        let made = seen(&self.state, task, &sets).map_err(|error| of_backbone(&error))?;
        if let Some([training, held_out]) = made.and_then(|made| <[_; 2]>::try_from(made).ok()) {
            take(&mut split.training, training);
            take(&mut split.held_out, held_out);
        }
        Ok(())
    }

    /// The same of rows that are not split.
    pub(super) fn see_all(&self, task: &Task, rows: &mut Dataset) -> Result<(), BackendError> {
        self.may_have(task)?;
        let made = seen(&self.state, task, &[rows.inputs()]);
        let made = made.map_err(|error| of_backbone(&error))?;
        if let Some(made) = made.and_then(|mut made| made.pop()) {
            take(rows, made);
        }
        Ok(())
    }

    /// That the model of a task, without which its student answers nothing, is
    /// permitted and at hand.
    pub(super) fn has_model(&self, task: &Task) -> Result<(), BackendError> {
        self.may_have(task)?;
        at_hand(&self.state, task).map_err(|error| of_backbone(&error))
    }

    /// That the owner lets this device have the model of a task.
    fn may_have(&self, task: &Task) -> Result<(), BackendError> {
        let permitted = permitted(task, self.settings.policy.model_bytes_max());
        permitted.map_err(|error| of_backbone(&error))
    }
}

fn take(rows: &mut Dataset, made: ndarray::Array2<f32>) {
    let empty = Dataset::empty(rows.inputs().ncols());
    let whole = std::mem::replace(rows, empty);
    *rows = whole.with_seen(made);
}

fn of_backbone(error: &BackboneError) -> BackendError {
    match error {
        BackboneError::NotAtHand(blob) => BackendError::Blob(*blob),
        BackboneError::TooLarge { .. } => BackendError::Data {
            code: WithheldCode::Policy,
            what: error.to_string(),
            told: error.to_string(),
            advice: error.advice().to_owned(),
        },
        _ => explained(error, error.advice()),
    }
}
