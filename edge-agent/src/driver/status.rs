//! What the running agent tells about itself, in a small file.

use common::ids::Time;
use common::transport::Traffic;
use serde::{Deserialize, Serialize};

use crate::state::{StateDir, StateError};

/// The running agent's state, rewritten as it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStatus {
    /// The process.
    pub pid: u32,
    /// When it started, milliseconds since 1970.
    pub started_ms: u64,
    /// The data folder it was started with.
    pub data: Option<String>,
    /// Whether the coordinator is connected.
    pub connected: bool,
    /// When the coordinator was last heard, milliseconds since 1970.
    pub last_contact_ms: Option<u64>,
    /// What went wrong last with the link; empty while it is up.
    pub link_error: Option<String>,
    /// What went wrong last with the device's own work.
    pub work_error: Option<String>,
    /// Why the coordinator's keys are not believed, if they are not.
    pub trust_error: Option<String>,
    /// How this device's clock is wrong, if the coordinator's word shows it.
    pub clock_error: Option<String>,
    /// Why no readings come by MQTT, if they are asked for.
    pub mqtt_error: Option<String>,
    /// UDP payload bytes of all handshakes since the start.
    pub handshake_bytes: Bytes,
    /// UDP payload bytes of all work since the start.
    pub work_bytes: Bytes,
    /// Resident memory now, in KiB.
    pub resident_kib: u64,
    /// The most resident memory so far, in KiB: of this process and of the
    /// largest that worked for it, together.
    pub resident_peak_kib: u64,
}

/// Bytes in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// From the device.
    pub up: u64,
    /// To the device.
    pub down: u64,
}

impl From<Traffic> for Bytes {
    fn from(traffic: Traffic) -> Self {
        Self {
            up: traffic.udp_tx_bytes,
            down: traffic.udp_rx_bytes,
        }
    }
}

impl std::ops::Add for Bytes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            up: self.up + other.up,
            down: self.down + other.down,
        }
    }
}

impl RunStatus {
    /// A status of this process, started now.
    pub fn begin(now: Time) -> Self {
        Self {
            pid: std::process::id(),
            started_ms: now.0,
            ..Self::default()
        }
    }

    /// Measures memory, adds what work took outside this process at most,
    /// and writes the file.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn publish(&mut self, state: &StateDir, elsewhere_kib: u64) -> Result<(), StateError> {
        (self.resident_kib, self.resident_peak_kib) = resident_kib();
        self.resident_peak_kib += elsewhere_kib;
        let text = serde_json::to_vec_pretty(self).expect("numbers and strings can be written");
        state.write_lightly(FILE, &text)
    }

    /// The status that the running agent, or the last one, wrote.
    ///
    /// # Errors
    /// [`StateError::Io`] if the file cannot be read. A file that does not
    /// parse counts as none.
    pub fn load(state: &StateDir) -> Result<Option<Self>, StateError> {
        let bytes = state.read(FILE)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

/// Resident memory of this process now and at most (`VmRSS`, `VmHWM`), in
/// KiB; zero where `/proc` does not say.
pub fn resident_kib() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    (field("VmRSS:"), field("VmHWM:"))
}

const FILE: &str = "status.json";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_published_is_loaded_with_its_memory() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        assert_eq!(RunStatus::load(&state).unwrap(), None);
        let mut status = RunStatus::begin(Time(5));
        status.publish(&state, 0).unwrap();
        assert!(status.resident_kib > 0);
        assert!(status.resident_peak_kib >= status.resident_kib);
        assert_eq!(RunStatus::load(&state).unwrap(), Some(status));
    }
}
