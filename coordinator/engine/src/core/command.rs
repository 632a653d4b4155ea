//! What reaches the core, and from where.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::ids::{BlobHash, DeviceId, RoundId, TaskHash, Version};
use protocol::round::{ContributionKey, Reason};
use protocol::task::Task;
use protocol::traffic::Traffic;
use protocol::trust::token::{TokenId, TokenRecord, TokenSecret};
use protocol::wire::messages::{EnrolRefusal, ToCoordinator, TransferAnswer};

pub use super::answer::Reply;
use crate::registry::Certified;
use crate::rollout::Order;
use crate::round::{JobOutput, ReRelease};
use crate::status::{DeviceName, Fault, Status, TaskSummary};

/// Names one session of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

/// Names one run of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// The moments that stand on a task's transfer set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Which task.
    pub task: Arc<Task>,
    /// The transfer set.
    pub transfer: BlobHash,
    /// Whose moments, and their blobs.
    pub moments: Vec<(DeviceName, BlobHash)>,
}

/// A device's process, and where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    /// Its random number; 0 says nothing.
    pub instance: u64,
    /// Where it is; none where that means nothing.
    pub address: Option<SocketAddr>,
    /// The gateway that passes its session on, if one does.
    pub gateway: Option<DeviceId>,
}

/// What happens to the core.
pub enum Command {
    /// A device said hello.
    Connect {
        /// Which device.
        device: DeviceId,
        /// Chosen by anyone who accepted the connection; never used before.
        session: SessionId,
        /// The students it runs, by task.
        installed: Vec<(TaskHash, Version)>,
        /// The process that said it.
        speaker: Speaker,
        /// What its connection has moved.
        meter: Box<dyn TrafficMeter>,
    },
    /// A session ended.
    Disconnect {
        /// Which device.
        device: DeviceId,
        /// Which session.
        session: SessionId,
    },
    /// A device said something after its hello.
    Said {
        /// Which device.
        device: DeviceId,
        /// Which session.
        session: SessionId,
        /// What it said.
        message: ToCoordinator,
    },
    /// A device offers a contribution.
    Offer {
        /// What it offers.
        offer: Offer,
        /// Where the answer goes.
        reply: Reply<TransferAnswer>,
    },
    /// Its bytes are durable and were checked.
    Arrived {
        /// What it offers.
        offer: Offer,
        /// The rows it describes, or why it is refused.
        checked: Result<u64, Reason>,
        /// Where the answer goes.
        reply: Reply<TransferAnswer>,
    },
    /// May every device fetch this blob?
    IsPublic {
        /// Which blob.
        blob: BlobHash,
        /// Where the answer goes.
        reply: Reply<bool>,
    },
    /// Is this member a gateway?
    IsGateway {
        /// Which member.
        member: DeviceId,
        /// Where the answer goes.
        reply: Reply<bool>,
    },
    /// The newest release of a task that a device is offered.
    Newest {
        /// Which device.
        device: DeviceId,
        /// Which task.
        task: Option<TaskHash>,
        /// Where the answer goes.
        reply: Reply<TransferAnswer>,
    },
    /// A task's definition.
    TaskOf {
        /// Which task.
        task: TaskHash,
        /// Where the answer goes.
        reply: Reply<Option<Arc<Task>>>,
    },
    /// What a task's teacher is solved from.
    EvidenceOf {
        /// Which task.
        task: TaskHash,
        /// Where the answer goes.
        reply: Reply<Option<Evidence>>,
    },
    /// A device wants to join. Its certificate is made, and is
    /// held back until the admission is durable.
    Admit {
        /// Who, with which token.
        admission: Admission,
        /// Where the answer goes.
        reply: Reply<Result<Admitted, EnrolRefusal>>,
    },
    /// A device wants its next certificate, which is held back until it is
    /// on record.
    Renew {
        /// Which device.
        device: DeviceId,
        /// Its certificate.
        certificate: Certified,
        /// Where the answer goes.
        reply: Reply<Result<(), EnrolRefusal>>,
    },
    /// What an enrolment took on the network.
    EnrolTraffic {
        /// Which device.
        device: DeviceId,
        /// What was moved.
        traffic: Traffic,
    },
    /// A computation finished.
    Computed {
        /// Which task.
        task: TaskHash,
        /// Which run.
        run: RunId,
        /// What it made, or why it failed.
        result: Result<JobOutput, String>,
    },
    /// An operator asks.
    Admin(AdminCommand),
}

