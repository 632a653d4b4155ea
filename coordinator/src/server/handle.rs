//! What sessions, operators and the page share: how they reach the core, the
//! store and the metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ids::{BlobHash, DeviceId};
use common::transport::{ConnectionLimiter, RelayedPeers, TransportError};
use common::trust::clock::Clock;
use tokio::sync::{Semaphore, broadcast, mpsc};

use super::clock_guard::ClockGuard;
use super::compute_backend::ComputeBackend;
use super::driver::Revoked;
use super::gateways::Gateways;
use super::history::Histories;
use super::influence::Influences;
use super::links::Links;
use super::odd::OddData;
use super::peer_limits::PeerLimits;
use super::reconnect::ConnectionJournal;
use super::replies::Replies;
use super::reports::Reports;
use super::store_handle::StoreHandle;
use super::unheard::Unheard;
use crate::aggregate::{Found, pooled};
use crate::core::answer::{Answer, Reply};
use crate::core::{AdminCommand, Command};
use crate::identity::{CertificateTerms, Identity};
use crate::journal::Retention;
use crate::metrics::Metrics;
use crate::status::{ErrorSummary, Fault, FaultKind, Progress, ReportSummary, Status};
use crate::store::{Store, StoreError};

/// What sessions and operators share.
pub(crate) struct Shared {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) store: Arc<StoreHandle>,
    pub(crate) compute: Arc<dyn ComputeBackend>,
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    /// Hears what devices' clocks show.
    pub(crate) guard: Arc<ClockGuard>,
    pub(crate) progress: broadcast::Sender<Progress>,
    pub(crate) certificates: CertificateTerms,
    /// Where the page is served, if it is.
    pub(crate) page: Option<SocketAddr>,
    pub(crate) metrics: Arc<Metrics>,
    /// One copy of the store at a time.
    pub(crate) copying: Semaphore,
    pub(crate) retention: Retention,
    pub(crate) connections: ConnectionJournal,
    /// One delta is computed at a time.
    pub(crate) deltas: Semaphore,
    /// What limits connections, and its counts.
    pub(crate) limiter: Arc<ConnectionLimiter>,
    /// Who waits for the core's answers.
    pub(crate) replies: Replies,
    /// The open sessions.
    pub(crate) links: Links,
    /// The connected gateways.
    pub(crate) gateways: Gateways,
    /// Judges the devices that they pass on.
    pub(crate) relayed: RelayedPeers,
    /// Who is let in no more.
    pub(crate) revoked: Revoked,
    /// What devices did.
    pub(crate) peer_limits: Arc<PeerLimits>,
    /// Classes of which no device speaks.
    pub(crate) unheard: Unheard,
    /// Devices whose data is unlike the fleet's.
    pub(crate) odd: OddData,
    /// What devices reported of the students that they run.
    pub(crate) reports: Reports,
    /// What rounds came to over weeks.
    pub(crate) histories: Histories,
    /// What each device is worth.
    pub(crate) influences: Influences,
}

/// Asks the store, on a blocking thread.
pub(crate) async fn from_store<T: Send + 'static>(
    shared: &Shared,
    call: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Fault> {
    from_store_handle(shared, move |store| store.with(call)).await
}

