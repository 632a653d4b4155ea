//! What a load found, as figures and as a table.

use comfy_table::{Table, presets};
use serde::Serialize;

/// What a load found. What was not measured is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadReport {
    /// Devices that were to have a session.
    pub agents: usize,
    /// Devices that joined in this run, and how many a second.
    pub enrolled: Option<Paced>,
    /// Sessions, each after a full handshake with both certificates.
    pub connected: usize,
    /// Those handshakes, and how many a second, up to the welcome.
    pub handshakes: Paced,
    /// From a device's first packet to the coordinator's welcome.
    pub handshake_ms: Spread,
    /// Gateways between devices and coordinator.
    pub gateways: usize,
    /// Memory of all gateways together.
    pub gateways_memory: Option<Memory>,
    /// Sessions that broke, and were opened again.
    pub sessions_lost: u64,
    /// The coordinator's memory, where it runs on this machine.
    pub memory: Option<Memory>,
    /// The contributions, where there was a round.
    pub contributions: Option<Contributions>,
    /// The release, where there was one.
    pub push: Option<Push>,
}

/// This many of something in this many seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Paced {
    /// How many.
    pub count: usize,
    /// In how many seconds.
    pub seconds: f64,
    /// How many a second.
    pub per_second: f64,
    /// Processor seconds of the coordinator meanwhile, where it is local.
    pub coordinator_seconds: Option<f64>,
    /// Those of all gateways together, where there are any.
    pub gateways_seconds: Option<f64>,
}

impl Paced {
    pub(super) fn of(count: usize, seconds: f64, coordinator_seconds: Option<f64>) -> Self {
        Self {
            count,
            seconds,
            per_second: count as f64 / seconds.max(1e-9),
            coordinator_seconds,
            gateways_seconds: None,
        }
    }
}

/// How long something took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half took no longer.
    pub p50: f64,
    /// All but one in a hundred took no longer.
    pub p99: f64,
    /// The longest.
    pub longest: f64,
}

impl Spread {
    /// Of these seconds, in any order.
    pub(super) fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * seconds.len() as f64).ceil() as usize;
            1_000.0 * seconds.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            longest: at(1.0),
        }
    }
}

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Before the first session.
    pub before: u64,
    /// With all sessions open and nothing to do.
    pub idle: u64,
    /// What an idle session adds.
    pub per_session: u64,
    /// At most, in the whole run.
    pub peak: u64,
}

/// What became of contributions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contributions {
    /// Profiles, which all devices send at once when the round begins.
    pub profiles: Paced,
    /// Contributions sent at the wanted rate, and the rate that came of it.
    pub sent: Paced,
    /// The rate that was asked for, a second.
    pub rate: f64,
    /// Bytes of one.
    pub bytes: usize,
    /// Acknowledged as durable and counted.
    pub accepted: usize,
    /// Refused.
    pub refused: usize,
    /// Offered again, since no answer came to the first time.
    pub resent: usize,
    /// From the moment one was due to its acknowledgement.
    pub acknowledged_ms: Spread,
    /// What the coordinator holds of what it acknowledged, profiles included.
    pub held: Option<Held>,
}

/// The coordinator's log and blobs, read after it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Acknowledged contributions.
    pub acknowledged: usize,
    /// Of these, not in the log or without their bytes.
    pub lost: usize,
}

/// A release on its way to many devices at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Push {
    /// Bytes of the signed release.
    pub bytes: u64,
    /// Bytes of it that the coordinator was asked for, once each of these devices
    /// had it.
    pub coordinator_bytes: u64,
    /// Devices that fetched it at the same time.
    pub devices: usize,
    /// Seconds until the last had it; the median of all turns.
    pub seconds: f64,
    /// Bytes a second, of all devices.
    pub bytes_per_second: f64,
    /// The same of a bare quinn sender in the same run, turn about.
    pub bare_bytes_per_second: f64,
    /// How the two compare.
    pub share_of_bare: f64,
    /// From the first device that heard of the release to the last.
    pub announced_ms: f64,
}

