//! What a device's connection would carry.

use common::wire::codec::encode;

use crate::overhead::Wire;

/// What one device's connection carried, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeviceBytes {
    /// Device to coordinator.
    pub up: Wire,
    /// Coordinator to device.
    pub down: Wire,
}

impl DeviceBytes {
    pub(super) fn sends(&mut self, bytes: u64) {
        self.up.write(bytes);
        self.down.acknowledge(bytes);
    }

    pub(super) fn receives(&mut self, bytes: u64) {
        self.down.write(bytes);
        self.up.acknowledge(bytes);
    }

    pub(super) fn ends_stream(&mut self) {
        self.up.end_stream();
        self.down.end_stream();
    }
}

/// Bytes of a message in its frame.
pub(super) fn framed(message: &impl bincode::Encode) -> u64 {
    FRAME_BYTES + encode(message).len() as u64
}

/// Length and checksum before each message.
const FRAME_BYTES: u64 = 8;
