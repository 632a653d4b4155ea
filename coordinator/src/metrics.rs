//! What Prometheus is told. Counters and histograms fill as things happen;
//! gauges are set from a snapshot at each scrape (`page::scrape`). No label
//! ever holds a device.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use common::transport::TransportError;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::status::{OutcomeStatus, Progress};
use crate::store::{DatabaseMetrics, LeaseNow};

/// Names and values of labels. Values come from fixed sets or task names.
pub(crate) type Labels = Vec<(&'static str, String)>;
/// A gauge for each set of labels.
pub(crate) type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
/// A gauge without labels.
pub(crate) type Plain = Gauge<f64, AtomicU64>;
pub(crate) type Counters = Family<Labels, Counter>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// All metrics of a coordinator.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    handshake_failures: Counters,
    contributions: Counters,
    rounds: Counters,
    abstained: Counters,
    missed: Counter,
    phase_seconds: Histograms,
    flush_seconds: Histogram,
    pub(crate) devices: Gauges,
    pub(crate) gateways: Gauges,
    pub(crate) sessions: Counter,
    pub(crate) bytes: Counters,
    pub(crate) struck: Plain,
    pub(crate) strikes: Plain,
    pub(crate) quorum_ratio: Gauges,
    pub(crate) round_running: Gauges,
    pub(crate) student_epoch: Gauges,
    pub(crate) student_number: Gauges,
    pub(crate) student_accuracy: Gauges,
    pub(crate) student_rmse: Gauges,
    pub(crate) student_mae: Gauges,
    pub(crate) student_reports: Gauges,
    pub(crate) student_age: Gauges,
    pub(crate) odd: Gauges,
    pub(crate) rollout: Gauges,
    pub(crate) rollout_devices: Gauges,
    pub(crate) certificate_expiry: Gauges,
    pub(crate) storage_ok: Plain,
    pub(crate) storage_failures: Counter,
    pub(crate) disk: Gauges,
    pub(crate) memory: Gauges,
    pub(crate) queue: Plain,
    pub(crate) log: Gauges,
    pub(crate) state: Gauges,
    pub(crate) blobs: Plain,
    compaction_failures: Counter,
    pub(crate) open: Gauges,
    pub(crate) limited: Counters,
    pub(crate) epoch: Plain,
    /// The database, and what is told of its lease, where coordinators take
    /// turns.
    lease: Option<(DatabaseMetrics, LeaseGauges)>,
}

