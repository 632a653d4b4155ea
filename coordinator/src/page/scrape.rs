//! `/metrics`: gauges from the newest snapshot beside what was counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Response;

use super::server::Content;
use super::view::{View, Viewer};
use crate::metrics::{Gauges, Metrics};
use crate::rollout;
use crate::server::Shared;
use crate::server::clock_guard::uptime;
use crate::status::{
    Fault, GatewayStatus, OddKind, RolloutStatus, Standing, StoreStatus, TaskStatus,
};

/// What a device can be, as `set` counts them.
const STATES: [&str; 5] = ["connected", "away", "revoked", "waiting", "denied"];
pub(super) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text. While the core cannot answer, what was counted is
/// told all the same.
pub(super) async fn show(viewer: &Arc<Viewer>) -> Response<Content> {
    let metrics = &viewer.shared.metrics;
    set_limits(metrics, &viewer.shared);
    metrics.lease_at(uptime());
    match viewer.view().await {
        Ok(view) => set(metrics, &view),
        Err(Fault { message, .. }) => tracing::warn!(message, "metrics without gauges"),
    }
    Content::of(TYPE, metrics.text())
}

fn set(metrics: &Metrics, view: &View) {
    let (status, health) = (&view.status, &view.health);
    let mut counts = [0u64; STATES.len()];
    let (mut up, mut down, mut handshake, mut sessions) = (0, 0, 0, 0);
    let (mut strikes, mut struck) = (0u64, 0u64);
    for device in &status.devices {
        let state = match device.standing {
            Standing::Revoked => 2,
            Standing::Waiting => 3,
            Standing::Denied => 4,
            _ if device.connected => 0,
            _ => 1,
        };
        counts[state] += 1;
        up += device.uplink_bytes;
        down += device.downlink_bytes;
        handshake += device.handshake_bytes;
        sessions += device.sessions;
        strikes += u64::from(device.strikes);
        struck += u64::from(device.strikes > 0);
    }
    for (state, count) in STATES.iter().zip(counts) {
        put(&metrics.devices, &[("state", state)], count as f64);
    }
    let linked = |one: &&GatewayStatus| !one.revoked && one.link.is_some();
    let away = |one: &&GatewayStatus| !one.revoked && one.link.is_none();
    let gateways = status.gateways.iter();
    for (state, count) in [
        ("connected", gateways.clone().filter(linked).count()),
        ("away", gateways.filter(away).count()),
    ] {
        put(&metrics.gateways, &[("state", state)], count as f64);
    }
    for (direction, bytes) in [("up", up), ("down", down), ("handshake", handshake)] {
        let labels = vec![("direction", direction.to_owned())];
        let counter = metrics.bytes.get_or_create(&labels);
        counter.inner().fetch_max(bytes, Ordering::Relaxed);
    }
    metrics
        .sessions
        .inner()
        .fetch_max(sessions, Ordering::Relaxed);
    metrics.strikes.set(strikes as f64);
    metrics.struck.set(struck as f64);
    let failures = metrics.storage_failures.inner();
    failures.store(status.storage_failures, Ordering::Relaxed);
    metrics
        .storage_ok
        .set(f64::from(u8::from(status.storage_ok)));
    metrics.queue.set(health.queue as f64);
    metrics.epoch.set(f64::from(status.epoch));
    let ends = [
        ("server", health.certificate_ends),
        ("authority", health.authority.and_then(|one| one.ends)),
    ];
    for (which, ends) in ends {
        if let Some(ends) = ends {
            put(
                &metrics.certificate_expiry,
                &[("certificate", which)],
                ends.0 as f64 / 1e3,
            );
        }
    }
    for (what, bytes) in [("free", health.disk_free), ("total", health.disk_total)] {
        if let Some(bytes) = bytes {
            put(&metrics.disk, &[("kind", what)], bytes as f64);
        }
    }
    for (what, bytes) in [("resident", health.memory), ("peak", health.memory_peak)] {
        if let Some(bytes) = bytes {
            put(&metrics.memory, &[("kind", what)], bytes as f64);
        }
    }
    if let Some(store) = &status.store {
        set_store(metrics, store);
    }
    for task in &status.tasks {
        set_task(metrics, task, status.now);
    }
}

fn set_store(metrics: &Metrics, store: &StoreStatus) {
    let points = [
        ("first", Some(store.first)),
        ("next", Some(store.next)),
        ("snapshot", store.snapshot),
    ];
    for (at, position) in points {
        if let Some(position) = position {
            put(&metrics.log, &[("at", at)], position as f64);
        }
    }
    for (kind, bytes) in [
        ("log", store.log_bytes),
        ("blobs", store.blob_bytes),
        ("all", store.bytes),
    ] {
        if let Some(bytes) = bytes {
            put(&metrics.state, &[("kind", kind)], bytes as f64);
        }
    }
    if let Some(blobs) = store.blobs {
        metrics.blobs.set(blobs as f64);
    }
}

