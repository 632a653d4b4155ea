//! A fleet's store copied to another place, and held against the first.

use serde::Serialize;

use super::copy::StoreCopy;
use super::error::BackupError;
use super::piece::PieceName;
use crate::journal::replay;
use crate::store::{DatabaseMetrics, Head, Store, StorePlace, unpack};

/// A store that was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Relocated {
    /// Where it was, and is not opened any more.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// Number of the log's first record.
    pub first: u64,
    /// Number that the log's next record takes.
    pub next: u64,
    /// Hash of the log's last record.
    pub hash: String,
    /// The epoch of the copy, above all before.
    pub epoch: u32,
    /// How many blobs there are.
    pub blobs: u64,
    /// How many documents there are.
    pub documents: u64,
}

/// Copies a store to a place that has none, reads the copy as a whole and
/// compares it, and closes the first for good. Nobody writes meanwhile: the
/// copy begins with an epoch of its own. `seen` is told the parts done, of
/// so many in all. Uploads that are not whole stay behind; their devices
/// have them.
///
/// # Errors
/// [`StoreError::NotEmpty`](crate::store::StoreError::NotEmpty),
/// [`StoreError::Locked`](crate::store::StoreError::Locked) while a coordinator runs
/// on the first, [`StoreError::Fenced`](crate::store::StoreError::Fenced) if one was started on it meanwhile;
/// [`BackupError::Unlike`] if the copy is not the first. The first store can
/// be used as before in all these cases.
pub fn relocate(
    from: &StorePlace,
    to: &StorePlace,
    seen: &mut dyn FnMut(u64, u64),
) -> Result<Relocated, BackupError> {
    if from == to {
        return Err(BackupError::SamePlace {
            place: from.to_string(),
        });
    }
    let opened = from.open_here(&DatabaseMetrics::default())?;
    let source = opened.as_store();
    if source.head()? == Head::START && source.blobs()?.is_empty() {
        return Err(BackupError::NothingThere {
            place: from.to_string(),
        });
    }
    let epoch = source.open_epoch()?;
    let mut copy = StoreCopy::begin(source)?;
    let contents = copy.contents().clone();
    let parts = contents.records() + contents.blobs + contents.documents;
    let mut filling = to.fill(source.begin()?)?;
    let mut done = 0;
    while let Some((name, bytes)) = copy.next(source)? {
        match name {
            PieceName::Log(from) => {
                for record in unpack(from, &bytes)? {
                    filling.push(record)?;
                    done += 1;
                }
            }
            PieceName::Blob(_) => {
                filling.put_blob(&bytes)?;
                done += 1;
            }
            PieceName::Document(name) => {
                filling.put_document(&name, &bytes)?;
                done += 1;
            }
            PieceName::State(_) => {}
        }
        seen(done, 2 * parts);
    }
    let (head, newest) = filling.finish(epoch)?;
    let made = to.open_here(&DatabaseMetrics::default())?;
    compare(source, made.as_store(), &mut |compared| {
        seen(parts + compared, 2 * parts);
    })?;
    drop(made);
    // Whoever has written to it since has an epoch above.
    source.append(epoch, Some(head.next), &[])?;
    opened.retire(epoch, to)?;
    Ok(Relocated {
        from: from.to_string(),
        to: to.to_string(),
        first: contents.first,
        next: head.next.0,
        hash: head.hash.to_string(),
        epoch: newest.0,
        blobs: contents.blobs,
        documents: contents.documents,
    })
}

/// Reads both, and finds the same log, blobs and documents, each with its
/// hashes, and a log that folds to a state.
fn compare(
    one: &dyn Store,
    other: &dyn Store,
    seen: &mut dyn FnMut(u64),
) -> Result<(), BackupError> {
    let unlike = |what: &str| BackupError::Unlike {
        what: what.to_owned(),
    };
    // A copy of the last record's hash stands for all before it.
    if other.verify()? != one.head()? || other.begin()? != one.begin()? {
        return Err(unlike("the log"));
    }
    let mut compared = one.head()?.next.0 - one.begin()?.next.0;
    seen(compared);
    let blobs = one.blobs()?;
    if blobs != other.blobs()? {
        return Err(unlike("the list of blobs"));
    }
    for blob in blobs {
        // Reading it is hashing it.
        if other.blob(blob)?.is_none() {
            return Err(unlike(&format!("blob {blob}")));
        }
        compared += 1;
        seen(compared);
    }
    let documents = one.documents()?;
    if documents != other.documents()? {
        return Err(unlike("the list of documents"));
    }
    for name in documents {
        if one.document(&name)? != other.document(&name)? {
            return Err(unlike(&format!("document {name}")));
        }
        compared += 1;
        seen(compared);
    }
    replay(other)?;
    Ok(())
}
