//! The promises of a store, kept by a database.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use common::ids::BlobHash;

use super::{CONFLICTS_MAX, PostgresStore, blobs, documents, lease, log, unique, usable};
use crate::store::error::{Result, StoreError};
use crate::store::files;
use crate::store::mark::Mark;
use crate::store::partial::{Chunk, PartialKey};
use crate::store::partial_files::Blobs;
use crate::store::record::{Epoch, Head, Position, Record};
use crate::store::{Store, Usage, check_batch, check_blob, check_document, check_expected};

impl Store for PostgresStore {
    fn open_epoch(&self) -> Result<Epoch> {
        let mut state = self.running()?;
        let mut above = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        let (least, holder) = (*above, self.holder.clone());
        let opened = self.database.again("open_epoch", move |pool| {
            let holder = holder.clone();
            async move { log::open_epoch(&pool, least, &holder).await }
        })?;
        let Some(row) = opened else {
            usable(&self.database.row()?)?;
            let lease::Leader { name, left_ms, .. } = self
                .database
                .again("lease", |pool| async move { lease::leader(&pool).await })?;
            return Err(StoreError::Led { name, left_ms });
        };
        // What an older writer had under way is in it, or never will be.
        state.head = row.head;
        *above = row.epoch;
        let (head, epoch) = (row.head, row.epoch);
        self.trail().begin(Mark { head, epoch }, &self.scratch)?;
        Ok(epoch)
    }

    fn epoch(&self) -> Result<Epoch> {
        Ok(self.database.row()?.epoch)
    }

    fn append(
        &self,
        epoch: Epoch,
        expected_next: Option<Position>,
        events: &[Vec<u8>],
    ) -> Result<Position> {
        check_batch(events)?;
        let mut state = self.running()?;
        for _ in 0..CONFLICTS_MAX {
            let is_expected = expected_next.is_none_or(|next| next == state.head.next);
            if is_expected && !events.is_empty() && self.commit(&mut state, epoch, events)? {
                return Ok(state.head.next);
            }
            let row = self.fenced(epoch)?;
            check_expected(expected_next, row.head.next)?;
            state.head = row.head;
            if events.is_empty() {
                return Ok(row.head.next);
            }
        }
        Err(log::strange("the log does not take what follows its end").into())
    }

    fn head(&self) -> Result<Head> {
        Ok(self.database.row()?.head)
    }

    fn begin(&self) -> Result<Head> {
        Ok(self.database.row()?.first)
    }

    fn read(&self, from: Position, records_max: usize) -> Result<Vec<Record>> {
        let read = self.read_once(from, records_max);
        if matches!(read, Err(StoreError::Corrupted { .. })) {
            // What is missing may have been forgotten meanwhile.
            let first = self.first()?;
            if from < first {
                return Err(StoreError::Trimmed { from, first });
            }
        }
        read
    }

