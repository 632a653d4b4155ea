//! What is asked and answered on the admin socket.

use common::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use common::trust::token::{Approval, TokenId, TokenRecord};
use serde::{Deserialize, Serialize};

use crate::backbone::BackboneFile;
use crate::backup::Contents;
use crate::journal::audit::{AuditRecord, AuditSpan};
use crate::rollout::Order;
use crate::status::{DeviceName, Fault, InfluenceStatus, Namesake, Progress, Status, TaskSummary};

/// Longest line a request may be.
pub const LINE_BYTES_MAX: usize = 512 * 1024;

/// What an operator asks. A task is named by its name, its hash or the first
/// digits of its hash; none stands for the only one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Everything there is to know; answered by [`Response::Status`].
    Status,
    /// Progress of all tasks until the caller hangs up; answered by
    /// [`Response::Watching`], then [`Response::Progress`] for each step.
    Watch,
    /// A new join token; answered by [`Response::Token`].
    CreateToken(TokenWish),
    /// All tokens; answered by [`Response::Tokens`].
    ListTokens,
    /// Take a token back; answered by [`Response::Done`].
    RevokeToken {
        /// Which.
        token: TokenId,
    },
    /// Let a device that waits in; answered by [`Response::Done`].
    ApproveDevice {
        /// Which.
        device: DeviceId,
    },
    /// Turn a device that waits away; answered by [`Response::Done`].
    DenyDevice {
        /// Which.
        device: DeviceId,
    },
    /// Give a device another name for people; answered by
    /// [`Response::Done`].
    LabelDevice {
        /// Which.
        device: DeviceId,
        /// The name; may be empty.
        label: String,
    },
    /// A new task from the text of its file; answered by
    /// [`Response::Task`].
    CreateTask {
        /// TOML.
        text: String,
        /// What becomes of another task with its name.
        #[serde(default)]
        namesake: Namesake,
    },
    /// Put a task away, or take it out again; answered by [`Response::Done`].
    ArchiveTask {
        /// Which task.
        task: Option<String>,
        /// Whether it is put away.
        away: bool,
    },
    /// Let go of a task that is put away; answered by [`Response::Forgotten`].
    DeleteTask {
        /// Which task.
        task: String,
    },
    /// One task; answered by [`Response::Task`].
    Task {
        /// Which.
        task: Option<String>,
    },
    /// Add a model whose bytes follow the line; answered by
    /// [`Response::Backbone`].
    AddBackbone {
        /// What its file is called.
        name: String,
        /// Length of what follows.
        bytes: u64,
    },
    /// The models that tasks may name; answered by [`Response::Backbones`].
    ListBackbones,
    /// Let go of a model that no task needs; answered by
    /// [`Response::Forgotten`].
    RemoveBackbone {
        /// Hash, its first digits, or the name of its file.
        model: String,
    },
    /// Begin a round; answered by [`Response::RoundStarted`].
    StartRound {
        /// Of which task.
        task: Option<String>,
        /// Whether its progress is wanted, until it has ended.
        watch: bool,
    },
    /// End the round in progress; answered by [`Response::Done`].
    CancelRound {
        /// Of which task.
        task: Option<String>,
    },
    /// Have the next round learn normaliser and transfer set anew; answered by
    /// [`Response::Done`].
    Relearn {
        /// Of which task.
        task: Option<String>,
    },
    /// Believe a device no more and close its session; answered by
    /// [`Response::Done`].
    RevokeDevice {
        /// Which.
        device: DeviceId,
        /// Why, for the record; may be empty.
        #[serde(default)]
        reason: String,
    },
    /// Read the whole log and check its chain; answered by
    /// [`Response::Audit`].
    VerifyAudit,
    /// Records of the log; answered by [`Response::AuditRecords`].
    ReadAudit {
        /// Number of the first; none stands for the oldest kept.
        from: Option<u64>,
    },
    /// Whose contributions are in a release; answered by
    /// [`Response::Lineage`].
    Lineage {
        /// Of which task.
        task: Option<String>,
        /// Which version; none stands for the newest.
        version: Option<Version>,
    },
    /// A signed release; answered by [`Response::Release`].
    Release {
        /// Of which task.
        task: Option<String>,
        /// Which version; none stands for the newest.
        version: Option<Version>,
    },
    /// A stored blob by its name, such as a transfer set or a teacher out of
    /// the status; answered by [`Response::Blob`].
    Blob {
        /// Its name.
        blob: BlobHash,
    },
    /// Revoke a device, delete what it contributed, and build everything anew
    /// without it; answered by [`Response::Forgotten`].
    ForgetDevice {
        /// Which.
        device: DeviceId,
    },
    /// Take a device's strikes and breaches back and end its quarantine;
    /// answered by [`Response::Done`].
    PardonDevice {
        /// Which.
        device: DeviceId,
    },
    /// Something of rollouts; answered by [`Response::Done`].
    Rollout {
        /// Of which task.
        task: Option<String>,
        /// What.
        order: Order,
    },
    /// Release an earlier student again under a higher version, to everyone;
    /// answered by [`Response::ReReleased`].
    ReRelease {
        /// Of which task.
        task: Option<String>,
        /// Which version; none stands for the one before the newest rollout.
        version: Option<Version>,
    },
    /// A copy of the store as it is now; answered by
    /// [`Response::StoreCopy`], then [`Response::Piece`] for each piece and
    /// [`Response::Done`] once all were sent.
    CopyStore,
    /// What each device is worth to the others that the newest teacher is made
    /// of; answered by [`Response::Influence`].
    Influence {
        /// Of which task.
        task: Option<String>,
    },
}

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenWish {
    /// How long it is honoured, in milliseconds.
    pub ttl_ms: u64,
    /// How many devices it admits.
    pub uses: u32,
    /// The group its devices join.
    #[serde(default)]
    pub group: Option<String>,
    /// Whether a person approves each device.
    #[serde(default)]
    pub approval: Approval,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Its name.
    pub token: TokenId,
    /// When it stops being honoured.
    pub expires: Time,
    /// How many devices it admits.
    pub uses: u32,
    /// Devices it has admitted, or that wait by it.
    pub used_by: Vec<DeviceId>,
    /// The group its devices join.
    pub group: Option<String>,
    /// Whether a person approves each device.
    pub approval: Approval,
    /// When it was taken back.
    pub revoked: Option<Time>,
}