/// Asks the store, on a blocking thread.
pub(crate) async fn from_store_handle<T: Send + 'static, E: std::error::Error + Send + 'static>(
    shared: &Shared,
    call: impl FnOnce(&StoreHandle) -> Result<T, E> + Send + 'static,
) -> Result<T, Fault> {
    let store = shared.store.clone();
    let failed = |error: &dyn std::fmt::Display| Fault::new(FaultKind::Storage, error.to_string());
    match tokio::task::spawn_blocking(move || call(&store)).await {
        Ok(outcome) => outcome.map_err(|error| failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

pub(crate) async fn read_blob(shared: &Shared, blob: BlobHash) -> Result<Vec<u8>, Fault> {
    let store = shared.store.clone();
    let read = tokio::task::spawn_blocking(move || store.read(blob)).await;
    read.ok().flatten().ok_or_else(|| {
        let message = format!("blob {blob} cannot be read; the coordinator's log says why");
        Fault::new(FaultKind::Storage, message)
    })
}

/// Fills in what the devices reported, which is in blobs.
pub(crate) async fn with_reports(shared: &Arc<Shared>, status: Status) -> Status {
    let (shared, mut filled) = (shared.clone(), status.clone());
    let reading = tokio::task::spawn_blocking(move || {
        for task in &mut filled.tasks {
            let recent = task.history.len().saturating_sub(ROUNDS_WITH_REPORTS_MAX);
            for ended in &mut task.history[recent..] {
                ended.report = summarise(&shared, &ended.reports);
            }
            for release in &mut task.releases {
                let of_round = task
                    .history
                    .iter()
                    .find(|ended| ended.round == release.round);
                release.report = of_round.and_then(|ended| ended.report);
            }
        }
        filled
    });
    // A status without reports is better than none.
    reading.await.unwrap_or(status)
}

/// Mean over devices, weighted by the rows they held out.
pub(crate) fn summarise(shared: &Shared, reports: &[BlobHash]) -> Option<ReportSummary> {
    let reports = reports.iter().filter_map(|blob| {
        let bytes = shared.store.read(*blob)?;
        shared.compute.scored(&bytes)
    });
    let found = pooled(&reports.collect::<Vec<_>>())?;
    Some(ReportSummary {
        devices: found.devices,
        rows: found.rows,
        accuracy: match found.found {
            Found::Accuracy(accuracy) => Some(accuracy),
            Found::Error { .. } => None,
        },
        error: match found.found {
            Found::Accuracy(_) => None,
            Found::Error { rmse, mae } => Some(ErrorSummary { rmse, mae }),
        },
        previous: found.compared.map(|compared| compared.previous),
        worse: found.compared.is_some_and(|compared| compared.is_worse),
    })
}

/// Asks the core. `None` if it cannot say, or has stopped.
pub(crate) async fn ask_core<T: Into<Answer> + TryFrom<Answer>>(
    shared: &Shared,
    command: impl FnOnce(Reply<T>) -> Command,
) -> Option<T> {
    let (reply, waiting) = shared.replies.open();
    shared.commands.send(command(reply)).await.ok()?;
    waiting.answer().await
}

/// Asks the core something for an operator.
///
/// # Errors
/// If the coordinator is stopping.
pub(crate) async fn ask<T: Into<Answer> + TryFrom<Answer>>(
    shared: &Shared,
    command: impl FnOnce(Reply<T>) -> AdminCommand,
) -> Result<T, Fault> {
    let answer = ask_core(shared, |reply| Command::Admin(command(reply))).await;
    answer.ok_or_else(|| Fault::new(FaultKind::Storage, "the coordinator is stopping"))
}

/// How everything stands, with what is computed at the moment.
///
/// # Errors
/// If the coordinator is stopping.
pub(crate) async fn status(shared: &Shared) -> Result<Status, Fault> {
    let mut status = *ask(shared, |reply| AdminCommand::Status { reply }).await?;
    // A disk may be full long before anything has to be written.
    status.storage_ok &= from_store(shared, |store| store.check_room()).await.is_ok();
    let now = Instant::now();
    for device in &mut status.devices {
        shared
            .peer_limits
            .fill(now, device.device, &mut device.peer_limits);
    }
    shared.reports.fill(shared, &mut status.devices).await;
    for gateway in &mut status.gateways {
        gateway.link = shared.gateways.link(gateway.gateway);
    }
    for task in &mut status.tasks {
        task.unheard = shared.unheard.of(shared, task).await;
        task.odd = shared.odd.of(shared, task).await;
        for one in &mut task.odd {
            let known = status.devices.iter();
            let mut known = known.filter(|device| device.device == one.device.device);
            one.device.label = known
                .next()
                .map_or_else(String::new, |device| device.label.clone());
        }
    }
    if let Some(training) = shared.compute.training() {
        let task = status
            .tasks
            .iter_mut()
            .find(|one| one.task == training.task);
        if let Some(round) = task.and_then(|task| task.round.as_mut()) {
            round.training = Some(training.steps);
        }
    }
    Ok(status)
}

/// Remembers a breach of the protocol.
pub(crate) fn note(shared: &Shared, device: DeviceId, error: &TransportError) {
    if error.is_violation() && shared.peer_limits.violated(Instant::now(), device) {
        tracing::warn!(device = %device.short(), %error, "in quarantine: it broke the protocol too often");
    }
}

/// Makes a device wait that asks too much.
pub(crate) async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

const ROUNDS_WITH_REPORTS_MAX: usize = 16;
