//! The messages of `alambic/1` and `alambic-enrol/1`.
//!
//! Variants are numbered by their order. New ones go to the end, and none is
//! removed or changed within a major version, so the previous minor version
//! stays readable.

use bincode::{Decode, Encode};
use serde::Serialize;

use crate::evaluation::Evaluation;
use crate::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use crate::round::{ContributionKey, Phase, Reason};
use crate::trust::bundle::AnnouncedAuthority;
use crate::trust::offer::OFFER_SIGNATURE_BYTES;
use crate::withheld::RawWithheld;

/// Minor version of the protocol this build speaks.
pub const PROTOCOL_MINOR: u16 = 1;

/// Device to coordinator, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToCoordinator {
    /// First message of a session.
    Hello(Hello),
    /// The device holds new rows for a task, at least its own `rows_min`.
    DataChanged(TaskHash),
    /// The device cannot or may not answer this call; it need not be waited
    /// for.
    Abstain {
        /// The task called for.
        task: TaskHash,
        /// The round called for.
        round: RoundId,
        /// The phase called for.
        phase: Phase,
    },
    /// How a release fares here. Said again in each session, for it may have
    /// been lost.
    Tried {
        /// The task.
        task: TaskHash,
        /// The release.
        version: Version,
        /// What the device found.
        evaluation: Evaluation,
    },
    /// Why the device gives nothing to a task, or less than it was asked for;
    /// none once it gives all. Said again in each session. Since minor 1.
    Withholds {
        /// The task.
        task: TaskHash,
        /// Why, as far as its owner lets it tell.
        why: Option<RawWithheld>,
    },
}

/// Who speaks and what it runs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// Minor protocol version.
    pub minor: u16,
    /// Version of the agent program.
    pub agent: String,
    /// Newest students installed, by task.
    pub installed: Vec<(TaskHash, Version)>,
    /// A random number of this process, by which two machines with one key
    /// are told from one that started again; 0 says nothing.
    pub instance: u64,
    /// What the device's clock shows, by which a coordinator notices that its
    /// own is wrong; 0 where that is not known.
    pub clock: Time,
}

/// Coordinator to device, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToDevice {
    /// Answer to the hello.
    Welcome(Welcome),
    /// A phase waits for this device.
    Call(Call),
    /// A phase no longer waits.
    PhaseClosed {
        /// The task.
        task: TaskHash,
        /// The round.
        round: RoundId,
        /// The phase that closed.
        phase: Phase,
    },
    /// A student is ready to be fetched and checked.
    Released(Announcement),
    /// The device is to renew its certificate now, though it has time left.
    Renew,
}

impl ToDevice {
    /// The task whose rows it asks for, the newest among them.
    pub fn asks_for_rows_of(&self) -> Option<TaskHash> {
        match self {
            Self::Call(call) if matches!(call.phase, Phase::Summarise | Phase::Contribute) => {
                Some(call.task)
            }
            _ => None,
        }
    }
}

/// What a device needs to know at the start of a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// Minor protocol version of the coordinator.
    pub minor: u16,
    /// The coordinator's time.
    pub time: Time,
    /// The tasks it runs: hash and the blob that holds each.
    pub tasks: Vec<(TaskHash, BlobHash)>,
    /// The signed trust root: which keys may sign releases.
    pub trust_root: Vec<u8>,
    /// A signed statement that this is of today.
    pub freshness: Vec<u8>,
}

/// A phase that waits for a device's contributions.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Call {
    /// The task.
    pub task: TaskHash,
    /// The round.
    pub round: RoundId,
    /// The phase; it says which kinds are asked for.
    pub phase: Phase,
    /// What the work stands on.
    pub context: Context,
    /// Milliseconds until the phase's deadline, when the call was sent.
    pub remaining_ms: u64,
}

/// The shared blobs a contribution is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Context {
    /// The task's definition.
    pub task: BlobHash,
    /// The normaliser; absent in the profile phase.
    pub normaliser: Option<BlobHash>,
    /// The transfer set; absent before the first one was gathered.
    pub transfer: Option<BlobHash>,
    /// The newest global teacher; absent in the first round.
    pub teacher: Option<BlobHash>,
    /// The release to evaluate; in the report phase only.
    pub release: Option<BlobHash>,
}

impl Context {
    /// The blobs that must be at hand.
    pub fn blobs(&self) -> impl Iterator<Item = BlobHash> {
        [
            Some(self.task),
            self.normaliser,
            self.transfer,
            self.teacher,
            self.release,
        ]
        .into_iter()
        .flatten()
    }
}

/// A released student.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Announcement {
    /// The task it serves.
    pub task: TaskHash,
    /// Its version.
    pub version: Version,
    /// The signed release.
    pub blob: BlobHash,
    /// Length of the signed release.
    pub bytes: u64,
    /// Milliseconds of use after which the device tries it once more.
    pub soak_ms: u64,
}

