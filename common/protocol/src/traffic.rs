//! Bytes on the network, counted by QUIC itself.

use std::ops::Add;

use bincode::{Decode, Encode};

/// UDP payload bytes of one connection, as seen from this side: everything
/// QUIC sends and receives, retransmissions and acknowledgements included,
/// IP and UDP headers not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Traffic {
    /// Bytes sent.
    pub udp_tx_bytes: u64,
    /// Bytes received.
    pub udp_rx_bytes: u64,
}

impl Traffic {
    /// What was counted since an earlier count of the same connection.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            udp_tx_bytes: self.udp_tx_bytes.saturating_sub(earlier.udp_tx_bytes),
            udp_rx_bytes: self.udp_rx_bytes.saturating_sub(earlier.udp_rx_bytes),
        }
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            udp_tx_bytes: self.udp_tx_bytes + other.udp_tx_bytes,
            udp_rx_bytes: self.udp_rx_bytes + other.udp_rx_bytes,
        }
    }
}
