//! The bytes that left, the newest of them.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use common::ids::BlobHash;
use common::limits::BLOB_BYTES_MAX;

use super::{DiskError, Entry, LedgerError};
use crate::outbox::disk;

/// Most bytes of payloads that are kept; the last one always is.
pub const LEDGER_PAYLOAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

const _: () = assert!(LEDGER_PAYLOAD_BYTES_MAX >= BLOB_BYTES_MAX);

/// Payload files, named by their hashes.
#[derive(Debug)]
pub(super) struct Payloads {
    folder: PathBuf,
    /// Names and lengths, oldest first.
    kept: VecDeque<(BlobHash, u64)>,
}

impl Payloads {
    /// Those in `folder`, in the order in which `entries` name them. Files
    /// that no entry names come first; unfinished ones are removed.
    pub(super) fn open(folder: &Path, entries: &[Entry]) -> Result<Self, LedgerError> {
        disk::create_folder(folder)?;
        let newest: BTreeMap<BlobHash, usize> = entries
            .iter()
            .enumerate()
            .map(|(at, entry)| (entry.blob, at + 1))
            .collect();
        let mut found = Vec::new();
        for name in disk::names(folder)? {
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(disk::UNFINISHED) {
                disk::remove(folder, name)?;
            } else if let Ok(blob) = name.parse::<BlobHash>() {
                let path = folder.join(name);
                let metadata = path.metadata().map_err(DiskError::at(&path))?;
                let age = newest.get(&blob).copied().unwrap_or(0);
                found.push((age, blob, metadata.len()));
            }
        }
        found.sort_unstable();
        let kept = found.into_iter().map(|(_, blob, bytes)| (blob, bytes));
        Ok(Self {
            folder: folder.to_owned(),
            kept: kept.collect(),
        })
    }

    /// Keeps `payload`, and drops the oldest ones that do not fit beside it.
    pub(super) fn keep(&mut self, blob: BlobHash, payload: &[u8]) -> Result<(), LedgerError> {
        let name = blob.to_string();
        if BlobHash::of(payload) != blob {
            return Err(LedgerError::Damaged(self.folder.join(name)));
        }
        disk::replace(&self.folder, &name, payload)?;
        self.kept.retain(|(kept, _)| *kept != blob);
        self.kept.push_back((blob, payload.len() as u64));
        let mut total: u64 = self.kept.iter().map(|(_, bytes)| bytes).sum();
        while total > LEDGER_PAYLOAD_BYTES_MAX
            && let Some((oldest, bytes)) = self.kept.front().copied()
        {
            disk::remove(&self.folder, &oldest.to_string())?;
            self.kept.pop_front();
            total -= bytes;
        }
        Ok(())
    }

    pub(super) fn read(&self, blob: BlobHash) -> Result<Option<Vec<u8>>, LedgerError> {
        read(&self.folder, blob)
    }
}

pub(super) fn read(folder: &Path, blob: BlobHash) -> Result<Option<Vec<u8>>, LedgerError> {
    let path = folder.join(blob.to_string());
    match disk::read(&path)? {
        Some(bytes) if BlobHash::of(&bytes) != blob => Err(LedgerError::Damaged(path)),
        found => Ok(found),
    }
}
