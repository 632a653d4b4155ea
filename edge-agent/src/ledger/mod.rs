//! Everything that left the device, for its owner to see.
//!
//! `ledger.jsonl` holds one line for each contribution that was answered and
//! only grows. `payloads/` holds the bytes themselves, the newest of them, and
//! `ledger.mark` how far the list had come, so that no line is lost unnoticed.

mod entry;
mod mark;
mod payloads;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use common::ids::{BlobHash, TaskHash, Time};
use common::labels::base_of;
use common::round::{Kind, Reason};
use tracing::warn;

use crate::outbox::{DiskError, disk};
pub use entry::{Entry, Outcome};
use mark::{Held, Mark};
pub use payloads::LEDGER_PAYLOAD_BYTES_MAX;
use payloads::Payloads;

/// Why the ledger cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The bytes that are kept are not those that left.
    #[error("{}: its bytes are not those that left", .0.display())]
    Damaged(PathBuf),
}

impl LedgerError {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Disk(error) => error.advice(),
            Self::Damaged(_) => {
                "check the disk; the entry in the list still says what it was".to_owned()
            }
        }
    }
}

/// The record of what left.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Length of the file's whole lines.
    length: u64,
    days: BTreeMap<u64, u64>,
    payloads: Payloads,
    /// Where the list stands; none while it is not what was written.
    mark: Option<Mark>,
}

impl Ledger {
    /// The ledger in `folder`, made if it is missing. A last line that was
    /// torn by an interruption is taken away; a line that cannot be read for
    /// another reason stays and is skipped. Reads the whole list once.
    ///
    /// # Errors
    /// [`LedgerError::Disk`].
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        disk::create_folder(folder)?;
        let path = folder.join("ledger.jsonl");
        let bytes = disk::read(&path)?.unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = &bytes[..whole.map_or(0, |at| at + 1)];
        let opened = || -> io::Result<File> {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&path)?;
            if whole.len() < bytes.len() {
                file.set_len(whole.len() as u64)?;
            }
            file.sync_all()?;
            File::open(folder)?.sync_all()?;
            Ok(file)
        };
        let file = opened().map_err(DiskError::at(&path))?;
        if whole.len() < bytes.len() {
            let torn = bytes.len() - whole.len();
            warn!(
                "{}: {torn} bytes of a torn last line are taken away",
                path.display()
            );
        }
        let mark = match held(folder, whole)? {
            Held::Grown(mark) => {
                mark.write(folder)?;
                Some(mark)
            }
            Held::Kept(mark) => Some(mark),
            Held::Damaged { .. } => None,
        };
        let entries = parse(whole, &path);
        let mut days = BTreeMap::new();
        for entry in &entries {
            count(&mut days, entry);
        }
        let payloads = Payloads::open(&folder.join("payloads"), &entries)?;
        Ok(Self {
            length: whole.len() as u64,
            path,
            file,
            days,
            payloads,
            mark,
        })
    }

    /// Adds an entry and keeps its bytes; durable when this returns. The
    /// oldest bytes go when those kept are more than
    /// [`LEDGER_PAYLOAD_BYTES_MAX`].
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] if `payload` is not what the entry names;
    /// [`LedgerError::Disk`]. Then the list is as before.
    pub fn append(&mut self, entry: &Entry, payload: &[u8]) -> Result<(), LedgerError> {
        self.payloads.keep(entry.blob, payload)?;
        let mut line = serde_json::to_vec(entry).expect("an entry has string keys only");
        line.push(b'\n');
        let written = self.write(&line);
        written.map_err(DiskError::at(&self.path))?;
        self.length += line.len() as u64;
        count(&mut self.days, entry);
        // The entry stands already. A mark that could not be moved is one line
        // behind, and catches up with the next.
        if let Some(mark) = &mut self.mark {
            *mark = mark.follow(&line);
            if let Some(folder) = self.path.parent()
                && let Err(error) = mark.write(folder)
            {
                warn!("{error}; {}", error.advice());
            }
        }
        Ok(())
    }

    /// All entries, oldest first. Cost: reads the list.
    ///
    /// # Errors
    /// [`LedgerError::Disk`].
    pub fn entries(&self) -> Result<Vec<Entry>, LedgerError> {
        let bytes = disk::read(&self.path)?.unwrap_or_default();
        Ok(parse(&bytes, &self.path))
    }

    /// Bytes that left on the day (UTC) of `now`, refused ones as well: they
    /// were on their way.
    pub fn sent_today(&self, now: Time) -> u64 {
        self.days.get(&day(now)).copied().unwrap_or(0)
    }

    /// The newest labels for a task that went whole and were accepted, on
    /// which later ones may stand; none where the coordinator has said since
    /// that it does not hold what they stood on. Cost: reads the list.
    ///
    /// # Errors
    /// [`LedgerError::Disk`].
    pub fn label_base(&self, task: TaskHash) -> Result<Option<Vec<u8>>, LedgerError> {
        let entries = self.entries()?;
        let labels = |entry: &&Entry| entry.task == task && entry.kind == Kind::Labels;
        for entry in entries.iter().rev().filter(labels) {
            match entry.outcome {
                Outcome::Refused {
                    reason: Reason::UnknownBase,
                } => return Ok(None),
                Outcome::Refused { .. } => {}
                Outcome::Accepted => {
                    // A payload that is damaged or gone only costs a key frame.
                    let payload = self.payload(entry.blob).ok().flatten();
                    let base = payload.as_deref().and_then(base_of);
                    return Ok(match base {
                        Some(base) => self.payload(base).ok().flatten(),
                        None => payload,
                    });
                }
            }
        }
        Ok(None)
    }

    /// The bytes of something that left, as long as they are kept.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Disk`].
    pub fn payload(&self, blob: BlobHash) -> Result<Option<Vec<u8>>, LedgerError> {
        self.payloads.read(blob)
    }

    /// A line that could not be written whole must not spoil the next.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self
            .file
            .write_all(line)
            .and_then(|()| self.file.sync_data());
        if written.is_err() {
            self.file.set_len(self.length)?;
        }
        written
    }
}

