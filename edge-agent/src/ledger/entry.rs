//! One line of the ledger.

use common::ids::{BlobHash, RoundId, TaskHash, Time};
use common::round::{ContributionKey, Kind, Phase, Reason};
use serde::{Deserialize, Serialize};

use crate::session::{Pending, Settled};

/// Something that left the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was answered.
    pub time: Time,
    /// The task it belongs to.
    pub task: TaskHash,
    /// The round it was made for.
    pub round: RoundId,
    /// The phase it was made for.
    pub phase: Phase,
    /// What it carries.
    pub kind: Kind,
    /// Rows it describes.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// Name of its bytes.
    pub blob: BlobHash,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What the coordinator said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It holds it durably.
    Accepted,
    /// It does not take it.
    Refused {
        /// Why.
        reason: Reason,
    },
}

impl Entry {
    /// The line for a contribution that describes `rows` rows and was
    /// answered at `time`.
    pub fn new(time: Time, pending: &Pending, rows: u64, settled: Settled) -> Self {
        let ContributionKey {
            task,
            round,
            phase,
            kind,
            ..
        } = pending.key;
        Self {
            time,
            task,
            round,
            phase,
            kind,
            rows,
            bytes: pending.bytes,
            blob: pending.blob,
            outcome: match settled {
                Settled::Accepted => Outcome::Accepted,
                Settled::Refused(reason) => Outcome::Refused { reason },
            },
        }
    }
}
