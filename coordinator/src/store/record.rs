//! One record of the event log, and the chain of hashes that ties it to the
//! one before.

use std::fmt;

use bincode::{Decode, Encode};

use super::error::{Result, StoreError};

/// The number of a record, counted from 0 over the life of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Position(pub u64);

impl Position {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        self.after(1)
    }

    /// The position `records` further on.
    #[must_use]
    pub fn after(self, records: usize) -> Self {
        Self(self.0 + records as u64)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the lives of the store: anyone who starts to write opens the next
/// one. 0 before the first. Releases are ordered by it too, see
/// [`common::ids::Version`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hash of a record, and through it of all before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What the first record of a log names as the one before.
    pub const START: Self = Self([0; 32]);
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainHash({})", hex::encode(&self.0[..4]))
    }
}

/// Where a log ends, or where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// The position that the next record takes.
    pub next: Position,
    /// The hash of the record before it.
    pub hash: ChainHash,
}

impl Head {
    /// The head of an empty log.
    pub const START: Self = Self {
        next: Position(0),
        hash: ChainHash::START,
    };

    /// The head once `record` stands at its end, if the record does continue
    /// the log; otherwise the record is damaged, missing or another's.
    pub(crate) fn follow(self, record: &Record) -> Result<Self> {
        if record.position != self.next {
            return Err(StoreError::corrupted(self.next, "the record is missing"));
        }
        if record.previous != self.hash {
            return Err(StoreError::corrupted(
                self.next,
                format!(
                    "it names {} as the record before it, which has {}",
                    record.previous, self.hash
                ),
            ));
        }
        Ok(Self {
            next: record.position.next(),
            hash: record.hash(),
        })
    }
}

/// One event as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub position: Position,
    /// The epoch of its writer.
    pub epoch: Epoch,
    /// The hash of the record before it.
    pub previous: ChainHash,
    /// The event.
    pub bytes: Vec<u8>,
}

impl Record {
    /// The record that continues a log with this event.
    pub(super) fn after(head: Head, epoch: Epoch, bytes: &[u8]) -> Self {
        Self {
            position: head.next,
            epoch,
            previous: head.hash,
            bytes: bytes.to_vec(),
        }
    }

    /// BLAKE3 over position, epoch, previous hash and event, under a key of
    /// this purpose alone. The first three have fixed lengths, so no two
    /// records are hashed from the same bytes.
    pub fn hash(&self) -> ChainHash {
        let mut hasher = blake3::Hasher::new_derive_key("alambic event log, record, version 1");
        hasher.update(&self.position.0.to_le_bytes());
        hasher.update(&self.epoch.0.to_le_bytes());
        hasher.update(&self.previous.0);
        hasher.update(&self.bytes);
        ChainHash(*hasher.finalize().as_bytes())
    }

    /// The bytes that are stored under the record's position: format, epoch,
    /// previous hash, own hash, event. The own hash tells a damaged record
    /// from a damaged neighbour.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEADER_BYTES + self.bytes.len());
        value.push(FORMAT);
        value.extend_from_slice(&self.epoch.0.to_le_bytes());
        value.extend_from_slice(&self.previous.0);
        value.extend_from_slice(&self.hash().0);
        value.extend_from_slice(&self.bytes);
        value
    }

    /// Reads what [`Record::encode`] wrote, and checks it against its hash.
    pub(super) fn decode(position: Position, value: &[u8]) -> Result<Self> {
        let Some((header, bytes)) = value.split_at_checked(HEADER_BYTES) else {
            return Err(StoreError::corrupted(
                position,
                format!("{} bytes are less than a header", value.len()),
            ));
        };
        if header[0] != FORMAT {
            return Err(StoreError::corrupted(
                position,
                format!(
                    "format {} is unknown, this program writes {FORMAT}",
                    header[0]
                ),
            ));
        }
        let mut epoch = [0; 4];
        let mut previous = [0; 32];
        epoch.copy_from_slice(&header[1..5]);
        previous.copy_from_slice(&header[5..37]);
        let record = Self {
            position,
            epoch: Epoch(u32::from_le_bytes(epoch)),
            previous: ChainHash(previous),
            bytes: bytes.to_vec(),
        };
        if record.hash().0 != header[37..] {
            return Err(StoreError::corrupted(position, "its hash does not match"));
        }
        Ok(record)
    }
}

const FORMAT: u8 = 1;
/// What stands before the event.
pub(super) const HEADER_BYTES: usize = 1 + 4 + 32 + 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        (
            any::<u64>(),
            any::<u32>(),
            any::<[u8; 32]>(),
            prop::collection::vec(any::<u8>(), 0..200),
        )
            .prop_map(|(position, epoch, previous, bytes)| Record {
                position: Position(position),
                epoch: Epoch(epoch),
                previous: ChainHash(previous),
                bytes,
            })
    }

    proptest! {
        #[test]
        fn a_record_survives_its_encoding(record in record()) {
            prop_assert_eq!(Record::decode(record.position, &record.encode()).unwrap(), record);
        }

        #[test]
        fn any_flipped_bit_is_noticed(record in record(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut value = record.encode();
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
            let damaged = matches!(
                Record::decode(record.position, &value),
                Err(StoreError::Corrupted { position, .. }) if position == record.position
            );
            prop_assert!(damaged);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Record::decode(Position(7), &bytes).is_err());
        }
    }

    #[test]
    fn a_record_at_another_position_does_not_match() {
        let record = Record::after(Head::START, Epoch(1), b"event");
        assert!(matches!(
            Record::decode(Position(1), &record.encode()),
            Err(StoreError::Corrupted {
                position: Position(1),
                ..
            })
        ));
    }

    #[test]
    fn a_chain_breaks_where_a_record_is_missing_or_foreign() {
        let first = Record::after(Head::START, Epoch(1), b"a");
        let head = Head::START.follow(&first).unwrap();
        let second = Record::after(head, Epoch(1), b"b");
        assert!(head.follow(&second).is_ok());
        assert!(matches!(
            Head::START.follow(&second),
            Err(StoreError::Corrupted {
                position: Position(0),
                ..
            })
        ));
        let foreign = Record {
            previous: ChainHash([7; 32]),
            ..second
        };
        assert!(matches!(
            head.follow(&foreign),
            Err(StoreError::Corrupted {
                position: Position(1),
                ..
            })
        ));
    }
}
