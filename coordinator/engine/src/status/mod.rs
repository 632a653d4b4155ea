//! What a coordinator says of itself. Sizes are bytes, times milliseconds.

mod fault;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod format;
mod progress;
mod releases;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use protocol::evaluation::Evaluation;
use protocol::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use protocol::round::{Kind, Phase, Reason};
use protocol::trust::certificate::Fingerprint;
use protocol::withheld::WithheldCode;
use serde::{Deserialize, Serialize};

use crate::rollout::{self, Plan, Tally};
pub use crate::round::{ABSENCES_MAX, AbsenceReason, ExclusionReason};

pub use self::fault::{Fault, FaultKind};
pub use self::progress::{OutcomeStatus, Progress, TaskSummary};
pub use self::standing::StandingStatus;

/// The whole state, for people and programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub program: String,
    /// Where devices reach it.
    pub address: SocketAddr,
    /// The coordinator's time.
    pub now: Time,
    /// When it was started.
    pub started: Time,
    /// The life of its store.
    pub epoch: u32,
    /// Batches of events that could not be stored since the start.
    pub storage_failures: u64,
    /// Whether it can store events now.
    pub storage_ok: bool,
    /// Where the page and the metrics are, if they are served.
    pub page: Option<SocketAddr>,
    /// Its log, and how much room it takes.
    pub store: Option<StoreStatus>,
    /// The authority it certifies devices with.
    pub authority: Option<Fingerprint>,
    /// Its tasks.
    pub tasks: Vec<TaskStatus>,
    /// Devices that joined, or are connected.
    pub devices: Vec<DeviceStatus>,
}

/// The log, and how much room a coordinator's state takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Number of the oldest record that is kept.
    pub first: u64,
    /// Number that the next record takes.
    pub next: u64,
    /// The first record after the newest snapshot, if there is one.
    pub snapshot: Option<u64>,
    /// Bytes of the disk that the log took when that was last looked at.
    pub log_bytes: Option<u64>,
    /// Bytes of the disk that blobs took.
    pub blob_bytes: Option<u64>,
    /// How many blobs there were.
    pub blobs: Option<u64>,
    /// Bytes of all of it.
    pub bytes: Option<u64>,
}

impl Status {
    /// Devices that belong to the fleet, and those of them with a session.
    /// Revoked ones and those not let in do not count.
    pub fn members(&self) -> (usize, usize) {
        let devices = self.devices.iter();
        devices
            .filter(|one| one.is_member())
            .fold((0, 0), |(all, connected), one| {
                (all + 1, connected + usize::from(one.connected))
            })
    }
}

/// A device, and what people call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceName {
    /// The device.
    pub device: DeviceId,
    /// A name for people; may be empty.
    pub label: String,
}

/// A task and its rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Its hash.
    pub task: TaskHash,
    /// Its name.
    pub name: String,
    /// Points of the transfer set; 0 before the first.
    pub points: u32,
    /// The normaliser's blob.
    pub normaliser: Option<BlobHash>,
    /// The newest transfer set's blob.
    pub transfer: Option<BlobHash>,
    /// The newest global teacher's blob.
    pub teacher: Option<BlobHash>,
    /// The round in progress.
    pub round: Option<RoundStatus>,
    /// Ended rounds, newest last.
    pub history: Vec<EndedStatus>,
    /// Released students, newest last.
    pub releases: Vec<ReleaseStatus>,
    /// The newest rollout.
    pub rollout: Option<RolloutStatus>,
    /// How the newest release fares on the devices that said.
    #[serde(default)]
    pub evaluations: Tally,
    /// Contributions that the newest normaliser, transfer set and teacher were
    /// made without, in the order of their devices.
    #[serde(default)]
    pub excluded: Vec<ExclusionStatus>,
    /// Classes of which no device speaks; students never answer them.
    #[serde(default)]
    pub unheard: Vec<String>,
    /// Devices whose data is unlike the fleet's, by their newest profiles.
    #[serde(default)]
    pub odd: Vec<OddStatus>,
    /// The newest profile of each device that is not revoked, for who reads
    /// them.
    #[serde(skip)]
    pub profiles: Vec<(DeviceId, BlobHash)>,
    /// Devices that said why they give nothing, or less than they were asked
    /// for, since the coordinator's start.
    #[serde(default)]
    pub withheld: Vec<WithheldStatus>,
}

