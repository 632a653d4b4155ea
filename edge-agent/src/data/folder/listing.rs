//! The data files of a folder, by name.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::Format;
use super::super::source::{Mapping, inner_name, reaches_inside};
use super::FolderError;

/// What changes when a file does: its name, its length, its time of change.
pub type FileStamp = (PathBuf, u64, Option<SystemTime>);

/// What tells whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
    pub(super) settled: bool,
    /// It is a file, and not a folder, a pipe or a link to nothing of such a name.
    pub(super) is_file: bool,
    /// Nobody has written to it for [`REST`].
    pub(super) rests: bool,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let age = SystemTime::now().duration_since(modified);
        Self {
            bytes: metadata.len(),
            modified,
            is_file: metadata.is_file(),
            settled: age.as_ref().is_ok_and(|age| *age > CLOCK_TICK),
            rests: age.is_ok_and(|age| age > REST),
        }
    }

    /// That of two files that are one.
    fn with(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            modified: self.modified.max(other.modified),
            is_file: self.is_file,
            settled: self.settled && other.settled,
            rests: self.rests && other.rests,
        }
    }
}

/// Where a database keeps what is not in its own file yet.
pub(super) fn write_ahead(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Data files by name, from the folder on, refused ones and duplicates
/// included.
pub(super) fn list(
    folder: &Path,
    mapping: &Mapping,
) -> Result<BTreeMap<OsString, Stamp>, FolderError> {
    let inside = mapping.files.iter().any(|pattern| reaches_inside(pattern));
    let mut found = BTreeMap::new();
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((inner, depth)) = folders.pop() {
        let path = folder.join(&inner);
        let unreadable = |source: io::Error| {
            let path = path.clone();
            match source.kind() {
                ErrorKind::NotFound => FolderError::Missing { path },
                ErrorKind::NotADirectory => FolderError::NotAFolder { path },
                _ => FolderError::Unreadable { path, source },
            }
        };
        let entries = match fs::read_dir(&path) {
            // A folder that vanishes in between was never there.
            Err(error) if depth > 0 && error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(unreadable)?,
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = inner.join(entry.file_name());
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // Links to folders are not followed: they may lead back.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && inside && depth < DEPTH_MAX {
                folders.push((name, depth + 1));
                continue;
            }
            if !is_data(&name, mapping) {
                continue;
            }
            // A file that vanishes in between was never there; a link to nothing is.
            let path = folder.join(&name);
            let Ok(metadata) = fs::metadata(&path).or_else(|_| fs::symlink_metadata(&path)) else {
                continue;
            };
            // The name says that it is data, and what it is says otherwise: told.
            if !metadata.is_file() && Format::of(&inner_name(&name)).is_some() {
                found.insert(name.clone().into_os_string(), Stamp::of(&metadata));
            }
            if metadata.is_file() {
                let mut stamp = Stamp::of(&metadata);
                if Format::of(&name) == Some(Format::Database)
                    && let Ok(log) = fs::metadata(write_ahead(&folder.join(&name)))
                {
                    stamp = stamp.with(Stamp::of(&log));
                }
                found.insert(name.into_os_string(), stamp);
            }
            if found.len() > FILES_MAX {
                let path = folder.to_owned();
                return Err(FolderError::Files { path });
            }
        }
    }
    Ok(found)
}

/// Whether a file of this name, from the folder on, is read.
fn is_data(name: &Path, mapping: &Mapping) -> bool {
    let is_labels = mapping.labels_file.as_ref();
    if is_labels.is_some_and(|labels| Path::new(labels) == name) {
        return false;
    }
    match mapping.files.is_empty() {
        true => {
            let format = Format::of(&inner_name(name));
            format.is_some_and(|format| format.is_read_unnamed(mapping))
        }
        // A name in another encoding is matched as it would be shown.
        false => mapping.wants(&name.to_string_lossy()),
    }
}

/// After so long without a change a file is complete as it stands. Loggers
/// write whole buffers, some of them hours apart.
pub(super) const REST: Duration = Duration::from_secs(24 * 3_600);
/// Most data files of a folder.
pub(super) const FILES_MAX: usize = 100_000;
/// Most folders inside one another.
const DEPTH_MAX: usize = 16;
/// Longer than the coarsest clock of a file system in use (FAT: 2 s).
const CLOCK_TICK: Duration = Duration::from_secs(3);