impl Metrics {
    /// All at zero, and how the database answers, where there is one.
    pub(crate) fn new(database: Option<&DatabaseMetrics>) -> Self {
        let mut registry = Registry::with_prefix("alambic");
        let mut lease = None;
        if let Some(database) = database {
            tell_of_database(&mut registry, database);
            let is_held = database.lease.at(0).is_some();
            lease = is_held.then(|| (database.clone(), LeaseGauges::new(&mut registry)));
        }
        let r = &mut registry;
        let phase_seconds = Histograms::new_with_constructor(phase_histogram);
        let name = "round_phase_seconds";
        let help = "How long phases of ended rounds took";
        r.register(name, help, phase_seconds.clone());
        let flush_seconds = Histogram::new(exponential_buckets(0.000_5, 2.0, 14));
        let help = "How long appends to the log took until they were durable";
        r.register("store_flush_seconds", help, flush_seconds.clone());
        Self {
            handshake_failures: counters(
                r,
                "handshake_failures",
                "Connections turned away, by reason",
            ),
            contributions: counters(r, "contributions", "Contributions by kind and result"),
            rounds: counters(r, "rounds", "Ended rounds by task and outcome"),
            abstained: counters(
                r,
                "abstained",
                "Times that a device said why it gives nothing, or less, by reason",
            ),
            missed: counter(
                r,
                "progress_missed",
                "Steps that these metrics missed under load",
            ),
            phase_seconds,
            flush_seconds,
            devices: gauges(r, "devices", "Devices by state"),
            gateways: gauges(r, "gateways", "Gateways by state"),
            sessions: counter(r, "sessions", "Sessions of devices since the start"),
            bytes: counters(r, "link_bytes", "UDP payload of all devices, by direction"),
            struck: plain(
                r,
                "devices_struck",
                "Devices with a contribution refused as faulty",
            ),
            strikes: plain(r, "strikes", "Contributions refused as faulty, in all"),
            quorum_ratio: gauges(
                r,
                "quorum_ratio",
                "Devices in, as a share of those needed, in the open or else the last gathering phase",
            ),
            round_running: gauges(r, "round_running", "Whether a round runs"),
            student_epoch: gauges(
                r,
                "student_version_epoch",
                "Epoch of the newest student's version",
            ),
            student_number: gauges(
                r,
                "student_version_number",
                "Number of the newest student's version",
            ),
            student_accuracy: gauges(
                r,
                "student_accuracy_ratio",
                "Share of held-out rows that the newest reported student answers right",
            ),
            student_rmse: gauges(
                r,
                "student_rmse",
                "Root mean squared error of the newest reported student's numbers on held-out rows",
            ),
            student_mae: gauges(
                r,
                "student_mae",
                "Mean absolute error of the newest reported student's numbers on held-out rows",
            ),
            student_reports: gauges(r, "student_reports", "Devices that reported on it"),
            odd: gauges(
                r,
                "odd_data",
                "Features of devices that are unlike the fleet's, by kind",
            ),
            student_age: gauges(
                r,
                "student_age_seconds",
                "Seconds since the newest student was released",
            ),
            rollout: gauges(
                r,
                "rollout_state",
                "Where the newest rollout stands: 1 for its state, 0 for the others",
            ),
            rollout_devices: gauges(
                r,
                "rollout_devices",
                "Devices of the rollout's stage by what they found",
            ),
            certificate_expiry: gauges(
                r,
                "certificate_expiry_timestamp_seconds",
                "When certificates end, seconds since 1970",
            ),
            storage_ok: plain(r, "storage_ok", "Whether events can be stored"),
            storage_failures: counter(
                r,
                "storage_failures",
                "Batches of events that could not be stored",
            ),
            disk: gauges(r, "disk_bytes", "Disk of the state directory"),
            memory: gauges(r, "memory_bytes", "Memory of the process"),
            queue: plain(r, "queue_length", "Commands that wait for the core"),
            log: gauges(
                r,
                "log_position",
                "Records of the log: the oldest that is kept, the next, the first after the newest snapshot",
            ),
            state: gauges(r, "state_bytes", "Disk that the store takes, by kind"),
            blobs: plain(r, "blobs", "Blobs that are kept"),
            compaction_failures: counter(
                r,
                "compaction_failures",
                "Times that the log could not be shortened",
            ),
            open: gauges(r, "open", "What peers hold open now, each below its limit"),
            limited: counters(
                r,
                "limited",
                "Times that a peer was refused, slowed down or asked for its address, by limit",
            ),
            epoch: plain(
                r,
                "epoch",
                "Times that a coordinator opened the store; a lead that changes hands opens it twice",
            ),
            lease,
            registry,
        }
    }

    /// How the lease of this process stands at this uptime, if it has one.
    pub(crate) fn lease_at(&self, uptime: u64) -> Option<LeaseNow> {
        let (database, gauges) = self.lease.as_ref()?;
        let now = database.lease.at(uptime)?;
        gauges.leads(now);
        Some(now)
    }

    /// A connection was turned away.
    pub(crate) fn turned_away(&self, error: &TransportError) {
        let labels = vec![("reason", reason(error).to_owned())];
        self.handshake_failures.get_or_create(&labels).inc();
    }

    /// An append became durable.
    pub(crate) fn flushed(&self, took: Duration) {
        self.flush_seconds.observe(took.as_secs_f64());
    }

    /// The log could not be shortened.
    pub(crate) fn compaction_failed(&self) {
        self.compaction_failures.inc();
    }

