//! What fills an empty store with one that was kept elsewhere.

use common::ids::BlobHash;

use super::error::Result;
use super::record::{Epoch, Head, Record};
use super::refill::Refill;

/// A store that is being filled. It does not open until [`Fill::finish`]: what
/// a cut leaves behind cannot be taken for the whole.
pub trait Fill {
    /// Adds the next record as it was, with its epoch and its hashes.
    ///
    /// # Errors
    /// [`super::StoreError::Corrupted`] if it does not follow the one before.
    fn push(&mut self, record: Record) -> Result<()>;

    /// Keeps a blob, durable once [`Fill::finish`] returns.
    ///
    /// # Errors
    /// Those of the store.
    fn put_blob(&mut self, bytes: &[u8]) -> Result<BlobHash>;

    /// Keeps a document.
    ///
    /// # Errors
    /// Those of the store.
    fn put_document(&mut self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Opens a new epoch, above `epoch` and above that of every record, with
    /// which the store is whole. Durable when it returns.
    ///
    /// # Errors
    /// Those of the store, which does not open then.
    fn finish(self: Box<Self>, epoch: Epoch) -> Result<(Head, Epoch)>;
}

impl Fill for Refill {
    fn push(&mut self, record: Record) -> Result<()> {
        Self::push(self, record)
    }

    fn put_blob(&mut self, bytes: &[u8]) -> Result<BlobHash> {
        Self::put_blob(self, bytes)
    }

    fn put_document(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        Self::put_document(self, name, bytes)
    }

    fn finish(self: Box<Self>, epoch: Epoch) -> Result<(Head, Epoch)> {
        Self::finish(*self, epoch)
    }
}
