//! What stands for trying a model in a program that runs none.

use common::task::{ModelFiles, ModelMeasured, TaskFileError};

use crate::store::Store;

/// There is nothing to try it with.
///
/// # Errors
/// What to do about that.
pub fn checked(name: &str, _: &[u8]) -> Result<(), String> {
    Err(format!("{name}: {ABSENT}"))
}

/// There is nothing to try it with.
///
/// # Errors
/// What to do about that.
pub fn measured(_: &dyn Store, _: &ModelFiles<'_>) -> Result<ModelMeasured, TaskFileError> {
    Err(TaskFileError::Model(ABSENT.to_owned()))
}

const ABSENT: &str = "this alambic-coordinator was built without the feature onnx and tries no \
                      models; install one that was built with it, as packages are";
