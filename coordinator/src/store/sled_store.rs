//! The embedded store: the log in sled, everything else in plain files.
//!
//! ```text
//! DIR/lock             held while the store is open
//! DIR/high-water-mark  how far the log had come, replaced after each append
//! DIR/log/             the database
//! DIR/blobs/ab/abcd…   blobs by hash
//! DIR/partial/         uploads that are not whole, by device and hash
//! DIR/documents/       named documents
//! DIR/tmp/             files that have no name yet; emptied at each start
//! DIR/aside/           half-written files of the database, kept to be looked at
//! DIR/accept-loss      made by a person: go on although records are lost
//! DIR/moved            says where the store was copied; it opens no more
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use common::ids::BlobHash;

use super::blob_files::BlobFiles;
use super::document_files::DocumentFiles;
use super::error::{Result, StoreError};
use super::files::{self, Scratch};
use super::leftovers;
use super::lock::StoreLock;
use super::mark::{Mark, MarkFile};
use super::partial::{Chunk, PartialKey, PartialLimits};
use super::partial_files::PartialFiles;
use super::record::{Epoch, Head, Position, Record};
use super::recover::recover;
use super::sled_log::{Change, SledLog};
use super::{READ_BYTES_MAX, Store, Usage};
use super::{check_batch, check_document, check_epoch, check_expected};

/// How a [`SledStore`] is opened.
///
/// | option | default | |
/// |---|---|---|
/// | `cache_bytes` | 4 MiB | pages of the log kept in memory; replay reads each once |
/// | `reserve_bytes` | 16 MiB | the log stops when less is free, blobs at twice as much, so that what names them can still be written |
/// | `partials` | see [`PartialLimits`] | |
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Bytes of the log kept in memory.
    pub cache_bytes: u64,
    /// Bytes of the disk that are never used.
    pub reserve_bytes: u64,
    /// How much may wait to become whole.
    pub partials: PartialLimits,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 4 << 20,
            reserve_bytes: 16 << 20,
            partials: PartialLimits::default(),
        }
    }
}

/// A store in one directory of a local disk, open in one process at a time.
pub struct SledStore {
    folder: PathBuf,
    options: StoreOptions,
    /// Read-locked by whatever needs its epoch to stay the newest.
    epoch: RwLock<Epoch>,
    state: Mutex<LogState>,
    log: SledLog,
    mark: MarkFile,
    blobs: BlobFiles,
    partials: PartialFiles,
    documents: DocumentFiles,
    scratch: Scratch,
    /// Last, so that it is let go only when all else is closed.
    _lock: StoreLock,
}

/// What of the log is acknowledged. Nothing else is shown to readers.
#[derive(Debug)]
struct LogState {
    first: Head,
    head: Head,
    /// Why the log takes no more events.
    stopped: Option<String>,
}

