//! Uploads that are not yet whole: their names, their limits and the table
//! that keeps them.

use std::collections::BTreeMap;

use common::ids::{BlobHash, DeviceId};
use common::limits::BLOB_BYTES_MAX;

/// The name of an upload. The device is part of it, so that no device can
/// spoil or finish what another one has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartialKey {
    /// Who uploads.
    pub device: DeviceId,
    /// The hash that the whole is declared to have.
    pub hash: BlobHash,
}

/// The next piece of an upload.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The length that the whole is declared to have.
    pub declared_bytes: u64,
    /// Where the piece starts; always the end of what has arrived.
    pub offset: u64,
    /// The piece.
    pub bytes: &'a [u8],
}

/// How much may wait to become whole.
#[derive(Clone, Copy, Debug)]
pub struct PartialLimits {
    /// Most uploads, of all devices.
    pub count_max: usize,
    /// Most uploads of one device.
    pub device_count_max: usize,
    /// Most bytes, of all uploads.
    pub bytes_max: u64,
}

impl Default for PartialLimits {
    /// 16,384 uploads, 8 of one device, 4 GiB in all.
    fn default() -> Self {
        Self {
            count_max: 16_384,
            device_count_max: 8,
            bytes_max: 4 << 30,
        }
    }
}

/// Why a peer's upload was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartialError {
    /// The declared length is over the limit.
    #[error("an upload of {declared} bytes is longer than {bytes_max}")]
    TooLong {
        /// What was declared.
        declared: u64,
        /// The longest allowed.
        bytes_max: u64,
    },
    /// More bytes than were declared.
    #[error("an upload declared as {declared} bytes would grow to {bytes}")]
    BeyondDeclared {
        /// What was declared.
        declared: u64,
        /// What it would have become.
        bytes: u64,
    },
    /// The chunk does not start where the upload ends.
    #[error("expected the chunk at offset {expected}, got one at {got}")]
    Offset {
        /// Where the upload ends.
        expected: u64,
        /// Where the chunk starts.
        got: u64,
    },
    /// The bytes are not those that were declared.
    #[error("an upload declared as {declared} hashes to {actual}; it is dropped")]
    HashMismatch {
        /// The declared hash.
        declared: BlobHash,
        /// The hash of what arrived.
        actual: BlobHash,
    },
    /// Nothing is known of this upload.
    #[error("no upload of {hash} by {device} is open")]
    Unknown {
        /// Who was to have uploaded it.
        device: DeviceId,
        /// Its declared hash.
        hash: BlobHash,
    },
    /// The upload is being made a blob at this moment.
    #[error("the upload of {hash} is being finished")]
    Busy {
        /// Its declared hash.
        hash: BlobHash,
    },
    /// Too many uploads are open.
    #[error("{count_max} uploads are open, which is the most allowed")]
    TooMany {
        /// The limit that was met, in all or for this device.
        count_max: usize,
    },
    /// The open uploads hold too many bytes.
    #[error("open uploads would hold more than {bytes_max} bytes")]
    TooManyBytes {
        /// The limit.
        bytes_max: u64,
    },
}

/// What is known of all uploads, wherever their bytes are kept.
#[derive(Debug)]
pub(super) struct PartialTable {
    limits: PartialLimits,
    entries: BTreeMap<PartialKey, Entry>,
    bytes: u64,
    touches: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    bytes: u64,
    /// How many times any upload had grown when this one last did.
    touched: u64,
    finishing: bool,
}

