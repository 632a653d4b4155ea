//! Devices: what they are to the fleet, their traffic and how they behave.

use protocol::evaluation::Evaluation;
use protocol::ids::{BlobHash, DeviceId, Time, Version};
use protocol::round::Reason;
use protocol::trust::certificate::Fingerprint;
use serde::{Deserialize, Serialize};

use super::{DeviceName, ErrorSummary, format};

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
    /// The gateway that passes its session on, if one does.
    #[serde(default)]
    pub gateway: Option<DeviceName>,
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
    /// Tasks at work that are for it, and whose newest student nothing of it is
    /// in.
    #[serde(default)]
    pub gives_nothing_to: Vec<String>,
}

/// A student that a device runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceStudent {
    /// The task's name.
    pub task: String,
    /// The student's version.
    pub version: Version,
    /// What the device found when it tried it; none if it has not said so since
    /// the coordinator's start.
    pub evaluation: Option<Evaluation>,
    /// What it reaches on rows that the device held out, by its last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    /// Why that is not known, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_reported: Option<String>,
    /// That report, for who reads it.
    #[serde(skip)]
    pub report: Option<BlobHash>,
}

/// How a student does on one device's held-out rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Rows that the device held out.
    pub rows: u64,
    /// Share of them answered right, 0..=1; none where the task asks for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// How far off the numbers are, where the task asks for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorSummary>,
}

impl Reached {
    /// In a column: `97.1 %`, `RMSE 12.34`.
    pub fn short(&self) -> String {
        match (self.accuracy, self.error) {
            (Some(accuracy), _) => format!("{:.1} %", 100.0 * accuracy),
            (None, Some(error)) => format!("RMSE {}", format::error(error.rmse)),
            (None, None) => "-".to_owned(),
        }
    }
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