impl SledStore {
    /// Opens the store in a directory, which is made if it is missing, with
    /// the default options.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(folder, StoreOptions::default())
    }

    /// Opens the database. On a full disk it is left untouched, for it would
    /// not get through the writing that an opening takes; what an earlier
    /// attempt left half-written is put aside.
    fn open_log(folder: &Path, cache_bytes: u64) -> Result<SledLog> {
        let path = folder.join("log");
        files::create_folder(&path)?;
        files::check_free(folder, leftovers::opening_bytes(&path)?)?;
        leftovers::put_aside(&path, &folder.join("aside"))?;
        SledLog::open(path, cache_bytes)
    }

    /// Opens the store in a directory. Refused if another process has it
    /// open ([`StoreError::Locked`]), if it cannot be written
    /// ([`StoreError::NotWritable`]), and if acknowledged records are gone
    /// or damaged ([`StoreError::TailLost`], [`StoreError::Corrupted`]).
    pub fn open_with(folder: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        let folder = folder.as_ref();
        files::create_folder(folder)?;
        let lock = StoreLock::take(folder)?;
        let moved = folder.join(MOVED);
        if moved.exists() {
            return Err(StoreError::Moved { path: moved });
        }
        let scratch = Scratch::open(folder.join("tmp"))?;
        let log = Self::open_log(folder, options.cache_bytes)?;
        let mark = MarkFile::new(folder.join("high-water-mark"));
        let recovered = recover(folder, &log, &mark, &scratch)?;
        Ok(Self {
            epoch: RwLock::new(recovered.mark.epoch),
            state: Mutex::new(LogState {
                first: recovered.first,
                head: recovered.mark.head,
                stopped: None,
            }),
            log,
            mark,
            blobs: BlobFiles::open(folder.join("blobs"))?,
            partials: PartialFiles::open(folder.join("partial"), options.partials)?,
            documents: DocumentFiles::open(folder.join("documents"))?,
            scratch,
            folder: folder.to_owned(),
            options,
            _lock: lock,
        })
    }

    /// Closes the store for good, after a copy of it has been made that is used
    /// from now on. `to` says where, for people.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn retire(&self, to: &str) -> Result<()> {
        let line = format!("{to}\n");
        let path = self.folder.join(MOVED);
        self.scratch.place(&[line.as_bytes()], &path)
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds this epoch as the newest for as long as the guard lives.
    fn hold(&self, epoch: Epoch) -> Result<RwLockReadGuard<'_, Epoch>> {
        let newest = self.epoch.read().unwrap_or_else(PoisonError::into_inner);
        check_epoch(epoch, *newest)?;
        Ok(newest)
    }

    /// Writes to the log and then moves the mark. After a failure nobody
    /// knows what the disk holds, so the log takes no more events.
    fn commit(&self, state: &mut LogState, changes: Vec<Change>, mark: Mark) -> Result<()> {
        if let Some(reason) = &state.stopped {
            return Err(StoreError::Stopped {
                reason: reason.clone(),
            });
        }
        files::check_free(&self.folder, self.options.reserve_bytes)?;
        let written = self
            .log
            .write(changes)
            .and_then(|()| self.mark.write(mark, &self.scratch));
        if let Err(error) = &written {
            state.stopped = Some(error.to_string());
        }
        written
    }

    fn read_once(&self, from: Position, records_max: usize) -> Result<Vec<Record>> {
        let (first, head) = {
            let state = self.state();
            (state.first, state.head)
        };
        if from < first.next {
            let first = first.next;
            return Err(StoreError::Trimmed { from, first });
        }
        let mut records = Vec::new();
        if from >= head.next || records_max == 0 {
            return Ok(records);
        }
        let mut at = if from == first.next {
            first
        } else {
            let before = self.log.record(Position(from.0 - 1))?;
            Head {
                next: from,
                hash: before.hash(),
            }
        };
        let mut bytes = 0;
        while at.next < head.next && records.len() < records_max {
            let record = self.log.record(at.next)?;
            bytes += record.bytes.len();
            if bytes > READ_BYTES_MAX && !records.is_empty() {
                break;
            }
            at = at.follow(&record)?;
            records.push(record);
        }
        Ok(records)
    }

    /// While it is unknown where the log ends, it is unknown what it names.
    fn check_running(&self) -> Result<()> {
        match &self.state().stopped {
            None => Ok(()),
            Some(reason) => Err(StoreError::Stopped {
                reason: reason.clone(),
            }),
        }
    }

    fn check_blob_room(&self) -> Result<()> {
        files::check_free(&self.folder, 2 * self.options.reserve_bytes)
    }
}

impl Store for SledStore {
    fn open_epoch(&self) -> Result<Epoch> {
        let mut newest = self.epoch.write().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let epoch = Epoch(newest.0 + 1);
        let head = state.head;
        let changes = vec![Change::Epoch(epoch)];
        self.commit(&mut state, changes, Mark { head, epoch })?;
        *newest = epoch;
        Ok(epoch)
    }