    fn trim(&self, epoch: Epoch, first: Position) -> Result<()> {
        let mut row = self.fenced(epoch)?;
        if first > row.head.next {
            let next = row.head.next;
            return Err(StoreError::TrimPastHead { first, next });
        }
        while row.first.next < first {
            let until = first.min(row.first.next.after(TRIM_RECORDS_MAX));
            let last = Position(until.0 - 1);
            let found = self.database.again("read", move |pool| async move {
                log::record(&pool, last).await
            })?;
            let bytes =
                found.ok_or_else(|| StoreError::corrupted(last, "the record is missing"))?;
            let begin = Head {
                next: until,
                hash: Record::decode(last, &bytes)?.hash(),
            };
            let mut state = self.running()?;
            let outcome = self.database.once("trim", move |pool| async move {
                log::trim(&pool, epoch, begin).await
            });
            let trimmed = self.settled(outcome, &mut state)?;
            drop(state);
            row = self.fenced(epoch)?;
            if !trimmed && row.first.next < until {
                return Err(log::strange("the log cannot be shortened").into());
            }
        }
        Ok(())
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<BlobHash> {
        check_blob(bytes.len() as u64)?;
        let hash = BlobHash::of(bytes);
        let bytes: Arc<[u8]> = bytes.into();
        self.database.again("put_blob", move |pool| {
            let bytes = bytes.clone();
            async move { blobs::put(&pool, hash, &bytes).await }
        })?;
        Ok(hash)
    }

    fn blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>> {
        let kept =
            self.database.again(
                "blob",
                move |pool| async move { blobs::get(&pool, hash).await },
            )?;
        let Some(bytes) = kept else {
            return Ok(None);
        };
        let actual = BlobHash::of(&bytes);
        if actual != hash {
            return Err(StoreError::BlobDamaged { hash, actual });
        }
        Ok(Some(bytes))
    }

    fn has_blob(&self, hash: BlobHash) -> Result<bool> {
        self.database.again("has_blob", move |pool| async move {
            blobs::has(&pool, hash).await
        })
    }

    fn remove_blob(&self, epoch: Epoch, hash: BlobHash) -> Result<bool> {
        Ok(self.remove_blobs(epoch, &[hash])? > 0)
    }

    fn remove_blobs(&self, epoch: Epoch, hashes: &[BlobHash]) -> Result<usize> {
        let mut removed = 0;
        for some in hashes.chunks(REMOVED_BLOBS_MAX) {
            let some: Arc<[BlobHash]> = some.into();
            removed += self.change("remove_blobs", epoch, move |pool| {
                let some = some.clone();
                async move { blobs::remove(&pool, epoch, &some).await }
            })?;
        }
        Ok(removed)
    }

    fn blobs(&self) -> Result<Vec<BlobHash>> {
        self.database
            .again("blobs", |pool| async move { blobs::list(&pool).await })
    }

    fn partial_bytes(&self, key: PartialKey) -> Result<u64> {
        Ok(self.partials.bytes(key))
    }

    fn append_partial(&self, key: PartialKey, chunk: Chunk<'_>) -> Result<u64> {
        self.check_room()?;
        self.partials.append(key, &chunk)
    }

    fn finish_partial(&self, key: PartialKey) -> Result<()> {
        self.partials.finish(key, self)
    }

    fn drop_partial(&self, key: PartialKey) -> Result<bool> {
        self.partials.drop_upload(key)
    }

    fn partials(&self) -> Result<Vec<(PartialKey, u64)>> {
        Ok(self.partials.list())
    }

    fn put_document(&self, epoch: Epoch, name: &str, bytes: &[u8]) -> Result<()> {
        check_document(name, bytes.len())?;
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, bytes): (Arc<str>, Arc<[u8]>) = (name.into(), bytes.into());
        let content = unique()?;
        self.change("put_document", epoch, move |pool| {
            let (name, bytes) = (name.clone(), bytes.clone());
            async move {
                let put = documents::put(&pool, epoch, &name, &bytes, content).await?;
                Ok(put.then_some(()))
            }
        })
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        check_document(name, 0)?;
        let asked: Arc<str> = name.into();
        let kept = self.database.again("document", move |pool| {
            let name = asked.clone();
            async move { documents::get(&pool, &name).await }
        })?;
        let Some(kept) = kept else {
            return Ok(None);
        };
        if blake3::hash(&kept.bytes).as_bytes()[..] != kept.hash[..] {
            return Err(StoreError::DocumentDamaged {
                name: name.to_owned(),
                path: "alambic_documents".into(),
            });
        }
        Ok(Some(kept.bytes))
    }

    fn remove_document(&self, epoch: Epoch, name: &str) -> Result<bool> {
        check_document(name, 0)?;
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let name: Arc<str> = name.into();
        self.change("remove_document", epoch, move |pool| {
            let name = name.clone();
            async move { documents::remove(&pool, epoch, &name).await }
        })
    }

    fn documents(&self) -> Result<Vec<String>> {
        self.database.again(
            "documents",
            |pool| async move { documents::list(&pool).await },
        )
    }

    fn check_room(&self) -> Result<()> {
        files::check_free(&self.folder, RESERVE_BYTES)
    }

    fn usage(&self) -> Result<Usage> {
        let log_bytes = self
            .database
            .again("usage", |pool| async move { log::bytes(&pool).await })?;
        let (blob_bytes, blobs) = self
            .database
            .again("usage", |pool| async move { blobs::usage(&pool).await })?;
        let documents = self
            .database
            .again("usage", |pool| async move { documents::bytes(&pool).await })?;
        let (local, _) = files::usage(&self.folder)?;
        Ok(Usage {
            log_bytes,
            blob_bytes,
            blobs,
            other_bytes: documents + local,
        })
    }
}

/// Uploads that are whole go to the database.
impl Blobs for PostgresStore {
    fn adopt(&self, file: &Path, hash: BlobHash) -> Result<()> {
        let bytes = files::read(file)?.unwrap_or_default();
        let kept = self.put_blob(&bytes)?;
        if kept != hash {
            // Changed since it was hashed.
            return Err(StoreError::BlobDamaged { hash, actual: kept });
        }
        files::remove(file).map(drop)
    }

    fn settle(&self, hash: BlobHash) -> Result<bool> {
        self.has_blob(hash)
    }
}

/// Records forgotten in one statement, while which the log takes none.
const TRIM_RECORDS_MAX: usize = 1_024;
/// Blobs forgotten in one statement, for the same reason.
const REMOVED_BLOBS_MAX: usize = 256;
/// Bytes of the own disk that uploads leave free.
const RESERVE_BYTES: u64 = 32 << 20;
