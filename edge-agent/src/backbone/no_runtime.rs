//! What stands for a task's model in a program that runs none.

use common::task::{Backbone, Task};

use super::BackboneError;

/// Stands for a model in a build without the feature `onnx`: it has no values.
#[derive(Debug)]
pub enum FrozenModel {}

impl FrozenModel {
    /// There is nothing to run it with.
    ///
    /// # Errors
    /// [`BackboneError::Absent`].
    pub fn open(task: &Task, _: &Backbone, _: Vec<Vec<u8>>) -> Result<Self, BackboneError> {
        Err(BackboneError::Absent(task.definition().name.clone()))
    }

    /// Values that it makes of an input.
    pub fn width(&self) -> usize {
        match *self {}
    }

    /// What it makes of an input.
    ///
    /// # Errors
    /// None.
    pub fn row(&mut self, _: &[f32]) -> Result<Vec<f32>, BackboneError> {
        match *self {}
    }
}
