//! What is made anew of what was released or contributed before: students
//! signed again, blobs of forgotten devices deleted. On an operator's order,
//! and at the start, for a cut may have come before the end.

use std::sync::Arc;
use std::time::Duration;

use common::ids::{BlobHash, Version};
use common::trust::release::SignedRelease;

use super::protocol::{Fault, FaultKind, Response};
use super::server::{ask, from_store, from_vault, read_blob};
use super::status::{DeviceStatus, ReleaseStatus, TaskStatus};
use crate::compute;
use crate::retention::Upkeep;
use crate::rollout::Standing;
use crate::round::ReRelease;
use crate::serve::{AdminCommand, ReReleaseOf, Shared};
use crate::store::Epoch;

/// Signs an earlier release again, for everyone. The weights, the normaliser
/// and the lineage stay what they were.
pub(super) async fn rerelease(
    shared: &Shared,
    name: Option<String>,
    version: Option<Version>,
) -> Result<Response, Fault> {
    let done = sign_again(shared, name, &[(version, false)]).await?;
    let (from, version) = (done[0].from, done[0].version);
    Ok(Response::ReReleased { from, version })
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
        let (_, pin) = from_vault(shared, move |vault| vault.put_blob(&signed)).await?;
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

/// Signs the releases again whose key the charter names no more: the one that
/// all devices are offered, and the one that waits for a rollout.
pub(crate) async fn renew_releases(shared: Arc<Shared>) {
    let Ok(charter) = shared.identity.charter.first() else {
        return;
    };
    let believed: Vec<_> = charter.release_keys.iter().map(|key| key.id()).collect();
    let Ok(status) = ask(&shared, |reply| AdminCommand::Status { reply }).await else {
        return;
    };
    for task in status.tasks {
        // The one that waits goes above the one that is offered, so it comes after.
        let mut wanted = Vec::new();
        for release in offered(&task).into_iter().chain(waiting(&task)) {
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

/// The release that every device is offered.
fn offered(task: &TaskStatus) -> Option<&ReleaseStatus> {
    task.releases.iter().rev().find(|release| !release.held)
}

/// The newest release that waits for a rollout or is in one: of a later round
/// than the one that is offered, and not given up.
fn waiting(task: &TaskStatus) -> Option<&ReleaseStatus> {
    let round = offered(task).map(|release| release.round);
    let waiting = task.releases.iter().rev().find(|release| release.held);
    let waiting = waiting.filter(|release| round.is_none_or(|round| round < release.round))?;
    let given_up = task.rollout.as_ref().is_some_and(|rollout| {
        let ended = matches!(
            rollout.standing,
            Standing::Halted { .. } | Standing::Aborted
        );
        ended && rollout.version == waiting.version
    });
    (!given_up).then_some(waiting)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::admin::status::RolloutStatus;
    use crate::rollout::{Plan, Tally};
    use common::ids::{RoundId, TaskHash, Time};

    fn release(number: u64, round: u64, held: bool) -> ReleaseStatus {
        ReleaseStatus {
            version: Version { epoch: 1, number },
            round: RoundId(round),
            blob: BlobHash([7; 32]),
            bytes: 1,
            lineage: 0,
            released: Time(1),
            report: None,
            held,
        }
    }

    fn task(releases: Vec<ReleaseStatus>, rolling: Option<(u64, Standing)>) -> TaskStatus {
        TaskStatus {
            task: TaskHash([1; 32]),
            name: "pump".into(),
            points: 0,
            normaliser: None,
            transfer: None,
            teacher: None,
            round: None,
            history: Vec::new(),
            releases,
            rollout: rolling.map(|(number, standing)| RolloutStatus {
                version: Version { epoch: 1, number },
                plan: Plan::default(),
                standing,
                stage: 1,
                percent: 1,
                since: Time(1),
                tally: Tally::default(),
                unwanted_by: Vec::new(),
            }),
        }
    }

    fn number(found: Option<&ReleaseStatus>) -> Option<u64> {
        found.map(|release| release.version.number)
    }

    #[test]
    fn the_newest_student_that_waits_is_signed_again_beside_the_one_that_is_offered() {
        let releases = vec![
            release(1, 1, false),
            release(2, 2, true),
            release(3, 3, true),
        ];
        let waits = task(releases, Some((2, Standing::Running)));
        assert_eq!(number(offered(&waits)), Some(1));
        assert_eq!(number(waiting(&waits)), Some(3));
        // And before anything was offered to anyone.
        assert_eq!(
            number(waiting(&task(vec![release(1, 1, true)], None))),
            Some(1)
        );
    }

    #[test]
    fn a_student_that_was_given_up_or_is_older_is_not_signed_again() {
        let releases = vec![release(1, 1, false), release(2, 2, true)];
        for ended in [Standing::Aborted, Standing::Halted { worse: 1, of: 1 }] {
            assert_eq!(waiting(&task(releases.clone(), Some((2, ended)))), None);
        }
        let releases = vec![release(1, 1, true), release(2, 2, false)];
        assert_eq!(waiting(&task(releases, None)), None);
        assert_eq!(waiting(&task(Vec::new(), None)), None);
    }
}
