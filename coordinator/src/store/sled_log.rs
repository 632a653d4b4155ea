//! The embedded database: a durable map of positions to records. The only
//! file that knows sled.
//!
//! sled is used within narrow bounds, each for a reason found in its source:
//! - Its flush ends in `sync_file_range`, which neither empties the disk's
//!   cache nor makes a file's length durable; a write here ends in an fsync
//!   of the data file instead.
//! - It moves values that fill a quarter of a segment to files of their own,
//!   which it never syncs; records are cut into pieces that stay well below.
//! - Its default cache of 1 GiB is far over our figure; it gets a few MiB.
//! - Its flush thread would acknowledge nothing for us; it is off.
//! - It panics on some damaged files; that becomes an error that names them.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{Result, StoreError};
use super::files;
use super::record::{ChainHash, Epoch, Head, Position, Record};

/// The database and the file that it keeps its data in.
pub(super) struct SledLog {
    /// Present until the log is dropped.
    database: Option<sled::Db>,
    data: File,
    folder: PathBuf,
}

/// One part of a write.
#[derive(Debug)]
pub(super) enum Change {
    /// Puts a record at its position.
    Put(Record),
    /// Removes the record at a position.
    Remove(Position),
    /// Says where the log begins.
    First(Head),
    /// Notes the newest epoch.
    Epoch(Epoch),
}

impl SledLog {
    pub(super) fn open(folder: PathBuf, cache_bytes: u64) -> Result<Self> {
        files::create_folder(&folder)?;
        let config = sled::Config::new()
            .path(&folder)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None);
        let database = guarded(&folder, || open_when_free(&config))?;
        let path = folder.join("db");
        let data = File::options()
            .write(true)
            .open(&path)
            .map_err(|source| StoreError::io("open", &path, source))?;
        let log = Self {
            database: Some(database),
            data,
            folder,
        };
        log.sync()?;
        files::sync_folder(&log.folder)?;
        Ok(log)
    }

    /// Makes all of these changes or none; durable when it returns.
    pub(super) fn write(&self, changes: Vec<Change>) -> Result<()> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match change {
                Change::Put(record) => {
                    for (index, piece) in record.encode().chunks(PIECE_BYTES_MAX).enumerate() {
                        batch.insert(piece_key(record.position, index), piece);
                    }
                }
                Change::Remove(position) => {
                    for (key, _) in self.pieces(position)? {
                        batch.remove(key);
                    }
                }
                Change::First(head) => {
                    let mut value = head.next.0.to_be_bytes().to_vec();
                    value.extend_from_slice(&head.hash.0);
                    batch.insert(FIRST_KEY, value);
                }
                Change::Epoch(epoch) => batch.insert(EPOCH_KEY, &epoch.0.to_be_bytes()),
            }
        }
        self.call(|database| database.apply_batch(batch))?;
        self.sync()
    }

    /// Where the log begins, which is the start unless it was trimmed.
    pub(super) fn first(&self) -> Result<Head> {
        let Some(value) = self.call(|database| database.get(FIRST_KEY))? else {
            return Ok(Head::START);
        };
        match value.split_first_chunk::<8>() {
            Some((next, hash)) if hash.len() == 32 => {
                let mut chain = [0; 32];
                chain.copy_from_slice(hash);
                Ok(Head {
                    next: Position(u64::from_be_bytes(*next)),
                    hash: ChainHash(chain),
                })
            }
            _ => Err(self.failed("the first position is unreadable")),
        }
    }

    /// The newest epoch, 0 if none was opened.
    pub(super) fn epoch(&self) -> Result<Epoch> {
        let Some(value) = self.call(|database| database.get(EPOCH_KEY))? else {
            return Ok(Epoch(0));
        };
        let value: [u8; 4] = value
            .as_ref()
            .try_into()
            .map_err(|_| self.failed("the epoch is unreadable"))?;
        Ok(Epoch(u32::from_be_bytes(value)))
    }

    /// The position of the last record.
    pub(super) fn last(&self) -> Result<Option<Position>> {
        let last =
            self.call(|database| database.scan_prefix(RECORD_PREFIX).next_back().transpose())?;
        last.map(|(key, _)| self.position(&key)).transpose()
    }

    /// The record at a position, checked against its own hash.
    pub(super) fn record(&self, position: Position) -> Result<Record> {
        let mut value = Vec::new();
        for (_, piece) in self.pieces(position)? {
            value.extend_from_slice(&piece);
        }
        if value.is_empty() {
            return Err(StoreError::corrupted(position, "the record is missing"));
        }
        Record::decode(position, &value)
    }

    /// Positions that hold a record or a part of one, from one on, at most
    /// `count` of them.
    pub(super) fn positions(&self, from: Position, count: usize) -> Result<Vec<Position>> {
        let keys = self.call(|database| {
            let mut found: Vec<sled::IVec> = Vec::new();
            for key in database.range(record_key(from)..RECORD_END.to_vec()).keys() {
                let key = key?;
                let same = |last: &sled::IVec| last.get(..9) == key.get(..9);
                if found.last().is_some_and(same) {
                    continue;
                }
                if found.len() == count {
                    break;
                }
                found.push(key);
            }
            Ok(found)
        })?;
        keys.iter().map(|key| self.position(key)).collect()
    }

    fn pieces(&self, position: Position) -> Result<Vec<(sled::IVec, sled::IVec)>> {
        self.call(|database| {
            let pieces = database.scan_prefix(record_key(position));
            pieces.collect::<sled::Result<Vec<_>>>()
        })
    }

    fn position(&self, key: &[u8]) -> Result<Position> {
        match key.get(1..9).map(<[u8; 8]>::try_from) {
            Some(Ok(bytes)) => Ok(Position(u64::from_be_bytes(bytes))),
            _ => Err(self.failed("the key of a record is unreadable")),
        }
    }

    fn sync(&self) -> Result<()> {
        self.call(|database| database.flush())?;
        let synced = self.data.sync_data();
        synced.map_err(|source| StoreError::io("sync", &self.folder, source))
    }

    fn call<T>(&self, run: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        match &self.database {
            Some(database) => guarded(&self.folder, || run(database)),
            None => Err(self.failed("it is closed")),
        }
    }

    fn failed(&self, reason: &str) -> StoreError {
        StoreError::Engine {
            path: self.folder.clone(),
            reason: reason.to_owned(),
        }
    }
}