/// A device that gives nothing to a task, or less than it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WithheldStatus {
    /// Which.
    #[serde(flatten)]
    pub device: DeviceName,
    /// Why, in a word.
    pub reason: WithheldCode,
    /// Why, in words, as far as its owner tells.
    pub text: String,
    /// Since when.
    pub since: Time,
}

/// Something odd about a device's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OddStatus {
    /// Which.
    #[serde(flatten)]
    pub device: DeviceName,
    /// What is odd.
    pub kind: OddKind,
    /// The feature or the class.
    pub name: String,
    /// How many times the fleet's, or how many of its standard deviations
    /// away; 0 where that says nothing.
    pub factor: f64,
}

/// What may be odd about a device's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OddKind {
    /// A feature is a multiple of the fleet's, mean and deviation.
    Unit,
    /// A feature's mean lies far from the fleet's.
    Mean,
    /// A feature spreads much further than the fleet's, or much less.
    Spread,
    /// A feature that varies elsewhere never changes.
    Constant,
    /// It alone speaks of a class.
    Alone,
}

impl OddKind {
    /// Its word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Mean => "mean",
            Self::Spread => "spread",
            Self::Constant => "constant",
            Self::Alone => "alone",
        }
    }
}

impl OddStatus {
    /// Of a device whose name is filled in by who knows it.
    pub fn new(device: DeviceId, kind: OddKind, name: String, factor: f64) -> Self {
        let device = DeviceName {
            device,
            label: String::new(),
        };
        Self {
            device,
            kind,
            name,
            factor,
        }
    }

    /// What is odd, in words.
    pub fn text(&self) -> String {
        let (name, factor) = (&self.name, format::factor(self.factor));
        match self.kind {
            OddKind::Unit => format!("{name} is {factor} times the fleet's: another unit?"),
            OddKind::Mean => {
                format!("the mean of {name} lies {factor} of the fleet's standard deviations away")
            }
            OddKind::Spread => format!("{name} spreads {factor} times as far as the fleet's"),
            OddKind::Constant => format!("{name} never changes, and does on the others"),
            OddKind::Alone => format!("no other device speaks of class {name}"),
        }
    }
}

/// A contribution that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExclusionStatus {
    /// Whose.
    #[serde(flatten)]
    pub device: DeviceName,
    /// What.
    pub kind: Kind,
    /// Why.
    pub why: ExclusionReason,
    /// Why, in words.
    pub text: String,
}

/// A rollout and how it fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// The release.
    pub version: Version,
    /// How it reaches the fleet.
    pub plan: Plan,
    /// Where it stands.
    #[serde(flatten)]
    pub standing: rollout::Standing,
    /// Number of the stage, from 1.
    pub stage: usize,
    /// Percent of the devices at this stage.
    pub percent: u8,
    /// When the stage began.
    pub since: Time,
    /// How the stage's devices fare.
    pub tally: Tally,
    /// Devices that do not want it, the first [`ABSENCES_MAX`] of them.
    pub unwanted_by: Vec<EvaluationStatus>,
}

/// What a device found of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationStatus {
    /// The device.
    #[serde(flatten)]
    pub device: DeviceName,
    /// What it found.
    pub evaluation: Evaluation,
}

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
    /// Contributions taken in the round so far.
    pub accepted: BTreeMap<Kind, u32>,
    /// The round's phases so far, in order; the open one has no end.
    pub phases: Vec<PhaseStatus>,
    /// When the open phase ends at the latest, if it gathers.
    pub deadline: Option<Time>,
    /// Devices whose contributions the open phase needs to count.
    pub quorum: Option<u32>,
    /// Why devices are still waited for, or will not contribute; the first
    /// [`ABSENCES_MAX`] of them.
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
    /// Contributions taken by kind.
    pub accepted: BTreeMap<Kind, u32>,
    /// What the devices say of the student.
    pub report: Option<ReportSummary>,
    /// Bytes of its contributions; unknown for rounds before the
    /// coordinator's start.
    pub bytes: Option<u64>,
    /// Devices that did not do their part, those first that somebody may
    /// have to look after; [`ABSENCES_MAX`] at most.
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

