//! Gateways: processes near devices that pass their sessions on.

use std::net::SocketAddr;

use protocol::ids::{DeviceId, Time};
use serde::{Deserialize, Serialize};

/// A gateway that joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Its id, the hash of its key.
    pub gateway: DeviceId,
    /// A name for people; may be empty.
    pub label: String,
    /// When it joined.
    pub admitted: Time,
    /// When its certificate ends.
    pub expires: Time,
    /// Whether its key was revoked.
    pub revoked: bool,
    /// Devices whose sessions it passes on now.
    pub devices: u64,
    /// Its connection; none while it has none.
    pub link: Option<GatewayLink>,
}

/// A gateway's connection. What it says of its cache is its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayLink {
    /// Where it is.
    pub address: SocketAddr,
    /// Since when.
    pub since: Time,
    /// Bytes of blobs it brought from here since it started.
    pub fetched_bytes: u64,
    /// Bytes of blobs it gave to devices since it started.
    pub served_bytes: u64,
}
