//! A frozen model that makes features of a task's inputs.

use crate::data::{Data, probe, raw};
use crate::{Graph, Model, OnnxError, Settings};

/// A model with how a task's inputs go into it.
#[derive(Debug)]
pub struct Extractor {
    model: Model,
    data: Data,
    width: usize,
}

/// The bytes of a model and what errors call them.
#[derive(Clone, Debug)]
pub struct ModelBytes {
    /// For people.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Extractor {
    /// Reads a model, and the one that makes its input if there is one, and tries
    /// it on an input of the task. `settings` is TOML. Memory: some four times the
    /// files at first, without their bytes, and twice from then on.
    ///
    /// # Errors
    /// If a file is no model, needs an operator that is missing, or does not take
    /// the task's inputs.
    pub fn read(
        model: ModelBytes,
        front: Option<ModelBytes>,
        settings: &str,
        data: Data,
    ) -> Result<Self, OnnxError> {
        // The bytes go before the graph is made ready, which takes as much again.
        let graph = |file: ModelBytes| Graph::parse(&file.name, &file.bytes);
        let settings = Settings::parse(settings, PLACE)?;
        let mut model = Model::of(graph(model)?, front.map(graph).transpose()?, settings)?;
        let width = raw(&mut model, &data, &probe(&data))?.len();
        // All inputs have the shape of this one.
        model.settle();
        Ok(Self { model, data, width })
    }

    /// Values that it makes of an input.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How inputs are made, in a sentence.
    pub fn conventions(&self) -> String {
        self.model.conventions()
    }

    /// The row of an input, [`Self::width`] values, all finite.
    ///
    /// # Errors
    /// If the input is not one of the task, or the graph fails on it.
    pub fn row(&mut self, values: &[f32]) -> Result<Vec<f32>, OnnxError> {
        let row = raw(&mut self.model, &self.data, values)?;
        let row = self.model.finite(row)?;
        if row.len() != self.width {
            return Err(OnnxError::Run {
                path: self.model.path().to_owned(),
                cause: format!("expected {} outputs, got {}", self.width, row.len()),
            });
        }
        Ok(row)
    }
}

/// What errors call the settings.
const PLACE: &str = "[features]";