/// A released student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// Its version.
    pub version: Version,
    /// The round it came from.
    pub round: RoundId,
    /// Name of the signed bytes.
    pub blob: BlobHash,
    /// Length of the signed bytes.
    pub bytes: u64,
    /// Devices whose contributions are in it.
    pub lineage: usize,
    /// When it was released.
    pub released: Time,
    /// What the devices said of it.
    pub report: Option<ReportSummary>,
    /// Whether it is not offered to every device.
    pub held: bool,
}

/// What a device is to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It has joined.
    Member,
    /// It waits for an operator's approval.
    Waiting,
    /// It was approved and has not come back for its certificate yet.
    Approved,
    /// It was denied.
    Denied,
    /// Its key is believed no more.
    Revoked,
    /// This store does not know it.
    Unknown,
}

/// How far a device is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgetting {
    /// A student that stands on its contributions is still the newest one.
    Partial,
    /// No newest student stands on anything of it.
    Complete,
}

/// A device and its traffic since the coordinator's start, as QUIC counts it
/// (UDP payloads).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// The device.
    pub device: DeviceId,
    /// A name for people; may be empty.
    pub label: String,
    /// When it joined; absent for one this store does not know.
    pub admitted: Option<Time>,
    /// Its certificate.
    pub certificate: Option<Fingerprint>,
    /// The authority that signed it.
    pub authority: Option<Fingerprint>,
    /// When its certificate ends.
    pub expires: Option<Time>,
    /// The group its token put it in.
    pub group: Option<String>,
    /// What it is to the fleet.
    pub standing: Standing,
    /// Whether it has a session now.
    pub connected: bool,
    /// Whether its key was revoked.
    pub revoked: bool,
    /// Whether its contributions were taken out: `partial` until each task
    /// has released a student without them.
    pub forgotten: Option<Forgetting>,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// Why it was revoked, in the operator's words; may be empty.
    pub revoked_why: Option<String>,
    /// Bytes received from it after the handshakes.
    pub uplink_bytes: u64,
    /// Bytes sent to it after the handshakes.
    pub downlink_bytes: u64,
    /// Bytes of handshakes and of its enrolment, both directions.
    pub handshake_bytes: u64,
    /// Sessions it has had.
    pub sessions: u64,
    /// When its session last began or ended, since the coordinator's start.
    pub seen: Option<Time>,
    /// When the newest contribution of it was taken.
    pub contributed: Option<Time>,
    /// Its contributions that were refused for a fault no honest device
    /// makes.
    pub strikes: u32,
    /// How it behaves.
    pub peer_limits: PeerLimitsStatus,
    /// Its key, if that is on two machines.
    #[serde(default)]
    pub shared_key: Option<SharedKey>,
    /// The student that it runs of each task, as far as it has said so.
    #[serde(default)]
    pub students: Vec<DeviceStudent>,
}

/// A student that a device runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStudent {
    /// The task's name.
    pub task: String,
    /// The student's version.
    pub version: Version,
    /// What the device found when it tried it; none if it has not said so since
    /// the coordinator's start.
    pub evaluation: Option<Evaluation>,
}

/// A device's key that two machines have: an image copied after it had joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedKey {
    /// Where the two were seen.
    pub addresses: Vec<String>,
    /// When that was first seen.
    pub since: Time,
    /// When it was last seen.
    pub last: Time,
}

impl SharedKey {
    /// What it means and what to do, for a person.
    pub fn told(&self) -> String {
        format!(
            "its key is on two machines, seen at {}: an image copied after it had joined; on the \
             copy run `alambic-agent enrol --again` with a new token",
            self.addresses.join(" and ")
        )
    }
}

impl DeviceStatus {
    /// Whether it belongs to the fleet: it was let in, and not revoked.
    pub fn is_member(&self) -> bool {
        matches!(self.standing, Standing::Member | Standing::Unknown)
    }
}

/// How a device behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLimitsStatus {
    /// What its newest strike was for, since the coordinator's start.
    pub struck_for: Option<Reason>,
    /// What of it is refused altogether.
    pub quarantine: Option<Quarantine>,
    /// Breaches of the protocol, since the coordinator's start or its last
    /// quarantine.
    pub violations: u32,
    /// Times it was slowed down or refused for asking too much, since the
    /// coordinator's start.
    pub limited: u64,
}

/// What of a device is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quarantine {
    /// Its contributions to a task, for it has too many strikes there. It
    /// still gets students.
    Contributions,
    /// Its sessions, for it broke the protocol too often.
    Sessions {
        /// Seconds until they are taken again.
        seconds: u64,
    },
}
