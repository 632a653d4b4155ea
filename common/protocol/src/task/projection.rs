//! A projection that a fleet learns, as a task asks for it.

use math::random::rng;
use ndarray::Array2;
use rand::Rng as _;

use super::checked::{Task, TaskError, allowed};
use super::definition::{Normalisation, TaskDefinition};
use crate::features::FeatureStage;

/// A projection of the values of a task's frozen model that devices make together: in
/// their profiles they tell means of classes, and products of their covariance with
/// directions that all of them draw alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearntProjection {
    /// Values before it.
    pub features: usize,
    /// Values after it.
    pub directions: usize,
    /// Most class means that a device tells.
    pub classes_max: usize,
    /// Most products.
    pub columns_max: usize,
    seed: u64,
}

impl LearntProjection {
    /// The directions that products are told of, shape (features, columns): signs drawn
    /// by the task's seed.
    pub fn drawn(&self) -> Array2<f64> {
        let mut random = rng(self.seed, "directions of a sketch");
        Array2::from_shape_simple_fn((self.features, self.columns_max), || {
            if random.random::<bool>() { 1.0 } else { -1.0 }
        })
    }

    /// Bytes of a device's profile, at most: half of its uplink.
    pub fn profile_bytes(&self) -> u64 {
        let vectors = (self.classes_max + self.columns_max) as u64;
        moments_bytes(self.features) + vectors * vector_bytes(self.features)
    }
}

impl Task {
    /// The projection behind the feature stage that devices learn, if they do.
    pub fn learnt_projection(&self) -> Option<LearntProjection> {
        let task = self.definition();
        task.learns_directions.then(|| {
            let room = room(task, self.stage_features()) as usize;
            let classes = match task.classes.len() {
                0 | 1 => 0,
                classes => classes.min(room / 2),
            };
            LearntProjection {
                features: self.stage_features(),
                directions: self.features(),
                classes_max: classes,
                columns_max: (room - classes).min(self.features()),
                seed: task.distillation.seed,
            }
        })
    }
}

/// That a definition whose directions are learnt has what this needs.
pub(super) fn check(task: &TaskDefinition) -> Result<(), TaskError> {
    if !task.learns_directions {
        return Ok(());
    }
    let beside = "beside features.learn_directions";
    let Some(backbone) = &task.backbone else {
        return Err(TaskError::Value {
            key: "features.learn_directions",
            value: "true".to_owned(),
            allowed: "nothing, unless features.stage is \"onnx\"".to_owned(),
        });
    };
    allowed(
        backbone.directions >= 1,
        "features.directions",
        backbone.directions,
        format!("1 to {}, {beside}", backbone.width),
    )?;
    allowed(
        matches!(task.normalisation, Normalisation::Learnt { .. }),
        "normaliser.quantiles",
        "true",
        format!("false, {beside}"),
    )?;
    allowed(
        task.features == FeatureStage::Raw,
        "features.stage",
        task.features,
        format!("\"raw\" behind the model, {beside}"),
    )?;
    let width = backbone.width as usize;
    allowed(
        room(task, width) >= 1,
        "budget.uplink_bytes_max",
        task.budget.uplink_bytes_max,
        format!(
            "{} or more, {beside} and a model of {width} values",
            2 * (moments_bytes(width) + vector_bytes(width))
        ),
    )
}

/// How many vectors of this many features fit into a device's profile, which takes half
/// of its bytes at most.
fn room(task: &TaskDefinition, features: usize) -> u64 {
    let left = task.budget.uplink_bytes_max / 2;
    left.saturating_sub(moments_bytes(features)) / vector_bytes(features)
}

/// Of a mean and a variance of each feature, and what comes beside them.
fn moments_bytes(features: usize) -> u64 {
    8 * features as u64 + 64
}

/// Of a vector of a sketch: its values and its scale, and its class and rows.
fn vector_bytes(features: usize) -> u64 {
    (features as u64 * u64::from(SKETCH_BITS)).div_ceil(8) + 16
}

/// Bits of a value of a sketch: with 4 the rounding hides the smaller eigenvalues
/// (decision 47).
pub const SKETCH_BITS: u8 = 6;
