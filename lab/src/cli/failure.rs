//! Why a command came to nothing, and the exit code for it.

use std::path::PathBuf;

use lab::data::{DatasetError, PartitionError};
use lab::demo::DemoError;
use lab::folders::FolderError;
use lab::simulate::SimulateError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The data set was refused.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The demo failed.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The simulation failed.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// The rows cannot be spread that way.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The folders cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The figures cannot be written.
    #[error("cannot write {path}: {cause}", path = path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The figures are no JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Failure {
    /// 130 for Ctrl-C, as a shell has it; else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Demo(DemoError::Interrupted) => 130,
            _ => 1,
        }
    }
}
