//! What QUIC adds to messages, so that a simulation counts the bytes that a
//! network would.
//!
//! A direction's UDP payload is its messages, [`PACKET_BYTES`] around each
//! packet that carries a part of one, and [`ACKNOWLEDGEMENT_BYTES`] for each
//! packet that only acknowledges: one for the end of every message (its
//! answer takes longer than an acknowledgement may wait) and one for
//! [`PACKETS_PER_ACKNOWLEDGEMENT`] full packets of a long one. Measured with
//! fleets of real processes over loopback; `tests/tests/overhead.rs` holds a
//! simulation to one.

use serde::Serialize;

/// Bytes of messages that fit a packet of 1200.
pub const PACKET_CONTENT_BYTES: u64 = 1_167;
/// Header, authentication tag, frame headers and, at times, an
/// acknowledgement that rides along.
pub const PACKET_BYTES: u64 = 36;
/// A packet with an acknowledgement and nothing else.
pub const ACKNOWLEDGEMENT_BYTES: u64 = 36;
/// Full packets that arrive before the receiver has said so.
pub const PACKETS_PER_ACKNOWLEDGEMENT: u64 = 4;
/// What a session costs besides: the handshake's last acknowledgements and
/// the ids of connections.
pub const SESSION_BYTES: u64 = 25;

/// What one direction of a device's connection carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wire {
    /// Bytes of framed messages and blobs.
    pub message_bytes: u64,
    /// Packets that carry them.
    pub packets: u64,
    /// Packets that only acknowledge.
    pub acknowledgements: u64,
}

impl Wire {
    /// This many bytes are written in one go.
    pub fn write(&mut self, bytes: u64) {
        self.message_bytes += bytes;
        self.packets += bytes / PACKET_CONTENT_BYTES + 1;
    }

    /// This many bytes that came in one go are acknowledged.
    pub fn acknowledge(&mut self, bytes: u64) {
        let full = bytes / PACKET_CONTENT_BYTES;
        self.acknowledgements += full / PACKETS_PER_ACKNOWLEDGEMENT + 1;
    }

    /// UDP payload bytes.
    pub fn udp_bytes(&self) -> u64 {
        SESSION_BYTES
            + self.message_bytes
            + PACKET_BYTES * self.packets
            + ACKNOWLEDGEMENT_BYTES * self.acknowledgements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_blob_costs_three_percent_more() {
        let (mut sender, mut receiver) = (Wire::default(), Wire::default());
        sender.write(1_000_000);
        receiver.acknowledge(1_000_000);
        let share = sender.udp_bytes() as f64 / 1_000_000.0;
        assert!((1.02..1.04).contains(&share), "{share}");
        let share = receiver.udp_bytes() as f64 / 1_000_000.0;
        assert!((0.005..0.015).contains(&share), "{share}");
    }
}
