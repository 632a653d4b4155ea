//! A model that gives inputs of a task the task's classes.

use std::collections::BTreeMap;

use crate::data::{Data, probe, raw};
use crate::{ClassMap, Model, OnnxError, probabilities};

/// What a classifier says of an input: the likeliest class of the task and the
/// probability of each; none if its class is not one of the task's.
pub type Said = Option<(u16, Vec<f32>)>;

/// A model with the classes it knows, in the terms of a task.
#[derive(Debug)]
pub struct Classifier {
    model: Model,
    data: Data,
    map: ClassMap,
    outputs: usize,
}

impl Classifier {
    /// Takes a model for inputs of a task, once it has answered on one.
    /// `renamed` is as for [`ClassMap::of`], the model's own names are in its
    /// settings.
    ///
    /// # Errors
    /// If the model does not take the task's inputs, or as [`ClassMap::of`].
    pub fn of(
        model: Model,
        data: Data,
        renamed: &BTreeMap<String, String>,
        task: &[String],
    ) -> Result<Self, OnnxError> {
        let mut model = model;
        let outputs = raw(&mut model, &data, &probe(&data))?.len();
        // One value is the second of two classes.
        let classes = outputs.max(2);
        let names = model.settings().classes.clone();
        let map = ClassMap::of(model.path(), classes, &names, renamed, task)?;
        Ok(Self {
            model,
            data,
            map,
            outputs,
        })
    }

    /// A name for what it computes of an input: of the model, its settings and
    /// the layout of inputs.
    pub fn key(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("alambic classifier 1");
        hasher.update(&self.model.key());
        hasher.update(format!("{:?}", self.data).as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// How inputs are made, in a sentence.
    pub fn conventions(&self) -> String {
        self.model.conventions()
    }

    /// The model's own answer to an input: its outputs, as many for each.
    ///
    /// # Errors
    /// If the input is not one of the task, or the graph fails on it.
    pub fn outputs(&mut self, values: &[f32]) -> Result<Vec<f32>, OnnxError> {
        let row = raw(&mut self.model, &self.data, values)?;
        if row.len() != self.outputs {
            return Err(OnnxError::Run {
                path: self.model.path().to_owned(),
                cause: format!("expected {} outputs, got {}", self.outputs, row.len()),
            });
        }
        Ok(row)
    }

    /// What outputs say of the task's classes; nothing of those with NaN or above every
    /// number. Whether they are logits or
    /// probabilities is seen of all of them, where the settings do not say.
    pub fn said(&self, outputs: &[Vec<f32>]) -> Vec<Said> {
        let tells = |row: &&Vec<f32>| row.iter().all(|value| *value < f32::INFINITY);
        let told: Vec<Vec<f32>> = outputs.iter().filter(tells).cloned().collect();
        let mut rows = probabilities(&told, self.model.settings().answers).into_iter();
        let said = |row: &Vec<f32>| {
            let row = Some(row).filter(tells).and_then(|_| rows.next());
            row.and_then(|row| self.map.answer(&row))
        };
        outputs.iter().map(said).collect()
    }
}
