//! What is made anew of what was released or contributed before: students
//! signed again, blobs of forgotten devices deleted. On an operator's order,
//! and at the start, for a cut may have come before the end.

use std::sync::Arc;
use std::time::Duration;

use common::ids::{BlobHash, Version};
use common::trust::release::SignedRelease;

use super::protocol::{Fault, FaultKind, Response};
use super::server::{ask, from_store, from_vault, read_blob};
use super::status::DeviceStatus;
use crate::compute;
use crate::retention::Upkeep;
use crate::serve::{AdminCommand, Shared};
use crate::store::Epoch;

/// Signs an earlier release again. The weights, the normaliser and the
/// lineage stay what they were.
pub(super) async fn rerelease(
    shared: &Shared,
    name: Option<String>,
    version: Option<Version>,
) -> Result<Response, Fault> {
    let plan = |reply| AdminCommand::PlanReRelease {
        name,
        version,
        reply,
    };
    let mut done = ask(shared, plan).await??;
    let bytes = read_blob(shared, done.blob).await?;
    let failed = |error: &dyn std::fmt::Display| Fault::new(FaultKind::Storage, error.to_string());
    let (signer, now) = (shared.identity.release_key.clone(), shared.clock.now());
    let again = compute::sign_again(&bytes, done.version, now, &signer);
    let again = again.map_err(|error| failed(&error))?;
    (done.blob, done.bytes) = (BlobHash::of(&again), again.len() as u64);
    let (_, _pin) = from_vault(shared, move |vault| vault.put_blob(&again)).await?;
    ask(shared, |reply| AdminCommand::ReRelease { done, reply }).await??;
    Ok(Response::ReReleased {
        from: done.from,
        version: done.version,
    })
}

/// Deletes what forgotten devices contributed and what was made of it. Done
/// at each start too, for a cut may have come before the end.
pub(crate) async fn sweep_forgotten(shared: &Shared) -> Result<usize, Fault> {
    let status = ask(shared, |reply| AdminCommand::Status { reply }).await?;
    let is_forgotten = |device: &&DeviceStatus| device.forgotten.is_some();
    if status.devices.iter().find(is_forgotten).is_none() {
        return Ok(0);
    }
    let sweep = Upkeep::sweep(Epoch(status.epoch), shared.retention);
    let done = from_vault(shared, move |vault| vault.keep(sweep)).await?;
    Ok(done.blobs)
}

/// Reads every blob once after the start, slowly, so that one that the disk
/// has damaged is named while its backup still exists, and not when a round
/// needs it. Returns how many are damaged.
pub(crate) async fn check_blobs(shared: &Shared) -> Result<usize, Fault> {
    let blobs = from_store(shared, |store| store.blobs()).await?;
    let (all, mut damaged) = (blobs.len(), 0);
    for blob in blobs {
        // One that was removed meanwhile is none of these.
        if let Err(fault) = from_store(shared, move |store| store.blob(blob).map(drop)).await {
            tracing::error!("{}", fault.message);
            damaged += 1;
        }
        tokio::time::sleep(CHECK_PAUSE).await;
    }
    match damaged {
        0 => tracing::debug!(all, "every blob is whole"),
        _ => tracing::error!(damaged, all, "blobs are damaged: check the disk"),
    }
    Ok(damaged)
}

/// Between two blobs of a check: devices come first.
const CHECK_PAUSE: Duration = Duration::from_millis(5);

/// Signs the releases again that devices are offered and whose key the
/// charter names no more.
pub(crate) async fn renew_releases(shared: Arc<Shared>) {
    let Ok(charter) = shared.identity.charter.first() else {
        return;
    };
    let believed: Vec<_> = charter.release_keys.iter().map(|key| key.id()).collect();
    let Ok(status) = ask(&shared, |reply| AdminCommand::Status { reply }).await else {
        return;
    };
    for task in status.tasks {
        let offered = task.releases.iter().rev().find(|release| !release.held);
        let Some(offered) = offered else { continue };
        let Ok(bytes) = read_blob(&shared, offered.blob).await else {
            continue;
        };
        let signed = SignedRelease::from_bytes(&bytes);
        if signed.is_ok_and(|signed| believed.contains(&signed.claimed_key())) {
            continue;
        }
        let name = Some(task.task.to_string());
        match rerelease(&shared, name, Some(offered.version)).await {
            Ok(Response::ReReleased { from, version }) => {
                tracing::warn!(%from, %version, "released again: its key is believed no more");
            }
            Ok(_) => {}
            Err(fault) => {
                tracing::error!(version = %offered.version, %fault, "not released again");
            }
        }
    }
}
