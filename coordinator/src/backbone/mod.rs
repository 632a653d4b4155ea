//! Frozen models that tasks send their inputs through: which the store holds, and
//! what one makes of a task's inputs.
//!
//! The file is a blob; a document beside it says that it stays although no task
//! may name it yet.

#[cfg(feature = "onnx")]
mod measure;
#[cfg(not(feature = "onnx"))]
mod no_runtime;

use common::ids::{BlobHash, Time};
use common::wire::codec::{decode_blob, encode};
use serde::{Deserialize, Serialize};

use crate::store::{Epoch, Store, StoreError};

#[cfg(feature = "onnx")]
pub use measure::{checked, measured};
#[cfg(not(feature = "onnx"))]
pub use no_runtime::{checked, measured};

/// A model that the store holds.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode, Serialize, Deserialize)]
pub struct BackboneFile {
    /// Its name everywhere but in front of people.
    pub model: BlobHash,
    /// What its file was called.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was added.
    pub added: Time,
}

/// The models that the store holds, oldest first.
///
/// # Errors
/// As the store's, and if a document does not decode.
pub fn list(store: &dyn Store) -> Result<Vec<BackboneFile>, StoreError> {
    let mut found = Vec::new();
    for name in store.documents()? {
        if !name.starts_with(PREFIX) {
            continue;
        }
        if let Some(bytes) = store.document(&name)? {
            let file = decode_blob::<BackboneFile>(&bytes);
            found.push(file.map_err(|_| StoreError::DocumentDamaged {
                path: name.clone().into(),
                name,
            })?);
        }
    }
    found.sort_by(|one: &BackboneFile, other| {
        (one.added, one.model).cmp(&(other.added, other.model))
    });
    Ok(found)
}

/// Holds on to a model, whose blob is kept already. One that is there stays as it
/// was, its name aside.
///
/// # Errors
/// Those of the store.
pub fn hold(store: &dyn Store, epoch: Epoch, file: &BackboneFile) -> Result<(), StoreError> {
    store.put_document(epoch, &document(file.model), &encode(file))
}

/// Lets go of a model; whether it was there. Its blob goes with the next sweep.
///
/// # Errors
/// Those of the store.
pub fn release(store: &dyn Store, epoch: Epoch, model: BlobHash) -> Result<bool, StoreError> {
    store.remove_document(epoch, &document(model))
}

/// Half of the hash tells models apart; the whole stands in the document.
fn document(model: BlobHash) -> String {
    format!("{PREFIX}{}", &model.to_string()[..32])
}

/// How the names of these documents begin.
const PREFIX: &str = "backbone-";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn models_are_listed_until_they_are_let_go_of() {
        let store = MemoryStore::new();
        let epoch = store.open_epoch().unwrap();
        assert_eq!(list(&store).unwrap(), []);
        let file = |name: &str, added| BackboneFile {
            model: BlobHash::of(name.as_bytes()),
            name: name.to_owned(),
            bytes: 7,
            added: Time(added),
        };
        let (one, other) = (file("one", 9), file("other", 3));
        hold(&store, epoch, &one).unwrap();
        hold(&store, epoch, &other).unwrap();
        hold(&store, epoch, &one).unwrap();
        store.put_document(epoch, "another", b"x").unwrap();
        assert_eq!(list(&store).unwrap(), [other.clone(), one.clone()]);
        assert!(release(&store, epoch, one.model).unwrap());
        assert!(!release(&store, epoch, one.model).unwrap());
        assert_eq!(list(&store).unwrap(), [other]);
        store.put_document(epoch, "backbone-00", b"x").unwrap();
        let error = list(&store).unwrap_err();
        assert!(
            matches!(error, StoreError::DocumentDamaged { .. }),
            "{error}"
        );
    }
}
