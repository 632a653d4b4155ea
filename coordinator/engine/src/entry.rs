//! What stands in the coordinator's log.

use bincode::{Decode, Encode};
use protocol::wire::codec::{self, DecodeError};
use serde::Serialize;

use crate::registry::RegistryEvent;
use crate::round::TaskEvent;

/// One record. Variants are only ever added at the end, so every log that an
/// earlier version wrote stays readable.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEntry {
    /// A change of one task's state.
    Task(TaskEvent),
    /// A change of the registry.
    Registry(RegistryEvent),
}

impl LogEntry {
    /// The record's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The record with these bytes.
    ///
    /// # Errors
    /// If they are malformed, or of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}
