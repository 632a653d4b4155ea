//! What peers may do in a time, as the configuration's `[limits]` says it.

use common::limits::{
    CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, ENROLMENTS_PER_ADDRESS_S,
    HANDSHAKES_PER_ADDRESS_S,
};
use common::transport::{ConnectionLimits, Rate};
use serde::Deserialize;

/// Limits on peers. Everything else that bounds one is a constant of
/// [`common::limits`].
///
/// | key | default | allowed |
/// |---|---|---|
/// | `connections` | 20,000 | 1 to 1,000,000 |
/// | `connections_per_address` | 4,096 | 1 to 1,000,000 |
/// | `handshakes_per_address` | 100 a second | 1 to 100,000 |
/// | `enrolments_per_address` | 20 a second | 1 to 100,000 |
/// | `requests_per_device` | 8 a second | 1 to 10,000 |
/// | `bytes_per_device` | 1 MiB a second | 1,024 to 1 GiB |
/// | `rows_per_device` | 10,000,000 | 1 to 2⁴⁰ |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of connections, before anything is known of a peer.
    pub connections: ConnectionLimits,
    /// For each device.
    pub devices: DeviceLimits,
    /// Most rows that one contribution may claim to describe. Checks hold a
    /// contribution against what this many rows can produce, so this is what
    /// bounds the weight of one device.
    pub rows_per_device: u64,
}

/// What one device may do in a time. A device that asks for more is slowed
/// down, not refused, but for sessions and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Sessions begun.
    pub sessions: Rate,
    /// Transfers begun.
    pub requests: Rate,
    /// Messages on the control stream.
    pub messages: Rate,
    /// Bytes of transfers, both directions.
    pub bytes: Rate,
}

impl Default for DeviceLimits {
    fn default() -> Self {
        Self {
            sessions: SESSIONS,
            requests: requests(REQUESTS_PER_DEVICE_S),
            messages: MESSAGES,
            bytes: bytes(BYTES_PER_DEVICE_S),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: ConnectionLimits::default(),
            devices: DeviceLimits::default(),
            rows_per_device: ROWS_PER_DEVICE,
        }
    }
}

/// `[limits]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLimits {
    connections: Option<u64>,
    connections_per_address: Option<u64>,
    handshakes_per_address: Option<u64>,
    enrolments_per_address: Option<u64>,
    requests_per_device: Option<u64>,
    bytes_per_device: Option<u64>,
    rows_per_device: Option<u64>,
}

/// A value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) key: &'static str,
    pub(crate) value: u64,
    pub(crate) allowed: &'static str,
}

impl RawLimits {
    /// The checked limits.
    ///
    /// # Errors
    /// The first value that is not allowed.
    pub(crate) fn check(self) -> Result<Limits, Unfit> {
        let connections = within(
            "limits.connections",
            self.connections,
            CONNECTIONS_MAX as u64,
            (1, 1_000_000, "1 to 1000000"),
        )?;
        let per_address = within(
            "limits.connections_per_address",
            self.connections_per_address,
            CONNECTIONS_PER_ADDRESS_MAX as u64,
            (1, 1_000_000, "1 to 1000000"),
        )?;
        let handshakes = within(
            "limits.handshakes_per_address",
            self.handshakes_per_address,
            HANDSHAKES_PER_ADDRESS_S.into(),
            (1, 100_000, "1 to 100000, a second"),
        )?;
        let enrolments = within(
            "limits.enrolments_per_address",
            self.enrolments_per_address,
            ENROLMENTS_PER_ADDRESS_S.into(),
            (1, 100_000, "1 to 100000, a second"),
        )?;
        let per_device = within(
            "limits.requests_per_device",
            self.requests_per_device,
            REQUESTS_PER_DEVICE_S.into(),
            (1, 10_000, "1 to 10000, a second"),
        )?;
        let traffic = within(
            "limits.bytes_per_device",
            self.bytes_per_device,
            BYTES_PER_DEVICE_S.into(),
            (1_024, 1 << 30, "1024 to 1073741824, a second"),
        )?;
        let rows = within(
            "limits.rows_per_device",
            self.rows_per_device,
            ROWS_PER_DEVICE,
            (1, common::limits::ROWS_MAX, "1 to 1099511627776"),
        )?;
        Ok(Limits {
            connections: ConnectionLimits {
                connections: connections as usize,
                connections_per_address: per_address as usize,
                handshakes_per_address: ConnectionLimits::rate(handshakes as u32),
                enrolments_per_address: ConnectionLimits::rate(enrolments as u32),
                ..ConnectionLimits::default()
            },
            devices: DeviceLimits {
                requests: requests(per_device as u32),
                bytes: bytes(traffic as u32),
                ..DeviceLimits::default()
            },
            rows_per_device: rows,
        })
    }
}

fn within(
    key: &'static str,
    told: Option<u64>,
    default: u64,
    (min, max, allowed): (u64, u64, &'static str),
) -> Result<u64, Unfit> {
    let value = told.unwrap_or(default);
    match (min..=max).contains(&value) {
        true => Ok(value),
        false => Err(Unfit {
            key,
            value,
            allowed,
        }),
    }
}

/// A round takes about ten transfers of a device.
fn requests(per_second: u32) -> Rate {
    Rate {
        per_second,
        burst: per_second.saturating_mul(32),
    }
}

/// Four of the longest blobs at once, or four minutes' worth.
fn bytes(per_second: u32) -> Rate {
    const FOUR_BLOBS: u32 = 4 * common::limits::BLOB_BYTES_MAX as u32;
    Rate {
        per_second,
        burst: per_second.saturating_mul(240).max(FOUR_BLOBS),
    }
}

const REQUESTS_PER_DEVICE_S: u32 = 8;
const BYTES_PER_DEVICE_S: u32 = 1 << 20;
const ROWS_PER_DEVICE: u64 = 10_000_000;
/// A device reconnects after each break, at first at once.
const SESSIONS: Rate = Rate {
    per_second: 1,
    burst: 60,
};
/// A device says a few words a round.
const MESSAGES: Rate = Rate {
    per_second: 4,
    burst: 256,
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn raw(text: &str) -> RawLimits {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(raw("").check(), Ok(Limits::default()));
    }

    #[test]
    fn a_fleet_behind_one_router_can_be_let_in() {
        let text = "connections_per_address = 20000\nhandshakes_per_address = 1000";
        let limits = raw(text).check().unwrap().connections;
        assert_eq!(limits.connections_per_address, 20_000);
        assert_eq!(limits.handshakes_per_address.per_second, 1_000);
        assert_eq!(limits.handshakes_per_address.burst, 10_000);
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let unfit = raw("handshakes_per_address = 0").check().unwrap_err();
        assert_eq!(
            (unfit.key, unfit.value),
            ("limits.handshakes_per_address", 0)
        );
        let unfit = raw("bytes_per_device = 5").check().unwrap_err();
        assert_eq!(unfit.key, "limits.bytes_per_device");
        assert!(toml::from_str::<RawLimits>("conections = 5").is_err());
    }
}
