//! Why a file or a folder cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use super::super::ParseError;
use super::listing::FILES_MAX;
use super::{FolderFile, Quarantined};

/// Why a file was refused, whole.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FileError {
    /// Its content does not fit.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It is too long.
    #[error("{bytes} bytes; at most {bytes_max} are read, split the file")]
    Bytes {
        /// Its length.
        bytes: u64,
        /// Most that are read of such a file.
        bytes_max: u64,
    },
    /// It is something else.
    #[error(
        "is {} and not a file; move it away, or name the files that are meant (files under [data] in agent.toml)",
        if *is_folder { "a folder" } else { "a pipe, a socket or a device" }
    )]
    NoFile {
        /// Whether it is a folder.
        is_folder: bool,
    },
    /// It links to a file that is not there.
    #[error("is a link to a file that is not there; correct or remove the link")]
    DanglingLink,
    /// It cannot be read.
    #[error("cannot be read ({reason}); check its owner and permissions")]
    Unreadable {
        /// What the system said.
        reason: String,
    },
}

/// Why there is no data.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// No such folder.
    #[error("data folder {} does not exist; create it or correct data.folder in the agent's config", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// Something else of that name.
    #[error("{} is not a folder; data.folder names the folder that holds the data files", path.display())]
    NotAFolder {
        /// What was looked for.
        path: PathBuf,
    },
    /// The folder cannot be listed.
    #[error("data folder {} cannot be read ({source}); check its owner and permissions", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No rows in any file.
    #[error("data folder {} holds no rows: {reason}", path.display())]
    NoRows {
        /// The folder.
        path: PathBuf,
        /// No data file, empty ones, or which are refused and why.
        reason: String,
        /// Files of which no row is used.
        files: Vec<FolderFile>,
        /// The refused files.
        quarantined: Vec<Quarantined>,
    },
    /// The file of labels cannot be used.
    #[error("{}: {reason}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Too many files.
    #[error("data folder {} holds more than {FILES_MAX} data files; join some", path.display())]
    Files {
        /// The folder.
        path: PathBuf,
    },
}

impl FileError {
    /// The same without what stands in the file.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Parse(error) => error.told(),
            other => other.to_string(),
        }
    }
}

impl FolderError {
    /// The same for those who may not see what stands in the files: names of
    /// files, places and columns, no cell.
    pub fn told(&self) -> String {
        let Self::NoRows {
            files, quarantined, ..
        } = self
        else {
            return self.to_string();
        };
        let name = |path: &Path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let refused = quarantined.iter().map(|one| (&one.path, one.error.told()));
        let unused = files
            .iter()
            .map(|file| (&file.path, file.account.explain()));
        let mut all = refused.chain(unused.filter(|(_, why)| !why.is_empty()));
        match all.next() {
            Some((path, why)) => match all.count() {
                0 => format!("{}: {why}", name(path)),
                more => format!("{}: {why} (and {more} more files)", name(path)),
            },
            None => "no file with rows".to_owned(),
        }
    }
}