impl LoadReport {
    /// The table.
    pub fn render(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["load", "measured"]);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        if let Some(enrolled) = &self.enrolled {
            row("devices that joined", paced(enrolled));
        }
        row(
            "connected sessions",
            format!("{} of {}", self.connected, self.agents),
        );
        row("full handshakes", paced(&self.handshakes));
        row("  from first packet to welcome", spread(&self.handshake_ms));
        row("sessions lost", self.sessions_lost.to_string());
        match &self.memory {
            None => row(
                "coordinator's memory",
                "not measured: it is not on this machine, or of another user".to_owned(),
            ),
            Some(memory) => {
                let kib = memory.per_session as f64 / 1024.0;
                row(
                    "coordinator's memory per idle session",
                    format!("{kib:.1} KiB"),
                );
                row("  before, idle, at most", three(memory));
            }
        }
        if let Some(memory) = &self.gateways_memory {
            row(
                &format!("{} gateways' memory per idle session", self.gateways),
                format!("{:.1} KiB", memory.per_session as f64 / 1024.0),
            );
            row("  before, idle, at most, together", three(memory));
        }
        match &self.contributions {
            None => row(
                "contributions and release",
                "not measured: that takes the coordinator's --admin-socket".to_owned(),
            ),
            Some(found) => found.rows(&mut row),
        }
        if let Some(push) = &self.push {
            let megabytes = |rate: f64| format!("{:.1} MB/s", rate / 1e6);
            row(
                &format!("{} bytes to {} devices", push.bytes, push.devices),
                format!(
                    "{:.2} s, {}",
                    push.seconds,
                    megabytes(push.bytes_per_second)
                ),
            );
            row(
                "  of these from the coordinator",
                format!("{} bytes", push.coordinator_bytes),
            );
            row(
                "  of a bare quinn sender",
                format!(
                    "{:.0} % of {}",
                    100.0 * push.share_of_bare,
                    megabytes(push.bare_bytes_per_second)
                ),
            );
            row(
                "  announced, first device to last",
                format!("{:.0} ms", push.announced_ms),
            );
        }
        format!("{table}\n")
    }
}

impl Contributions {
    fn rows(&self, row: &mut impl FnMut(&str, String)) {
        row("profiles, all at once", paced(&self.profiles));
        row(
            &format!("contributions of {} bytes", self.bytes),
            format!("{}, {:.0}/s wanted", paced(&self.sent), self.rate),
        );
        row(
            "  accepted, refused, sent again",
            format!("{}, {}, {}", self.accepted, self.refused, self.resent),
        );
        row("  from due to acknowledged", spread(&self.acknowledged_ms));
        if let Some(held) = &self.held {
            row(
                "acknowledged and lost, after SIGKILL",
                format!("{} of {}", held.lost, held.acknowledged),
            );
        }
    }
}

fn paced(paced: &Paced) -> String {
    let Paced {
        count,
        seconds,
        per_second,
        coordinator_seconds,
        gateways_seconds,
    } = paced;
    let processor = coordinator_seconds.map_or_else(String::new, |used| {
        format!(", coordinator {used:.2} s of a core")
    });
    let gateways =
        gateways_seconds.map_or_else(String::new, |used| format!(", gateways {used:.2} s"));
    format!("{count} in {seconds:.1} s, {per_second:.0}/s{processor}{gateways}")
}

fn spread(spread: &Spread) -> String {
    format!(
        "p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        spread.p50, spread.p99, spread.longest
    )
}

fn three(memory: &Memory) -> String {
    let Memory {
        before, idle, peak, ..
    } = memory;
    format!("{}, {}, {}", mib(*before), mib(*idle), mib(*peak))
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let seconds: Vec<f64> = (1..=200).rev().map(|ms| f64::from(ms) / 1_000.0).collect();
        let spread = Spread::of(seconds);
        assert!((spread.p50 - 100.0).abs() < 1e-9);
        assert!((spread.p99 - 198.0).abs() < 1e-9);
        assert!((spread.longest - 200.0).abs() < 1e-9);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn a_report_says_what_was_not_measured() {
        let text = LoadReport::default().render();
        assert!(text.contains("not on this machine"), "{text}");
        assert!(text.contains("--admin-socket"), "{text}");
    }
}