    /// Counts what happens in rounds, until the server is gone.
    pub(crate) async fn follow(&self, mut steps: broadcast::Receiver<Progress>) {
        loop {
            match steps.recv().await {
                Ok(step) => self.step(&step),
                Err(RecvError::Lagged(steps)) => {
                    self.missed.inc_by(steps);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn step(&self, step: &Progress) {
        let contribution = |kind: &dyn ToString, result: String| {
            let labels = vec![("kind", kind.to_string()), ("result", result)];
            self.contributions.get_or_create(&labels).inc();
        };
        match step {
            Progress::Accepted { kind, .. } => contribution(kind, "accepted".to_owned()),
            Progress::Refused { kind, reason, .. } => {
                contribution(kind, word(reason));
            }
            Progress::Withheld { reason, .. } => {
                let labels = vec![("reason", reason.name().to_owned())];
                self.abstained.get_or_create(&labels).inc();
            }
            Progress::Ended {
                task,
                outcome,
                phase_ms,
                ..
            } => {
                let outcome = match outcome {
                    OutcomeStatus::Completed { .. } => "completed",
                    OutcomeStatus::QuorumNotMet { .. } => "quorum_not_met",
                    OutcomeStatus::Failed { .. } => "failed",
                    OutcomeStatus::Cancelled => "cancelled",
                };
                let labels = vec![("task", task.short()), ("outcome", outcome.to_owned())];
                self.rounds.get_or_create(&labels).inc();
                for (phase, ms) in phase_ms {
                    let labels = vec![("phase", phase.to_string())];
                    let seconds = *ms as f64 / 1000.0;
                    self.phase_seconds.get_or_create(&labels).observe(seconds);
                }
            }
            _ => {}
        }
    }

    /// Everything, in the text format of OpenMetrics 1.0.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// All that a coordinator tells that waits for its turn: how the database
/// answers, and how long the lease of another lasts still, if that is known.
pub(crate) fn text_of_standby(database: &DatabaseMetrics, left_ms: Option<u64>) -> String {
    let mut registry = Registry::with_prefix("alambic");
    tell_of_database(&mut registry, database);
    let lease = LeaseGauges::new(&mut registry);
    if let Some(left_ms) = left_ms {
        lease.put("left", left_ms);
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// Who leads, and for how long.
#[derive(Debug)]
struct LeaseGauges {
    leader: Plain,
    seconds: Gauges,
}

impl LeaseGauges {
    fn new(r: &mut Registry) -> Self {
        Self {
            leader: plain(
                r,
                "leader",
                "Whether this coordinator leads: 1, or 0 while it stands by",
            ),
            seconds: gauges(
                r,
                "lease_seconds",
                "The lease: its length, its age since it was renewed, what is left of it",
            ),
        }
    }

    fn leads(&self, now: LeaseNow) {
        self.leader.set(1.0);
        self.put("length", now.length_ms);
        self.put("age", now.age_ms);
        self.put("left", now.left_ms);
    }

    fn put(&self, kind: &str, ms: u64) {
        let labels = vec![("kind", kind.to_owned())];
        self.seconds.get_or_create(&labels).set(ms as f64 / 1e3);
    }
}

fn tell_of_database(registry: &mut Registry, database: &DatabaseMetrics) {
    let help = "How long calls to the database took that were answered, by call";
    registry.register("database_seconds", help, database.seconds.clone());
    let help = "Calls to the database that failed, by reason";
    registry.register("database_failures", help, database.failures.clone());
    let help = "Connections to the database that were made anew";
    registry.register("database_connects", help, database.connects.clone());
}

fn gauges(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let made = Gauges::default();
    registry.register(name, help, made.clone());
    made
}

fn plain(registry: &mut Registry, name: &str, help: &str) -> Plain {
    let made = Plain::default();
    registry.register(name, help, made.clone());
    made
}

fn counters(registry: &mut Registry, name: &str, help: &str) -> Counters {
    let made = Counters::default();
    registry.register(name, help, made.clone());
    made
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let made = Counter::default();
    registry.register(name, help, made.clone());
    made
}

/// From 10 ms to three hours.
fn phase_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 4.0, 11))
}

/// The serialised name of a unit variant.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "other".to_owned(),
    }
}

fn reason(error: &TransportError) -> &'static str {
    match error {
        TransportError::RefusedPeer { .. } => "certificate",
        TransportError::NotAdmitted { .. } => "not_admitted",
        TransportError::NoCommonProtocol => "protocol",
        TransportError::Closed { .. } => "closed",
        TransportError::Quic { .. } => "quic",
        TransportError::Stalled { .. } => "timeout",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
