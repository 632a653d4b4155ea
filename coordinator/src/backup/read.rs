//! Reading a backup, and believing none of it before it is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use common::ids::{BlobHash, TaskHash, Time};
use serde::Serialize;
use serde_json::Value;
use tar::{Entries, Entry, EntryType};

use super::archive::{ArchiveHead, manifest_line};
use super::error::BackupError;
use super::piece::{Contents, PieceName};
use super::state_files::{MODE, StateFile, prove_files};
use super::{FORMAT, HEAD, MANIFEST, STATE_FILE_BYTES_MAX, STATE_FILES_MAX};
use crate::journal::LogEntry;
use crate::journal::{is_snapshot, tasks_of};
use crate::round::{Event, TaskEvent};
use crate::store::{Head, Position, Record, unpack};

/// A backup that holds together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The file.
    #[serde(serialize_with = "common::path_text::path")]
    pub from: PathBuf,
    /// When it was made.
    pub made: Time,
    /// The version of the program that made it.
    pub program: String,
    /// The hash of its manifest, which stands for everything in it.
    pub manifest: String,
    /// What of the store is in it.
    pub store: Contents,
    /// How many files of the state directory are in it.
    pub files: usize,
}

/// What is done with the parts of a backup as they are read. The end, and
/// with it whether the whole is believed, comes after all of them.
pub(super) trait Sink {
    /// What the archive says of itself.
    fn begin(&mut self, store: &Contents, first: Head) -> Result<(), BackupError>;
    /// Records of the log, in order.
    fn records(&mut self, records: Vec<Record>) -> Result<(), BackupError>;
    /// A blob whose bytes have its hash.
    fn blob(&mut self, bytes: &[u8]) -> Result<(), BackupError>;
    /// A document.
    fn document(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError>;
}

/// Only looks.
struct Nothing;

impl Sink for Nothing {
    fn begin(&mut self, _: &Contents, _: Head) -> Result<(), BackupError> {
        Ok(())
    }
    fn records(&mut self, _: Vec<Record>) -> Result<(), BackupError> {
        Ok(())
    }
    fn blob(&mut self, _: &[u8]) -> Result<(), BackupError> {
        Ok(())
    }
    fn document(&mut self, _: &str, _: &[u8]) -> Result<(), BackupError> {
        Ok(())
    }
}

/// Checks a backup and writes nothing: its format, every entry against the
/// manifest, the chain of the log, every blob against its name, the tasks'
/// definitions, and that the keys belong together. `seen` is told the bytes
/// read so far. Memory: one entry.
///
/// # Errors
/// The first thing that does not fit.
pub fn check(from: &Path, seen: &mut dyn FnMut(u64)) -> Result<Checked, BackupError> {
    Ok(read(from, &mut Nothing, seen)?.0)
}

/// Reads a whole backup into a sink; returns what it is and the files of its
/// state directory.
pub(super) fn read(
    from: &Path,
    sink: &mut dyn Sink,
    seen: &mut dyn FnMut(u64),
) -> Result<(Checked, Vec<StateFile>), BackupError> {
    let file = File::open(from).map_err(|source| BackupError::io("read", from, source))?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(BUFFER_BYTES, file));
    let entries = archive.entries();
    let entries = entries.map_err(|source| BackupError::io("read", from, source))?;
    // Headers of long names and of extensions are entries of their own then,
    // which no backup has, and nothing of the length they claim is read.
    let entries = entries.raw(true);
    let mut reading = Reading {
        from,
        entries,
        manifest: String::new(),
        last: "before its first entry".to_owned(),
    };
    let head = reading.head()?;
    let wrong = |reason: &str| reading.changed(HEAD, reason);
    let first = head.store.begin().ok_or_else(|| wrong("has no hash"))?;
    let end = head.store.end().ok_or_else(|| wrong("has no hash"))?;
    sink.begin(&head.store, first)?;
    let mut found = Found {
        at: first,
        files: Vec::new(),
        blobs: BTreeSet::new(),
        documents: BTreeSet::new(),
        definitions: Definitions::default(),
        begins: first,
        stands: first == Head::START,
    };
    loop {
        let taken = reading.next()?;
        seen(taken.until);
        if taken.name == MANIFEST {
            break;
        }
        let Ok(name) = taken.name.parse::<PieceName>() else {
            return Err(reading.changed(&taken.name, "is no part of a backup"));
        };
        found.see(&reading, sink, name, taken)?;
    }
    found.complete(&reading, &head.store, end)?;
    prove_files(&found.files, from)?;
    let checked = Checked {
        from: from.to_owned(),
        made: head.made,
        program: head.program,
        manifest: blake3::hash(reading.manifest.as_bytes()).to_string(),
        store: head.store,
        files: found.files.len(),
    };
    Ok((checked, found.files))
}

