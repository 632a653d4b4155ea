//! What reaches the core, and from where.

use std::sync::Arc;

use common::ids::{BlobHash, DeviceId, RoundId, TaskHash, Version};
use common::round::{ContributionKey, Reason};
use common::task::Task;
use common::transport::{CloseCode, Connection, Traffic};
use common::trust::token::{TokenId, TokenRecord, TokenSecret};
use common::wire::messages::{EnrolRefusal, ToCoordinator, ToDevice, TransferAnswer};
use tokio::sync::{mpsc, oneshot};

use crate::journal::Pin;
use crate::registry::Certified;
use crate::rollout::Order;
use crate::round::{JobOutput, ReRelease};
use crate::status::{DeviceName, Fault, Status, TaskSummary};

/// Names one session of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionId(pub(crate) u64);

/// Names one run of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunId(pub(crate) u64);

/// The moments that stand on a task's transfer set.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) task: Arc<Task>,
    /// The transfer set.
    pub(crate) transfer: BlobHash,
    /// Whose moments, and their blobs.
    pub(crate) moments: Vec<(DeviceName, BlobHash)>,
}

/// A dropped reply means that the core cannot say: the asker gives up.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// What happens to the core.
pub(crate) enum Command {
    /// A device said hello.
    Connect {
        device: DeviceId,
        installed: Vec<(TaskHash, Version)>,
        link: Box<dyn Link>,
        outbox: mpsc::Sender<ToDevice>,
        reply: Reply<SessionId>,
    },
    /// A session ended.
    Disconnect {
        device: DeviceId,
        session: SessionId,
    },
    /// A device said something after its hello.
    Said {
        device: DeviceId,
        session: SessionId,
        message: ToCoordinator,
    },
    /// A device offers a contribution.
    Offer {
        offer: Offer,
        reply: Reply<TransferAnswer>,
    },
    /// Its bytes are durable and were checked.
    Arrived {
        offer: Offer,
        checked: Result<u64, Reason>,
        reply: Reply<TransferAnswer>,
    },
    /// May every device fetch this blob?
    IsPublic { blob: BlobHash, reply: Reply<bool> },
    /// The newest release of a task that a device is offered.
    Newest {
        device: DeviceId,
        task: Option<TaskHash>,
        reply: Reply<TransferAnswer>,
    },
    /// A task's definition.
    TaskOf {
        task: TaskHash,
        reply: Reply<Option<Arc<Task>>>,
    },
    /// What a task's teacher is solved from.
    EvidenceOf {
        task: TaskHash,
        reply: Reply<Option<Evidence>>,
    },
    /// A device wants to join. Its certificate is made, and stays in the
    /// house until the admission is durable.
    Admit {
        admission: Admission,
        reply: Reply<Result<Admitted, EnrolRefusal>>,
    },
    /// A device wants its next certificate, which stays in the house until
    /// it is on record.
    Renew {
        device: DeviceId,
        certificate: Certified,
        reply: Reply<Result<(), EnrolRefusal>>,
    },
    /// What an enrolment took on the network.
    EnrolTraffic { device: DeviceId, traffic: Traffic },
    /// A computation finished.
    Computed {
        task: TaskHash,
        run: RunId,
        result: Result<JobOutput, String>,
        /// Keeps what it made until the log names it.
        pin: Option<Pin>,
    },
    /// An operator asks.
    Admin(AdminCommand),
}

/// A contribution on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) device: DeviceId,
    pub(crate) key: ContributionKey,
    pub(crate) blob: BlobHash,
    pub(crate) bytes: u64,
}

/// A device at the door, and the token it shows.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) device: DeviceId,
    pub(crate) certificate: Certified,
    pub(crate) label: String,
    pub(crate) token: TokenId,
    pub(crate) secret: TokenSecret,
}

/// What becomes of a device that may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It is a member.
    Member,
    /// An operator has to approve it first.
    Waiting,
}

/// What an operator asks of the core.
pub(crate) enum AdminCommand {
    Status {
        reply: Reply<Status>,
    },
    AddToken {
        record: TokenRecord,
        reply: Reply<Result<(), Fault>>,
    },
    /// The definition's blob is durable.
    AddTask {
        task: Arc<Task>,
        reply: Reply<Result<TaskSummary, Fault>>,
    },
    Task {
        name: Option<String>,
        reply: Reply<Result<TaskSummary, Fault>>,
    },
    StartRound {
        name: Option<String>,
        reply: Reply<Result<(TaskHash, RoundId), Fault>>,
    },
    CancelRound {
        name: Option<String>,
        reply: Reply<Result<(), Fault>>,
    },
    /// The next round learns normaliser and transfer set anew.
    Relearn {
        name: Option<String>,
        reply: Reply<Result<(), Fault>>,
    },
    /// Whose contributions are in a release.
    Lineage {
        name: Option<String>,
        version: Option<Version>,
        reply: Reply<Result<(Version, Vec<DeviceName>), Fault>>,
    },
    Tokens {
        reply: Reply<Vec<TokenRecord>>,
    },
    RevokeToken {
        token: TokenId,
        reply: Reply<Result<(), Fault>>,
    },
    Decide {
        device: DeviceId,
        approved: bool,
        reply: Reply<Result<(), Fault>>,
    },
    Label {
        device: DeviceId,
        label: String,
        reply: Reply<Result<(), Fault>>,
    },
    Revoke {
        device: DeviceId,
        reason: String,
        reply: Reply<Result<(), Fault>>,
    },
    /// Where a release's bytes are.
    Release {
        name: Option<String>,
        version: Option<Version>,
        reply: Reply<Result<(Version, BlobHash), Fault>>,
    },
    /// Something of rollouts.
    Rollout {
        name: Option<String>,
        order: Order,
        reply: Reply<Result<(), Fault>>,
    },
    /// What releasing an earlier version again would be.
    PlanReRelease {
        name: Option<String>,
        version: Option<Version>,
        reply: Reply<Result<ReReleaseOf, Fault>>,
    },
    /// Take a device's contributions out of everything.
    Forget {
        device: DeviceId,
        reply: Reply<Result<(), Fault>>,
    },
    /// Take a device's strikes and breaches back.
    Pardon {
        device: DeviceId,
        reply: Reply<Result<(), Fault>>,
    },
    /// Earlier versions were signed as planned, each above the one before;
    /// their blobs are durable. All of them are released, or none.
    ReRelease {
        task: TaskHash,
        done: Vec<ReRelease>,
        reply: Reply<Result<(), Fault>>,
    },
}

/// An earlier release of a task under a higher version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReReleaseOf {
    pub(crate) task: TaskHash,
    pub(crate) again: ReRelease,
}

/// A session's connection, as far as the core needs one.
pub(crate) trait Link: Send {
    /// Bytes of the handshake.
    fn handshake(&self) -> Traffic;
    /// Bytes after the handshake.
    fn work(&self) -> Traffic;
    /// Ends it, with a reason.
    fn close(&self, code: CloseCode, reason: &str);
}

impl Link for Connection {
    fn handshake(&self) -> Traffic {
        self.handshake_traffic()
    }

    fn work(&self) -> Traffic {
        self.work_traffic()
    }

    fn close(&self, code: CloseCode, reason: &str) {
        Connection::close(self, code, reason);
    }
}
