//! The vocabulary of a round: its phases, what a device contributes, and why
//! a contribution may be refused.

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::ids::{BlobHash, RoundId, TaskHash};

/// A step of a round. Phases only move forward.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Devices send counts and feature sums; once per task.
    Profile,
    /// Devices send distilled points.
    Summarise,
    /// Devices answer on the transfer set: soft labels and moments.
    Contribute,
    /// The coordinator solves the global teacher.
    Solve,
    /// The coordinator trains the student.
    Distil,
    /// The student is signed and pushed.
    Release,
    /// Devices say how the student did on their own data.
    Report,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Self; 7] = [
        Self::Profile,
        Self::Summarise,
        Self::Contribute,
        Self::Solve,
        Self::Distil,
        Self::Release,
        Self::Report,
    ];

    /// What devices may send in this phase.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Profile => &[Kind::Profile],
            Self::Summarise => &[Kind::Summary],
            Self::Contribute => &[Kind::Labels, Kind::Moments],
            Self::Report => &[Kind::Report, Kind::Gradient],
            Self::Solve | Self::Distil | Self::Release => &[],
        }
    }

    /// Whether the phase waits for devices (the others compute).
    pub fn gathers(self) -> bool {
        !self.kinds().is_empty()
    }

    /// The lower-case name, as in configuration and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Summarise => "summarise",
            Self::Contribute => "contribute",
            Self::Solve => "solve",
            Self::Distil => "distil",
            Self::Release => "release",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What kind of knowledge a contribution carries.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Row counts, class counts, feature sums.
    Profile,
    /// Distilled points.
    Summary,
    /// The local teacher's soft labels on the transfer set.
    Labels,
    /// Additive kernel statistics on the transfer set.
    Moments,
    /// Counts of right answers on held-out rows.
    Report,
    /// What a released student's last layer has wrong, in sums.
    Gradient,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Profile,
        Self::Summary,
        Self::Labels,
        Self::Moments,
        Self::Report,
        Self::Gradient,
    ];

    /// The lower-case name, as in configuration and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Summary => "summary",
            Self::Labels => "labels",
            Self::Moments => "moments",
            Self::Report => "report",
            Self::Gradient => "gradient",
        }
    }

    /// What this many of the kind are called.
    pub fn counted(self, count: u32) -> &'static str {
        let [one, several] = match self {
            Self::Profile => ["profile", "profiles"],
            Self::Summary => ["summary", "summaries"],
            Self::Labels => ["set of labels", "sets of labels"],
            Self::Moments => ["set of moments", "sets of moments"],
            Self::Report => ["report", "reports"],
            Self::Gradient => ["gradient", "gradients"],
        };
        if count == 1 { one } else { several }
    }

    /// The phase in which devices send it.
    pub fn phase(self) -> Phase {
        match self {
            Self::Profile => Phase::Profile,
            Self::Summary => Phase::Summarise,
            Self::Labels | Self::Moments => Phase::Contribute,
            Self::Report | Self::Gradient => Phase::Report,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Names one contribution; together with the device it is counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ContributionKey {
    /// The task it belongs to.
    pub task: TaskHash,
    /// The transfer set it stands on, where there is one.
    pub transfer: Option<BlobHash>,
    /// The round it was made for.
    pub round: RoundId,
    /// The phase it was made for.
    pub phase: Phase,
    /// What it carries.
    pub kind: Kind,
}

impl fmt::Display for ContributionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of round {} for task {}",
            self.kind,
            self.round,
            self.task.short()
        )
    }
}

/// Why the coordinator did not take a contribution. Codes are stable.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The coordinator has no such task.
    UnknownTask,
    /// It was made for another round.
    WrongRound,
    /// The phase it was made for is not open.
    PhaseClosed,
    /// This phase takes no such kind.
    WrongKind,
    /// It stands on a transfer set that has been replaced.
    StaleSupport,
    /// It does not decode.
    Malformed,
    /// Its shape does not fit the task or the transfer set.
    WrongShape,
    /// It holds NaN or infinity.
    NotFinite,
    /// It claims more than its row count can produce.
    OutOfBounds,
    /// It is longer than the task allows.
    TooLarge,
    /// Its bytes do not hash to its name.
    HashMismatch,
    /// The coordinator cannot store it now; send it again later.
    Storage,
    /// The device has been quarantined or revoked.
    NotAdmitted,
    /// With it the device would send more in one round than the task allows.
    OverBudget,
    /// It says what changed since something that the coordinator does not
    /// hold; it has to come whole.
    UnknownBase,
    /// Values so large that no statistics of a fleet can hold them: a fill
    /// value in a device's data, not a lie.
    BeyondScale,
}

impl Reason {
    /// Whether the same contribution may succeed when it is sent again.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Storage)
    }

    /// Whether an honest device can run into it (late, or a race with the
    /// coordinator); the others count as strikes.
    pub fn is_innocent(self) -> bool {
        matches!(
            self,
            Self::UnknownTask
                | Self::WrongRound
                | Self::PhaseClosed
                | Self::StaleSupport
                | Self::Storage
                | Self::OverBudget
                | Self::BeyondScale
                | Self::UnknownBase
        )
    }

    /// What happened, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::UnknownTask => "the coordinator has no such task",
            Self::WrongRound => "made for another round",
            Self::PhaseClosed => "its phase is not open",
            Self::WrongKind => "the phase takes no such kind",
            Self::StaleSupport => "its transfer set has been replaced",
            Self::Malformed => "it does not decode",
            Self::WrongShape => "its shape does not fit the task",
            Self::NotFinite => "it holds NaN or infinity",
            Self::OutOfBounds => "it claims more than its rows can produce",
            Self::TooLarge => "it is longer than the task allows",
            Self::HashMismatch => "its bytes do not match its name",
            Self::Storage => "the coordinator cannot store it now",
            Self::BeyondScale => {
                "its values are beyond what a fleet's statistics can hold; look for a fill value \
                 in its data"
            }
            Self::NotAdmitted => "the device is not admitted",
            Self::UnknownBase => "it stands on an earlier one that the coordinator does not hold",
            Self::OverBudget => {
                "with it the device sends more in this round than the task's uplink_bytes_max"
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_ordered_as_they_run() {
        assert!(Phase::ALL.is_sorted());
        assert!(Phase::Profile < Phase::Report);
    }

    #[test]
    fn every_kind_is_taken_in_exactly_one_phase() {
        for kind in Kind::ALL {
            let phases = Phase::ALL
                .iter()
                .filter(|phase| phase.kinds().contains(&kind))
                .count();
            assert_eq!(phases, 1, "{kind}");
        }
    }
}