/// The entries of an archive, one after another.
struct Reading<'a, R: Read> {
    from: &'a Path,
    entries: Entries<'a, R>,
    /// The manifest as it has to be.
    manifest: String,
    /// Where a cut would be.
    last: String,
}

/// One entry.
struct Taken {
    name: String,
    mode: u32,
    bytes: Vec<u8>,
    /// How far into the file it reaches.
    until: u64,
}

impl<R: Read> Reading<'_, R> {
    /// The first entry, which says what the rest is. The format comes before
    /// everything else that a later version may have changed.
    fn head(&mut self) -> Result<ArchiveHead, BackupError> {
        let foreign = |from: &Path, reason: &str| BackupError::Foreign {
            path: from.to_owned(),
            reason: reason.to_owned(),
        };
        let from = self.from;
        let taken = match self.next() {
            // Too short for a header, or nonsense where one should be.
            Err(BackupError::Changed { reason, .. }) => return Err(foreign(from, &reason)),
            Err(BackupError::Truncated { .. }) => return Err(foreign(from, "it is too short")),
            other => other?,
        };
        if taken.name != HEAD {
            return Err(foreign(from, &format!("its first entry is {}", taken.name)));
        }
        let value: Value = serde_json::from_slice(&taken.bytes)
            .map_err(|error| self.changed(HEAD, &error.to_string()))?;
        let format = value.get("format").and_then(Value::as_u64);
        let format = format.ok_or_else(|| self.changed(HEAD, "has no format"))?;
        if format != u64::from(FORMAT) {
            let program = value.get("program").and_then(Value::as_str);
            return Err(BackupError::Newer {
                path: from.to_owned(),
                format: u32::try_from(format).unwrap_or(u32::MAX),
                known: FORMAT,
                program: program.unwrap_or("unknown").chars().take(40).collect(),
            });
        }
        serde_json::from_value(value).map_err(|error| self.changed(HEAD, &error.to_string()))
    }

    /// The next entry. An archive ends with its manifest, so there always is
    /// one.
    fn next(&mut self) -> Result<Taken, BackupError> {
        let entry = match self.entries.next() {
            None => return Err(self.truncated()),
            Some(Err(error)) => return Err(self.broken(error)),
            Some(Ok(entry)) => entry,
        };
        let taken = match self.take(entry)? {
            Ok(taken) => taken,
            Err(error) => return Err(self.broken(error)),
        };
        if taken.name == MANIFEST {
            if taken.bytes != self.manifest.as_bytes() {
                let entry = differing(&self.manifest, &taken.bytes);
                return Err(self.changed(&entry, "is not what the manifest says"));
            }
        } else {
            let line = manifest_line(&taken.name, blake3::hash(&taken.bytes));
            self.manifest.push_str(&line);
        }
        self.last = format!("after {}", taken.name);
        Ok(taken)
    }

    fn take(&self, mut entry: Entry<'_, R>) -> Result<io::Result<Taken>, BackupError> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type() != EntryType::Regular {
            return Err(self.changed(&name, "is no plain file"));
        }
        // Before a byte of it is read.
        let (bytes, bytes_max) = (entry.size(), self.bytes_max(&name)?);
        if bytes > bytes_max {
            let reason = format!("says that it has {bytes} bytes, at most {bytes_max} can be");
            return Err(self.changed(&name, &reason));
        }
        let until = entry.raw_file_position().saturating_add(bytes);
        let mode = entry.header().mode().unwrap_or_default();
        let mut content = Vec::new();
        Ok(match entry.read_to_end(&mut content) {
            Err(error) => Err(error),
            Ok(read) if (read as u64) < bytes => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(Taken {
                name,
                mode,
                bytes: content,
                until,
            }),
        })
    }

    fn bytes_max(&self, name: &str) -> Result<u64, BackupError> {
        match name {
            HEAD => Ok(STATE_FILE_BYTES_MAX),
            MANIFEST => Ok(self.manifest.len() as u64),
            other => match other.parse::<PieceName>() {
                Ok(piece) => Ok(piece.bytes_max()),
                Err(_) => Err(self.changed(other, "is no part of a backup")),
            },
        }
    }

    /// What the reader of the archive says when a file ends too early, and
    /// when a header is malformed.
    fn broken(&self, error: io::Error) -> BackupError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(),
            io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                let reason = error.to_string();
                // The reader gives these no kind of their own.
                match SHORT.iter().any(|short| reason.contains(short)) {
                    true => self.truncated(),
                    false => self.changed(&self.last, &reason),
                }
            }
            _ => BackupError::io("read", self.from, error),
        }
    }

    fn truncated(&self) -> BackupError {
        BackupError::Truncated {
            path: self.from.to_owned(),
            place: self.last.clone(),
        }
    }

    fn changed(&self, entry: &str, reason: &str) -> BackupError {
        BackupError::Changed {
            path: self.from.to_owned(),
            entry: entry.chars().take(ENTRY_CHARS_MAX).collect(),
            reason: reason.to_owned(),
        }
    }
}

