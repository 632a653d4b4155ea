//! What stands for the owner's model in a program that runs none.

use common::task::Task;

use super::model::{ModelChoice, ModelError, Said};

/// Stands for a model in a build without the feature `onnx`: it has no values.
#[derive(Debug)]
pub enum ModelTeacher {}

impl ModelTeacher {
    /// There is nothing to run it with.
    ///
    /// # Errors
    /// [`ModelError::Absent`].
    pub fn open(_: &ModelChoice, _: &Task) -> Result<Self, ModelError> {
        Err(ModelError::Absent)
    }

    /// A name for what it computes of an input.
    pub fn key(&self) -> [u8; 32] {
        match *self {}
    }

    /// How inputs are made, in a sentence.
    pub fn conventions(&self) -> String {
        match *self {}
    }

    /// Its own outputs for an input of the task.
    ///
    /// # Errors
    /// None.
    pub fn outputs(&mut self, _: &[f32]) -> Result<Vec<f32>, ModelError> {
        match *self {}
    }

    /// What outputs say of the task's classes.
    pub fn said(&self, _: &[Vec<f32>]) -> Vec<Said> {
        match *self {}
    }
}

impl ModelChoice {
    /// Nothing to check them against.
    ///
    /// # Errors
    /// [`ModelError::Absent`].
    pub fn check(&self) -> Result<(), ModelError> {
        Err(ModelError::Absent)
    }
}