/// What an owner reads without stopping the agent: the list, and nothing is
/// repaired. A line that is just being written is not shown.
///
/// # Errors
/// [`LedgerError::Disk`].
pub fn entries_in(folder: &Path) -> Result<Vec<Entry>, LedgerError> {
    let path = folder.join("ledger.jsonl");
    let bytes = disk::read(&path)?.unwrap_or_default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n');
    let whole = &bytes[..whole.map_or(0, |at| at + 1)];
    held(folder, whole)?;
    Ok(parse(whole, &path))
}

/// What is wrong with the list in `folder` and what to do, if it is not what was
/// written; nothing is repaired.
///
/// # Errors
/// [`LedgerError::Disk`].
pub fn damage_in(folder: &Path) -> Result<Option<(String, String)>, LedgerError> {
    let path = folder.join("ledger.jsonl");
    let bytes = disk::read(&path)?.unwrap_or_default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n');
    let whole = &bytes[..whole.map_or(0, |at| at + 1)];
    Ok(match Mark::hold(folder, whole)? {
        Held::Grown(_) | Held::Kept(_) => None,
        Held::Damaged { path: mark, what } => Some(said(folder, &mark, &what)),
    })
}

/// What is wrong with a list, and what a person can do.
fn said(folder: &Path, mark: &Path, what: &str) -> (String, String) {
    let list = folder.join("ledger.jsonl");
    let (list, mark) = (list.display(), mark.display());
    let advice = format!("restore it from a copy, or remove {mark} to go on with it as it is");
    (format!("{list}: {what}"), advice)
}

/// The bytes of something that left, read without stopping the agent.
///
/// # Errors
/// [`LedgerError::Damaged`] or [`LedgerError::Disk`].
pub fn payload_in(folder: &Path, blob: BlobHash) -> Result<Option<Vec<u8>>, LedgerError> {
    payloads::read(&folder.join("payloads"), blob)
}

/// Whole lines held against their mark, with a word about it if they are not
/// what was written.
fn held(folder: &Path, lines: &[u8]) -> Result<Held, LedgerError> {
    let held = Mark::hold(folder, lines)?;
    if let Held::Damaged { path, what } = &held {
        let (found, advice) = said(folder, path, what);
        warn!("{found}; {advice}");
    }
    Ok(held)
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn day(time: Time) -> u64 {
    time.0 / DAY_MS
}

fn count(days: &mut BTreeMap<u64, u64>, entry: &Entry) {
    let bytes = days.entry(day(entry.time)).or_default();
    *bytes = bytes.saturating_add(entry.bytes);
}

fn parse(bytes: &[u8], path: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(_) if line.is_empty() => {}
            Err(error) => warn!("{}: line {} is skipped: {error}", path.display(), at + 1),
        }
    }
    entries
}

#[cfg(test)]
mod tests;