/// The first entry of which a manifest says something else than expected.
fn differing(expected: &str, manifest: &[u8]) -> String {
    let manifest = String::from_utf8_lossy(manifest);
    let mut said = manifest.lines();
    let differs = expected.lines().find(|line| said.next() != Some(line));
    let name = differs.and_then(|line| line.split_once("  "));
    name.map_or(MANIFEST, |(_, name)| name).to_owned()
}

/// What has been read.
struct Found {
    at: Head,
    files: Vec<StateFile>,
    blobs: BTreeSet<BlobHash>,
    documents: BTreeSet<String>,
    definitions: Definitions,
    /// Where the log begins.
    begins: Head,
    /// Whether nothing came before, or a snapshot stands for it.
    stands: bool,
}

impl Found {
    fn see<R: Read>(
        &mut self,
        reading: &Reading<'_, R>,
        sink: &mut dyn Sink,
        name: PieceName,
        taken: Taken,
    ) -> Result<(), BackupError> {
        let changed = |reason: &str| Err(reading.changed(&taken.name, reason));
        match name {
            PieceName::State(name) => {
                let is_there = self.files.iter().any(|file| file.name == name);
                if is_there || self.files.len() >= STATE_FILES_MAX {
                    return changed("is there twice, or there are too many files");
                }
                self.files.push(StateFile {
                    name,
                    mode: private_if_secret(taken.mode & MODE, &taken.bytes),
                    bytes: taken.bytes,
                });
            }
            PieceName::Log(from) => {
                if from != self.at.next {
                    return changed("does not follow the log before it");
                }
                let records = match unpack(from, &taken.bytes) {
                    Ok(records) => records,
                    Err(error) => return changed(&format!("is damaged: {error}")),
                };
                for record in &records {
                    if record.previous != self.at.hash {
                        return changed("breaks the chain of the log");
                    }
                    self.at = Head {
                        next: record.position.next(),
                        hash: record.hash(),
                    };
                    self.note(record);
                }
                sink.records(records)?;
            }
            PieceName::Document(name) => {
                if is_snapshot(&name)
                    && let Some((head, specs)) = tasks_of(&taken.bytes)
                {
                    let reaches = self.begins.next <= head.next && head.next <= self.at.next;
                    self.stands |= reaches;
                    if reaches {
                        self.definitions.of_snapshot(head.next, specs);
                    }
                }
                sink.document(&name, &taken.bytes)?;
                if !self.documents.insert(name) {
                    return changed("is there twice");
                }
            }
            PieceName::Blob(hash) => {
                if BlobHash::of(&taken.bytes) != hash {
                    return changed("does not have the hash in its name");
                }
                if !self.blobs.insert(hash) {
                    return changed("is there twice");
                }
                sink.blob(&taken.bytes)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, record: &Record) {
        // One of a later version is for the server to refuse.
        if let Ok(LogEntry::Task(TaskEvent { task, event })) = LogEntry::from_bytes(&record.bytes) {
            self.definitions.of_event(record.position, task, &event);
        }
    }

    /// Whether all is there that the head announces.
    fn complete<R: Read>(
        &self,
        reading: &Reading<'_, R>,
        store: &Contents,
        end: Head,
    ) -> Result<(), BackupError> {
        if self.at != end {
            return Err(reading.changed(HEAD, "says that the log ends elsewhere"));
        }
        let counts = (self.blobs.len() as u64, self.documents.len() as u64);
        if counts != (store.blobs, store.documents) {
            return Err(reading.changed(HEAD, "counts other blobs or documents"));
        }
        if !self.stands {
            let reason =
                "says that the log begins late, and no snapshot stands for what was before";
            return Err(reading.changed(HEAD, reason));
        }
        match self.definitions.missing(&self.blobs) {
            Some(missing) => {
                let name = PieceName::Blob(missing).to_string();
                Err(reading.changed(&name, "defines a task and is missing"))
            }
            None => Ok(()),
        }
    }
}

/// The tasks that a store has at the end of its log, and the blobs that define them.
/// Snapshots and records are seen in any order.
#[derive(Debug, Default)]
struct Definitions {
    /// Of each task that is not deleted since, where that was said last.
    tasks: BTreeMap<TaskHash, (Position, BlobHash)>,
    /// Where a task was deleted last: its blobs are gone.
    deleted: BTreeMap<TaskHash, Position>,
}

impl Definitions {
    fn of_snapshot(&mut self, until: Position, tasks: Vec<(TaskHash, BlobHash)>) {
        for (task, spec) in tasks {
            self.see(until, task, spec);
        }
    }

    fn of_event(&mut self, at: Position, task: TaskHash, event: &Event) {
        match event {
            Event::TaskCreated { spec, .. } => self.see(at, task, *spec),
            Event::Deleted { .. } => {
                let last = self.deleted.entry(task).or_insert(at);
                *last = at.max(*last);
            }
            _ => {}
        }
    }

    fn see(&mut self, at: Position, task: TaskHash, spec: BlobHash) {
        let last = self.tasks.entry(task).or_insert((at, spec));
        *last = (at, spec).max(*last);
    }

    /// A blob that a task needs and that is not among `blobs`.
    fn missing(&self, blobs: &BTreeSet<BlobHash>) -> Option<BlobHash> {
        let deleted = |(task, (at, _)): &(&TaskHash, &(Position, BlobHash))| {
            // A snapshot up to a record does not hold what that record says.
            self.deleted.get(*task).is_some_and(|gone| gone >= at)
        };
        let kept = self.tasks.iter().filter(|one| !deleted(one));
        let mut specs = kept.map(|(_, (_, spec))| *spec);
        specs.find(|spec| !blobs.contains(spec))
    }
}

/// The mode of a file with this content: what holds a private key is its
/// owner's alone, whatever the archive says.
fn private_if_secret(mode: u32, bytes: &[u8]) -> u32 {
    let marks = bytes.windows(SECRET.len());
    match marks.into_iter().any(|part| part == SECRET) {
        true => mode & 0o600,
        false => mode,
    }
}

/// In the first line of every private key in PEM.
const SECRET: &[u8] = b"PRIVATE KEY-----";

/// What the tar reader says of a file that ends within a header or an entry.
const SHORT: [&str; 2] = ["failed to read entire block", "unexpected EOF"];
const BUFFER_BYTES: usize = 256 * 1024;
const ENTRY_CHARS_MAX: usize = 120;
