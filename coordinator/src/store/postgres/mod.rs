//! The store in PostgreSQL, or in an engine that speaks like it.
//!
//! ```text
//! alambic_schema          the version of the tables
//! alambic_log             one row: where the log begins and ends, who may write
//! alambic_events          the records of the log, as every store encodes them
//! alambic_blobs           blobs by hash, in parts
//! alambic_documents       named documents,
//! alambic_document_parts  and what is in them
//! ```
//!
//! Beside it a folder of this coordinator holds what need not outlive it:
//!
//! ```text
//! DIR/lock             held while the store is open
//! DIR/high-water-mark  how far the log had come
//! DIR/partial/         uploads that are not whole; their devices have them
//! DIR/tmp/             files that have no name yet; emptied at each start
//! DIR/accept-loss      made by a person: go on although records are lost
//! ```

mod blobs;
mod documents;
mod error;
mod examine;
mod fill;
mod lease;
mod log;
mod measure;
mod pool;
mod promises;
mod schema;
mod session;
mod settings;
mod tls;
mod trail;
mod worker;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::TryRngCore as _;

pub use error::DatabaseError;
pub use examine::{Examination, examine};
pub(super) use fill::PostgresFill;
pub use lease::{Leader, Lease, LeaseTerms, Turn};
pub use measure::{DatabaseMetrics, LeaseNow, LeaseTimes};
pub use settings::{DatabaseSettings, DatabaseUrl, Password, SYSTEM_AUTHORITIES, Secret, UrlError};

use self::log::{Batch, FILLING, LogRow, MOVED, WHOLE};
use self::pool::Pool;
use self::trail::{Before, Trail};
use self::worker::Worker;
use super::error::{Result, StoreError};
use super::files::{self, Scratch};
use super::lock::StoreLock;
use super::mark::Mark;
use super::partial::PartialLimits;
use super::partial_files::PartialFiles;
use super::record::{Epoch, Head, Position, Record};
use super::{READ_BYTES_MAX, check_epoch};

/// A store in a database that several coordinators can reach.
pub struct PostgresStore {
    folder: PathBuf,
    /// The epoch that the next one has to be above.
    above: Mutex<Epoch>,
    state: Mutex<LogState>,
    /// Held by whoever writes a document: two at once could part a document
    /// from its content.
    writing: Mutex<()>,
    trail: Mutex<Trail>,
    partials: PartialFiles,
    scratch: Scratch,
    database: Database,
    holder: Arc<str>,
    _lock: StoreLock,
}

/// The connections, and the thread that waits for them.
struct Database {
    pool: Arc<Pool>,
    worker: Worker,
}

/// Where the log ends, as far as this writer knows.
#[derive(Debug)]
struct LogState {
    head: Head,
    /// Why writing has stopped.
    stopped: Option<String>,
}

/// How a [`PostgresStore`] is opened.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Where the database is.
    pub database: DatabaseSettings,
    /// The folder of this coordinator.
    pub folder: PathBuf,
    /// How much may wait to become whole.
    pub partials: PartialLimits,
    /// Counts how the database answers.
    pub metrics: DatabaseMetrics,
    /// Who has the lease, if coordinators take turns.
    pub holder: String,
}

impl PostgresOptions {
    /// The default limits, and metrics that nobody reads.
    pub fn new(database: DatabaseSettings, folder: PathBuf) -> Self {
        Self {
            database,
            folder,
            partials: PartialLimits::default(),
            metrics: DatabaseMetrics::default(),
            holder: String::new(),
        }
    }
}

impl Database {
    fn open(settings: DatabaseSettings, metrics: DatabaseMetrics) -> Result<Self> {
        let pool = Arc::new(Pool::new(settings, metrics)?);
        let worker = Worker::start().map_err(|source| {
            StoreError::io("start", Path::new("the database's thread"), source)
        })?;
        Ok(Self { pool, worker })
    }

