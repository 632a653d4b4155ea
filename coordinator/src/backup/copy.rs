//! A copy of a store, piece by piece, while others write to it.

use std::vec::IntoIter;

use common::ids::BlobHash;

use super::error::BackupError;
use super::piece::{Contents, PieceName};
use crate::journal::LogEntry;
use crate::round::{Event, TaskEvent};
use crate::store::{Position, Store, StoreError, pack};

/// What of a store is still to be copied. It holds no lock: the store may be
/// closed and opened again between two calls.
#[derive(Debug)]
pub struct StoreCopy {
    contents: Contents,
    at: Position,
    documents: IntoIter<String>,
    blobs: IntoIter<BlobHash>,
}

impl StoreCopy {
    /// Takes note of what there is: where the log ends, and then all blobs.
    ///
    /// # Errors
    /// Those of the store.
    pub fn begin(store: &dyn Store) -> Result<Self, BackupError> {
        // No snapshot may be of more records than are copied.
        let documents = store.documents()?;
        let (epoch, begin, head) = (store.epoch()?, store.begin()?, store.head()?);
        let blobs = store.blobs()?;
        Ok(Self {
            contents: Contents {
                first: begin.next.0,
                first_hash: begin.hash.to_string(),
                next: head.next.0,
                hash: head.hash.to_string(),
                epoch: epoch.0,
                blobs: blobs.len() as u64,
                documents: documents.len() as u64,
            },
            at: begin.next,
            documents: documents.into_iter(),
            blobs: blobs.into_iter(),
        })
    }

    /// What the copy holds once it is whole.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The next piece: the log in order, documents, blobs. `None` once all
    /// are copied. At most one piece is in memory.
    ///
    /// # Errors
    /// [`BackupError::Forgotten`] if a device's contributions were deleted
    /// meanwhile, and those of the store, such as a damaged blob.
    pub fn next(&mut self, store: &dyn Store) -> Result<Option<(PieceName, Vec<u8>)>, BackupError> {
        let end = Position(self.contents.next);
        if self.at < end {
            let from = self.at;
            let left = usize::try_from(end.0 - from.0).unwrap_or(usize::MAX);
            let records = match store.read(from, left.min(RECORDS_PER_PIECE)) {
                Err(StoreError::Trimmed { .. }) => return Err(BackupError::Forgotten),
                read => read?,
            };
            if records.is_empty() {
                return Err(BackupError::Forgotten);
            }
            self.at = from.after(records.len());
            return Ok(Some((PieceName::Log(from), pack(&records))));
        }
        if let Some(name) = self.documents.next() {
            let bytes = store.document(&name)?.ok_or(BackupError::Forgotten)?;
            return Ok(Some((PieceName::Document(name), bytes)));
        }
        if let Some(hash) = self.blobs.next() {
            let bytes = store.blob(hash)?.ok_or(BackupError::Forgotten)?;
            return Ok(Some((PieceName::Blob(hash), bytes)));
        }
        self.check_nobody_forgotten(store)?;
        Ok(None)
    }

    /// A device that was forgotten after the copied log ended would be back
    /// after a restore, while blobs of it are gone.
    fn check_nobody_forgotten(&mut self, store: &dyn Store) -> Result<(), BackupError> {
        while self.at < store.head()?.next {
            let records = store.read(self.at, RECORDS_PER_PIECE)?;
            for record in &records {
                if let Ok(LogEntry::Task(TaskEvent { event, .. })) =
                    LogEntry::from_bytes(&record.bytes)
                    && matches!(event, Event::Forgotten { .. })
                {
                    return Err(BackupError::Forgotten);
                }
            }
            self.at = self.at.after(records.len().max(1));
        }
        Ok(())
    }
}

/// One read gives no more than `READ_BYTES_MAX` in any case.
const RECORDS_PER_PIECE: usize = 8_192;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::{MemoryStore, unpack};

    #[test]
    fn a_copy_ends_where_the_log_ended_when_it_began() {
        let store = MemoryStore::new();
        let epoch = store.open_epoch().unwrap();
        let event = |number: u8| vec![200, number];
        store.append(epoch, None, &[event(0), event(1)]).unwrap();
        let early = store.put_blob(b"early").unwrap();
        let mut copy = StoreCopy::begin(&store).unwrap();
        store.append(epoch, None, &[event(2)]).unwrap();
        store.put_blob(b"late").unwrap();
        let (name, bytes) = copy.next(&store).unwrap().unwrap();
        assert_eq!(name, PieceName::Log(Position(0)));
        assert_eq!(unpack(Position(0), &bytes).unwrap().len(), 2);
        let (name, bytes) = copy.next(&store).unwrap().unwrap();
        assert_eq!((name, &bytes[..]), (PieceName::Blob(early), &b"early"[..]));
        assert!(copy.next(&store).unwrap().is_none());
        assert_eq!(copy.contents().records(), 2);
    }

    #[test]
    fn a_blob_that_goes_meanwhile_ends_the_copy() {
        let store = MemoryStore::new();
        let epoch = store.open_epoch().unwrap();
        let blob = store.put_blob(b"theirs").unwrap();
        let mut copy = StoreCopy::begin(&store).unwrap();
        store.remove_blob(epoch, blob).unwrap();
        assert!(matches!(copy.next(&store), Err(BackupError::Forgotten)));
    }
}
