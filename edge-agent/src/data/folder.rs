//! A folder of data files, scanned again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::ids::BlobHash;

use super::split::{Split, SplitRule};
use super::{Dataset, Format, ParseError, Schema};

/// The data files of one folder (not of folders inside it): those ending in
/// .csv, .npz and .npy whose names do not begin with a dot.
///
/// Files are read in the order of their names. A file is read again when its
/// size or time of change differs, or when it changed so recently that it may
/// have changed again within one tick of the file system's clock.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    schema: Schema,
    files: BTreeMap<OsString, Known>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    hash: BlobHash,
    content: Result<Dataset, FileError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: SystemTime,
    settled: bool,
}

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Files whose rows are used, by name.
    pub files: Vec<FolderFile>,
    /// Files that were refused, whole, by name. The others are used.
    pub quarantined: Vec<Quarantined>,
    /// Names of files with the content of one that is used.
    pub duplicates: Vec<PathBuf>,
    /// Whether the rows may differ from those after the scan before.
    pub changed: bool,
}

/// A file whose rows are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When it was changed.
    pub modified: SystemTime,
    /// Hash of its bytes.
    pub hash: BlobHash,
    /// Rows in it.
    pub rows: usize,
}

/// A file that was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub error: FileError,
}

/// Why a file was refused, whole.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FileError {
    /// Its content does not fit.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It is too long.
    #[error("{bytes} bytes; at most {FILE_BYTES_MAX} are read, split the file")]
    Bytes {
        /// Its length.
        bytes: u64,
    },
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
        /// The refused files.
        quarantined: Vec<Quarantined>,
    },
    /// Too many files.
    #[error("data folder {} holds more than {FILES_MAX} data files; join some", path.display())]
    Files {
        /// The folder.
        path: PathBuf,
    },
}

impl Folder {
    /// A folder of files of this schema. Nothing is read before a scan.
    pub fn new(path: impl Into<PathBuf>, schema: Schema) -> Self {
        Self {
            path: path.into(),
            schema,
            files: BTreeMap::new(),
        }
    }

    /// Looks at all files and reads those that are new or changed. A file
    /// that is refused does not keep the others from being used.
    ///
    /// # Errors
    /// If the folder is missing or unreadable, or holds no rows at all; what
    /// was read before is then forgotten if it is gone.
    pub fn scan(&mut self) -> Result<Scan, FolderError> {
        let found = self.list()?;
        let mut scan = Scan {
            changed: self.files.keys().any(|name| !found.contains_key(name)),
            ..Scan::default()
        };
        self.files.retain(|name, _| found.contains_key(name));
        for (name, stamp) in found {
            let known = self.files.get(&name);
            if known.is_some_and(|known| known.stamp == stamp && stamp.settled) {
                continue;
            }
            let file = read(&self.path.join(&name), stamp, &self.schema, known);
            if let Some(file) = file {
                scan.changed = true;
                self.files.insert(name, file);
            } else if let Some(known) = self.files.get_mut(&name) {
                known.stamp = stamp;
            }
        }
        self.report(&mut scan);
        if scan.files.iter().all(|file| file.rows == 0) {
            return Err(self.no_rows(scan));
        }
        Ok(scan)
    }

    /// All rows, file by file.
    pub fn dataset(&self) -> Dataset {
        let parts: Vec<&Dataset> = self.used().map(|(_, _, data)| data).collect();
        Dataset::concatenate(self.schema.values(), parts.into_iter())
    }

    /// All rows, file by file, split into those to learn from and those to
    /// judge by. Stable as data grows: rows that are appended to a file, and
    /// files that are added, do not move others to the other side.
    pub fn split(&self, rule: SplitRule) -> Split {
        let (training, held_out): (Vec<Dataset>, Vec<Dataset>) = self
            .used()
            .map(|(_, _, data)| {
                let rows = rule.rows(data);
                (data.select(&rows.training), data.select(&rows.held_out))
            })
            .unzip();
        Split {
            training: Dataset::concatenate(self.schema.values(), training.iter()),
            held_out: Dataset::concatenate(self.schema.values(), held_out.iter()),
        }
    }

