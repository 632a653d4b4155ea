//! A fold as a document of the store.

use common::ids::{BlobHash, TaskHash};
use common::wire::codec;

use super::fold::{Fold, ReplayError};
use crate::store::{Head, Position, Store, StoreError};

/// The format that this version writes. A change of anything that a [`Fold`]
/// holds is a new format; a test holds the bytes of one against a committed
/// file. Formats that were released have to stay readable.
pub const SNAPSHOT_VERSION: u32 = 1;

/// A snapshot that a start does not go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The document.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The newest snapshot that a log goes by, or the empty fold it begins with.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it holds.
    pub fold: Fold,
    /// Its document; none if the log is folded from its beginning.
    pub name: Option<String>,
    /// Newer ones that are no good.
    pub refused: Vec<Refused>,
}

/// Why bytes are no snapshot.
#[derive(Debug)]
enum Fault {
    Newer(u32),
    Other(String),
}

/// The newest snapshot that is whole and lies on the chain of this log. A
/// log that begins with its first record needs none.
///
/// # Errors
/// [`ReplayError::SnapshotNewer`] and [`ReplayError::SnapshotLost`], and
/// those of the store; a damaged snapshot is no error while an older one or
/// the whole log is there.
pub fn newest(store: &dyn Store) -> Result<Loaded, ReplayError> {
    let mut refused = Vec::new();
    for (at, name) in names(store)?.into_iter().rev() {
        let reason = match load(store, &name)? {
            Ok(fold) if fold.head.next != at => "it stands for another record".to_owned(),
            Ok(fold) => match mismatch(store, fold.head)? {
                None => {
                    let name = Some(name);
                    return Ok(Loaded {
                        fold,
                        name,
                        refused,
                    });
                }
                Some(reason) => reason,
            },
            Err(Fault::Newer(version)) => {
                let known = SNAPSHOT_VERSION;
                return Err(ReplayError::SnapshotNewer {
                    name,
                    version,
                    known,
                });
            }
            Err(Fault::Other(reason)) => reason,
        };
        refused.push(Refused { name, reason });
    }
    let first = store.first()?;
    if first == Position(0) {
        let (fold, name) = (Fold::default(), None);
        return Ok(Loaded {
            fold,
            name,
            refused,
        });
    }
    let told: Vec<_> = refused
        .iter()
        .map(|one| format!("{} is no good ({})", one.name, one.reason))
        .collect();
    let refused = match told.is_empty() {
        true => "there is none".to_owned(),
        false => told.join(", "),
    };
    Err(ReplayError::SnapshotLost { first, refused })
}

/// The tasks that a snapshot holds with the blobs that define them, if these bytes
/// are one.
pub fn tasks_of(bytes: &[u8]) -> Option<(Head, Vec<(TaskHash, BlobHash)>)> {
    let fold = decode(bytes).ok()?;
    let states = fold.states.iter();
    let specs = states.filter_map(|(task, state)| Some((*task, state.spec?)));
    Some((fold.head, specs.collect()))
}

/// Whether a document of this name is a snapshot.
pub fn is_snapshot(name: &str) -> bool {
    position(name).is_some()
}

/// Where the log goes on after the newest snapshot, if there is one. It is not
/// looked at.
///
/// # Errors
/// Those of the store.
pub fn newest_position(store: &dyn Store) -> Result<Option<Position>, StoreError> {
    Ok(names(store)?.last().map(|(at, _)| *at))
}

/// The snapshots that there are, by where their logs go on, oldest first.
pub(super) fn names(store: &dyn Store) -> Result<Vec<(Position, String)>, StoreError> {
    let names = store.documents()?.into_iter();
    let mut found: Vec<_> = names
        .filter_map(|name| Some((position(&name)?, name)))
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// The name of the snapshot after which the log goes on here.
pub(super) fn name(next: Position) -> String {
    format!("{PREFIX}{:020}", next.0)
}

pub(super) fn encode(fold: &Fold) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&codec::encode(fold));
    bytes
}

/// Whether the document of this name is this very fold, on this log.
pub(super) fn proves(store: &dyn Store, name: &str, fold: &Fold) -> Result<bool, ReplayError> {
    let is_same = load(store, name)?.is_ok_and(|kept| kept == *fold);
    Ok(is_same && mismatch(store, fold.head)?.is_none())
}

/// Whether a start could go by the snapshot of this name.
pub(super) fn is_good(store: &dyn Store, name: &str) -> Result<bool, ReplayError> {
    match load(store, name)? {
        Ok(fold) => Ok(self::name(fold.head.next) == name && mismatch(store, fold.head)?.is_none()),
        Err(_) => Ok(false),
    }
}

fn load(store: &dyn Store, name: &str) -> Result<Result<Fold, Fault>, StoreError> {
    match store.document(name) {
        Ok(Some(bytes)) => Ok(decode(&bytes)),
        Ok(None) => Ok(Err(Fault::Other("it is gone".to_owned()))),
        Err(error @ StoreError::DocumentDamaged { .. }) => Ok(Err(Fault::Other(error.to_string()))),
        Err(error) => Err(error),
    }
}

fn decode(bytes: &[u8]) -> Result<Fold, Fault> {
    let other = |reason: &str| Fault::Other(reason.to_owned());
    let rest = bytes.strip_prefix(MAGIC);
    let rest = rest.ok_or_else(|| other("it does not begin as a snapshot"))?;
    let Some((version, body)) = rest.split_first_chunk::<4>() else {
        return Err(other("it is cut off"));
    };
    match u32::from_le_bytes(*version) {
        SNAPSHOT_VERSION => {
            codec::decode_blob(body).map_err(|error| Fault::Other(error.to_string()))
        }
        version if version > SNAPSHOT_VERSION => Err(Fault::Newer(version)),
        version => Err(Fault::Other(format!("format {version} never was one"))),
    }
}

/// What keeps a log from going on after this record.
fn mismatch(store: &dyn Store, at: Head) -> Result<Option<String>, StoreError> {
    let (begin, end) = (store.begin()?, store.head()?);
    let hash = if at.next < begin.next {
        return Ok(Some(format!(
            "it ends with record {}, the log begins with {}",
            at.next.0.saturating_sub(1),
            begin.next
        )));
    } else if at.next > end.next {
        return Ok(Some(format!(
            "it knows {} records, the log has only {}",
            at.next, end.next
        )));
    } else if at.next == begin.next {
        begin.hash
    } else if at.next == end.next {
        end.hash
    } else {
        let record = store.read(at.next, 1)?;
        let missing = || StoreError::corrupted(at.next, "the record is missing");
        record.first().ok_or_else(missing)?.previous
    };
    Ok((hash != at.hash).then(|| "it is of another log".to_owned()))
}

fn position(name: &str) -> Option<Position> {
    let digits = name.strip_prefix(PREFIX)?;
    let next = Position(digits.parse().ok()?);
    (self::name(next) == name).then_some(next)
}

const PREFIX: &str = "snapshot-";
const MAGIC: &[u8] = b"alambic-snapshot";