impl From<TokenRecord> for TokenStatus {
    fn from(record: TokenRecord) -> Self {
        Self {
            token: record.id,
            expires: record.expires,
            uses: record.uses_max,
            used_by: record.redeemed_by,
            group: record.group,
            approval: record.approval,
            revoked: record.revoked,
        }
    }
}

/// What the coordinator answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The answer to [`Request::Status`].
    Status(Status),
    /// A token, shown this once.
    Token {
        /// What the device is given.
        token: String,
        /// When it stops being honoured.
        expires: Time,
        /// How many devices it admits.
        uses: u32,
    },
    /// The log's chain holds.
    Audit(AuditSpan),
    /// Records of the log, in order; none at its end.
    AuditRecords(Vec<AuditRecord>),
    /// Whose contributions are in a release.
    Lineage {
        /// Its version.
        version: Version,
        /// The devices, in the order of their ids.
        devices: Vec<DeviceName>,
    },
    /// All tokens, oldest name first.
    Tokens(Vec<TokenStatus>),
    /// A task.
    Task(TaskSummary),
    /// A model that tasks may name.
    Backbone(BackboneFile),
    /// All of them, oldest first.
    Backbones(Vec<BackboneFile>),
    /// A round began.
    RoundStarted {
        /// Of which task.
        task: TaskHash,
        /// Its number.
        round: RoundId,
    },
    /// The watch has begun: whatever happens from now on will be told.
    Watching,
    /// Something happened.
    Progress(Progress),
    /// A release; its signed bytes follow the line.
    Release {
        /// Its version.
        version: Version,
        /// Length of what follows.
        bytes: u64,
    },
    /// A blob; its bytes follow the line.
    Blob {
        /// Length of what follows.
        bytes: u64,
    },
    /// A device's contributions are gone.
    Forgotten {
        /// Blobs that were deleted.
        blobs: usize,
    },
    /// An earlier student has a higher version now.
    ReReleased {
        /// The earlier version.
        from: Version,
        /// The version it has now.
        version: Version,
    },
    /// It is done.
    Done,
    /// It could not be done.
    Fault(Fault),
    /// What the copy of the store will hold.
    StoreCopy(Contents),
    /// A piece of the store; its bytes follow the line.
    Piece {
        /// Its name.
        name: String,
        /// Length of what follows.
        bytes: u64,
    },
    /// What each device is worth, those first that are worth most.
    Influence(Vec<InfluenceStatus>),
}
