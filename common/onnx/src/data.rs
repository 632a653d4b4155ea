//! Inputs of a task, as a model takes them.

use crate::{Input, Kind, Model, OnnxError, Picture};

/// How a task's inputs are laid out.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// Sides of one input.
    pub sides: Vec<usize>,
    /// What inputs are multiplied with first: brings pictures to 0 to 255.
    pub scale: f32,
    /// Samples a second, where inputs are recordings.
    pub rate: Option<u32>,
}

/// A made-up input, on which a model is tried: values that differ, so that no
/// deviation is zero.
pub(crate) fn probe(data: &Data) -> Vec<f32> {
    let values: usize = data.sides.iter().product();
    (0..values).map(|at| (at % 7) as f32 / 7.0).collect()
}

/// The model's outputs for an input of a task, whatever they are.
pub(crate) fn raw(model: &mut Model, data: &Data, values: &[f32]) -> Result<Vec<f32>, OnnxError> {
    let scaled = || values.iter().map(|value| value * data.scale).collect();
    match model.kind() {
        Kind::Values => {
            let scaled: Vec<f32> = scaled();
            model.any_row(Input::Values(&scaled))
        }
        Kind::Image => match Picture::of_array(values, &data.sides, data.scale) {
            Some(picture) => model.any_row(Input::Picture(&picture)),
            None => Err(other(model, data, "pictures")),
        },
        Kind::Sound => {
            let sides: Vec<usize> = { data.sides.iter() }
                .copied()
                .filter(|side| *side > 1)
                .collect();
            if sides.len() > 1 {
                return Err(other(model, data, "one channel of sound"));
            }
            let scaled: Vec<f32> = scaled();
            let rate = data.rate.or(model.settings().rate);
            model.any_row(Input::Sound(&scaled, rate.unwrap_or(SOUND_RATE)))
        }
    }
}

fn other(model: &Model, data: &Data, takes: &str) -> OnnxError {
    OnnxError::Input {
        path: model.path().to_owned(),
        problem: format!(
            "it takes {takes}, and the task's inputs have the shape {:?}",
            data.sides
        ),
    }
}

/// Samples a second where neither task nor settings say.
const SOUND_RATE: u32 = 16_000;
