//! Models of others in ONNX, run by tract without a C library: frozen
//! backbones whose outputs serve as features, and teachers whose outputs are
//! class probabilities.
//!
//! [`Model::open`] reads a file, says which operator is missing if one is, and
//! takes how inputs become tensors from [`Settings`]: the command line, a TOML
//! file beside the model, the graph's own shapes, and stated defaults, in this
//! order.

mod answers;
mod class_map;
mod classifier;
mod data;
mod error;
mod extractor;
mod graph;
mod model;
mod picture;
mod plans;
mod pool;
mod settings;
mod sound;
mod takes;
#[cfg(any(test, feature = "tiny"))]
pub mod tiny;

pub use answers::{Answers, probabilities};
pub use class_map::ClassMap;
pub use classifier::{Classifier, Said};
pub use data::Data;
pub use error::OnnxError;
pub use extractor::{Extractor, ModelBytes};
pub use graph::{Graph, MODEL_BYTES_MAX, Plan};
pub use model::{Input, Model};
pub use picture::Picture;
pub use pool::Pool;
pub use settings::{Colour, Kind, Layout, Settings};
pub use sound::resampled;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