impl PartialTable {
    pub(super) fn new(limits: PartialLimits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            bytes: 0,
            touches: 0,
        }
    }

    /// Bytes that have arrived, 0 for an unknown upload.
    pub(super) fn bytes(&self, key: PartialKey) -> u64 {
        self.entries.get(&key).map_or(0, |entry| entry.bytes)
    }

    pub(super) fn list(&self) -> Vec<(PartialKey, u64)> {
        let all = self.entries.iter();
        all.map(|(key, entry)| (*key, entry.bytes)).collect()
    }

    /// Whether this chunk may be added, and which uploads have to make way for
    /// it: those that nothing was added to for longest, a device's own before
    /// others'. An upload that its device gave up would otherwise take room for
    /// good. Changes nothing. Linear in the uploads where a limit is met.
    pub(super) fn check(
        &self,
        key: PartialKey,
        chunk: &Chunk<'_>,
    ) -> Result<Vec<PartialKey>, PartialError> {
        if chunk.declared_bytes > BLOB_BYTES_MAX {
            return Err(PartialError::TooLong {
                declared: chunk.declared_bytes,
                bytes_max: BLOB_BYTES_MAX,
            });
        }
        let entry = self.entries.get(&key);
        if entry.is_some_and(|entry| entry.finishing) {
            return Err(PartialError::Busy { hash: key.hash });
        }
        let arrived = entry.map_or(0, |entry| entry.bytes);
        if chunk.offset != arrived {
            return Err(PartialError::Offset {
                expected: arrived,
                got: chunk.offset,
            });
        }
        let bytes = arrived.saturating_add(chunk.bytes.len() as u64);
        if bytes > chunk.declared_bytes {
            return Err(PartialError::BeyondDeclared {
                declared: chunk.declared_bytes,
                bytes,
            });
        }
        let mut leaving = Vec::new();
        if entry.is_none() {
            self.make_way_for_one(key.device, &mut leaving)?;
        }
        self.make_way_for_bytes(key, chunk.bytes.len() as u64, bytes, &mut leaving)?;
        Ok(leaving)
    }

    fn make_way_for_one(
        &self,
        device: DeviceId,
        leaving: &mut Vec<PartialKey>,
    ) -> Result<(), PartialError> {
        let hash = |byte| BlobHash([byte; 32]);
        let (least, most) = (hash(0), hash(255));
        let of_device = PartialKey {
            device,
            hash: least,
        }..=PartialKey { device, hash: most };
        let own = self.entries.range(of_device);
        let (limit, oldest) = if own.clone().count() >= self.limits.device_count_max {
            (self.limits.device_count_max, oldest_idle(own))
        } else if self.entries.len() >= self.limits.count_max {
            (self.limits.count_max, oldest_idle(self.entries.iter()))
        } else {
            return Ok(());
        };
        leaving.push(oldest.ok_or(PartialError::TooMany { count_max: limit })?);
        Ok(())
    }

    /// `added` bytes come, after which the upload holds `whole`.
    fn make_way_for_bytes(
        &self,
        key: PartialKey,
        added: u64,
        whole: u64,
        leaving: &mut Vec<PartialKey>,
    ) -> Result<(), PartialError> {
        let bytes_max = self.limits.bytes_max;
        if whole > bytes_max {
            return Err(PartialError::TooManyBytes { bytes_max });
        }
        let mut held = self.bytes + added;
        for left in leaving.iter() {
            held -= self.bytes(*left);
        }
        while held > bytes_max {
            let others = self.entries.iter();
            let others = others.filter(|(other, _)| **other != key && !leaving.contains(other));
            let oldest = oldest_idle(others).ok_or(PartialError::TooManyBytes { bytes_max })?;
            held -= self.bytes(oldest);
            leaving.push(oldest);
        }
        Ok(())
    }

    /// Notes how long an upload has become.
    pub(super) fn set(&mut self, key: PartialKey, bytes: u64) {
        self.touches += 1;
        let entry = self.entries.entry(key).or_default();
        self.bytes = self.bytes - entry.bytes + bytes;
        entry.bytes = bytes;
        entry.touched = self.touches;
    }

    /// Keeps others away from an upload while it is made a blob.
    pub(super) fn begin_finish(&mut self, key: PartialKey) -> Result<(), PartialError> {
        let PartialKey { device, hash } = key;
        let entry = self.entries.get_mut(&key);
        let entry = entry.ok_or(PartialError::Unknown { device, hash })?;
        if entry.finishing {
            return Err(PartialError::Busy { hash });
        }
        entry.finishing = true;
        Ok(())
    }

    /// Opens an upload again that could not be made a blob.
    pub(super) fn abandon_finish(&mut self, key: PartialKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.finishing = false;
        }
    }

    /// Forgets an upload; whether there was one.
    pub(super) fn remove(&mut self, key: PartialKey) -> bool {
        let removed = self.entries.remove(&key);
        self.bytes -= removed.map_or(0, |entry| entry.bytes);
        removed.is_some()
    }

    /// Refuses to touch an upload that is being finished.
    pub(super) fn check_idle(&self, key: PartialKey) -> Result<(), PartialError> {
        match self.entries.get(&key) {
            Some(entry) if entry.finishing => Err(PartialError::Busy { hash: key.hash }),
            _ => Ok(()),
        }
    }
}

