//! What happens to a task and its rounds, as it happens.

use std::collections::BTreeMap;
use std::fmt;

use protocol::ids::{RoundId, TaskHash, Time, Version};
use protocol::round::{Kind, Phase, Reason};
use protocol::withheld::WithheldCode;
use serde::{Deserialize, Serialize};

use super::DeviceName;
use crate::round::Outcome;

/// A task as it was created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Its hash.
    pub task: TaskHash,
    /// Its name.
    pub name: String,
    /// Whether this request made it; otherwise it existed.
    pub created: bool,
    /// All it fixes.
    pub definition: serde_json::Value,
    /// What is to be looked at before its first round, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// What becomes of a task whose name a new one has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namesake {
    /// The new one is refused.
    #[default]
    Refuse,
    /// It is put away.
    Archive,
    /// Both go on.
    Keep,
}

/// What happens to a task's rounds, as it happens. Times are the
/// coordinator's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Progress {
    /// A round began.
    RoundOpened {
        /// The task.
        task: TaskHash,
        /// The round.
        round: RoundId,
        /// When.
        at: Time,
    },
    /// A phase began.
    PhaseOpened {
        /// The task.
        task: TaskHash,
        /// The round.
        round: RoundId,
        /// The phase.
        phase: Phase,
        /// Devices waited for.
        participants: usize,
        /// When.
        at: Time,
    },
    /// A contribution was taken.
    Accepted {
        /// The task.
        task: TaskHash,
        /// From whom.
        device: DeviceName,
        /// What.
        kind: Kind,
        /// Rows it describes.
        rows: u64,
        /// Its length.
        bytes: u64,
        /// Devices that have done their part in this phase.
        contributed: usize,
        /// Devices waited for.
        participants: usize,
        /// When.
        at: Time,
    },
    /// A contribution was refused for a fault no honest device makes.
    Refused {
        /// The task.
        task: TaskHash,
        /// From whom.
        device: DeviceName,
        /// What it claimed to be.
        kind: Kind,
        /// Why.
        reason: Reason,
        /// When.
        at: Time,
    },
    /// A device will not contribute to the phase.
    Abstained {
        /// The task.
        task: TaskHash,
        /// Who.
        device: DeviceName,
        /// When.
        at: Time,
    },
    /// A device said why it gives nothing, or less than it was asked for.
    Withheld {
        /// The task.
        task: TaskHash,
        /// Who.
        device: DeviceName,
        /// Why, in a word.
        reason: WithheldCode,
        /// Why, in words.
        text: String,
        /// When.
        at: Time,
    },
    /// A student was signed and announced.
    Released {
        /// The task.
        task: TaskHash,
        /// Its version.
        version: Version,
        /// Length of the signed release.
        bytes: u64,
        /// Devices whose contributions are in it.
        lineage: usize,
        /// When.
        at: Time,
    },
    /// An earlier student was released again under a higher version: by order of an
    /// operator, or because devices found the one after it worse.
    ReleasedAgain {
        /// The task.
        task: TaskHash,
        /// Its earlier version.
        from: Version,
        /// The version it has now.
        version: Version,
        /// When.
        at: Time,
    },
    /// A round ended.
    Ended {
        /// The task.
        task: TaskHash,
        /// The round.
        round: RoundId,
        /// How.
        outcome: OutcomeStatus,
        /// Milliseconds each phase took.
        phase_ms: BTreeMap<Phase, u64>,
        /// Milliseconds from its opening to its end.
        wall_ms: u64,
        /// When.
        at: Time,
    },
    /// The watcher read too slowly and missed this many events.
    Missed {
        /// How many.
        events: u64,
    },
}

impl Progress {
    /// The task it is about.
    pub fn task(&self) -> Option<TaskHash> {
        match self {
            Self::RoundOpened { task, .. }
            | Self::PhaseOpened { task, .. }
            | Self::Accepted { task, .. }
            | Self::Refused { task, .. }
            | Self::Abstained { task, .. }
            | Self::Withheld { task, .. }
            | Self::Released { task, .. }
            | Self::ReleasedAgain { task, .. }
            | Self::Ended { task, .. } => Some(*task),
            Self::Missed { .. } => None,
        }
    }
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum OutcomeStatus {
    /// With a student.
    Completed {
        /// Its version.
        version: Version,
    },
    /// With too few contributions.
    QuorumNotMet {
        /// In which phase.
        phase: Phase,
        /// Devices that contributed.
        got: u32,
        /// Devices that had to.
        needed: u32,
    },
    /// A computation failed.
    Failed {
        /// In which phase.
        phase: Phase,
        /// What went wrong.
        cause: String,
    },
    /// An operator ended it.
    Cancelled,
}

impl From<&Outcome> for OutcomeStatus {
    fn from(outcome: &Outcome) -> Self {
        match outcome.clone() {
            Outcome::Completed { version } => Self::Completed { version },
            Outcome::QuorumNotMet { phase, got, needed } => {
                Self::QuorumNotMet { phase, got, needed }
            }
            Outcome::Failed { phase, cause } => Self::Failed { phase, cause },
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for OutcomeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed { version } => write!(f, "completed with student {version}"),
            Self::QuorumNotMet { phase, got, needed } => write!(
                f,
                "ended without a student: {got} of the {needed} devices needed contributed to \
                 the {phase} phase before its deadline"
            ),
            Self::Failed { phase, cause } => write!(f, "failed in the {phase} phase: {cause}"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}
