//! Where the coordinator's state lives: an event log, blobs named by their
//! hash, uploads that are not yet whole, and a few small named documents.
//!
//! [`Store`] says what every implementation promises; one contract suite
//! (`tests/tests/store_contract.rs`) holds all of them to it. Its calls block
//! and may take as long as a disk takes, so the driver runs them on a thread
//! of their own. Nothing in the trait assumes one process or a local disk:
//! anyone who writes holds an [`Epoch`], and a writer with an older one is
//! refused wherever the store is.
//!
//! [`SledStore`] is the embedded default, [`PostgresStore`] is in a database
//! that outlives its machine. [`MemoryStore`] is for tests and for the
//! simulated fleet, where it fails and crashes on demand.

mod blob_files;
mod document_files;
mod error;
mod files;
mod fill;
mod leftovers;
mod lock;
mod mark;
mod memory;
mod partial;
mod partial_files;
mod place;
mod postgres;
mod record;
mod recover;
mod refill;
mod segment;
mod sled_log;
mod sled_store;
mod written;

use common::ids::BlobHash;

pub use error::{Result, StoreError};
pub use fill::Fill;
pub use memory::{AppendFault, MemoryStore};
pub use partial::{Chunk, PartialError, PartialKey, PartialLimits};
pub use place::{OpenedStore, StorePlace, StoreSettings};
pub use postgres::{
    DatabaseError, DatabaseMetrics, DatabaseSettings, DatabaseUrl, Examination, Leader, Lease,
    LeaseNow, LeaseTerms, LeaseTimes, Password, PostgresOptions, PostgresStore, SYSTEM_AUTHORITIES,
    Secret, Turn, UrlError, examine,
};
pub use record::{ChainHash, Epoch, Head, Position, Record};
pub use refill::Refill;
pub use segment::{pack, unpack};
pub use sled_store::{SledStore, StoreOptions};

/// The promises of a store. All calls block; all may be made from any thread.
pub trait Store: Send + Sync {
    /// Opens a new epoch, one above the newest, and makes it durable before
    /// it returns. From then on every older epoch is fenced out.
    fn open_epoch(&self) -> Result<Epoch>;

    /// The newest epoch, 0 before the first.
    fn epoch(&self) -> Result<Epoch>;

    /// Appends a batch of events, all of them or none, and returns the
    /// position that the next event will take. The batch is durable when the
    /// call returns, and only then visible to [`Store::read`].
    ///
    /// `expected_next` is where the caller believes its batch will start; it
    /// is refused with [`StoreError::UnexpectedPosition`] if someone else has
    /// appended since. An empty batch only checks epoch and position.
    ///
    /// After [`StoreError::Stopped`] or any failure of the disk it is unknown
    /// whether the batch was kept. The store then takes no more events until
    /// it has been opened again, and anyone who reads it then sees which it was.
    /// Until then it forgets no blob and no document either, for nobody knows
    /// what the log names.
    fn append(
        &self,
        epoch: Epoch,
        expected_next: Option<Position>,
        events: &[Vec<u8>],
    ) -> Result<Position>;

    /// Where the log ends.
    fn head(&self) -> Result<Head>;

    /// Where the log begins: the oldest position that [`Store::read`] can
    /// still give, and the hash of the record before it.
    fn begin(&self) -> Result<Head>;

    /// The oldest position that [`Store::read`] can still give.
    fn first(&self) -> Result<Position> {
        Ok(self.begin()?.next)
    }

    /// Up to `records_max` records from a position on, in order, each checked
    /// against its hash and the hash of the one before. A call may return
    /// fewer than asked ([`READ_BYTES_MAX`]), but none only at the end of the
    /// log or when `records_max` is 0.
    fn read(&self, from: Position, records_max: usize) -> Result<Vec<Record>>;

    /// Forgets the records before `first`, once a snapshot stands for them.
    /// The chain stays verifiable from there on. A `first` that is already
    /// forgotten changes nothing; one past the head is refused.
    fn trim(&self, epoch: Epoch, first: Position) -> Result<()>;

    /// Keeps these bytes under their hash; durable when it returns. Keeping
    /// the same bytes again is no error, and repairs a damaged copy.
    fn put_blob(&self, bytes: &[u8]) -> Result<BlobHash>;

    /// The bytes with this hash, if they are kept. They are hashed again on
    /// the way, so what is returned is what was named.
    fn blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>>;

    /// Whether a blob is kept. Its content is not looked at.
    fn has_blob(&self, hash: BlobHash) -> Result<bool>;

    /// Forgets a blob; whether there was one.
    fn remove_blob(&self, epoch: Epoch, hash: BlobHash) -> Result<bool>;

    /// Forgets several blobs; how many of them there were. After an error
    /// some may be gone.
    fn remove_blobs(&self, epoch: Epoch, hashes: &[BlobHash]) -> Result<usize> {
        let mut removed = 0;
        for hash in hashes {
            removed += usize::from(self.remove_blob(epoch, *hash)?);
        }
        Ok(removed)
    }

    /// The names of all blobs, sorted. 32 bytes of memory each.
    fn blobs(&self) -> Result<Vec<BlobHash>>;

    /// How many bytes of an upload have arrived, which is the offset at
    /// which it goes on; 0 if nothing is known of it.
    fn partial_bytes(&self, key: PartialKey) -> Result<u64>;

