//! What is made anew of what was released or contributed before: students
//! signed again, blobs of forgotten devices deleted. On an operator's order,
//! and at the start, for a cut may have come before the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use common::ids::{BlobHash, Version};
use common::trust::release::SignedRelease;

use crate::compute;
use crate::core::{AdminCommand, ReReleaseOf};
use crate::journal::Compaction;
use crate::round::ReRelease;
use crate::server::Shared;
use crate::server::handle::{ask, from_store, from_store_handle, read_blob};
use crate::status::{DeviceStatus, Progress, TaskStatus};
use crate::status::{Fault, FaultKind};
use crate::store::{Epoch, StoreError};

/// Signs an earlier release again, for everyone. The weights, the normaliser
/// and the lineage stay what they were. Returns the earlier version and its
/// new one.
pub(crate) async fn rerelease(
    shared: &Shared,
    name: Option<String>,
    version: Option<Version>,
) -> Result<(Version, Version), Fault> {
    let done = sign_again(shared, name, &[(version, false)]).await?;
    Ok((done[0].from, done[0].version))
}

/// Signs earlier releases of a task again, each above the one before: which,
/// and whether it is held back. A cut leaves all of them or none.
async fn sign_again(
    shared: &Shared,
    name: Option<String>,
    wanted: &[(Option<Version>, bool)],
) -> Result<Vec<ReRelease>, Fault> {
    let (mut done, mut pins, mut of) = (Vec::new(), Vec::new(), None);
    for (above, &(version, held)) in (0..).zip(wanted) {
        let plan = |reply| AdminCommand::PlanReRelease {
            name: name.clone(),
            version,
            reply,
        };
        let ReReleaseOf { task, mut again } = ask(shared, plan).await??;
        again.version = again.version.above(above);
        again.held = held;
        let bytes = read_blob(shared, again.blob).await?;
        let (signer, now) = (shared.identity.release_key.clone(), shared.clock.now());
        let signed = compute::sign_again(&bytes, again.version, now, &signer);
        let signed = signed.map_err(|error| Fault::new(FaultKind::Storage, error.to_string()))?;
        (again.blob, again.bytes) = (BlobHash::of(&signed), signed.len() as u64);
        let (_, pin) = from_store_handle(shared, move |store| store.put_blob(&signed)).await?;
        pins.push(pin);
        done.push(again);
        of = Some(task);
    }
    if let Some(task) = of {
        let done = done.clone();
        ask(shared, |reply| AdminCommand::ReRelease {
            task,
            done,
            reply,
        })
        .await??;
    }
    Ok(done)
}

/// Deletes what forgotten devices contributed and what was made of it. Done
/// at each start too, for a cut may have come before the end.
pub(crate) async fn sweep_forgotten(shared: &Shared) -> Result<usize, Fault> {
    let status = ask(shared, |reply| AdminCommand::Status { reply }).await?;
    let is_forgotten = |device: &&DeviceStatus| device.forgotten.is_some();
    if status.devices.iter().find(is_forgotten).is_none() {
        return Ok(0);
    }
    sweep(shared).await
}

/// Deletes the blobs that nothing needs any more, and returns how many.
pub(crate) async fn sweep(shared: &Shared) -> Result<usize, Fault> {
    let status = ask(shared, |reply| AdminCommand::Status { reply }).await?;
    let sweep = Compaction::sweep(Epoch(status.epoch), shared.retention);
    let done = from_store_handle(shared, move |store| store.keep(sweep)).await?;
    Ok(done.blobs)
}

/// Reads every blob once after the start, slowly, so that one that the disk
/// has damaged is named while its backup still exists, and not when a round
/// needs it. Returns how many are damaged.
pub(crate) async fn check_blobs(shared: &Shared) -> Result<usize, Fault> {
    let blobs = from_store(shared, |store| store.blobs()).await?;
    let (all, mut damaged) = (blobs.len(), 0);
    for blob in blobs {
        // One that was removed meanwhile is not one of these.
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

/// Looks after each round, until the server stops, whether what the next one
/// stands on is whole.
pub(crate) async fn keep_whole(shared: &Shared) {
    let mut steps = shared.progress.subscribe();
    loop {
        if let Err(fault) = learn_lost_anew(shared).await {
            tracing::error!(%fault, "what rounds stand on could not be looked at");
        }
        loop {
            match steps.recv().await {
                Ok(Progress::Ended { .. }) | Err(RecvError::Lagged(_)) => break,
                Ok(_) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// Of tasks whose normaliser or transfer set the disk has damaged or lost, the
/// next round learns both anew from what all devices send, as after `task
/// relearn`; otherwise no device could fetch them, and every later round would
/// end for want of devices. Returns how many tasks that are.
pub(crate) async fn learn_lost_anew(shared: &Shared) -> Result<usize, Fault> {
    let status = ask(shared, |reply| AdminCommand::Status { reply }).await?;
    let mut lost = 0;
    // A standing task's round is never over, and ends without a loss.
    let waits = |task: &&TaskStatus| task.round.as_ref().is_none_or(|one| one.standing.is_some());
    for task in status.tasks.iter().filter(waits) {
        for blob in [task.normaliser, task.transfer].into_iter().flatten() {
            // A disk that cannot be read now may be read later.
            let whole = from_store(shared, move |store| match store.blob(blob) {
                Ok(held) => Ok(held.is_some()),
                Err(StoreError::BlobDamaged { .. }) => Ok(false),
                Err(error) => Err(error),
            });
            if whole.await? {
                continue;
            }
            tracing::error!(
                task = task.name,
                %blob,
                "damaged or lost; the next round learns it anew, and no device is to blame: check \
                 the disk"
            );
            let name = Some(task.name.clone());
            ask(shared, |reply| AdminCommand::Relearn { name, reply }).await??;
            lost += 1;
            break;
        }
    }
    Ok(lost)
}

/// Between two blobs of a check: devices come first.
const CHECK_PAUSE: Duration = Duration::from_millis(5);

/// Signs the releases again whose key the trust root names no more: the one that
/// all devices are offered, and the one that waits for a rollout.
pub(crate) async fn renew_releases(shared: Arc<Shared>) {
    let Ok(trust_root) = shared.identity.trust_root.first() else {
        return;
    };
    let believed: Vec<_> = trust_root.release_keys.iter().map(|key| key.id()).collect();
    let Ok(status) = ask(&shared, |reply| AdminCommand::Status { reply }).await else {
        return;
    };
    for task in status.tasks {
        // The one that waits goes above the one that is offered, so it comes after.
        let mut wanted = Vec::new();
        for release in task.offered().into_iter().chain(task.waiting()) {
            let Ok(bytes) = read_blob(&shared, release.blob).await else {
                continue;
            };
            let signed = SignedRelease::from_bytes(&bytes);
            let is_believed = signed.is_ok_and(|signed| believed.contains(&signed.claimed_key()));
            if !is_believed || !wanted.is_empty() {
                wanted.push((Some(release.version), release.held));
            }
        }
        match sign_again(&shared, Some(task.task.to_string()), &wanted).await {
            Ok(done) => {
                for ReRelease { from, version, .. } in done {
                    tracing::warn!(%from, %version, "released again: a key is believed no more");
                }
            }
            Err(fault) => tracing::error!(task = task.name, %fault, "not released again"),
        }
    }
}
