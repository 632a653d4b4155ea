//! Deletes what forgotten devices contributed, and what was made of it.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{BlobHash, DeviceId, TaskHash};

use crate::round::{Event, Product, State, TaskEvent};
use crate::serve::LogEntry;
use crate::store::{Epoch, Position, Result, Store};

/// What the log says of blobs.
#[derive(Default)]
struct Found {
    forgotten: BTreeSet<DeviceId>,
    /// Each contribution and whose it is.
    contributions: BTreeSet<(DeviceId, BlobHash)>,
    /// What was made of contributions that were forgotten since.
    stale: BTreeSet<BlobHash>,
    /// What was made otherwise, by task. It may be the same bytes.
    live: BTreeMap<TaskHash, BTreeSet<BlobHash>>,
    states: BTreeMap<TaskHash, State>,
}

/// Reads the whole log, and deletes each blob that only forgotten devices
/// have contributed, and the normalisers, transfer sets, teachers and unsigned
/// students that stand on it. Signed students stay: devices hold them. Returns
/// how many blobs are gone. Cost: linear in the log.
///
/// # Errors
/// Those of the store; what was deleted before stays deleted.
pub fn sweep(store: &dyn Store, epoch: Epoch) -> Result<usize> {
    let mut found = Found::default();
    let (mut at, end) = (store.first()?, store.head()?.next);
    while at < end {
        let records = store.read(at, RECORDS)?;
        if records.is_empty() {
            break;
        }
        at = Position(at.0 + records.len() as u64);
        for record in &records {
            // A replay has understood them all, or there would be no server.
            if let Ok(LogEntry::Task(event)) = LogEntry::from_bytes(&record.bytes) {
                found.see(&event);
            }
        }
    }
    let mut gone = 0;
    for blob in found.doomed() {
        gone += usize::from(store.remove_blob(epoch, blob)?);
    }
    Ok(gone)
}

impl Found {
    fn see(&mut self, TaskEvent { task, event }: &TaskEvent) {
        let state = self.states.entry(*task).or_default();
        state.apply(event);
        let live = self.live.entry(*task).or_default();
        match event {
            Event::Accepted { device, blob, .. } => {
                self.contributions.insert((*device, *blob));
            }
            Event::Produced { product, .. } => {
                let (Product::Normaliser(blob)
                | Product::TransferSet { blob, .. }
                | Product::Teacher(blob)
                | Product::Student(blob)) = product;
                live.insert(*blob);
            }
            Event::Forgotten { device, .. } => {
                self.forgotten.insert(*device);
                let transfer = state.transfer.map(|transfer| transfer.blob);
                let kept = [state.normaliser, transfer, state.teacher];
                let stays = |blob: &BlobHash| kept.contains(&Some(*blob));
                let (stay, stale) = std::mem::take(live).into_iter().partition(stays);
                *live = stay;
                self.stale.extend::<BTreeSet<BlobHash>>(stale);
            }
            _ => {}
        }
    }

    fn doomed(&self) -> BTreeSet<BlobHash> {
        let is_forgotten = |device: &DeviceId| self.forgotten.contains(device);
        let (theirs, others): (Vec<_>, Vec<_>) = self
            .contributions
            .iter()
            .partition(|(device, _)| is_forgotten(device));
        let others: BTreeSet<_> = others.into_iter().map(|(_, blob)| blob).collect();
        let is_live = |blob: &BlobHash| self.live.values().any(|live| live.contains(blob));
        let theirs = theirs.into_iter().map(|(_, blob)| blob);
        let doomed = theirs.chain(self.stale.iter().copied());
        doomed
            .filter(|blob| !others.contains(blob) && !is_live(blob))
            .collect()
    }
}

/// Records read at once.
const RECORDS: usize = 1_024;
