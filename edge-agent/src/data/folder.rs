//! A folder of data files, scanned again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::ids::BlobHash;

use super::account::Account;
use super::intervals::Intervals;
use super::sample::{sampled_together, stands_for};
use super::source::{Mapping, inner_name, is_packed, reaches_inside};
use super::split::{Side, Split, SplitRule};
use super::text::TEXT_BYTES_MAX;
use super::{Dataset, Ending, FileRows, Format, Note, ParseError, Schema, columnar, database};

/// The data files of one folder: those that the owner's patterns name, also in
/// folders inside it, else those in it whose endings are known (.csv, .tsv, .parquet,
/// .npz and .npy, packed ones too). Names that begin with a dot are none.
///
/// Files are read in the order of their names. A file is read again when its
/// size or time of change differs, or when it changed so recently that it may
/// have changed again within one tick of the file system's clock.
///
/// A file may be read while it is being written. Its complete lines count; a
/// last line without a line end counts once that comes, or once nobody has
/// written to the file for a day, or at once where it ends in a label that
/// nothing else begins with.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    schema: Schema,
    files: BTreeMap<OsString, Known>,
    /// The bytes of the file of labels that was read last.
    labels: Option<BlobHash>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    hash: BlobHash,
    content: Result<FileRows, FileError>,
}

impl Known {
    /// Rows that it holds in memory.
    fn rows(&self) -> usize {
        let content = self.content.as_ref();
        content.map_or(0, |content| content.data.rows())
    }
}

