//! What a model makes of a task's inputs, found by trying it.

use common::ids::BlobHash;
use common::task::{ModelFiles, ModelMeasured, TaskFileError};
use onnx::{Data, Extractor, Graph, ModelBytes};

use crate::store::Store;

/// That a file is a model whose operators are all there.
///
/// # Errors
/// What is wrong with it, and which operator is missing.
pub fn checked(name: &str, bytes: &[u8]) -> Result<(), String> {
    let parsed = Graph::parse(name, bytes).map(drop);
    parsed.map_err(|error| error.to_string())
}

/// Tries the model of a task on an input of the task. Memory: some four times its
/// file.
///
/// # Errors
/// If the store does not hold it, or it does not fit the task's inputs.
pub fn measured(store: &dyn Store, files: &ModelFiles<'_>) -> Result<ModelMeasured, TaskFileError> {
    let refused = |text: String| TaskFileError::Model(text);
    let known = super::list(store).map_err(|error| refused(error.to_string()))?;
    let read = |blob: BlobHash| -> Result<ModelBytes, TaskFileError> {
        let file = known.iter().find(|file| file.model == blob);
        let file = file.ok_or_else(|| {
            refused(format!(
                "no model {} is here; add it with `alambic-coordinator backbone add FILE`, \
                 `backbone list` shows those that are",
                blob.short()
            ))
        })?;
        let bytes = store
            .blob(blob)
            .map_err(|error| refused(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| {
            refused(format!(
                "the file {} of model {} is lost; add it again with `backbone add`",
                file.name,
                blob.short()
            ))
        })?;
        let name = file.name.clone();
        Ok(ModelBytes { name, bytes })
    };
    let model = read(files.model)?;
    let front = files.front.map(read).transpose()?;
    let bytes = [Some(&model), front.as_ref()].into_iter().flatten();
    let bytes = bytes.map(|file| file.bytes.len() as u64).sum();
    let data = Data {
        sides: files.sides.iter().map(|&side| side as usize).collect(),
        scale: files.scale,
        rate: files.rate,
    };
    let extractor = Extractor::read(model, front, files.settings, data);
    let extractor = extractor.map_err(|error| refused(error.to_string()))?;
    Ok(ModelMeasured {
        bytes,
        width: u32::try_from(extractor.width()).unwrap_or(u32::MAX),
    })
}
