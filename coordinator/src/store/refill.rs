//! Fills an empty directory with a store that was copied elsewhere.

use std::path::{Path, PathBuf};

use common::ids::BlobHash;

use super::blob_files::BlobFiles;
use super::document_files::DocumentFiles;
use super::error::{Result, StoreError};
use super::files::{self, Scratch};
use super::lock::StoreLock;
use super::mark::{Mark, MarkFile};
use super::record::{Epoch, Head, Record};
use super::sled_log::{Change, SledLog};
use super::{READ_BYTES_MAX, check_document};

/// A store that is being filled. It has no high-water mark until
/// [`Refill::finish`], and a store without one does not open: what a cut
/// leaves behind cannot be taken for the whole.
pub struct Refill {
    folder: PathBuf,
    log: SledLog,
    mark: MarkFile,
    blobs: BlobFiles,
    documents: DocumentFiles,
    scratch: Scratch,
    head: Head,
    newest: Epoch,
    waiting: Vec<Change>,
    waiting_bytes: usize,
    _lock: StoreLock,
}

impl Refill {
    /// Makes a store in a directory that has none, whose log begins at
    /// `first`.
    ///
    /// # Errors
    /// [`StoreError::NotWritable`] if there is a store already, and those of
    /// the disk.
    pub fn begin(folder: &Path, first: Head) -> Result<Self> {
        files::create_folder(folder)?;
        let lock = StoreLock::take(folder)?;
        let path = folder.join("log");
        if path.exists() {
            return Err(StoreError::NotWritable {
                path,
                source: std::io::ErrorKind::AlreadyExists.into(),
            });
        }
        let log = SledLog::open(path, CACHE_BYTES)?;
        log.write(vec![Change::First(first), Change::Epoch(Epoch(1))])?;
        Ok(Self {
            folder: folder.to_owned(),
            log,
            mark: MarkFile::new(folder.join("high-water-mark")),
            blobs: BlobFiles::open(folder.join("blobs"))?,
            documents: DocumentFiles::open(folder.join("documents"))?,
            scratch: Scratch::open(folder.join("tmp"))?,
            head: first,
            newest: Epoch(0),
            waiting: Vec::new(),
            waiting_bytes: 0,
            _lock: lock,
        })
    }

    /// Adds the next record as it was, with its epoch and its hashes.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] if it does not follow the one before.
    pub fn push(&mut self, record: Record) -> Result<()> {
        self.head = self.head.follow(&record)?;
        self.newest = self.newest.max(record.epoch);
        self.waiting_bytes += record.bytes.len();
        self.waiting.push(Change::Put(record));
        if self.waiting_bytes >= READ_BYTES_MAX || self.waiting.len() >= super::BATCH_EVENTS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Keeps a blob, durable once [`Refill::finish`] returns.
    ///
    /// # Errors
    /// [`StoreError::BlobTooLong`], and those of the disk; also if it is there
    /// already.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<BlobHash> {
        self.blobs.put_unsynced(bytes)
    }

    /// Keeps a document.
    ///
    /// # Errors
    /// [`StoreError::DocumentName`], and those of the disk.
    pub fn put_document(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_document(name, bytes.len())?;
        self.documents.put(name, bytes, &self.scratch)
    }

    /// Opens a new epoch, above `epoch` and above that of every record, and
    /// writes the mark, with which the store is whole. Durable when it
    /// returns.
    ///
    /// # Errors
    /// Those of the disk; the store does not open then.
    pub fn finish(mut self, epoch: Epoch) -> Result<(Head, Epoch)> {
        self.flush()?;
        let epoch = Epoch(self.newest.max(epoch).0.saturating_add(1));
        self.log.write(vec![Change::Epoch(epoch)])?;
        files::sync_disk(&self.folder)?;
        let head = self.head;
        self.mark.write(Mark { head, epoch }, &self.scratch)?;
        Ok((head, epoch))
    }

    fn flush(&mut self) -> Result<()> {
        self.waiting_bytes = 0;
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.log.write(std::mem::take(&mut self.waiting))
    }
}

/// Nothing is read back while it is filled.
const CACHE_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Position, SledStore, Store};
    use super::*;

    fn original(folder: &Path) -> SledStore {
        let store = SledStore::open(folder).unwrap();
        for life in 0..3u8 {
            let epoch = store.open_epoch().unwrap();
            let events: Vec<_> = (0..5u8).map(|event| vec![life, event]).collect();
            store.append(epoch, None, &events).unwrap();
        }
        store
    }

    #[test]
    fn a_refilled_store_has_the_same_chain_and_a_new_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let store = original(&folder.path().join("old"));
        let records = store.read(Position(0), 100).unwrap();
        let new = folder.path().join("new");
        let mut refill = Refill::begin(&new, Head::START).unwrap();
        for record in &records {
            refill.push(record.clone()).unwrap();
        }
        let blob = refill.put_blob(b"blob").unwrap();
        refill.put_document("snapshot", b"small").unwrap();
        let (head, epoch) = refill.finish(store.epoch().unwrap()).unwrap();
        assert_eq!((head, epoch), (store.head().unwrap(), Epoch(4)));

        let refilled = SledStore::open(&new).unwrap();
        assert_eq!(refilled.verify().unwrap(), head);
        assert_eq!(refilled.read(Position(0), 100).unwrap(), records);
        assert_eq!(refilled.blob(blob).unwrap().unwrap(), b"blob");
        assert_eq!(refilled.document("snapshot").unwrap().unwrap(), b"small");
        assert_eq!(refilled.open_epoch().unwrap(), Epoch(5));
        drop(refilled);
        assert!(matches!(
            Refill::begin(&new, Head::START),
            Err(StoreError::NotWritable { .. })
        ));
    }

    #[test]
    fn a_trimmed_log_is_refilled_from_where_it_begins() {
        let folder = tempfile::tempdir().unwrap();
        let store = original(&folder.path().join("old"));
        store.trim(Epoch(3), Position(7)).unwrap();
        let records = store.read(Position(7), 100).unwrap();
        let first = Head {
            next: Position(7),
            hash: records[0].previous,
        };
        let new = folder.path().join("new");
        let mut refill = Refill::begin(&new, first).unwrap();
        for record in records {
            refill.push(record).unwrap();
        }
        refill.finish(Epoch(3)).unwrap();
        let refilled = SledStore::open(&new).unwrap();
        assert_eq!(refilled.first().unwrap(), Position(7));
        assert_eq!(refilled.verify().unwrap(), store.head().unwrap());
    }

    #[test]
    fn what_a_cut_leaves_does_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let store = original(&folder.path().join("old"));
        let new = folder.path().join("new");
        let mut refill = Refill::begin(&new, Head::START).unwrap();
        refill
            .push(store.read(Position(0), 1).unwrap().remove(0))
            .unwrap();
        refill.flush().unwrap();
        drop(refill);
        assert!(matches!(
            SledStore::open(&new),
            Err(StoreError::Mark { .. })
        ));
    }
}