/// A contribution on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Which device.
    pub device: DeviceId,
    /// What the contribution is for.
    pub key: ContributionKey,
    /// Which blob.
    pub blob: BlobHash,
    /// How many bytes it has.
    pub bytes: u64,
}

/// A device that wants to join, and the token it shows.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Which device.
    pub device: DeviceId,
    /// Its certificate.
    pub certificate: Certified,
    /// What people call it.
    pub label: String,
    /// Which token.
    pub token: TokenId,
    /// The token's secret.
    pub secret: TokenSecret,
}

/// What becomes of a device that may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It is a member.
    Member,
    /// An operator has to approve it first.
    Waiting,
}

/// What an operator asks of the core.
pub enum AdminCommand {
    /// The whole state.
    Status {
        /// Where the answer goes.
        reply: Reply<Box<Status>>,
    },
    /// Keep a new join token.
    AddToken {
        /// The token.
        record: TokenRecord,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
    /// The definition's blob is durable.
    AddTask {
        /// Which task.
        task: Arc<Task>,
        /// Where the answer goes.
        reply: Reply<Result<TaskSummary, Fault>>,
    },
    /// A task's summary.
    Task {
        /// Name or hash of the task; without one, the only task.
        name: Option<String>,
        /// Where the answer goes.
        reply: Reply<Result<TaskSummary, Fault>>,
    },
    /// Begin a round.
    StartRound {
        /// Name or hash of the task; without one, the only task.
        name: Option<String>,
        /// Where the answer goes.
        reply: Reply<Result<(TaskHash, RoundId), Fault>>,
    },
    /// End the open round.
    CancelRound {
        /// Name or hash of the task; without one, the only task.
        name: Option<String>,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
    /// The next round learns normaliser and transfer set anew.
    Relearn {
        /// Of which task.
        name: Option<String>,
        /// Answered once that is durable.
        reply: Reply<Result<(), Fault>>,
    },
    /// Whose contributions are in a release.
    Lineage {
        /// Name or hash of the task; without one, the only task.
        name: Option<String>,
        /// Which version; without one, the newest.
        version: Option<Version>,
        /// Where the answer goes.
        reply: Reply<Result<(Version, Vec<DeviceName>), Fault>>,
    },
    /// All tokens.
    Tokens {
        /// Where the answer goes.
        reply: Reply<Vec<TokenRecord>>,
    },
    /// Take a token back.
    RevokeToken {
        /// Which token.
        token: TokenId,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
    /// Let a device that waits in, or turn it away.
    Decide {
        /// Which device.
        device: DeviceId,
        /// Whether it is let in.
        approved: bool,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
    /// Give a device another name for people.
    Label {
        /// Which device.
        device: DeviceId,
        /// What people call it.
        label: String,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
    /// End a device's membership.
    Revoke {
        /// Which device.
        device: DeviceId,
        /// Why, for the record.
        reason: String,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
    /// Where a release's bytes are.
    Release {
        /// Name or hash of the task; without one, the only task.
        name: Option<String>,
        /// Which version; without one, the newest.
        version: Option<Version>,
        /// Where the answer goes.
        reply: Reply<Result<(Version, BlobHash), Fault>>,
    },
    /// Something of rollouts.
    Rollout {
        /// Name or hash of the task; without one, the only task.
        name: Option<String>,
        /// The order.
        order: Order,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
    /// What releasing an earlier version again would be.
    PlanReRelease {
        /// Name or hash of the task; without one, the only task.
        name: Option<String>,
        /// Which version; without one, the newest.
        version: Option<Version>,
        /// Where the answer goes.
        reply: Reply<Result<ReReleaseOf, Fault>>,
    },
    /// Take a device's contributions out of everything.
    Forget {
        /// Which device.
        device: DeviceId,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
    /// Take a device's strikes and breaches back.
    Pardon {
        /// Which device.
        device: DeviceId,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
    /// Earlier versions were signed as planned, each above the one before;
    /// their blobs are durable. All of them are released, or none.
    ReRelease {
        /// Which task.
        task: TaskHash,
        /// The new releases, in order.
        done: Vec<ReRelease>,
        /// Where the answer goes.
        reply: Reply<Result<(), Fault>>,
    },
}

/// An earlier release of a task under a higher version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReReleaseOf {
    /// Which task.
    pub task: TaskHash,
    /// The earlier release, and its new version.
    pub again: ReRelease,
}

/// What a session's connection has moved so far.
pub trait TrafficMeter: Send {
    /// Bytes of the handshake.
    fn handshake(&self) -> Traffic;
    /// Bytes after the handshake.
    fn work(&self) -> Traffic;
}
