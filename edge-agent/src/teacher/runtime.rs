//! The owner's model, run.

use std::path::Path;

use common::task::{InputKind, Normalisation, Task};
use onnx::{Classifier, Data, Model, Settings};

use super::model::{ModelChoice, ModelError, Said};

/// A model that has been tried on the task's inputs.
#[derive(Debug)]
pub struct ModelTeacher(Classifier);

impl ModelTeacher {
    /// Reads the model and tries it on one input of the task. Memory: some three
    /// times the file.
    ///
    /// # Errors
    /// If the file cannot be read, is too large, damaged, needs an operator that
    /// is missing, or does not fit the task's inputs or classes.
    pub fn open(choice: &ModelChoice, task: &Task) -> Result<Self, ModelError> {
        let definition = task.definition();
        if !task.target().numbers().is_empty() {
            return Err(ModelError::Numbers(definition.name.clone()));
        }
        let path = Path::new(&choice.file);
        let settings = Settings::beside(path)?.with(&choice.settings, PLACE)?;
        let model = Model::open(path, settings, u64::from(choice.mib_max) << 20)?;
        let is_picture = model.kind() == onnx::Kind::Image;
        let known = match definition.normalisation {
            Normalisation::Range { high, .. } if high <= 1.0 && is_picture => 255.0,
            _ => 1.0,
        };
        let data = Data {
            sides: task.input_shape().sides().to_vec(),
            scale: choice.scale.unwrap_or(known),
            rate: match task.input() {
                InputKind::Series(series) => Some(series.rate_hz.round() as u32),
                InputKind::Array(_) | InputKind::Table(_) => None,
            },
        };
        let classifier = Classifier::of(model, data, &choice.map, &definition.classes)?;
        Ok(Self(classifier))
    }

    /// A name for what it computes of an input.
    pub fn key(&self) -> [u8; 32] {
        self.0.key()
    }

    /// How inputs are made, in a sentence.
    pub fn conventions(&self) -> String {
        self.0.conventions()
    }

    /// Its own outputs for an input of the task.
    ///
    /// # Errors
    /// If the graph fails on it.
    pub fn outputs(&mut self, input: &[f32]) -> Result<Vec<f32>, ModelError> {
        Ok(self.0.outputs(input)?)
    }

    /// What outputs say of the task's classes, each row's likeliest and the
    /// probability of each; none of a row whose class the task has not.
    pub fn said(&self, outputs: &[Vec<f32>]) -> Vec<Said> {
        self.0.said(outputs)
    }
}

impl ModelChoice {
    /// Whether the settings are ones that a model may have. The file is not
    /// looked at.
    ///
    /// # Errors
    /// The first key or value that is not allowed.
    pub fn check(&self) -> Result<(), ModelError> {
        Settings::default().with(&self.settings, PLACE)?;
        Ok(())
    }
}

/// What errors call the settings.
const PLACE: &str = "[teacher]";