    /// Adds a chunk at the end of an upload and returns its new length. What
    /// was added survives a crash of the process, but need not survive a
    /// loss of power: the device keeps its copy until the blob that comes of
    /// it is acknowledged. Where there is no room for another upload, the one
    /// that nothing was added to for longest is dropped, the same device's
    /// before others'; its device begins it again.
    fn append_partial(&self, key: PartialKey, chunk: Chunk<'_>) -> Result<u64>;

    /// Makes the upload a blob, durable when it returns. If the bytes have
    /// another hash than declared, the upload is dropped and refused with
    /// [`PartialError::HashMismatch`]. Finishing again what has become a
    /// blob is no error.
    fn finish_partial(&self, key: PartialKey) -> Result<()>;

    /// Drops an upload; whether there was one.
    fn drop_partial(&self, key: PartialKey) -> Result<bool>;

    /// All uploads that are not whole, with the bytes they hold.
    fn partials(&self) -> Result<Vec<(PartialKey, u64)>>;

    /// Puts a named document in place of an earlier one, atomically; durable
    /// when it returns. A name is 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    fn put_document(&self, epoch: Epoch, name: &str, bytes: &[u8]) -> Result<()>;

    /// The document of this name, checked against the hash kept with it.
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// Forgets a document, durably; whether there was one. A damaged one goes
    /// too.
    fn remove_document(&self, epoch: Epoch, name: &str) -> Result<bool>;

    /// The names of all documents, sorted.
    fn documents(&self) -> Result<Vec<String>>;

    /// Whether a contribution would be refused now for want of room, without
    /// writing one.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] then.
    fn check_room(&self) -> Result<()> {
        Ok(())
    }

    /// How much room it takes. May look at every file.
    fn usage(&self) -> Result<Usage>;

    /// Reads the whole log and checks its chain; returns where it ends.
    /// Linear in the length of the log.
    fn verify(&self) -> Result<Head> {
        let head = self.head()?;
        let mut at = self.begin()?;
        while at.next < head.next {
            let records = match self.read(at.next, RECORDS_PER_STEP) {
                Ok(records) => records,
                // Forgotten while it was being read: what is left counts.
                Err(StoreError::Trimmed { .. }) => {
                    at = self.begin()?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if records.is_empty() {
                return Err(StoreError::corrupted(at.next, "the record is missing"));
            }
            for record in &records {
                at = at.follow(record)?;
            }
        }
        Ok(at)
    }
}

/// How much room a store takes, in bytes of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The log.
    pub log_bytes: u64,
    /// Blobs.
    pub blob_bytes: u64,
    /// How many blobs there are.
    pub blobs: u64,
    /// Documents, uploads that are not whole, and the rest.
    pub other_bytes: u64,
}

impl Usage {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.log_bytes + self.blob_bytes + self.other_bytes
    }
}

/// Longest event: one that names 32,000 devices. Anything larger is a blob,
/// named by the event.
pub const EVENT_BYTES_MAX: usize = 512 * 1024;
/// Most events in one batch.
pub const BATCH_EVENTS_MAX: usize = 1_024;
/// One read gives no more than this, beyond its first record.
pub const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest document.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest name of a document.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 64;

const RECORDS_PER_STEP: usize = 1_024;

const _: () = assert!(EVENT_BYTES_MAX < READ_BYTES_MAX);

/// Refuses a batch that is over a limit, before anything is written.
fn check_batch(events: &[Vec<u8>]) -> Result<()> {
    if events.len() > BATCH_EVENTS_MAX {
        return Err(StoreError::BatchTooLong {
            events: events.len(),
            events_max: BATCH_EVENTS_MAX,
        });
    }
    match events.iter().find(|event| event.len() > EVENT_BYTES_MAX) {
        Some(event) => Err(StoreError::EventTooLong {
            bytes: event.len(),
            bytes_max: EVENT_BYTES_MAX,
        }),
        None => Ok(()),
    }
}

/// Refuses a writer whose epoch is not the newest.
fn check_epoch(held: Epoch, newest: Epoch) -> Result<()> {
    if held == newest {
        Ok(())
    } else {
        Err(StoreError::Fenced { held, newest })
    }
}

/// Refuses a batch that would not start where its writer believes.
fn check_expected(expected: Option<Position>, next: Position) -> Result<()> {
    match expected {
        Some(expected) if expected != next => {
            Err(StoreError::UnexpectedPosition { expected, next })
        }
        _ => Ok(()),
    }
}

/// Refuses a blob longer than any device may offer.
fn check_blob(bytes: u64) -> Result<()> {
    if bytes > common::limits::BLOB_BYTES_MAX {
        return Err(StoreError::BlobTooLong {
            bytes,
            bytes_max: common::limits::BLOB_BYTES_MAX,
        });
    }
    Ok(())
}

/// Refuses a document's name or length; both become part of a file system.
fn check_document(name: &str, bytes: usize) -> Result<()> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if name.is_empty() || name.len() > DOCUMENT_NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(StoreError::DocumentName {
            name: name.chars().take(DOCUMENT_NAME_BYTES_MAX).collect(),
        });
    }
    if bytes > DOCUMENT_BYTES_MAX {
        return Err(StoreError::DocumentTooLong {
            name: name.to_owned(),
            bytes,
            bytes_max: DOCUMENT_BYTES_MAX,
        });
    }
    Ok(())
}
