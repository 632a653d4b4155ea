//! Why there is no backup, or no restored state.

use std::io;
use std::path::{Path, PathBuf};

use crate::identity::IdentityError;
use crate::journal::ReplayError;
use crate::store::StoreError;

/// Why a backup was not made, not believed or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file to write is there already.
    #[error("{path} exists; name another file, or move it away")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The directory to restore into is not empty.
    #[error(
        "{path} is not empty ({found} is in it), and a restore replaces nothing; name an empty \
         directory with --state, or move this one away"
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// The file is something else.
    #[error("{path} is no backup of a coordinator: {reason}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The file was written by a later version.
    #[error(
        "{path} has format {format}, this program reads up to {known}: restore it with the version \
         that made it ({program}), or a later one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The newest that is read.
        known: u32,
        /// The version of the program that made it.
        program: String,
    },
    /// The file ends too early.
    #[error("{path} is cut off {place}; take another copy of it")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where.
        place: String,
    },
    /// The file is not what was written.
    #[error("{path} was changed: {entry} {reason}; take another copy of it")]
    Changed {
        /// The file.
        path: PathBuf,
        /// Which of its entries.
        entry: String,
        /// What does not fit.
        reason: String,
    },
    /// Keys or certificates do not belong together.
    #[error("the keys in {path} are not a coordinator's: {source}")]
    Keys {
        /// The archive or the state directory.
        path: PathBuf,
        /// What is wrong.
        source: IdentityError,
    },
    /// The log that was restored is another than the archive's.
    #[error("the restored log ends at {found}, the backup's at {expected}: {advice}", advice = AGAIN)]
    Differs {
        /// Where the archive's log ends.
        expected: u64,
        /// Where the restored one does.
        found: u64,
    },
    /// A store was to be copied onto itself.
    #[error("{place} is both where the store is and where it is to go; name another place")]
    SamePlace {
        /// The place.
        place: String,
    },
    /// There is no store to copy.
    #[error(
        "{place} holds no store; name the state directory or the configuration of one that does"
    )]
    NothingThere {
        /// The place.
        place: String,
    },
    /// A copy that is not what was copied.
    #[error(
        "{what} of the copy is not that of the store it was copied from; the store can be used as \
         before, empty the copy and make it again"
    )]
    Unlike {
        /// What differs.
        what: String,
    },
    /// Someone was forgotten while the store was copied.
    #[error(
        "a device was forgotten while the backup was made, so it would hold what it must not: \
         make it again"
    )]
    Forgotten,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The restored log does not fold to a state.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A file or its folder.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

const AGAIN: &str = "empty the state directory and restore again";

impl BackupError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io {
            action,
            path,
            source,
        }
    }
}
