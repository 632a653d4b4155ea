//! The log as a record for others: every admission, revocation, contribution,
//! computation, release and operator's act, one line each, each tied to the
//! one before by its hash.
//!
//! A line carries the record's bytes as they stand in the log, so anyone who
//! holds an export can check the chain without the coordinator, and anyone who
//! wrote the last hash down elsewhere can show that nothing before it was
//! changed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::journal::LogEntry;
use crate::store::{ChainHash, Epoch, Position, Record};

/// Most records of one answer.
pub const RECORDS_MAX: usize = 256;

/// A record of the log, for people and programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number.
    pub position: u64,
    /// The life of the store it was written in.
    pub epoch: u32,
    /// The hash of the record before it.
    pub previous: String,
    /// Its own hash.
    pub hash: String,
    /// What happened.
    pub event: Value,
    /// The bytes that are hashed, hexadecimal.
    pub bytes: String,
}

/// Where a checked log begins and ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSpan {
    /// Number of the first record.
    pub first: u64,
    /// Number that the next record will have.
    pub next: u64,
    /// Hash of the last record.
    pub hash: String,
    /// What the first record names as the hash of the one before it, in an
    /// answer of the coordinator's.
    pub previous: Option<String>,
    /// Number of the first record after the newest snapshot that stands for
    /// those before it, if there is one.
    pub snapshot: Option<u64>,
}

/// Why an export is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// A record is missing or stands in the wrong place.
    #[error("expected record {expected}, got {got}: one is missing or moved")]
    Missing {
        /// The number that should follow.
        expected: u64,
        /// The number that does.
        got: u64,
    },
    /// A record does not name the one before it.
    #[error("record {position} names {named} as the one before it, which has {hash}")]
    Broken {
        /// Its number.
        position: u64,
        /// What it names.
        named: String,
        /// What that has.
        hash: String,
    },
    /// A record is not what it was.
    #[error("record {position} was changed: {reason}")]
    Changed {
        /// Its number.
        position: u64,
        /// What does not fit.
        reason: &'static str,
    },
}

impl AuditRecord {
    /// The line for a record.
    pub fn of(record: &Record) -> Self {
        Self {
            position: record.position.0,
            epoch: record.epoch.0,
            previous: record.previous.to_string(),
            hash: record.hash().to_string(),
            event: describe(&record.bytes),
            bytes: hex::encode(&record.bytes),
        }
    }

    /// Checks that this record is what its hash says and follows `before`.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn follow(&self, before: Option<&AuditSpan>) -> Result<AuditSpan, AuditError> {
        let position = self.position;
        if let Some(before) = before {
            if position != before.next {
                return Err(AuditError::Missing {
                    expected: before.next,
                    got: position,
                });
            }
            if self.previous != before.hash {
                return Err(AuditError::Broken {
                    position,
                    named: self.previous.clone(),
                    hash: before.hash.clone(),
                });
            }
        }
        let changed = |reason| AuditError::Changed { position, reason };
        let bytes =
            hex::decode(&self.bytes).map_err(|_| changed("its bytes are not hexadecimal"))?;
        let mut previous = [0u8; 32];
        hex::decode_to_slice(&self.previous, &mut previous)
            .map_err(|_| changed("the hash of the record before it is malformed"))?;
        let record = Record {
            position: Position(position),
            epoch: Epoch(self.epoch),
            previous: ChainHash(previous),
            bytes,
        };
        if record.hash().to_string() != self.hash {
            return Err(changed("its bytes do not have its hash"));
        }
        if describe(&record.bytes) != self.event {
            return Err(changed("what it tells is not what its bytes say"));
        }
        Ok(AuditSpan {
            first: before.map_or(position, |before| before.first),
            next: position + 1,
            hash: self.hash.clone(),
            previous: match before {
                Some(before) => before.previous.clone(),
                None => Some(self.previous.clone()),
            },
            snapshot: None,
        })
    }
}

/// What a record tells. One that this version does not understand tells
/// nothing, but still counts.
fn describe(bytes: &[u8]) -> Value {
    match LogEntry::from_bytes(bytes) {
        Ok(entry) => serde_json::to_value(entry).unwrap_or(Value::Null),
        Err(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::registry::RegistryEvent;
    use crate::store::{MemoryStore, Store};
    use common::ids::{DeviceId, Time};
    use proptest::prelude::*;

    fn lines(events: usize) -> Vec<AuditRecord> {
        let store = MemoryStore::new();
        let epoch = store.open_epoch().unwrap();
        let event = |index: usize| {
            LogEntry::Registry(RegistryEvent::Revoked {
                device: DeviceId([index as u8; 16]),
                reason: format!("reason {index}"),
                at: Time(index as u64),
            })
        };
        let events: Vec<_> = (0..events).map(|index| event(index).to_bytes()).collect();
        store.append(epoch, None, &events).unwrap();
        let records = store.read(Position(0), 100).unwrap();
        records.iter().map(AuditRecord::of).collect()
    }

    fn check(lines: &[AuditRecord]) -> Result<Option<AuditSpan>, AuditError> {
        lines
            .iter()
            .try_fold(None, |before: Option<AuditSpan>, line| {
                line.follow(before.as_ref()).map(Some)
            })
    }

    #[test]
    fn an_export_tells_what_happened_and_checks_itself() {
        let lines = lines(5);
        let span = check(&lines).unwrap().unwrap();
        assert_eq!((span.first, span.next), (0, 5));
        assert_eq!(span.hash, lines[4].hash);
        assert_eq!(lines[3].event["registry"]["revoked"]["reason"], "reason 3");
        let text = serde_json::to_string(&lines[2]).unwrap();
        assert_eq!(
            serde_json::from_str::<AuditRecord>(&text).unwrap(),
            lines[2]
        );
        let tail = check(&lines[2..]).unwrap().unwrap();
        assert_eq!(tail.first, 2, "a log may begin later than with record 0");
    }

    #[test]
    fn a_record_left_out_or_changed_is_noticed() {
        let whole = lines(5);
        let mut without = whole.clone();
        without.remove(2);
        assert_eq!(
            check(&without),
            Err(AuditError::Missing {
                expected: 2,
                got: 3
            })
        );
        let mut other = whole.clone();
        other[2].event["registry"]["revoked"]["reason"] = "another".into();
        assert!(matches!(
            check(&other),
            Err(AuditError::Changed { position: 2, .. })
        ));
        let mut renumbered = without.clone();
        renumbered[2].position = 2;
        assert!(check(&renumbered).is_err());
    }

    proptest! {
        #[test]
        fn no_changed_byte_of_a_record_is_believed(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut lines = lines(3);
            let mut bytes = hex::decode(&lines[1].bytes).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            lines[1].bytes = hex::encode(bytes);
            prop_assert!(check(&lines).is_err());
        }
    }
}
