//! What can go wrong with a fleet of processes.

use std::path::PathBuf;

use crate::folders::FolderError;

/// Why the fleet could not be run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A program is not beside this one.
    #[error("{0} is not there; build it with `cargo build --release --bins`")]
    Program(PathBuf),
    /// A file or folder could not be written or read.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A program ended when it should not have.
    #[error("{what} ended with {status}; see {log}\n{tail}")]
    Ended {
        /// Which.
        what: String,
        /// How.
        status: String,
        /// Where its log is.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Something did not happen in time.
    #[error("{what} within {seconds} s; see the logs in {folder}")]
    TooSlow {
        /// What did not happen.
        what: String,
        /// How long it had.
        seconds: u64,
        /// Where the logs are.
        folder: PathBuf,
    },
    /// The array writer refused a device's rows.
    #[error(transparent)]
    Rows(#[from] FolderError),
    /// The release key cannot be read.
    #[error("the release key cannot be read: {0}")]
    Key(#[from] common::trust::keys::KeyError),
}
