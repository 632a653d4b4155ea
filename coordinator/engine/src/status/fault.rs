//! Why an operator's request failed.

use serde::{Deserialize, Serialize};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of failure.
    pub kind: FaultKind,
    /// What happened and what to do.
    pub message: String,
}

impl Fault {
    /// A fault of this kind, in words for a person.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The request itself is wrong.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// Not now: a round is running already.
    Busy,
    /// The coordinator cannot store it.
    Storage,
}
