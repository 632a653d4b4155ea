//! The blobs of a simulated coordinator: its own in memory, devices'
//! contributions in an unnamed file, so that memory does not grow with the
//! fleet.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use common::ids::BlobHash;

/// Blobs by name.
pub(super) struct BlobStore {
    own: BTreeMap<BlobHash, Vec<u8>>,
    spilled: BTreeMap<BlobHash, Span>,
    file: File,
    end: u64,
}

#[derive(Clone, Copy)]
struct Span {
    start: u64,
    bytes: usize,
}

impl BlobStore {
    /// An empty one. The file is gone when this is dropped, or killed.
    ///
    /// # Errors
    /// If no temporary file can be made.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            own: BTreeMap::new(),
            spilled: BTreeMap::new(),
            file: tempfile::tempfile()?,
            end: 0,
        })
    }

    /// Keeps a blob that many will read.
    pub(super) fn keep(&mut self, name: BlobHash, bytes: Vec<u8>) {
        self.own.insert(name, bytes);
    }

    /// Puts a contribution away.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn spill(&mut self, name: BlobHash, bytes: &[u8]) -> io::Result<()> {
        if self.own.contains_key(&name) || self.spilled.contains_key(&name) {
            return Ok(());
        }
        self.file.write_all_at(bytes, self.end)?;
        let span = Span {
            start: self.end,
            bytes: bytes.len(),
        };
        self.end += bytes.len() as u64;
        self.spilled.insert(name, span);
        Ok(())
    }

    /// A blob; none if it was never put here, or cannot be read back.
    pub(super) fn read(&self, name: BlobHash) -> Option<Vec<u8>> {
        if let Some(bytes) = self.own.get(&name) {
            return Some(bytes.clone());
        }
        let span = self.spilled.get(&name)?;
        let mut bytes = vec![0; span.bytes];
        self.file.read_exact_at(&mut bytes, span.start).ok()?;
        Some(bytes)
    }

    /// How long a blob is.
    pub(super) fn bytes(&self, name: BlobHash) -> Option<u64> {
        let own = self.own.get(&name).map(Vec::len);
        own.or_else(|| self.spilled.get(&name).map(|span| span.bytes))
            .map(|bytes| bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_put_away_comes_back_whole() {
        let mut blob_store = BlobStore::new().unwrap();
        let blobs = [vec![1u8; 10], vec![], vec![2u8; 100_000]];
        for bytes in &blobs {
            blob_store.spill(BlobHash::of(bytes), bytes).unwrap();
        }
        blob_store.keep(BlobHash::of(b"own"), b"own".to_vec());
        for bytes in &blobs {
            let name = BlobHash::of(bytes);
            assert_eq!(blob_store.read(name).as_ref(), Some(bytes));
            assert_eq!(blob_store.bytes(name), Some(bytes.len() as u64));
        }
        assert_eq!(blob_store.read(BlobHash::of(b"own")), Some(b"own".to_vec()));
        assert_eq!(blob_store.read(BlobHash::of(b"never")), None);
    }
}
