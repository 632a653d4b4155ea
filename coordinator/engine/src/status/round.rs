//! Rounds in progress and rounds that ended.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::{BlobHash, RoundId, Time};
use protocol::round::{Kind, Phase};
use serde::{Deserialize, Serialize};

use super::{DeviceName, OutcomeStatus, StandingStatus, format};
use crate::round::AbsenceReason;

/// A round in progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundStatus {
    /// Its number.
    pub round: RoundId,
    /// The phase it is in.
    pub phase: Option<Phase>,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
    /// Devices waited for in this phase.
    pub participants: Vec<DeviceName>,
    /// Those that did their part.
    pub contributed: Vec<DeviceName>,
    /// Those that will not.
    pub abstained: Vec<DeviceName>,
    /// Those still waited for.
    pub missing: Vec<DeviceName>,
    /// Contributions that count in the round so far, by kind; those that stand
    /// from before once their phase has closed.
    pub accepted: BTreeMap<Kind, u32>,
    /// The round's phases so far, in order; the open one has no end.
    pub phases: Vec<PhaseStatus>,
    /// When the open phase ends at the latest, if it gathers.
    pub deadline: Option<Time>,
    /// Devices whose contributions the open phase needs to count.
    pub quorum: Option<u32>,
    /// Why devices are still waited for, or will not contribute; the first
    /// [`ABSENCES_MAX`](super::ABSENCES_MAX) of them.
    pub absent: Vec<Absence>,
    /// Bytes of the contributions taken in the round since the coordinator's
    /// start.
    pub bytes: u64,
    /// How far its student is trained, while it is.
    pub training: Option<Steps>,
    /// What the next student waits for, of a standing task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingStatus>,
}

/// How far something is that goes step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Steps that are done.
    pub done: u32,
    /// Steps there are.
    pub all: u32,
}

/// When a phase ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseStatus {
    /// The phase.
    pub phase: Phase,
    /// When it opened.
    pub opened: Time,
    /// When it ended; absent while it is open.
    pub closed: Option<Time>,
}

/// A device that did not do its part in a round, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// The phases in which that was so.
    pub phases: Vec<Phase>,
    /// The device.
    pub device: DeviceName,
    /// Why.
    pub why: AbsenceReason,
}

/// How many devices did not do their part in a phase for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedStatus {
    /// The phase.
    pub phase: Phase,
    /// Why.
    pub why: AbsenceReason,
    /// Devices of which that is so.
    pub devices: u32,
}

/// A round that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedStatus {
    /// Its number.
    pub round: RoundId,
    /// How it ended.
    pub outcome: OutcomeStatus,
    /// When it ended.
    pub ended: Time,
    /// Milliseconds from its opening to its end.
    pub wall_ms: u64,
    /// Milliseconds each phase took.
    pub phase_ms: BTreeMap<Phase, u64>,
    /// Contributions that counted in it, by kind, also those that stood from
    /// before.
    pub accepted: BTreeMap<Kind, u32>,
    /// What the devices say of the student.
    pub report: Option<ReportSummary>,
    /// Bytes of its contributions; unknown for rounds before the
    /// coordinator's start.
    pub bytes: Option<u64>,
    /// Devices that did not do their part, those first that somebody may
    /// have to look after; [`ABSENCES_MAX`](super::ABSENCES_MAX) at most.
    pub absent: Vec<Absence>,
    /// All of them, counted by phase and reason.
    pub missed: Vec<MissedStatus>,
    /// The devices' reports on the release, as blobs.
    #[serde(skip)]
    pub reports: Vec<BlobHash>,
}

impl EndedStatus {
    /// How many devices did not do their part in the round for such reasons.
    pub fn absent_for(&self, is_wanted: impl Fn(AbsenceReason) -> bool) -> AbsentDevices {
        let named = self.absent.iter();
        let named: Vec<_> = named.filter(|one| is_wanted(one.why)).collect();
        let devices: BTreeSet<_> = named.iter().map(|one| one.device.device).collect();
        let mut by_phase: BTreeMap<Phase, u32> = BTreeMap::new();
        for count in self.missed.iter().filter(|one| is_wanted(one.why)) {
            *by_phase.entry(count.phase).or_default() += count.devices;
        }
        let told: usize = named.iter().map(|one| one.phases.len()).sum();
        let most = by_phase.values().max().map_or(0, |most| *most as usize);
        AbsentDevices {
            devices: devices.len().max(most),
            at_least: by_phase.values().sum::<u32>() as usize > told,
        }
    }
}

/// A number of devices. More than are named may be the same in two phases, or
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsentDevices {
    /// How many.
    pub devices: usize,
    /// Whether there may be more.
    pub at_least: bool,
}

impl std::fmt::Display for AbsentDevices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = if self.at_least { "at least " } else { "" };
        write!(f, "{prefix}{}", format::count(self.devices, "device"))
    }
}

/// How a student did on the devices' held-out rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportSummary {
    /// Devices that reported.
    pub devices: u32,
    /// Rows they held out.
    pub rows: u64,
    /// Share of those answered right, 0..=1, no device weighing more than a few
    /// times the median one; none where the task asks for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// How far off the numbers are, weighed alike, where the task asks for
    /// numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorSummary>,
    /// The accuracy, or else the RMSE, of the students that devices had before
    /// it, if they had any.
    #[serde(default)]
    pub previous: Option<f64>,
    /// Whether it is worse than those, beyond what devices differ by chance.
    #[serde(default)]
    pub worse: bool,
}

impl ReportSummary {
    /// What it reaches, for people: `97.1 % right`, `RMSE 12.34 (MAE 9.12)`.
    pub fn reached(&self) -> String {
        match (self.accuracy, self.error) {
            (Some(accuracy), _) => format!("{:.1} % right", 100.0 * accuracy),
            (None, Some(error)) => format!(
                "RMSE {} (MAE {})",
                format::error(error.rmse),
                format::error(error.mae)
            ),
            (None, None) => "not measured".to_owned(),
        }
    }

    /// What the students before it reached, for people, if there were any.
    pub fn reached_before(&self) -> Option<String> {
        let previous = self.previous?;
        Some(match self.accuracy {
            Some(_) => format!("{:.1} % right", 100.0 * previous),
            None => format!("RMSE {}", format::error(previous)),
        })
    }
}

/// How far off numbers are, all values of the task together, in their units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorSummary {
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
}