impl Drop for SledLog {
    /// sled syncs when it is dropped and panics where that fails. Everything
    /// acknowledged is durable by then, so there is nothing left to lose.
    fn drop(&mut self) {
        let database = self.database.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// Runs a call into sled. What it had in hand when it panicked is not used
/// again: the store stops taking events after any failure to write.
fn guarded<T>(folder: &Path, run: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    let reason = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(sled::Error::Io(source))) => return Err(StoreError::io("use", folder, source)),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(message), _) => message.clone(),
            (None, Some(message)) => (*message).to_owned(),
            (None, None) => "it panicked".to_owned(),
        },
    };
    Err(StoreError::Engine {
        path: folder.to_owned(),
        reason,
    })
}

fn record_key(position: Position) -> Vec<u8> {
    let mut key = Vec::with_capacity(10);
    key.extend_from_slice(RECORD_PREFIX);
    key.extend_from_slice(&position.0.to_be_bytes());
    key
}

fn piece_key(position: Position, index: usize) -> Vec<u8> {
    let mut key = record_key(position);
    key.push(index as u8);
    key
}

const EPOCH_KEY: &[u8] = b"epoch";
const FIRST_KEY: &[u8] = b"first";
const RECORD_PREFIX: &[u8] = b"r";
const RECORD_END: &[u8] = b"s";

/// sled holds up to about 20 values in one page, and moves a page of 128 KiB
/// to a file of its own.
const PIECE_BYTES_MAX: usize = 4 * 1024;

const _: () = assert!(super::EVENT_BYTES_MAX / PIECE_BYTES_MAX < u8::MAX as usize);
const _: () = assert!(20 * PIECE_BYTES_MAX < 96 * 1024);
/// Opens the database, giving one that was just closed in this process the
/// time to let go of its file: its threads may outlive the handle by a
/// moment. Another process cannot be in the way, since the store's own lock
/// is held already.
fn open_when_free(config: &sled::Config) -> sled::Result<sled::Db> {
    let begun = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock")
                    && begun.elapsed() < LET_GO =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// How long a closed database may take to let go of its file.
const LET_GO: Duration = Duration::from_secs(5);
