//! What can go wrong with a store, and what a person can do about it.

use std::io;
use std::path::{Path, PathBuf};

use common::ids::BlobHash;

use super::partial::PartialError;
use super::postgres::DatabaseError;
use super::record::{Epoch, Position};

/// The result of a call to a store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer writer has taken over. This one must stop.
    #[error(
        "this writer holds epoch {held}, but epoch {newest} has been opened since; it must stop"
    )]
    Fenced {
        /// The epoch of the refused writer.
        held: Epoch,
        /// The newest epoch.
        newest: Epoch,
    },
    /// The log is not where the writer believed.
    #[error("expected to append at position {expected}, but the log continues at {next}")]
    UnexpectedPosition {
        /// Where the writer wanted to append.
        expected: Position,
        /// Where the log continues.
        next: Position,
    },
    /// An event that should have been a blob.
    #[error("an event of {bytes} bytes is longer than {bytes_max}; large payloads are blobs")]
    EventTooLong {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// Too many events in one batch.
    #[error("a batch of {events} events is longer than {events_max}")]
    BatchTooLong {
        /// How many there were.
        events: usize,
        /// The most allowed.
        events_max: usize,
    },
    /// These records were forgotten after a snapshot.
    #[error("position {from} is forgotten; the log starts at {first}, read the snapshot instead")]
    Trimmed {
        /// What was asked for.
        from: Position,
        /// Where the log starts.
        first: Position,
    },
    /// A trim past the end of the log.
    #[error("cannot forget up to position {first}: the log ends at {next}")]
    TrimPastHead {
        /// What should have become the first position.
        first: Position,
        /// Where the log continues.
        next: Position,
    },
    /// Records that were acknowledged are gone.
    #[error(
        "the log in {path} ends at position {found}, but {expected} was reached: acknowledged \
         records are lost; restore a backup, or create the file {path}/accept-loss and start \
         again to go on without them"
    )]
    TailLost {
        /// The next position according to the high-water mark.
        expected: Position,
        /// The next position according to the log.
        found: Position,
        /// The store's directory.
        path: PathBuf,
    },
    /// The database went back, or is another.
    #[error(
        "the database's log is at position {found} in epoch {found_epoch}, but this coordinator \
         had seen {expected} in epoch {expected_epoch}: acknowledged records are lost, or it is \
         another database; bring the database to its newest state, name the right one in \
         store.url, or create the file {path}/accept-loss and start again to go on without them"
    )]
    Behind {
        /// The next position that was seen.
        expected: Position,
        /// The epoch that was seen.
        expected_epoch: Epoch,
        /// The next position of the log.
        found: Position,
        /// Its epoch.
        found_epoch: Epoch,
        /// The folder of what this coordinator remembers.
        path: PathBuf,
    },
    /// Another coordinator leads.
    #[error(
        "{name} leads on this database for another {left_ms} ms at least: stop it first, or let \
         all coordinators on it take turns by store.lease"
    )]
    Led {
        /// What it calls itself.
        name: String,
        /// How long its lease lasts still.
        left_ms: u64,
    },
    /// The store went elsewhere.
    #[error(
        "this store was moved by `store copy`; {path} says where, use the one there. To go on here \
         all the same, and lose what was written there, remove that file"
    )]
    Moved {
        /// The file that says where.
        path: PathBuf,
    },
    /// What is to be filled holds something.
    #[error("{what} holds a store already, and a copy replaces nothing: {advice}")]
    NotEmpty {
        /// What is not empty.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// The configured store is empty, and there is another.
    #[error(
        "the configured store is empty, while the store of the state directory {state} is in \
         {place}: `alambic-coordinator store copy` moves it; if a new fleet is to begin, begin it \
         in a new state directory"
    )]
    Elsewhere {
        /// Where the other is.
        place: &'static str,
        /// The state directory.
        state: PathBuf,
    },
    /// The database.
    #[error(transparent)]
    Database(DatabaseError),
    /// The high-water mark is missing or unreadable beside a log that is not
    /// empty, so nobody can tell whether its tail is lost.
    #[error(
        "the high-water mark {path} {reason}, so a lost tail of the log would go unnoticed; \
         restore a backup, or create the file accept-loss beside it and start again to trust \
         the log as it is"
    )]
    Mark {
        /// The file of the mark.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A record is not what was written, or not there.
    #[error(
        "the log is damaged at position {position}: {reason}; restore a backup, or create the \
         file accept-loss in the store's directory and start again to cut the log there"
    )]
    Corrupted {
        /// The first record that is wrong.
        position: Position,
        /// What is wrong with it.
        reason: String,
    },
    /// A blob's bytes no longer have the hash in its name.
    #[error(
        "blob {hash} is damaged: its bytes hash to {actual}; restore it from a backup; with sled \
         it is the file of that name under blobs in the store"
    )]
    BlobDamaged {
        /// Its name.
        hash: BlobHash,
        /// The hash of what was found.
        actual: BlobHash,
    },
    /// A blob longer than any may be.
    #[error("a blob of {bytes} bytes is longer than {bytes_max}")]
    BlobTooLong {
        /// Its length.
        bytes: u64,
        /// The longest allowed.
        bytes_max: u64,
    },
    /// The peer's upload is not acceptable.
    #[error(transparent)]
    Partial(#[from] PartialError),
    /// Not a name for a document.
    #[error("{name:?} is not a document's name: 1 to 64 of a-z, 0-9, - and _")]
    DocumentName {
        /// What was given, cut to 64 characters.
        name: String,
    },
    /// A document longer than any may be.
    #[error("document {name} of {bytes} bytes is longer than {bytes_max}")]
    DocumentTooLong {
        /// Its name.
        name: String,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// A document's bytes no longer have the hash kept with them.
    #[error("document {name} in {path} is damaged; restore it from a backup, or remove the file")]
    DocumentDamaged {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// Another process has the store open.
    #[error("{path} is in use by another process{holder}; stop it first")]
    Locked {
        /// The store's directory.
        path: PathBuf,
        /// ` (pid N)` when the holder has said who it is.
        holder: String,
    },
    /// The directory cannot be created or written.
    #[error("cannot write in {path}: {source}; check its owner, its permissions and the mount")]
    NotWritable {
        /// The store's directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The disk has no room.
    #[error("the disk under {path} is full; free some space, nothing acknowledged is lost")]
    DiskFull {
        /// Where there is no room.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The embedded database cannot go on.
    #[error(
        "the log's database in {path} failed: {reason}; start again, and if this repeats \
         keep a copy of the folder before you restore a backup"
    )]
    Engine {
        /// Its directory.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
    /// An earlier failure left it unknown what the disk holds.
    #[error("the log takes no more events after an earlier failure ({reason}); start again")]
    Stopped {
        /// The earlier failure.
        reason: String,
    },
}

impl StoreError {
    /// Wraps an error of the operating system. `action` is a verb, such as
    /// `write`. A full disk becomes [`StoreError::DiskFull`].
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// A damaged record.
    pub(crate) fn corrupted(position: Position, reason: impl Into<String>) -> Self {
        Self::Corrupted {
            position,
            reason: reason.into(),
        }
    }
}