/// The upload that nothing was added to for longest, of those that may go.
fn oldest_idle<'a>(
    entries: impl Iterator<Item = (&'a PartialKey, &'a Entry)>,
) -> Option<PartialKey> {
    let idle = entries.filter(|(_, entry)| !entry.finishing);
    let oldest = idle.min_by_key(|(_, entry)| entry.touched);
    oldest.map(|(key, _)| *key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(device: u8, hash: u8) -> PartialKey {
        PartialKey {
            device: DeviceId([device; 16]),
            hash: BlobHash([hash; 32]),
        }
    }

    fn chunk(bytes: &[u8]) -> Chunk<'_> {
        Chunk {
            declared_bytes: 10,
            offset: 0,
            bytes,
        }
    }

    fn table() -> PartialTable {
        PartialTable::new(PartialLimits {
            count_max: 3,
            device_count_max: 2,
            bytes_max: 12,
        })
    }

    #[test]
    fn a_device_makes_way_for_itself_before_others_do() {
        let mut table = table();
        table.set(key(1, 255), 1);
        table.set(key(2, 9), 1);
        table.set(key(1, 0), 1);
        // Its own that nothing was added to for longest.
        let leaving = table.check(key(1, 9), &chunk(b"x"));
        assert_eq!(leaving, Ok(vec![key(1, 255)]));
        // What grows is no longer the oldest.
        table.set(key(1, 255), 2);
        let leaving = table.check(key(1, 9), &chunk(b"x"));
        assert_eq!(leaving, Ok(vec![key(1, 0)]));
        // A device with room of its own, where all the room is taken.
        let leaving = table.check(key(3, 9), &chunk(b"x"));
        assert_eq!(leaving, Ok(vec![key(2, 9)]));
        assert!(table.remove(key(2, 9)));
        assert_eq!(table.check(key(3, 9), &chunk(b"x")), Ok(vec![]));
    }

    #[test]
    fn uploads_that_are_being_finished_do_not_make_way() {
        let mut table = table();
        for hash in [0, 255] {
            table.set(key(1, hash), 1);
            table.begin_finish(key(1, hash)).unwrap();
        }
        assert_eq!(
            table.check(key(1, 9), &chunk(b"x")),
            Err(PartialError::TooMany { count_max: 2 })
        );
    }

    #[test]
    fn the_bytes_of_all_uploads_are_bounded_and_given_back() {
        let mut table = table();
        table.set(key(1, 1), 8);
        let leaving = table.check(key(2, 2), &chunk(b"12345"));
        assert_eq!(leaving, Ok(vec![key(1, 1)]));
        table.begin_finish(key(1, 1)).unwrap();
        assert_eq!(
            table.check(key(2, 2), &chunk(b"12345")),
            Err(PartialError::TooManyBytes { bytes_max: 12 })
        );
        table.remove(key(1, 1));
        assert_eq!(table.check(key(2, 2), &chunk(b"12345")), Ok(vec![]));
        // No room is made for what never fits.
        table.set(key(1, 1), 4);
        let much = Chunk {
            declared_bytes: 20,
            offset: 0,
            bytes: &[0; 13],
        };
        assert_eq!(
            table.check(key(2, 2), &much),
            Err(PartialError::TooManyBytes { bytes_max: 12 })
        );
    }

    #[test]
    fn an_upload_is_left_alone_while_it_is_finished() {
        let mut table = table();
        table.set(key(1, 1), 0);
        table.begin_finish(key(1, 1)).unwrap();
        let busy = Err(PartialError::Busy {
            hash: key(1, 1).hash,
        });
        assert_eq!(table.check(key(1, 1), &chunk(b"x")).map(drop), busy);
        assert_eq!(table.begin_finish(key(1, 1)), busy);
        assert_eq!(table.check_idle(key(1, 1)), busy);
        table.abandon_finish(key(1, 1));
        assert_eq!(table.check(key(1, 1), &chunk(b"x")), Ok(vec![]));
    }
}
