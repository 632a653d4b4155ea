//! The messages of `alambic-gateway/1`, between a gateway and its coordinator.
//!
//! A gateway has one connection. On its control stream both sides say what
//! concerns all devices. Every other stream begins with a [`Purpose`]: the
//! session of one device, one transfer within it, a blob for the gateway's
//! cache, or one device's renewal. A transfer and a renewal go on with exactly
//! the bytes that a device without a gateway would send and be sent.
//!
//! Variants are numbered by their order; new ones go to the end.

use std::net::SocketAddr;

use bincode::{Decode, Encode};

use crate::ids::{BlobHash, DeviceId, Time};
use crate::traffic::Traffic;
use crate::trust::bundle::AnnouncedAuthority;

/// Minor version of the protocol this build speaks.
pub const GATEWAY_MINOR: u16 = 0;

/// Devices named in one [`ToGateway::Revoked`]; they fit into a frame.
pub const REVOKED_AT_ONCE: usize = 8_192;

/// Bytes that a message takes more when it is passed on by a gateway.
pub const WRAPPING_BYTES: usize = 16;

/// Gateway to coordinator, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromGateway {
    /// First message.
    Hello {
        /// Minor protocol version.
        minor: u16,
        /// Version of the program.
        program: String,
    },
    /// How it does, now and then.
    Figures(GatewayFigures),
}

/// What a gateway has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct GatewayFigures {
    /// Devices that are connected to it.
    pub devices: u64,
    /// Bytes of blobs it brought from the coordinator.
    pub fetched_bytes: u64,
    /// Bytes of blobs it gave to devices.
    pub served_bytes: u64,
}

/// Coordinator to gateway, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToGateway {
    /// Answer to the hello.
    Welcome {
        /// Minor protocol version.
        minor: u16,
        /// The coordinator's time.
        time: Time,
        /// How long a device may renew after its certificate is over.
        grace_ms: u64,
        /// The authorities to believe.
        authorities: Vec<AnnouncedAuthority>,
    },
    /// These devices are to be let in no more, and their sessions end.
    Revoked(Vec<DeviceId>),
    /// All that were revoked up to now have been named: devices may come.
    Ready,
    /// The gateway is to renew its certificate now.
    Renew,
}

/// First frame of each stream that a gateway opens, but for the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Purpose {
    /// A device's session. What it says follows as [`FromDevice`], what it is
    /// told as [`ForDevice`].
    Session {
        /// Names the session on this connection; never used again.
        session: u64,
        /// The certificate that the device proved to hold the key of (DER).
        certificate: Vec<u8>,
        /// Where the device is.
        address: SocketAddr,
    },
    /// A transfer of a device, as on a stream of its own.
    Transfer {
        /// Its session.
        session: u64,
    },
    /// A shared blob for the gateway's cache, as a device would fetch it.
    Fetch {
        /// The blob's name.
        blob: BlobHash,
    },
    /// What leads from one release to another, for the gateway's cache.
    FetchAgainst {
        /// The release's name.
        blob: BlobHash,
        /// The earlier one's.
        base: BlobHash,
    },
    /// A device wants its next certificate: an enrolment request follows, and
    /// is answered.
    Renew {
        /// The certificate that the device proved to hold the key of (DER); it
        /// may be over.
        certificate: Vec<u8>,
    },
}

/// Gateway to coordinator, on a session's stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromDevice {
    /// A frame of the device's control stream.
    Said(Vec<u8>),
    /// What the device's connection has moved so far, as its gateway counts.
    Traffic {
        /// Bytes of the handshake.
        handshake: Traffic,
        /// Bytes after it.
        work: Traffic,
    },
}

/// Coordinator to gateway, on a session's stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ForDevice {
    /// The session is known: transfers may name it.
    Open,
    /// A frame for the device's control stream.
    Told(Vec<u8>),
    /// The device's connection is to be closed. The last word on the stream.
    Close {
        /// The code.
        code: u32,
        /// The reason, for people.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::{decode, encode};
    use crate::limits::FRAME_BYTES_MAX;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<FromGateway>(&bytes);
            let _ = decode::<ToGateway>(&bytes);
            let _ = decode::<Purpose>(&bytes);
            let _ = decode::<FromDevice>(&bytes);
            let _ = decode::<ForDevice>(&bytes);
        }
    }

    #[test]
    fn the_longest_list_of_revoked_devices_fits_a_frame() {
        let list = ToGateway::Revoked(vec![DeviceId([7; 16]); REVOKED_AT_ONCE]);
        let bytes = encode(&list);
        assert!(bytes.len() <= FRAME_BYTES_MAX);
        assert_eq!(decode::<ToGateway>(&bytes).unwrap(), list);
    }

    #[test]
    fn wrapping_a_message_adds_no_more_than_is_said() {
        let longest = vec![1u8; FRAME_BYTES_MAX - WRAPPING_BYTES];
        assert!(encode(&FromDevice::Said(longest.clone())).len() <= FRAME_BYTES_MAX);
        assert!(encode(&ForDevice::Told(longest)).len() <= FRAME_BYTES_MAX);
    }
}
