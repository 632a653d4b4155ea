//! What the coordinator remembers: every change of its state is one of these.

use bincode::{Decode, Encode};

use protocol::evaluation::Evaluation;
use protocol::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use protocol::round::{Kind, Phase, Reason};
use serde::Serialize;

use super::absence::Missed;
use super::budget::PlannedBudget;
use super::comparison::Comparison;
use super::exclusion::Exclusion;
use crate::rollout::{Plan, Standing};

/// A change of one task's state. Variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A task was created.
    TaskCreated {
        /// Its definition's blob.
        spec: BlobHash,
        /// When.
        at: Time,
    },
    /// A round began.
    RoundOpened {
        /// The round.
        round: RoundId,
        /// When.
        at: Time,
    },
    /// A phase began.
    PhaseOpened {
        /// The phase.
        phase: Phase,
        /// When.
        at: Time,
        /// Devices that were connected and are waited for.
        participants: Vec<DeviceId>,
    },
    /// A gathering phase closed: what it took is final.
    PhaseClosed {
        /// When.
        at: Time,
    },
    /// A device was added to those the open phase waits for.
    Joined {
        /// The device.
        device: DeviceId,
    },
    /// A device will not contribute to the open phase.
    Abstained {
        /// The device.
        device: DeviceId,
        /// When.
        at: Time,
    },
    /// A contribution became durable and counts.
    Accepted {
        /// Who sent it.
        device: DeviceId,
        /// What it carries.
        kind: Kind,
        /// The round it was made for; an earlier one if it comes late.
        round: RoundId,
        /// Its bytes.
        blob: BlobHash,
        /// The transfer set it stands on.
        transfer: Option<BlobHash>,
        /// Rows it describes.
        rows: u64,
        /// When.
        at: Time,
    },
    /// A contribution was refused.
    Refused {
        /// Who sent it.
        device: DeviceId,
        /// What it claimed to carry.
        kind: Kind,
        /// Why it was refused.
        reason: Reason,
        /// When.
        at: Time,
    },
    /// A computation of the coordinator finished.
    Produced {
        /// What came out.
        product: Product,
        /// When.
        at: Time,
    },
    /// A signed student was released.
    Released {
        /// Its version.
        version: Version,
        /// The signed release.
        blob: BlobHash,
        /// Its length in bytes.
        bytes: u64,
        /// Devices whose contributions are in it.
        lineage: Vec<DeviceId>,
        /// When.
        at: Time,
    },
    /// A round ended.
    RoundEnded {
        /// How.
        outcome: Outcome,
        /// When.
        at: Time,
    },
    /// The coordinator started again with a round open; the open phase's time
    /// counts from here.
    Resumed {
        /// When.
        at: Time,
    },
    /// A device has new rows.
    DataChanged {
        /// The device.
        device: DeviceId,
    },
    /// The release that follows is offered to nobody until a rollout.
    Held {
        /// Its version.
        version: Version,
    },
    /// A rollout began.
    RolloutStarted {
        /// Of this release.
        version: Version,
        /// How.
        plan: Plan,
        /// When.
        at: Time,
    },
    /// A rollout's next stage began.
    StageOpened {
        /// Which of the plan's.
        stage: u32,
        /// When.
        at: Time,
    },
    /// A device was put into a stage that would be empty otherwise.
    Piloted {
        /// The device.
        device: DeviceId,
    },
    /// A rollout stands otherwise than before.
    RolloutChanged {
        /// How.
        standing: Standing,
        /// When.
        at: Time,
    },
    /// A device said how a release fares.
    Tried {
        /// The device.
        device: DeviceId,
        /// The release.
        version: Version,
        /// What it found.
        evaluation: Evaluation,
        /// When.
        at: Time,
    },
    /// An earlier release was signed again under a higher version: by order of an
    /// operator, or because devices found the one after it worse.
    ReReleased {
        /// The earlier version.
        from: Version,
        /// The version it has now.
        version: Version,
        /// The signed release.
        blob: BlobHash,
        /// Its length in bytes.
        bytes: u64,
        /// When.
        at: Time,
    },
    /// A device's contributions are to be in nothing that is made from now
    /// on, and neither is what was made of them.
    Forgotten {
        /// The device.
        device: DeviceId,
        /// When.
        at: Time,
    },
    /// An operator took a device's strikes back.
    Pardoned {
        /// The device.
        device: DeviceId,
        /// When.
        at: Time,
    },
    /// The open phase, which gathers, is about to close without these: what a
    /// log of contributions does not say, and who had a session.
    Missed(Missed),
    /// The computation whose product follows left a contribution out.
    Excluded {
        /// What, whose and why.
        exclusion: Exclusion,
        /// When.
        at: Time,
    },
    /// Normaliser and transfer set are to be learnt anew from the devices that
    /// are there, by order of an operator.
    Relearnt {
        /// When.
        at: Time,
    },
    /// Of the devices drawn for a rollout's stage only these take part, so
    /// that it is the share of those connected that it was meant to be.
    StageBounded {
        /// The last place in the draw that does.
        last: u64,
    },
    /// The open phase of a standing task is about to close: what stands of
    /// earlier rounds counts in it too.
    Carried {
        /// The earliest round of which something stands.
        since: RoundId,
        /// Whether what is made of it stays. Otherwise the next round makes it
        /// anew, and a device can be left out of that.
        founds: bool,
    },
    /// What stands of a standing task's device holds its new rows: it is asked
    /// no more.
    Heard {
        /// The device.
        device: DeviceId,
    },
    /// What bytes are spent on was planned, from the profiles of the normaliser
    /// that follows.
    Planned {
        /// How, and why.
        budget: PlannedBudget,
        /// When.
        at: Time,
    },
    /// What devices reported of a release was compared with what they had before.
    Compared {
        /// The release.
        version: Version,
        /// How it does.
        comparison: Comparison,
        /// When.
        at: Time,
    },
    /// The task was put away: it has no round until it is taken out again.
    Archived {
        /// When.
        at: Time,
    },
    /// It was taken out again.
    Unarchived {
        /// When.
        at: Time,
    },
    /// The task is gone, with all that is kept of it but its entries in the log.
    Deleted {
        /// When.
        at: Time,
    },
}

/// An event and the task it belongs to, as the log holds it.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct TaskEvent {
    /// The task.
    pub task: TaskHash,
    /// The change.
    pub event: Event,
}

/// What a computation produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// The shared normaliser.
    Normaliser(BlobHash),
    /// A new transfer set.
    TransferSet {
        /// Its blob.
        blob: BlobHash,
        /// Points it holds.
        points: u32,
    },
    /// The global teacher.
    Teacher(BlobHash),
    /// The student's weights, not yet signed.
    Student(BlobHash),
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With a student.
    Completed {
        /// The released version.
        version: Version,
    },
    /// A phase's deadline passed with too few contributions.
    QuorumNotMet {
        /// The phase.
        phase: Phase,
        /// Devices that contributed.
        got: u32,
        /// Devices that had to.
        needed: u32,
    },
    /// A computation failed.
    Failed {
        /// The phase.
        phase: Phase,
        /// What went wrong.
        cause: String,
    },
    /// An operator ended it.
    Cancelled,
}
