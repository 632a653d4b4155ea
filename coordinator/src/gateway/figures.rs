//! What a gateway counts, and how Prometheus is told.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    sessions: AtomicU64,
    turned_away: AtomicU64,
    uplinks: AtomicU64,
    renewals: AtomicU64,
    fetched_blobs: AtomicU64,
    fetched_bytes: AtomicU64,
    served_blobs: AtomicU64,
    served_bytes: AtomicU64,
    passed_up_bytes: AtomicU64,
    passed_down_bytes: AtomicU64,
}

/// What is so now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Connected devices.
    pub(super) devices: u64,
    /// Revoked devices that the coordinator has told of.
    pub(super) revoked: u64,
    /// Whether the coordinator is connected.
    pub(super) connected: bool,
    /// Bytes of blobs in memory.
    pub(super) cached_bytes: u64,
}

impl Figures {
    /// A device began a session.
    pub(super) fn session(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A peer was not let in.
    pub(super) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// The coordinator was found.
    pub(super) fn uplink(&self) {
        self.uplinks.fetch_add(1, Ordering::Relaxed);
    }

    /// A device's renewal was passed on.
    pub(super) fn renewal(&self) {
        self.renewals.fetch_add(1, Ordering::Relaxed);
    }

    /// A blob was brought from the coordinator.
    pub(super) fn fetched(&self, bytes: u64) {
        self.fetched_blobs.fetch_add(1, Ordering::Relaxed);
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A blob, or the rest of one, was given to a device.
    pub(super) fn served(&self, bytes: u64) {
        self.served_blobs.fetch_add(1, Ordering::Relaxed);
        self.served_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of transfers were passed on.
    pub(super) fn passed(&self, up: u64, down: u64) {
        self.passed_up_bytes.fetch_add(up, Ordering::Relaxed);
        self.passed_down_bytes.fetch_add(down, Ordering::Relaxed);
    }

    /// Bytes of blobs brought from the coordinator, and given to devices.
    pub(super) fn blob_bytes(&self) -> (u64, u64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (of(&self.fetched_bytes), of(&self.served_bytes))
    }

    /// Everything, in the OpenMetrics text format.
    pub(super) fn render(&self, now: Now) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (fetched, served) = self.blob_bytes();
        let gauges = [
            (
                "devices",
                "Devices with a connection to this gateway",
                now.devices,
            ),
            (
                "revoked_devices",
                "Revoked devices that this gateway knows of and lets in no more",
                now.revoked,
            ),
            (
                "coordinator_connected",
                "Whether the coordinator is connected, 1 or 0",
                u64::from(now.connected),
            ),
            ("cache_bytes", "Bytes of blobs in memory", now.cached_bytes),
            (
                "saved_bytes",
                "Bytes of blobs that devices were given and the coordinator was not asked for",
                served.saturating_sub(fetched),
            ),
        ];
        let counters = [
            (
                "sessions",
                "Sessions that devices began",
                of(&self.sessions),
            ),
            (
                "turned_away",
                "Peers that were not let in",
                of(&self.turned_away),
            ),
            (
                "uplinks",
                "Connections to the coordinator",
                of(&self.uplinks),
            ),
            (
                "renewals",
                "Renewals of devices passed on",
                of(&self.renewals),
            ),
            (
                "fetched_blobs",
                "Blobs brought from the coordinator",
                of(&self.fetched_blobs),
            ),
            (
                "fetched_bytes",
                "Bytes of blobs brought from the coordinator",
                fetched,
            ),
            (
                "served_blobs",
                "Blobs given to devices from memory",
                of(&self.served_blobs),
            ),
            (
                "served_bytes",
                "Bytes of blobs given to devices from memory",
                served,
            ),
            (
                "passed_up_bytes",
                "Bytes of transfers passed on to the coordinator",
                of(&self.passed_up_bytes),
            ),
            (
                "passed_down_bytes",
                "Bytes of transfers passed on to devices",
                of(&self.passed_down_bytes),
            ),
        ];
        let mut text = String::new();
        for (name, help, value) in gauges {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP alambic_gateway_{name} {help}.");
            let _ = writeln!(text, "# TYPE alambic_gateway_{name} gauge");
            let _ = writeln!(text, "alambic_gateway_{name} {value}");
        }
        for (name, help, value) in counters {
            let _ = writeln!(text, "# HELP alambic_gateway_{name} {help}.");
            let _ = writeln!(text, "# TYPE alambic_gateway_{name} counter");
            let _ = writeln!(text, "alambic_gateway_{name}_total {value}");
        }
        text.push_str("# EOF\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_saved_are_those_given_and_not_fetched() {
        let figures = Figures::default();
        figures.fetched(100);
        for _ in 0..3 {
            figures.served(100);
        }
        let text = figures.render(Now {
            devices: 3,
            revoked: 0,
            connected: true,
            cached_bytes: 100,
        });
        assert!(
            text.contains("\nalambic_gateway_saved_bytes 200\n"),
            "{text}"
        );
        assert!(text.contains("\nalambic_gateway_served_bytes_total 300\n"));
        assert!(text.ends_with("# EOF\n"));
    }
}
