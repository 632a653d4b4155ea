//! A store in memory, for tests and for the simulated fleet. It keeps apart
//! what is durable from what is only written, so that it can crash.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::ids::BlobHash;

use super::error::{Result, StoreError};
use super::partial::{Chunk, PartialError, PartialKey, PartialLimits, PartialTable};
use super::record::{Epoch, Head, Position, Record};
use super::written::Written;
use super::{READ_BYTES_MAX, Store, Usage};
use super::{check_batch, check_blob, check_document, check_epoch, check_expected};

/// What happens to an append that fails. In both cases its caller sees the
/// same error and cannot know which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFault {
    /// Nothing of the batch is durable.
    BeforeFlush,
    /// All of the batch is durable, but the caller is not told so.
    AfterFlush,
}

/// A store that forgets everything when it is dropped, and what is not
/// durable when it is told to.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

/// A document and its hash.
#[derive(Clone, Debug)]
struct Kept {
    hash: blake3::Hash,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Inner {
    epoch: Written<Epoch>,
    first: Head,
    records: Vec<Record>,
    head: Written<Head>,
    blobs: BTreeMap<BlobHash, Written<Option<Vec<u8>>>>,
    documents: BTreeMap<String, Written<Option<Kept>>>,
    table: PartialTable,
    partials: BTreeMap<PartialKey, Vec<u8>>,
    limits: PartialLimits,
    fault: Option<AppendFault>,
    full: bool,
    lying: bool,
    stopped: Option<String>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store with the default limits.
    pub fn new() -> Self {
        Self::with_limits(PartialLimits::default())
    }

    /// An empty store.
    pub fn with_limits(limits: PartialLimits) -> Self {
        Self {
            inner: Mutex::new(Inner {
                epoch: Written::new(Epoch(0)),
                first: Head::START,
                records: Vec::new(),
                head: Written::new(Head::START),
                blobs: BTreeMap::new(),
                documents: BTreeMap::new(),
                table: PartialTable::new(limits),
                partials: BTreeMap::new(),
                limits,
                fault: None,
                full: false,
                lying: false,
                stopped: None,
            }),
        }
    }

    /// Lets the next append that would write something fail. The log then
    /// takes no more events until [`MemoryStore::lose_unflushed`].
    pub fn fail_next_append(&self, fault: AppendFault) {
        self.inner().fault = Some(fault);
    }

    /// Fills the disk, or frees it. Everything that writes is refused on a
    /// full disk, and works again afterwards.
    pub fn set_full(&self, full: bool) {
        self.inner().full = full;
    }

    /// Makes the disk lie, or stop lying: while it does, calls return as if
    /// their effect were durable, and it is not. A planted bug for tests that
    /// must find it.
    pub fn set_lying(&self, lying: bool) {
        self.inner().lying = lying;
    }

    /// A crash with loss of power, and a new start: all that was not durable
    /// is gone, uploads that are not whole included. Faults that were ordered
    /// and did not happen are forgotten, a full disk stays full.
    pub fn lose_unflushed(&self) {
        let mut inner = self.inner();
        inner.epoch.lose();
        inner.head.lose();
        let kept = inner.head.now.next.0.saturating_sub(inner.first.next.0);
        inner.records.truncate(kept as usize);
        for blob in inner.blobs.values_mut() {
            blob.lose();
        }
        for document in inner.documents.values_mut() {
            document.lose();
        }
        inner.partials.clear();
        inner.table = PartialTable::new(inner.limits);
        inner.fault = None;
        inner.stopped = None;
    }

    /// A kill of the process, and a new start: what was written is there,
    /// uploads included.
    pub fn restart(&self) {
        let mut inner = self.inner();
        inner.fault = None;
        inner.stopped = None;
    }

    /// Flips a bit of a blob, as a bad disk would; whether there was one that
    /// is not empty.
    pub fn damage_blob(&self, hash: BlobHash) -> bool {
        let mut inner = self.inner();
        let Some(blob) = inner.blobs.get_mut(&hash) else {
            return false;
        };
        let mut bytes = blob.now.clone().unwrap_or_default();
        let Some(byte) = bytes.first_mut() else {
            return false;
        };
        *byte ^= 1;
        blob.set(Some(bytes), false);
        true
    }

    /// The same for a document.
    pub fn damage_document(&self, name: &str) -> bool {
        let mut inner = self.inner();
        let kept = inner.documents.get(name);
        let Some(mut kept) = kept.and_then(|document| document.now.clone()) else {
            return false;
        };
        let Some(byte) = kept.bytes.first_mut() else {
            return false;
        };
        *byte ^= 1;
        let document = inner.documents.entry(name.to_owned()).or_default();
        document.set(Some(kept), false);
        true
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn check_writable(&self) -> Result<()> {
        if self.full {
            let path = "memory".into();
            return Err(StoreError::DiskFull { path });
        }
        Ok(())
    }

    fn check_running(&self) -> Result<()> {
        match &self.stopped {
            Some(reason) => Err(StoreError::Stopped {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    fn check_log_writable(&self) -> Result<()> {
        self.check_running()?;
        self.check_writable()
    }

    fn put_blob(&mut self, hash: BlobHash, bytes: Vec<u8>) {
        let lying = self.lying;
        let blob = self.blobs.entry(hash).or_default();
        blob.set(Some(bytes), lying);
    }

    /// Puts these records at the end of the log, or fails as ordered.
    fn commit(&mut self, records: Vec<Record>, head: Head) -> Result<()> {
        let fault = self.fault.take();
        if fault != Some(AppendFault::BeforeFlush) {
            self.records.extend(records);
            let lying = self.lying;
            self.head.set(head, lying);
        }
        if fault.is_none() {
            return Ok(());
        }
        let reason = "an ordered fault".to_owned();
        self.stopped = Some(reason.clone());
        Err(StoreError::Engine {
            path: "memory".into(),
            reason,
        })
    }
}

impl Store for MemoryStore {
    fn open_epoch(&self) -> Result<Epoch> {
        let mut inner = self.inner();
        inner.check_log_writable()?;
        let epoch = Epoch(inner.epoch.now.0 + 1);
        let lying = inner.lying;
        inner.epoch.set(epoch, lying);
        Ok(epoch)
    }

    fn epoch(&self) -> Result<Epoch> {
        Ok(self.inner().epoch.now)
    }

    fn append(
        &self,
        epoch: Epoch,
        expected_next: Option<Position>,
        events: &[Vec<u8>],
    ) -> Result<Position> {
        check_batch(events)?;
        let mut inner = self.inner();
        check_epoch(epoch, inner.epoch.now)?;
        check_expected(expected_next, inner.head.now.next)?;
        if events.is_empty() {
            return Ok(inner.head.now.next);
        }
        inner.check_log_writable()?;
        let mut head = inner.head.now;
        let mut records = Vec::with_capacity(events.len());
        for event in events {
            let record = Record::after(head, epoch, event);
            head = head.follow(&record)?;
            records.push(record);
        }
        inner.commit(records, head)?;
        Ok(head.next)
    }

    fn head(&self) -> Result<Head> {
        Ok(self.inner().head.now)
    }

    fn begin(&self) -> Result<Head> {
        Ok(self.inner().first)
    }

    fn read(&self, from: Position, records_max: usize) -> Result<Vec<Record>> {
        let inner = self.inner();
        let first = inner.first.next;
        if from < first {
            return Err(StoreError::Trimmed { from, first });
        }
        let skipped = usize::try_from(from.0 - first.0).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut records = Vec::new();
        for record in inner.records.iter().skip(skipped).take(records_max) {
            bytes += record.bytes.len();
            if bytes > READ_BYTES_MAX && !records.is_empty() {
                break;
            }
            records.push(record.clone());
        }
        Ok(records)
    }

    fn trim(&self, epoch: Epoch, first: Position) -> Result<()> {
        let mut inner = self.inner();
        check_epoch(epoch, inner.epoch.now)?;
        let next = inner.head.now.next;
        if first > next {
            return Err(StoreError::TrimPastHead { first, next });
        }
        if first <= inner.first.next {
            return Ok(());
        }
        inner.check_log_writable()?;
        let forgotten = (first.0 - inner.first.next.0) as usize;
        let last = inner.records.drain(..forgotten).next_back();
        if let Some(last) = last {
            inner.first = Head {
                next: first,
                hash: last.hash(),
            };
        }
        Ok(())
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<BlobHash> {
        check_blob(bytes.len() as u64)?;
        let mut inner = self.inner();
        inner.check_writable()?;
        let hash = BlobHash::of(bytes);
        inner.put_blob(hash, bytes.to_vec());
        Ok(hash)
    }

    fn blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>> {
        let inner = self.inner();
        let Some(bytes) = inner.blobs.get(&hash).and_then(|blob| blob.now.clone()) else {
            return Ok(None);
        };
        let actual = BlobHash::of(&bytes);
        if actual == hash {
            Ok(Some(bytes))
        } else {
            Err(StoreError::BlobDamaged { hash, actual })
        }
    }

    fn has_blob(&self, hash: BlobHash) -> Result<bool> {
        Ok(self
            .inner()
            .blobs
            .get(&hash)
            .is_some_and(|blob| blob.now.is_some()))
    }

    fn remove_blob(&self, epoch: Epoch, hash: BlobHash) -> Result<bool> {
        let mut inner = self.inner();
        check_epoch(epoch, inner.epoch.now)?;
        inner.check_running()?;
        let removed = inner.blobs.remove(&hash);
        Ok(removed.is_some_and(|blob| blob.now.is_some()))
    }

    fn blobs(&self) -> Result<Vec<BlobHash>> {
        let inner = self.inner();
        let kept = inner.blobs.iter().filter(|(_, blob)| blob.now.is_some());
        Ok(kept.map(|(hash, _)| *hash).collect())
    }

    fn partial_bytes(&self, key: PartialKey) -> Result<u64> {
        Ok(self.inner().table.bytes(key))
    }

    fn append_partial(&self, key: PartialKey, chunk: Chunk<'_>) -> Result<u64> {
        let mut inner = self.inner();
        inner.check_writable()?;
        for left in inner.table.check(key, &chunk)? {
            inner.partials.remove(&left);
            inner.table.remove(left);
        }
        let upload = inner.partials.entry(key).or_default();
        upload.extend_from_slice(chunk.bytes);
        let bytes = upload.len() as u64;
        inner.table.set(key, bytes);
        Ok(bytes)
    }

    fn finish_partial(&self, key: PartialKey) -> Result<()> {
        let PartialKey { device, hash } = key;
        let mut inner = self.inner();
        inner.check_writable()?;
        let Some(bytes) = inner.partials.remove(&key) else {
            return match inner.blobs.get(&hash) {
                Some(blob) if blob.now.is_some() => Ok(()),
                _ => Err(PartialError::Unknown { device, hash }.into()),
            };
        };
        inner.table.remove(key);
        let actual = BlobHash::of(&bytes);
        if actual != hash {
            let declared = hash;
            return Err(PartialError::HashMismatch { declared, actual }.into());
        }
        inner.put_blob(hash, bytes);
        Ok(())
    }

    fn drop_partial(&self, key: PartialKey) -> Result<bool> {
        let mut inner = self.inner();
        inner.partials.remove(&key);
        Ok(inner.table.remove(key))
    }

    fn partials(&self) -> Result<Vec<(PartialKey, u64)>> {
        Ok(self.inner().table.list())
    }

    fn put_document(&self, epoch: Epoch, name: &str, bytes: &[u8]) -> Result<()> {
        check_document(name, bytes.len())?;
        let mut inner = self.inner();
        check_epoch(epoch, inner.epoch.now)?;
        inner.check_writable()?;
        let lying = inner.lying;
        let document = inner.documents.entry(name.to_owned()).or_default();
        let kept = Kept {
            hash: blake3::hash(bytes),
            bytes: bytes.to_vec(),
        };
        document.set(Some(kept), lying);
        Ok(())
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        check_document(name, 0)?;
        let inner = self.inner();
        let kept = inner.documents.get(name);
        match kept.and_then(|document| document.now.as_ref()) {
            Some(kept) if kept.hash != blake3::hash(&kept.bytes) => {
                Err(StoreError::DocumentDamaged {
                    name: name.to_owned(),
                    path: "memory".into(),
                })
            }
            kept => Ok(kept.map(|kept| kept.bytes.clone())),
        }
    }

    fn remove_document(&self, epoch: Epoch, name: &str) -> Result<bool> {
        check_document(name, 0)?;
        let mut inner = self.inner();
        check_epoch(epoch, inner.epoch.now)?;
        inner.check_running()?;
        let removed = inner.documents.remove(name);
        Ok(removed.is_some_and(|document| document.now.is_some()))
    }

    fn documents(&self) -> Result<Vec<String>> {
        let inner = self.inner();
        let kept = inner.documents.iter();
        let kept = kept.filter(|(_, document)| document.now.is_some());
        Ok(kept.map(|(name, _)| name.clone()).collect())
    }

    fn usage(&self) -> Result<Usage> {
        let inner = self.inner();
        let blobs = inner.blobs.values().filter_map(|blob| blob.now.as_ref());
        let lengths: Vec<_> = blobs.map(|blob| blob.len() as u64).collect();
        let kept = |document: &Written<Option<Kept>>| {
            let kept = document.now.as_ref();
            kept.map_or(0, |kept| kept.bytes.len() as u64)
        };
        let records = inner.records.iter();
        Ok(Usage {
            log_bytes: records.map(|record| record.bytes.len() as u64).sum(),
            blob_bytes: lengths.iter().sum(),
            blobs: lengths.len() as u64,
            other_bytes: inner.documents.values().map(kept).sum(),
        })
    }
}
