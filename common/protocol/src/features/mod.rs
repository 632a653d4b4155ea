//! Feature stages: what turns a raw input into what kernels and students
//! see. A task fixes one stage by name and version, so that all devices
//! compute the same features.
//!
//! A stage is a file of its own, with what it is (`Definition`) and what
//! computes it (`Extractor`); `stage.rs` lists them all.

mod error;
mod extractor;
mod lifted;
mod lifted_window;
mod mel;
mod normaliser;
mod patches;
mod projection;
mod quantile_transform;
mod raw;
mod series;
mod shape;
mod stage;
mod tables;
mod target_scale;
mod trend;
mod window;

pub use error::FeatureError;
pub use extractor::{Drawing, Filters};
pub use mel::SampleRate;
pub use normaliser::{Normaliser, NormaliserError, NormaliserParts};
pub use patches::PatchPlan;
pub use projection::Projection;
pub use quantile_transform::{Atom, QuantileTransform};
pub use series::SeriesPlan;
pub use shape::{InputShape, Modality};
pub use stage::FeatureStage;
pub use tables::{FilterTables, StageTables, WindowTables};
pub use target_scale::{TARGET_CLIP, TargetScale, TargetScaleError};

#[cfg(test)]
mod tests;