    /// Data files by name, refused ones and duplicates included.
    fn list(&self) -> Result<BTreeMap<OsString, Stamp>, FolderError> {
        let path = || self.path.clone();
        let unreadable = |source: io::Error| match source.kind() {
            ErrorKind::NotFound => FolderError::Missing { path: path() },
            ErrorKind::NotADirectory => FolderError::NotAFolder { path: path() },
            _ => FolderError::Unreadable {
                path: path(),
                source,
            },
        };
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if hidden || Format::of(Path::new(&name)).is_none() {
                continue;
            }
            // A file that vanishes in between was never there.
            let Ok(metadata) = fs::metadata(self.path.join(&name)) else {
                continue;
            };
            if metadata.is_file() {
                found.insert(name, Stamp::of(&metadata));
            }
            if found.len() > FILES_MAX {
                return Err(FolderError::Files { path: path() });
            }
        }
        Ok(found)
    }

    /// Files whose rows count: the first of each content.
    fn used(&self) -> impl Iterator<Item = (&OsString, &Known, &Dataset)> {
        let mut seen = BTreeSet::new();
        self.files.iter().filter_map(move |(name, known)| {
            let data = known.content.as_ref().ok()?;
            seen.insert(known.hash).then_some((name, known, data))
        })
    }

    fn report(&self, scan: &mut Scan) {
        for (name, known, data) in self.used() {
            scan.files.push(FolderFile {
                path: self.path.join(name),
                bytes: known.stamp.bytes,
                modified: known.stamp.modified,
                hash: known.hash,
                rows: data.rows(),
            });
        }
        let used: BTreeSet<&OsString> = self.used().map(|(name, ..)| name).collect();
        for (name, known) in &self.files {
            let path = self.path.join(name);
            match &known.content {
                Err(error) => scan.quarantined.push(Quarantined {
                    path,
                    error: error.clone(),
                }),
                Ok(_) if !used.contains(name) => scan.duplicates.push(path),
                Ok(_) => {}
            }
        }
    }

    fn no_rows(&self, scan: Scan) -> FolderError {
        let reason = match (scan.quarantined.first(), scan.files.is_empty()) {
            (Some(first), _) => {
                let others = match scan.quarantined.len() {
                    1 => String::new(),
                    many => format!(" (and {} more files are refused)", many - 1),
                };
                format!("{}: {}{others}", first.path.display(), first.error)
            }
            (None, true) => "put files ending in .csv, .npz or .npy there".to_owned(),
            (None, false) => "its files have a header and nothing else".to_owned(),
        };
        FolderError::NoRows {
            path: self.path.clone(),
            reason,
            quarantined: scan.quarantined,
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let age = SystemTime::now().duration_since(modified);
        Self {
            bytes: metadata.len(),
            modified,
            settled: age.is_ok_and(|age| age > CLOCK_TICK),
        }
    }
}

/// Reads a file, unless it still is what is known of it.
fn read(path: &Path, stamp: Stamp, schema: &Schema, known: Option<&Known>) -> Option<Known> {
    let refused = |error| Known {
        stamp,
        hash: BlobHash::of(path.as_os_str().as_encoded_bytes()),
        content: Err(error),
    };
    let file = match read_bytes(path) {
        Ok(bytes) => {
            let hash = BlobHash::of(&bytes);
            if known.is_some_and(|known| known.hash == hash) {
                return None;
            }
            let content = Dataset::parse(path, &bytes, schema).map_err(FileError::from);
            Known {
                stamp,
                hash,
                content,
            }
        }
        Err(error) => refused(error),
    };
    let same = known.is_some_and(|known| known.hash == file.hash && known.content == file.content);
    (!same).then_some(file)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let unreadable = |error: io::Error| FileError::Unreadable {
        reason: error.to_string(),
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One more than allowed, so that a file that grows is noticed.
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 {
        length if length > FILE_BYTES_MAX => Err(FileError::Bytes { bytes: length }),
        _ => Ok(bytes),
    }
}

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Most data files of a folder.
const FILES_MAX: usize = 100_000;
/// Longer than the coarsest clock of a file system in use (FAT: 2 s).
const CLOCK_TICK: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
