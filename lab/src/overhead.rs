//! What QUIC adds to messages, so that a simulation counts the bytes that a
//! network would.
//!
//! A direction's UDP payload is its messages, [`PACKET_BYTES`] around each
//! packet that carries a part of one, and [`ACKNOWLEDGEMENT_BYTES`] for each
//! packet that only acknowledges: one for two packets received. A stream that
//! ends costs one small packet more, a session [`SESSION_BYTES`].

use serde::Serialize;

/// Bytes of messages that fit a packet of 1200.
pub const PACKET_CONTENT_BYTES: u64 = 1_167;
/// Header (10), authentication tag (16) and stream frame (7) of a packet.
pub const PACKET_BYTES: u64 = 33;
/// A packet with an acknowledgement and nothing else.
pub const ACKNOWLEDGEMENT_BYTES: u64 = 36;
/// What a session costs besides: the handshake's last acknowledgements and
/// the ids of connections.
pub const SESSION_BYTES: u64 = 80;

/// What one direction of a device's connection carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wire {
    /// Bytes of framed messages and blobs.
    pub message_bytes: u64,
    /// Packets that carry them, or end a stream.
    pub packets: u64,
    /// Packets that only acknowledge.
    pub acknowledgements: u64,
}

impl Wire {
    /// So many bytes are written in one go.
    pub fn write(&mut self, bytes: u64) {
        self.message_bytes += bytes;
        self.packets += bytes.div_ceil(PACKET_CONTENT_BYTES);
    }

    /// A stream ends in this direction.
    pub fn end_stream(&mut self) {
        self.packets += 1;
    }

    /// So many bytes that came in one go are acknowledged.
    pub fn acknowledge(&mut self, bytes: u64) {
        self.acknowledgements += bytes.div_ceil(PACKET_CONTENT_BYTES).div_ceil(2);
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
    fn a_long_blob_costs_three_in_a_hundred_more() {
        let mut wire = Wire::default();
        wire.write(1_000_000);
        let share = wire.udp_bytes() as f64 / 1_000_000.0;
        assert!((1.02..1.04).contains(&share), "{share}");
    }
}
