//! What a coordinator says of itself. Sizes are bytes, times milliseconds.

mod device;
mod fault;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod format;
mod gateway;
mod influence;
mod odd;
mod progress;
mod releases;
mod round;
mod standing;

use std::net::SocketAddr;

use protocol::evaluation::Evaluation;
use protocol::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use protocol::round::Kind;
use protocol::trust::certificate::Fingerprint;
use protocol::withheld::WithheldCode;
use serde::{Deserialize, Serialize};

use crate::rollout::{self, Plan, Tally};
use crate::round::PlannedBudget;
pub use crate::round::{ABSENCES_MAX, AbsenceReason, ExclusionReason};

pub use self::device::{
    DeviceStatus, DeviceStudent, Forgetting, PeerLimitsStatus, Quarantine, Reached, SharedKey,
    Standing,
};
pub use self::fault::{Fault, FaultKind};
pub use self::gateway::{GatewayLink, GatewayStatus};
pub use self::influence::InfluenceStatus;
pub use self::odd::{OddKind, OddStatus};
pub use self::progress::{Namesake, OutcomeStatus, Progress, TaskSummary};
pub use self::round::{
    Absence, AbsentDevices, EndedStatus, ErrorSummary, MissedStatus, PhaseStatus, ReportSummary,
    RoundStatus, Steps,
};
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
    /// Whether it has its state. While it has not, for its storage failed, no
    /// tasks and no members are named here, whatever there are.
    #[serde(default = "yes")]
    pub state_known: bool,
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
    /// Gateways that joined.
    #[serde(default)]
    pub gateways: Vec<GatewayStatus>,
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

/// As earlier versions meant it, which did not say.
fn yes() -> bool {
    true
}

/// What is said in place of devices and tasks while they are not known.
pub const STATE_UNKNOWN: &str =
    "devices and tasks cannot be shown until storage works again; nothing is lost";

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

    /// The same of those that a task is for.
    pub fn members_of(&self, task: &TaskStatus) -> (usize, usize) {
        let devices = self.devices.iter();
        devices
            .filter(|one| one.is_member() && task.is_for(one))
            .fold((0, 0), |(all, connected), one| {
                (all + 1, connected + usize::from(one.connected))
            })
    }
}

/// Devices that are ahead of the log, which was restored from an older copy
/// or had their task deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// How many.
    pub devices: usize,
    /// The newest student that they run.
    pub newest: Version,
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
    /// When it was put away, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<Time>,
    /// Groups of devices that it is for; none of a task for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Points of the transfer set; 0 before the first.
    pub points: u32,
    /// The normaliser's blob.
    pub normaliser: Option<BlobHash>,
    /// The newest transfer set's blob.
    pub transfer: Option<BlobHash>,
    /// The newest global teacher's blob.
    pub teacher: Option<BlobHash>,
    /// What bytes are spent on, where the task leaves that to the coordinator
    /// and devices said how many rows they hold.
    #[serde(default)]
    pub budget: Option<PlannedBudget>,
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
    /// Connected devices that run a student which this log has never released,
    /// newer than all of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Ahead>,
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

impl TaskStatus {
    /// Whether it is for this device: for all, or for its group.
    pub fn is_for(&self, device: &DeviceStatus) -> bool {
        let group = device.group.as_ref();
        self.groups.is_empty() || group.is_some_and(|group| self.groups.contains(group))
    }
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