    fn epoch(&self) -> Result<Epoch> {
        Ok(*self.epoch.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn append(
        &self,
        epoch: Epoch,
        expected_next: Option<Position>,
        events: &[Vec<u8>],
    ) -> Result<Position> {
        check_batch(events)?;
        let _held = self.hold(epoch)?;
        let mut state = self.state();
        check_expected(expected_next, state.head.next)?;
        if events.is_empty() {
            return Ok(state.head.next);
        }
        let mut head = state.head;
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            let record = Record::after(head, epoch, event);
            head = head.follow(&record)?;
            changes.push(Change::Put(record));
        }
        self.commit(&mut state, changes, Mark { head, epoch })?;
        state.head = head;
        Ok(head.next)
    }

    fn head(&self) -> Result<Head> {
        Ok(self.state().head)
    }

    fn begin(&self) -> Result<Head> {
        Ok(self.state().first)
    }

    fn read(&self, from: Position, records_max: usize) -> Result<Vec<Record>> {
        let read = self.read_once(from, records_max);
        if matches!(read, Err(StoreError::Corrupted { .. })) {
            // What is missing may have been forgotten meanwhile, by a trim
            // that holds this lock.
            let first = self.state().first.next;
            if from < first {
                return Err(StoreError::Trimmed { from, first });
            }
        }
        read
    }

    fn trim(&self, epoch: Epoch, first: Position) -> Result<()> {
        let held = self.hold(epoch)?;
        let mut state = self.state();
        let head = state.head;
        if first > head.next {
            let next = head.next;
            return Err(StoreError::TrimPastHead { first, next });
        }
        let mark = Mark { head, epoch: *held };
        while state.first.next < first {
            let at = state.first.next;
            let until = first.min(at.after(TRIM_RECORDS_MAX));
            let last = self.log.record(Position(until.0 - 1))?;
            let begin = Head {
                next: until,
                hash: last.hash(),
            };
            let removed = (at.0..until.0).map(|at| Change::Remove(Position(at)));
            let changes = removed.chain([Change::First(begin)]).collect();
            self.commit(&mut state, changes, mark)?;
            state.first = begin;
        }
        Ok(())
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<BlobHash> {
        self.check_blob_room()?;
        self.blobs.put(bytes, &self.scratch)
    }

    fn blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>> {
        self.blobs.read(hash)
    }

    fn has_blob(&self, hash: BlobHash) -> Result<bool> {
        self.blobs.has(hash)
    }

    fn remove_blob(&self, epoch: Epoch, hash: BlobHash) -> Result<bool> {
        let _held = self.hold(epoch)?;
        self.check_running()?;
        self.blobs.remove(hash)
    }

    fn remove_blobs(&self, epoch: Epoch, hashes: &[BlobHash]) -> Result<usize> {
        let _held = self.hold(epoch)?;
        self.check_running()?;
        self.blobs.remove_several(hashes)
    }

    fn blobs(&self) -> Result<Vec<BlobHash>> {
        self.blobs.list()
    }

    fn partial_bytes(&self, key: PartialKey) -> Result<u64> {
        Ok(self.partials.bytes(key))
    }

    fn append_partial(&self, key: PartialKey, chunk: Chunk<'_>) -> Result<u64> {
        self.check_blob_room()?;
        self.partials.append(key, &chunk)
    }

    fn finish_partial(&self, key: PartialKey) -> Result<()> {
        self.partials.finish(key, &self.blobs)
    }

    fn drop_partial(&self, key: PartialKey) -> Result<bool> {
        self.partials.drop_upload(key)
    }

    fn partials(&self) -> Result<Vec<(PartialKey, u64)>> {
        Ok(self.partials.list())
    }

    fn put_document(&self, epoch: Epoch, name: &str, bytes: &[u8]) -> Result<()> {
        check_document(name, bytes.len())?;
        let _held = self.hold(epoch)?;
        files::check_free(&self.folder, self.options.reserve_bytes)?;
        self.documents.put(name, bytes, &self.scratch)
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        check_document(name, 0)?;
        self.documents.read(name)
    }

    fn remove_document(&self, epoch: Epoch, name: &str) -> Result<bool> {
        check_document(name, 0)?;
        let _held = self.hold(epoch)?;
        self.check_running()?;
        self.documents.remove(name)
    }

    fn documents(&self) -> Result<Vec<String>> {
        self.documents.list()
    }

    fn check_room(&self) -> Result<()> {
        self.check_blob_room()
    }

    fn usage(&self) -> Result<Usage> {
        let (log, blobs) = (self.folder.join("log"), self.folder.join("blobs"));
        let (log_bytes, _) = files::usage(&log)?;
        let (blob_bytes, count) = files::usage(&blobs)?;
        let (all, _) = files::usage(&self.folder)?;
        Ok(Usage {
            log_bytes,
            blob_bytes,
            blobs: count,
            other_bytes: all.saturating_sub(log_bytes + blob_bytes),
        })
    }
}

/// The name of the file that says where the store went.
const MOVED: &str = "moved";
/// Records forgotten in one batch.
const TRIM_RECORDS_MAX: usize = 1_024;
