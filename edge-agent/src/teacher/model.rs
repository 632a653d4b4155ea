//! A model of others as the device's own teacher: which, and how it is asked.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
#[cfg(feature = "onnx")]
use onnx::OnnxError;

/// What a model says of a row: the likeliest class of the task and the probability
/// of each; none if its class is not one of the task's.
pub type Said = Option<(u16, Vec<f32>)>;

/// A model in ONNX that labels the device's rows.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ModelChoice {
    /// The file.
    pub file: String,
    /// How inputs become tensors, as TOML: what goes before the file beside the
    /// model.
    pub settings: String,
    /// Which class of the task a class of the model stands for, where their
    /// names differ.
    pub map: BTreeMap<String, String>,
    /// What inputs are multiplied with first.
    pub scale: Option<f32>,
    /// Most MiB of the file.
    pub mib_max: u32,
}

/// Why a model cannot teach.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model, its settings, or an input in it.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Model(#[from] OnnxError),
    /// The task has no classes.
    #[error("task {0} asks for numbers, and a model labels rows with classes")]
    Numbers(String),
    /// This program was built without what runs models.
    #[error("this alambic-agent was built without the feature onnx and runs no models")]
    Absent,
}

impl ModelError {
    /// What a person can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            #[cfg(feature = "onnx")]
            Self::Model(error) => match error {
                OnnxError::TooLarge { .. } => {
                    "take a smaller model, or raise teacher.mib_max and MemoryMax of the service"
                }
                OnnxError::Read { .. } => "correct teacher.file, and let the agent's user read it",
                OnnxError::NotOnnx { .. } => "copy the model to this device again",
                _ => "docs/onnx.md says what [teacher] in agent.toml may hold",
            },
            Self::Numbers(_) => "set teacher.kind to \"kernel\" or \"mlp\" for this task",
            Self::Absent => "install an alambic-agent that was built with it, as packages are",
        }
    }
}
