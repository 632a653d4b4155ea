//! Data sets seen through a frozen model: each input goes through it once, and
//! what comes out is the data set. Kept on disk, so that seeds share one pass.

mod cache;
mod pass;
mod source;

use std::path::Path;
use std::sync::Arc;

use onnx::{Kind, MODEL_BYTES_MAX, Model, OnnxError, Settings};

use crate::data::{Asked, Dataset, DatasetError, Part};
use crate::progress::Progress;

pub use cache::folder as cache_folder;
pub use pass::outputs;
pub use source::{Inputs, Items, Source};

/// Why a data set cannot be seen through a model.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// The model, or an input in it.
    #[error(transparent)]
    Model(#[from] OnnxError),
    /// The data set.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// A file of the data set cannot be read.
    #[error("{path}: {problem}")]
    File {
        /// The file or folder.
        path: String,
        /// Why.
        problem: String,
    },
    /// The outputs of two inputs differ in number.
    #[error("the model gives {found} values for input {row} and {width} for those before it")]
    Width {
        /// The input.
        row: usize,
        /// Values of this one.
        found: usize,
        /// Values of the others.
        width: usize,
    },
}

/// A data set through a model, as `onnx:` names it: `FILE`, `FILE@SIZE` or
/// `FILE@KEY=VALUE,…` ([`Settings::of_option`]). Its inputs are the model's
/// outputs, one row each.
///
/// # Errors
/// If the model or the data cannot be read, or do not fit one another.
pub fn seen_through(
    data: &str,
    asked: Asked,
    option: &str,
    progress: &mut Progress,
) -> Result<Dataset, BackboneError> {
    seen_keeping(data, asked, option, cache_folder().as_deref(), progress)
}

fn seen_keeping(
    data: &str,
    asked: Asked,
    option: &str,
    folder: Option<&Path>,
    progress: &mut Progress,
) -> Result<Dataset, BackboneError> {
    let (path, settings) = Settings::of_option(option)?;
    let first = Model::open(&path, settings.clone(), MODEL_BYTES_MAX)?;
    let source = Source::open(data, asked, first.kind() == Kind::Sound)?;
    progress.stage(&first.conventions());
    if let Some(note) = source.note() {
        progress.stage(&note);
    }
    let open = || Model::open(&path, settings.clone(), MODEL_BYTES_MAX);
    let mut parts = Vec::new();
    for (what, items) in [("train", &source.train), ("test", &source.test)] {
        let rows = pass::through(&open, (first.key(), folder), &items.inputs, what, progress)?;
        parts.push(Part {
            inputs: rows,
            labels: items.labels.clone(),
            numbers: items.numbers.clone(),
            users: items.users.clone(),
            groups: items.groups.clone(),
        });
    }
    let (Some(test), Some(train)) = (parts.pop(), parts.pop()) else {
        unreachable!("there are two parts");
    };
    Ok(Dataset {
        name: source.name,
        shape: vec![train.inputs.ncols() as u32],
        classes: source.classes,
        numbers: source.numbers,
        range: None,
        offset: None,
        sound_rate: None,
        train: Arc::new(train),
        test,
    })
}

/// What `--features` says after `onnx:`, if it does.
pub fn named(features: &str) -> Option<&str> {
    features.strip_prefix("onnx:")
}

#[cfg(test)]
mod tests;
