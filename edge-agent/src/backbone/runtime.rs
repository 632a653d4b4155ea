//! A task's model, run.

use common::task::{Backbone, InputKind, Task};
use onnx::{Data, Extractor, ModelBytes};

use super::BackboneError;

/// A model that has been tried on an input of the task.
#[derive(Debug)]
pub struct FrozenModel(Extractor);

impl FrozenModel {
    /// Reads the model's files, the model's first.
    ///
    /// # Errors
    /// If they are no models, need an operator that is missing, or do not take the
    /// task's inputs.
    pub fn open(
        task: &Task,
        backbone: &Backbone,
        files: Vec<Vec<u8>>,
    ) -> Result<Self, BackboneError> {
        let data = Data {
            sides: task.input_shape().sides().to_vec(),
            scale: backbone.scale,
            rate: match task.input() {
                InputKind::Series(series) => Some(series.rate_hz.round() as u32),
                InputKind::Array(_) | InputKind::Table(_) => None,
            },
        };
        let named = |name: &str, bytes| ModelBytes {
            name: name.to_owned(),
            bytes,
        };
        let mut files = files.into_iter();
        let model = named(MODEL, files.next().unwrap_or_default());
        let front = files.next().map(|bytes| named(FRONT, bytes));
        let extractor = Extractor::read(model, front, &backbone.settings, data)?;
        Ok(Self(extractor))
    }

    /// Values that it makes of an input.
    pub fn width(&self) -> usize {
        self.0.width()
    }

    /// What it makes of an input.
    ///
    /// # Errors
    /// If the graph fails on it.
    pub fn row(&mut self, input: &[f32]) -> Result<Vec<f32>, BackboneError> {
        Ok(self.0.row(input)?)
    }
}

/// What errors call the files.
const MODEL: &str = "features.model";
const FRONT: &str = "features.front";
