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

/// Tries the model of a task on an input of the task. Memory: some three times its
/// file.
///
/// # Errors
/// If the store does not hold it, or it does not fit the task's inputs.
pub fn measured(store: &dyn Store, files: &ModelFiles<'_>) -> Result<ModelMeasured, TaskFileError> {
    let refused = |text: String| TaskFileError::Model(text);
    let known = super::list(store).map_err(|error| refused(error.to_string()))?;
    let read = |blob: BlobHash| -> Result<(String, Vec<u8>), TaskFileError> {
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
        Ok((file.name.clone(), bytes))
    };
    let (name, bytes) = read(files.model)?;
    let front = files.front.map(read).transpose()?;
    let front = front.as_ref();
    let data = Data {
        sides: files.sides.iter().map(|&side| side as usize).collect(),
        scale: files.scale,
        rate: files.rate,
    };
    let model = ModelBytes {
        name: &name,
        bytes: &bytes,
    };
    let before = front.map(|(name, bytes)| ModelBytes { name, bytes });
    let extractor = Extractor::read(model, before, files.settings, data);
    let extractor = extractor.map_err(|error| refused(error.to_string()))?;
    let length = |bytes: &Vec<u8>| bytes.len() as u64;
    Ok(ModelMeasured {
        bytes: length(&bytes) + front.map_or(0, |(_, bytes)| length(bytes)),
        width: u32::try_from(extractor.width()).unwrap_or(u32::MAX),
    })
}