    /// Waits for what may be done twice, trying for some seconds.
    fn again<T, F>(
        &self,
        call: &'static str,
        attempt: impl Fn(Arc<Pool>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = std::result::Result<T, DatabaseError>> + Send + 'static,
    {
        let pool = self.pool.clone();
        let work = async move {
            let lending = pool.clone();
            let attempts = move || attempt(lending.clone());
            pool.retried(call, attempts).await
        };
        Ok(self.worker.run(work)?)
    }

    /// Waits for what may only be done once, trying again only where it is
    /// known that nothing was done.
    fn once<T, F>(
        &self,
        call: &'static str,
        attempt: impl Fn(Arc<Pool>) -> F + Send + 'static,
    ) -> std::result::Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: Future<Output = std::result::Result<T, DatabaseError>> + Send + 'static,
    {
        let pool = self.pool.clone();
        self.worker.run(async move {
            let mut conflicts = 0;
            loop {
                let attempt = attempt(pool.clone());
                match pool.measured(call, attempt).await {
                    Err(DatabaseError::Conflict { .. }) if conflicts < CONFLICTS_MAX => {
                        conflicts += 1;
                    }
                    outcome => return outcome,
                }
            }
        })
    }

    fn row(&self) -> Result<LogRow> {
        self.again("row", |pool| async move { log::row(&pool).await })
    }
}

impl PostgresStore {
    /// Opens the store: reaches the database, brings its tables up to date and
    /// compares its log with what this coordinator remembers of it.
    ///
    /// # Errors
    /// [`StoreError::Database`] with what a person has to do,
    /// [`StoreError::Behind`] if acknowledged records are gone,
    /// [`StoreError::Locked`] if another process uses the folder.
    pub fn open(options: PostgresOptions) -> Result<Self> {
        let folder = options.folder;
        files::create_folder(&folder)?;
        let lock = StoreLock::take(&folder)?;
        let scratch = Scratch::open(folder.join("tmp"))?;
        let database = Database::open(options.database, options.metrics)?;
        database.again("connect", |pool| async move { pool.begin().await })?;
        database.again("migrate", |pool| async move { schema::migrate(pool).await })?;
        let row = database.row()?;
        usable(&row)?;
        let trail = Trail::new(&folder);
        let above = match trail.mark()? {
            Some(mark) => trail.check(mark, &row, hash_before(&database, mark.head, &row)?)?,
            None => row.epoch,
        };
        Ok(Self {
            above: Mutex::new(above),
            state: Mutex::new(LogState {
                head: row.head,
                stopped: None,
            }),
            writing: Mutex::default(),
            trail: Mutex::new(trail),
            partials: PartialFiles::open(folder.join("partial"), options.partials)?,
            scratch,
            folder,
            database,
            holder: options.holder.into(),
            _lock: lock,
        })
    }

    /// Closes the store for good, after a copy of it has been made that is used
    /// from now on.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if someone else has opened it meanwhile, and
    /// those of the database.
    pub fn retire(&self, epoch: Epoch) -> Result<()> {
        let is_retired = self.database.again("retire", move |pool| async move {
            log::retire(&pool, epoch).await
        })?;
        match is_retired {
            true => Ok(()),
            false => self.fenced(epoch).map(drop),
        }
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of a writer that still knows what it wrote.
    fn running(&self) -> Result<MutexGuard<'_, LogState>> {
        let state = self.state();
        match &state.stopped {
            None => Ok(state),
            Some(reason) => Err(StoreError::Stopped {
                reason: reason.clone(),
            }),
        }
    }

    /// Notes a change of which nobody knows whether it was made, or will be:
    /// only a new epoch, which an opening begins, keeps it from being made
    /// late.
    fn settled<T>(
        &self,
        outcome: std::result::Result<T, DatabaseError>,
        state: &mut LogState,
    ) -> Result<T> {
        if let Err(error) = &outcome
            && error.is_unknown()
        {
            state.stopped = Some(error.to_string());
        }
        Ok(outcome?)
    }

    /// What a change that did not happen means to a writer of this epoch.
    fn fenced(&self, epoch: Epoch) -> Result<LogRow> {
        let row = self.database.row()?;
        check_epoch(epoch, row.epoch)?;
        usable(&row)?;
        Ok(row)
    }

    /// Makes a change that holds the fence and is none of the log's.
    fn change<T, F>(
        &self,
        call: &'static str,
        epoch: Epoch,
        attempt: impl Fn(Arc<Pool>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = std::result::Result<Option<T>, DatabaseError>> + Send + 'static,
    {
        drop(self.running()?);
        let outcome = self.database.once(call, attempt);
        let changed = self.settled(outcome, &mut self.state())?;
        match changed {
            Some(changed) => Ok(changed),
            None => {
                self.fenced(epoch)?;
                Err(log::strange("the epoch went back").into())
            }
        }
    }

    /// Writes at the end that the state knows; whether it is the end.
    fn commit(&self, state: &mut LogState, epoch: Epoch, events: &[Vec<u8>]) -> Result<bool> {
        let mut after = state.head;
        let mut records = Vec::with_capacity(events.len());
        for event in events {
            let record = Record::after(after, epoch, event);
            after = after.follow(&record)?;
            records.push(record.encode());
        }
        let batch = Arc::new(Batch {
            epoch,
            before: state.head,
            after,
            records,
        });
        let outcome = self.database.once("append", move |pool| {
            let batch = batch.clone();
            async move { log::append(&pool, &batch).await }
        });
        let written = self.settled(outcome, state)?;
        if written {
            state.head = after;
            let mark = Mark { head: after, epoch };
            self.trail().follow(mark);
        }
        Ok(written)
    }

    fn trail(&self) -> MutexGuard<'_, Trail> {
        self.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_once(&self, from: Position, records_max: usize) -> Result<Vec<Record>> {
        let row = self.database.row()?;
        let first = row.first.next;
        if from < first {
            return Err(StoreError::Trimmed { from, first });
        }
        if from >= row.head.next || records_max == 0 {
            return Ok(Vec::new());
        }
        let mut encoded = self
            .database
            .again("read", move |pool| async move {
                log::records(&pool, from, records_max).await
            })?
            .into_iter()
            .peekable();
        let mut at = row.first;
        if from != first {
            let before = Position(from.0 - 1);
            let Some((_, bytes)) = encoded.next_if(|(position, _)| *position == before) else {
                return Err(StoreError::corrupted(before, "the record is missing"));
            };
            at = Head {
                next: from,
                hash: Record::decode(before, &bytes)?.hash(),
            };
        }
        let mut records = Vec::new();
        for (position, bytes) in encoded.take(records_max) {
            // Appended since the row was read.
            if position >= row.head.next {
                break;
            }
            let record = Record::decode(position, &bytes)?;
            at = at.follow(&record)?;
            records.push(record);
        }
        match records.is_empty() {
            true => Err(StoreError::corrupted(from, "the record is missing")),
            false => Ok(records),
        }
    }
}

/// Refuses a store that is not whole, or is no more.
fn usable(row: &LogRow) -> Result<()> {
    match row.state.as_str() {
        WHOLE => Ok(()),
        FILLING => Err(DatabaseError::Unfinished.into()),
        MOVED => Err(DatabaseError::Moved.into()),
        other => Err(log::strange(&format!("its state is {other}")).into()),
    }
}

/// The hash of the record before a mark, if the database has it.
fn hash_before(
    database: &Database,
    mark: Head,
    row: &LogRow,
) -> Result<Option<super::record::ChainHash>> {
    match Before::of(mark, row) {
        Before::Known(hash) => Ok(Some(hash)),
        Before::Nowhere => Ok(None),
        Before::In(position) => {
            let found = database.again("read", move |pool| async move {
                log::record(&pool, position).await
            })?;
            let decoded = found.map(|bytes| Record::decode(position, &bytes));
            Ok(decoded.transpose()?.map(|record| record.hash()))
        }
    }
}

/// A name that nobody else gives.
fn unique() -> Result<[u8; 16]> {
    let mut name = [0; 16];
    let filled = rand::rngs::OsRng.try_fill_bytes(&mut name);
    filled.map_err(|error| StoreError::Io {
        action: "read",
        path: "the system's randomness".into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(name)
}

/// How often a change that met another is made again.
const CONFLICTS_MAX: usize = 8;
const _: () = assert!(READ_BYTES_MAX < i32::MAX as usize);