impl FileRows {
    /// Whether a last line waits for its end.
    fn waits(&self) -> bool {
        let waits = |note: &Note| matches!(note, Note::Unfinished { .. });
        self.notes.iter().any(waits)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: SystemTime,
    settled: bool,
    /// Nobody has written to it for [`REST`].
    rests: bool,
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
#[derive(Clone, Debug, PartialEq)]
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
    /// What was decided while it was read.
    pub notes: Vec<Note>,
    /// What became of each of its rows.
    pub account: Account,
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
    #[error("{bytes} bytes; at most {bytes_max} are read, split the file")]
    Bytes {
        /// Its length.
        bytes: u64,
        /// Most that are read of such a file.
        bytes_max: u64,
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
    fn told(&self) -> String {
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

impl Folder {
    /// A folder of files of this schema. Nothing is read before a scan.
    pub fn new(path: impl Into<PathBuf>, schema: Schema) -> Self {
        Self {
            path: path.into(),
            schema,
            files: BTreeMap::new(),
            labels: None,
        }
    }

    /// Names of the data files of a folder, from it on; none is read.
    ///
    /// # Errors
    /// If the folder is missing or unreadable.
    pub fn names(path: &Path, mapping: &Mapping) -> Result<Vec<OsString>, FolderError> {
        Ok(list(path, mapping)?.into_keys().collect())
    }

    /// Length and time of change of each of them, and of the file of labels.
    ///
    /// # Errors
    /// As [`Self::names`].
    pub fn stamps(path: &Path, mapping: &Mapping) -> Result<Vec<FileStamp>, FolderError> {
        let files = list(path, mapping)?.into_iter();
        let mut stamps: Vec<FileStamp> = files
            .map(|(name, stamp)| (PathBuf::from(name), stamp.bytes, Some(stamp.modified)))
            .collect();
        if let Some(labels) = &mapping.labels_file
            && let Ok(metadata) = fs::metadata(path.join(labels))
        {
            stamps.push((labels.into(), metadata.len(), metadata.modified().ok()));
        }
        Ok(stamps)
    }

    /// Looks at all files and reads those that are new or changed. A file
    /// that is refused does not keep the others from being used.
    ///
    /// # Errors
    /// If the folder is missing or unreadable, or holds no rows at all; what
    /// was read before is then forgotten if it is gone.
    pub fn scan(&mut self) -> Result<Scan, FolderError> {
        let found = list(&self.path, self.schema.mapping())?;
        let intervals = self.read_labels()?;
        let schema = self.schema.clone().with_intervals(intervals);
        let mut scan = Scan {
            changed: self.files.keys().any(|name| !found.contains_key(name)),
            ..Scan::default()
        };
        self.files.retain(|name, _| found.contains_key(name));
        let mut order = None;
        for (name, stamp) in found {
            order = order.or_else(|| self.columns_before(&name));
            let known = self.files.get(&name);
            let is_known = |known: &Known| known.stamp == stamp && stamp.settled;
            if known.is_some_and(is_known) {
                continue;
            }
            let within = schema.clone().with_order(order.clone());
            let file = read(&self.path, Path::new(&name), stamp, &within, known);
            if let Some(file) = file {
                scan.changed = true;
                self.files.insert(name, file);
                self.make_room(ROOM_FOR_READING);
            } else if let Some(known) = self.files.get_mut(&name) {
                known.stamp = stamp;
            }
        }
        self.make_room(1.0);
        self.report(&mut scan);
        if scan.files.iter().all(|file| file.rows == 0) {
            return Err(self.no_rows(scan));
        }
        Ok(scan)
    }

    /// Holds a sample of all files' rows where they are more than `share` times
    /// those that are held at last.
    fn make_room(&mut self, share: f64) {
        let rows_max = self.schema.rows_max();
        let rows: usize = self.files.values().map(Known::rows).sum();
        if rows as f64 <= rows_max as f64 * share {
            return;
        }
        let used: Vec<OsString> = self.used().map(|(name, ..)| name.clone()).collect();
        let empty = Dataset::empty(self.schema.values());
        let mut taken = Vec::new();
        for (name, known) in &mut self.files {
            if let Ok(content) = &mut known.content {
                let data = std::mem::replace(&mut content.data, empty.clone());
                // Of files of the same content one counts.
                if used.contains(name) {
                    taken.push((name.clone(), data));
                }
            }
        }
        let (names, files): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        let sampled = sampled_together(files, rows_max, self.schema.split_rule());
        for (name, data) in names.iter().zip(sampled) {
            if let Some(Ok(content)) = self.files.get_mut(name).map(|known| &mut known.content) {
                content.data = data;
            }
        }
    }

    /// The columns of the first file that is a table, if it stands before this
    /// one.
    fn columns_before(&self, name: &OsString) -> Option<Arc<Vec<String>>> {
        let mut before = self.files.range::<OsString, _>(..name);
        before.find_map(|(_, known)| {
            let columns = &known.content.as_ref().ok()?.account.columns;
            let names = columns.iter().map(|column| column.from.clone());
            (!columns.is_empty()).then(|| Arc::new(names.collect()))
        })
    }

    /// The labels of a file of their own, if there is one. Where they are
    /// others than before, every file is read again.
    fn read_labels(&mut self) -> Result<Option<Arc<Intervals>>, FolderError> {
        let Some(name) = &self.schema.mapping().labels_file else {
            return Ok(None);
        };
        let path = self.path.join(name);
        let refused = |reason: &dyn std::fmt::Display| FolderError::Labels {
            path: path.clone(),
            reason: reason.to_string(),
        };
        let bytes = read_bytes(&path).map_err(|error| refused(&error))?;
        let hash = BlobHash::of(&bytes);
        if self.labels.replace(hash) != Some(hash) {
            self.files.clear();
        }
        let intervals = Intervals::parse(&bytes, &self.schema);
        intervals
            .map(|intervals| Some(Arc::new(intervals)))
            .map_err(|error| refused(&error))
    }

    /// All rows, file by file.
    #[cfg(test)]
    pub(super) fn dataset(&self) -> Dataset {
        let parts: Vec<&Dataset> = self.used().map(|(_, _, data)| data).collect();
        Dataset::concatenate(self.schema.values(), parts.into_iter())
    }

    /// All rows, file by file, split into those to learn from and those to
    /// judge by. Stable as data grows: rows that are appended to a file, and
    /// files that are added, do not move others to the other side. What was
    /// read is given up file by file, so that rows are not held twice.
    pub fn into_split(mut self, rule: SplitRule) -> Split {
        let used: Vec<OsString> = self.used().map(|(name, ..)| name.clone()).collect();
        let content = { self.used() }.map(|(.., data)| data);
        let stands_for = stands_for(content, Side::Training);
        let mut parts = (Vec::new(), Vec::new());
        for name in used {
            let content = self.files.remove(&name).map(|known| known.content);
            if let Some(Ok(FileRows { data, .. })) = content {
                let rows = match data.sampled_sides() {
                    Some(rows) => rows,
                    None => rule.rows(&data),
                };
                parts.0.push(data.select(&rows.training));
                parts.1.push(data.select(&rows.held_out));
            }
        }
        let values = self.schema.values();
        drop(self);
        Split {
            training: Dataset::joined(values, parts.0),
            held_out: Dataset::joined(values, parts.1),
            stands_for,
        }
    }

    /// Files whose rows count: the first of each content.
    fn used(&self) -> impl Iterator<Item = (&OsString, &Known, &Dataset)> {
        let mut seen = BTreeSet::new();
        self.files.iter().filter_map(move |(name, known)| {
            let data = &known.content.as_ref().ok()?.data;
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
                rows: usize::try_from(data.rows_read()).unwrap_or(usize::MAX),
                notes: match &known.content {
                    Ok(content) => content.notes.clone(),
                    Err(_) => Vec::new(),
                },
                account: match &known.content {
                    Ok(content) => content.account.clone(),
                    Err(_) => Account::default(),
                },
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

    /// What to do about a folder without data files: they may lie in folders
    /// inside.
    fn elsewhere(&self) -> String {
        let all = Mapping {
            files: vec!["**".to_owned()],
            ..Mapping::default()
        };
        let found = list(&self.path, &all).unwrap_or_default();
        let data = found
            .keys()
            .find(|name| Format::of(&inner_name(Path::new(name))).is_some());
        match data.map(Path::new) {
            Some(name) => {
                let ending = inner_name(name)
                    .extension()
                    .map_or_else(String::new, |ending| {
                        format!(".{}", ending.to_string_lossy())
                    });
                let packed = match name == inner_name(name) {
                    true => String::new(),
                    false => format!(
                        ".{}",
                        name.extension().unwrap_or_default().to_string_lossy()
                    ),
                };
                format!(
                    "there are data files in folders inside, such as {}; under [data] in \
                     agent.toml, say that they are meant: files = [\"**/*{ending}{packed}\"]",
                    name.display()
                )
            }
            None => "put files ending in .csv, .npz or .npy there".to_owned(),
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
            (None, true) => match self.schema.mapping().files.as_slice() {
                [] => self.elsewhere(),
                patterns => format!(
                    "no file there is one that data.files means ({})",
                    patterns.join(", ")
                ),
            },
            (None, false) => match scan.files.iter().find(|file| file.account.rows > 0) {
                Some(file) => format!("{}: {}", file.path.display(), file.account.explain()),
                None => "its files have a header and nothing else".to_owned(),
            },
        };
        FolderError::NoRows {
            path: self.path.clone(),
            reason,
            files: scan.files,
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
            settled: age.as_ref().is_ok_and(|age| *age > CLOCK_TICK),
            rests: age.is_ok_and(|age| age > REST),
        }
    }
}

impl Stamp {
    /// That of two files that are one.
    fn with(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            modified: self.modified.max(other.modified),
            settled: self.settled && other.settled,
            rests: self.rests && other.rests,
        }
    }
}

/// Where a database keeps what is not in its own file yet.
fn write_ahead(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Data files by name, from the folder on, refused ones and duplicates
/// included.
fn list(folder: &Path, mapping: &Mapping) -> Result<BTreeMap<OsString, Stamp>, FolderError> {
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
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if inside && depth < DEPTH_MAX {
                    folders.push((name, depth + 1));
                }
                continue;
            }
            if !is_data(&name, mapping) {
                continue;
            }
            // A file that vanishes in between was never there.
            let Ok(metadata) = fs::metadata(folder.join(&name)) else {
                continue;
            };
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
        false => name.to_str().is_some_and(|name| mapping.wants(name)),
    }
}

/// Reads a file, unless it still is what is known of it.
fn read(
    folder: &Path,
    name: &Path,
    stamp: Stamp,
    schema: &Schema,
    known: Option<&Known>,
) -> Option<Known> {
    let path = &folder.join(name);
    let refused = |error| Known {
        stamp,
        hash: BlobHash::of(path.as_os_str().as_encoded_bytes()),
        content: Err(error),
    };
    let file = match open(path, bytes_max_of(name, schema)) {
        Ok(file) => {
            let ending = match stamp.rests {
                true => Ending::Closed,
                false => Ending::Open,
            };
            let mut source = Hashed {
                source: io::BufReader::new(file),
                hasher: blake3::Hasher::new(),
            };
            let whole = match Format::meant(name, schema.mapping()) {
                _ if is_packed(name) => None,
                Some(Format::Database) => Some(database::read(path, schema)),
                Some(Format::Parquet) => match fs::File::open(path) {
                    Ok(file) => Some(columnar::read(file, schema)),
                    Err(_) => None,
                },
                _ => None,
            };
            let content = match whole {
                None => Dataset::read_from(name, &mut source, stamp.bytes, schema, ending),
                // Read where it lies; its bytes only tell whether it changes.
                Some(content) => {
                    let read = io::copy(&mut source, &mut io::sink());
                    let log = fs::File::open(write_ahead(path)).ok();
                    let log = log.map(|log| source.hasher.update_reader(log).map(|_| ()));
                    drop((read, log));
                    content
                }
            };
            let hash = BlobHash(*source.hasher.finalize().as_bytes());
            let waits = |known: &Known| known.content.as_ref().is_ok_and(FileRows::waits);
            let same = |known: &Known| {
                known.hash == hash
                    && known.content.is_ok() == content.is_ok()
                    && !(stamp.rests && waits(known))
            };
            if known.is_some_and(same) {
                return None;
            }
            Known {
                stamp,
                hash,
                content: content.map_err(FileError::from),
            }
        }
        Err(error) => refused(error),
    };
    let same = known.is_some_and(|known| known.hash == file.hash && known.content == file.content);
    (!same).then_some(file)
}

/// Most bytes that are read of a file of this name.
fn bytes_max_of(name: &Path, schema: &Schema) -> u64 {
    match Format::meant(name, schema.mapping()) {
        Some(Format::Csv | Format::Database | Format::Parquet) => TEXT_BYTES_MAX,
        _ => FILE_BYTES_MAX,
    }
}

fn unreadable(error: io::Error) -> FileError {
    FileError::Unreadable {
        reason: error.to_string(),
    }
}

fn open(path: &Path, bytes_max: u64) -> Result<fs::File, FileError> {
    let file = fs::File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    match bytes > bytes_max {
        true => Err(FileError::Bytes { bytes, bytes_max }),
        false => Ok(file),
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = open(path, FILE_BYTES_MAX)?;
    let mut bytes = Vec::new();
    // One more than allowed, so that a file that grows is noticed.
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 {
        bytes if bytes > FILE_BYTES_MAX => Err(FileError::Bytes {
            bytes,
            bytes_max: FILE_BYTES_MAX,
        }),
        _ => Ok(bytes),
    }
}

/// What is read, and the hash of it.
struct Hashed<R> {
    source: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        self.hasher.update(&into[..read]);
        Ok(read)
    }
}

/// What changes when a file does: its name, its length, its time of change.
pub type FileStamp = (PathBuf, u64, Option<SystemTime>);

/// While files are read, so many times the rows that are held at last may be.
const ROOM_FOR_READING: f64 = 1.25;
/// Longest file that is read whole, and the most that a packed one may hold.
pub(super) const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// After so long without a change a file is complete as it stands. Loggers
/// write whole buffers, some of them hours apart.
const REST: Duration = Duration::from_secs(24 * 3_600);
/// Most data files of a folder.
const FILES_MAX: usize = 100_000;
/// Most folders inside one another.
const DEPTH_MAX: usize = 16;
/// Longer than the coarsest clock of a file system in use (FAT: 2 s).
const CLOCK_TICK: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
