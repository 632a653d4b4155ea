//! Records of a log as bytes that travel: what a backup holds of it.

use super::error::{Result, StoreError};
use super::record::{Position, Record};

/// The bytes of records that follow one another: each is its length in four
/// bytes, the lowest first, and then the record as the log keeps it. The
/// position of the first goes beside them.
pub fn pack(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        let record = record.encode();
        // A record is one event and a header, far below 4 GiB.
        bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&record);
    }
    bytes
}

/// The records that [`pack`] wrote, the first at position `from`, each checked
/// against its own hash. That they follow one another is for the reader of
/// the whole log to see.
///
/// # Errors
/// [`StoreError::Corrupted`] with the first record that is not whole.
pub fn unpack(from: Position, mut bytes: &[u8]) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let position = from.after(records.len());
        let cut = || StoreError::corrupted(position, "the record is cut off");
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut())?;
        let (record, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        records.push(Record::decode(position, record)?);
        bytes = rest;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::super::record::{Epoch, Head};
    use super::*;

    fn chain(events: &[Vec<u8>]) -> Vec<Record> {
        let mut head = Head::START;
        let follow = |event: &Vec<u8>| {
            let record = Record::after(head, Epoch(3), event);
            head = head.follow(&record).unwrap();
            record
        };
        events.iter().map(follow).collect()
    }

    proptest! {
        #[test]
        fn records_survive_their_travel(
            events in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
        ) {
            let records = chain(&events);
            prop_assert_eq!(unpack(Position(0), &pack(&records)).unwrap(), records);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            prop_assert!(unpack(Position(7), &bytes).is_err());
        }
    }

    #[test]
    fn records_elsewhere_or_cut_are_not_what_was_packed() {
        let bytes = pack(&chain(&[b"one".to_vec(), b"two".to_vec()]));
        assert!(matches!(
            unpack(Position(1), &bytes),
            Err(StoreError::Corrupted {
                position: Position(1),
                ..
            })
        ));
        assert!(matches!(
            unpack(Position(0), &bytes[..bytes.len() - 1]),
            Err(StoreError::Corrupted {
                position: Position(1),
                ..
            })
        ));
    }
}