/// What the limits on peers did.
fn set_limits(metrics: &Metrics, shared: &Shared) {
    let counts = shared.limiter.counts();
    for (what, open) in [
        ("connections", counts.connections),
        ("handshakes", counts.handshakes),
        ("anonymous", counts.anonymous),
        ("addresses", counts.addresses),
    ] {
        put(&metrics.open, &[("what", what)], open as f64);
    }
    let devices = shared.peer_limits.totals();
    for (limit, times) in [
        ("address_validation", counts.validated),
        ("connections", counts.full),
        ("connections_per_address", counts.address_connections),
        ("handshakes_per_address", counts.address_rate),
        ("enrolments", counts.enrolments),
        ("sessions_per_device", devices.sessions),
        ("requests_per_device", devices.requests),
        ("messages_per_device", devices.messages),
        ("bytes_per_device", devices.bytes),
        ("quarantine", devices.quarantined),
        ("violations", devices.violations),
    ] {
        let labels = vec![("limit", limit.to_owned())];
        let counter = metrics.limited.get_or_create(&labels);
        counter.inner().fetch_max(times, Ordering::Relaxed);
    }
}

fn set_task(metrics: &Metrics, task: &TaskStatus, now: common::ids::Time) {
    let labels = [("task", task.name.as_str())];
    let running = f64::from(u8::from(task.round.is_some()));
    put(&metrics.round_running, &labels, running);
    if let Some(round) = &task.round
        && let Some(quorum) = round.quorum
    {
        let ratio = round.contributed.len() as f64 / f64::from(quorum.max(1));
        put(&metrics.quorum_ratio, &labels, ratio);
    }
    if let Some(newest) = task.releases.last() {
        put(
            &metrics.student_epoch,
            &labels,
            f64::from(newest.version.epoch),
        );
        put(
            &metrics.student_number,
            &labels,
            newest.version.number as f64,
        );
        let age = now.since_ms(newest.released) as f64 / 1000.0;
        put(&metrics.student_age, &labels, age);
    }
    for kind in [
        OddKind::Unit,
        OddKind::Mean,
        OddKind::Spread,
        OddKind::Constant,
        OddKind::Alone,
    ] {
        let many = task.odd.iter().filter(|one| one.kind == kind).count();
        let labels = [("task", task.name.as_str()), ("kind", kind.code())];
        put(&metrics.odd, &labels, many as f64);
    }
    if let Some(rollout) = &task.rollout {
        set_rollout(metrics, task, rollout);
    }
    let reported = task
        .releases
        .iter()
        .rev()
        .find_map(|release| release.report);
    if let Some(report) = reported {
        if let Some(accuracy) = report.accuracy {
            put(&metrics.student_accuracy, &labels, accuracy);
        }
        if let Some(error) = report.error {
            put(&metrics.student_rmse, &labels, error.rmse);
            put(&metrics.student_mae, &labels, error.mae);
        }
        put(&metrics.student_reports, &labels, f64::from(report.devices));
    }
}

fn set_rollout(metrics: &Metrics, status: &TaskStatus, rollout: &RolloutStatus) {
    let task = status.name.as_str();
    let now = standing(status, rollout);
    for state in ["running", "paused", "completed", "halted", "aborted"] {
        let labels = [("task", task), ("state", state)];
        put(&metrics.rollout, &labels, f64::from(u8::from(state == now)));
    }
    let tally = rollout.tally;
    for (found, devices) in [
        ("kept", tally.kept),
        ("soaking", tally.soaking),
        ("untested", tally.untested),
        ("worse", tally.worse),
        ("silent", tally.silent),
    ] {
        let labels = [("task", task), ("found", found)];
        put(&metrics.rollout_devices, &labels, f64::from(devices));
    }
}

/// The word for where a rollout stands. One that halted and was rolled back is
/// given up: nobody has to look at it any more.
fn standing(status: &TaskStatus, rollout: &RolloutStatus) -> &'static str {
    match rollout.standing {
        rollout::Standing::Halted { .. } if status.instead().is_some() => "aborted",
        rollout::Standing::Running => "running",
        rollout::Standing::Paused => "paused",
        rollout::Standing::Completed => "completed",
        rollout::Standing::Halted { .. } => "halted",
        rollout::Standing::Aborted => "aborted",
    }
}

fn put(gauges: &Gauges, labels: &[(&'static str, &str)], value: f64) {
    let labels = labels
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    gauges.get_or_create(&labels.collect()).set(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::fixtures::{release, rolling, task};

    #[test]
    fn a_halted_rollout_is_an_alarm_until_it_is_rolled_back() {
        let halted = rolling(2, rollout::Standing::Halted { worse: 1, of: 1 });
        let mut releases = vec![release(1, 1, false), release(2, 2, true)];
        let stands = task(releases.clone(), Some(halted.clone()));
        assert_eq!(standing(&stands, &halted), "halted");
        releases.push(release(3, 1, false));
        let replaced = task(releases, Some(halted.clone()));
        assert_eq!(standing(&replaced, &halted), "aborted");
    }
}