/// First frame of a transfer stream, from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TransferRequest {
    /// The device has a contribution to send.
    Offer {
        /// What it is.
        key: ContributionKey,
        /// Name of its bytes.
        blob: BlobHash,
        /// Their length.
        bytes: u64,
    },
    /// The device wants a shared blob, from an offset on.
    Fetch {
        /// The blob's name.
        blob: BlobHash,
        /// Bytes the device already holds.
        offset: u64,
    },
    /// The device wants to know the newest release of a task.
    Newest {
        /// The task; none stands for the coordinator's only one.
        task: Option<TaskHash>,
    },
    /// The device wants a release, and holds an earlier one.
    FetchAgainst {
        /// The release's name.
        blob: BlobHash,
        /// The earlier one's.
        base: BlobHash,
    },
    /// The same as an offer, signed by the device. Said where a gateway passes
    /// the session on, and taken from nowhere else: every coordinator that has
    /// gateways knows it.
    SignedOffer {
        /// What it is.
        key: ContributionKey,
        /// Name of its bytes.
        blob: BlobHash,
        /// Their length.
        bytes: u64,
        /// Of a [`crate::trust::offer::SignedOffer`], by the device's key.
        signature: [u8; OFFER_SIGNATURE_BYTES],
    },
    /// An offer whose bytes follow at once, from the first on, of at most
    /// [`crate::limits::WHOLE_BYTES_MAX`]: it saves the round trip in which the
    /// coordinator says that it wants them, and wastes them where it does not.
    Whole {
        /// What it is.
        key: ContributionKey,
        /// Name of its bytes.
        blob: BlobHash,
        /// Their length.
        bytes: u64,
        /// As of a signed offer, where a gateway passes the session on.
        signature: Option<[u8; OFFER_SIGNATURE_BYTES]>,
    },
}

/// Frames from the coordinator on a transfer stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TransferAnswer {
    /// Send the offered bytes from this offset on.
    Send {
        /// Bytes the coordinator already holds.
        offset: u64,
    },
    /// The contribution is durable and counted.
    Accepted,
    /// The contribution was not taken.
    Refused(Reason),
    /// The fetched blob's bytes follow from the asked offset to this length.
    Blob {
        /// Total length of the blob.
        bytes: u64,
    },
    /// There is no such blob for this device.
    NotFound,
    /// The newest release.
    Newest(Announcement),
    /// The task has no release yet.
    NoRelease,
    /// What leads from the base to the release follows, in this many bytes.
    Delta {
        /// Length of the delta.
        bytes: u64,
    },
    /// A delta would not be smaller: fetch the whole.
    NoDelta,
}

/// Device to coordinator on the enrolment protocol.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum EnrolRequest {
    /// A new device asks for its certificate.
    Join {
        /// The join token's identifier.
        token: String,
        /// The join token's secret.
        secret: Vec<u8>,
        /// Certificate signing request (DER).
        csr: Vec<u8>,
        /// A name for people; may be empty.
        label: String,
    },
    /// A device that showed its certificate, over or not, asks for the next
    /// one for the same key.
    Renew {
        /// Certificate signing request (DER).
        csr: Vec<u8>,
    },
}

/// Coordinator to device on the enrolment protocol.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EnrolAnswer {
    /// The device is admitted.
    Issued {
        /// Its name.
        device: DeviceId,
        /// Its certificate (DER).
        certificate: Vec<u8>,
        /// The authorities to believe; the token's pin is among them.
        authorities: Vec<AnnouncedAuthority>,
        /// The signed trust root: which keys may sign releases.
        trust_root: Vec<u8>,
    },
    /// The device is not admitted.
    Refused(EnrolRefusal),
    /// An operator has yet to approve the device. It asks again.
    Waiting {
        /// Its name, by which it is approved.
        device: DeviceId,
        /// Milliseconds until it should ask again.
        retry_ms: u64,
    },
    /// The next certificate.
    Renewed {
        /// The certificate (DER).
        certificate: Vec<u8>,
        /// The authorities to believe from now on.
        authorities: Vec<AnnouncedAuthority>,
    },
}

/// Why a device was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrolRefusal {
    /// No such token, or its secret is wrong.
    UnknownToken,
    /// The token's time is over.
    ExpiredToken,
    /// The token was used as often as it may be.
    UsedToken,
    /// The signing request is not valid.
    BadRequest,
    /// This key was revoked and can never join again.
    RevokedKey,
    /// The coordinator could not store the admission; try again.
    Storage,
    /// The operator took the token back.
    RevokedToken,
    /// The operator said no to this device.
    Denied,
    /// The device is not of this fleet, so it has nothing to renew.
    NotAMember,
}

impl std::fmt::Display for EnrolRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UnknownToken => "the token is not known to this coordinator",
            Self::ExpiredToken => "the token has expired",
            Self::UsedToken => "the token has been used as often as it may be",
            Self::BadRequest => "the certificate request is not valid",
            Self::RevokedKey => "this device's key was revoked",
            Self::Storage => "the coordinator could not store the admission; try again later",
            Self::RevokedToken => "the token was revoked",
            Self::Denied => "the operator denied this device",
            Self::NotAMember => "this device is not known to this coordinator",
        })
    }
}

#[cfg(test)]
mod tests;
