//! A folder of data files, scanned again and again.

mod error;
mod file;
mod listing;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use common::ids::BlobHash;

use super::account::Account;
use super::content::foreign;
use super::intervals::Intervals;
use super::sample::{sampled_together, stands_for};
use super::source::{Mapping, inner_name};
use super::split::{Side, Split, SplitRule};
use super::{Dataset, FileRows, Format, Note, Schema};
pub use error::{FileError, FolderError};
pub(super) use file::FILE_BYTES_MAX;
use file::{Known, first_bytes, read, read_bytes};
pub use listing::FileStamp;
use listing::list;

/// The data files of one folder: those that the owner's patterns name, also in
/// folders inside it, else those in it whose endings are known (.csv, .tsv, .parquet,
/// .npz and .npy, packed ones too). Names that begin with a dot are ignored.
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
        let files = list(path, mapping)?.into_iter();
        let files = files.filter(|(_, stamp)| stamp.is_file);
        Ok(files.map(|(name, _)| name).collect())
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
        let left_out = { intervals.as_ref() }.and_then(|intervals| intervals.left_out());
        let schema = self.schema.clone().with_intervals(intervals);
        let mut scan = Scan {
            changed: self.files.keys().any(|name| !found.contains_key(name)),
            ..Scan::default()
        };
        self.files.retain(|name, _| found.contains_key(name));
        // Both grow with the files, so that a hundred thousand are looked at once.
        let mut order: Option<Arc<Vec<String>>> = None;
        let mut rows = self.rows();
        for (name, stamp) in found {
            let known = self.files.get(&name);
            let is_known = |known: &Known| known.stamp == stamp && stamp.settled;
            if !known.is_some_and(is_known) {
                let within = schema.clone().with_order(order.clone());
                let file = read(&self.path, Path::new(&name), stamp, &within, known);
                if let Some(file) = file {
                    scan.changed = true;
                    rows += file.rows();
                    let before = self.files.insert(name.clone(), file);
                    rows -= before.map_or(0, |before| before.rows());
                    if self.has_no_room(rows, ROOM_FOR_READING) {
                        self.make_room(ROOM_FOR_READING);
                        rows = self.rows();
                    }
                } else if let Some(known) = self.files.get_mut(&name) {
                    known.stamp = stamp;
                }
            }
            order = order.or_else(|| self.columns_of(&name));
        }
        self.make_room(1.0);
        self.report(&mut scan);
        // They hold for all files: said once.
        if let (Some(left_out), Some(file)) = (left_out, scan.files.first_mut()) {
            file.notes.push(left_out);
        }
        if scan.files.iter().all(|file| file.rows == 0) {
            return Err(self.no_rows(scan));
        }
        Ok(scan)
    }

    /// Holds a sample of all files' rows where they are more than `share` times
    /// those that are held at last.
    fn make_room(&mut self, share: f64) {
        if !self.has_no_room(self.rows(), share) {
            return;
        }
        let rows_max = self.schema.rows_max();
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

    /// Rows that are held.
    fn rows(&self) -> usize {
        self.files.values().map(Known::rows).sum()
    }

    fn has_no_room(&self, rows: usize, share: f64) -> bool {
        rows as f64 > self.schema.rows_max() as f64 * share
    }

    /// The columns of a file, if it is a table.
    fn columns_of(&self, name: &OsString) -> Option<Arc<Vec<String>>> {
        let known = self.files.get(name)?;
        let columns = &known.content.as_ref().ok()?.account.columns;
        let names = columns.iter().map(|column| column.from.clone());
        (!columns.is_empty()).then(|| Arc::new(names.collect()))
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
        let mut found = list(&self.path, &all).unwrap_or_default();
        found.retain(|_, stamp| stamp.is_file);
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
            None => self.others(found.keys()),
        }
    }

    /// What to do about files of which none is read by its ending.
    fn others<'a>(&self, mut names: impl ExactSizeIterator<Item = &'a OsString>) -> String {
        let put = "put files ending in .csv, .npz or .npy there";
        let more = names.len().saturating_sub(1);
        let Some(first) = names.next() else {
            return put.to_owned();
        };
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let name = Path::new(first).display();
        match first_bytes(&self.path.join(first)).and_then(|bytes| foreign(&bytes)) {
            Some((what, advice)) => format!("{name}{more}: it is {what}; {advice}"),
            None => format!("{name}{more}: files of such names are not read; {put}"),
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

/// While files are read, so many times the rows that are held at last may be.
const ROOM_FOR_READING: f64 = 1.25;

#[cfg(test)]
mod tests;
