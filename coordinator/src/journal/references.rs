//! Which blobs something that is kept still needs.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{BlobHash, DeviceId, TaskHash};
use common::round::Kind;
use common::task::Task;

use super::fold::{Fold, RECORDS_PER_READ, ReplayError};
use crate::backbone;
use crate::journal::LogEntry;
use crate::round::{Event, Product, State, TaskEvent};
use crate::store::{Position, Store};

/// The blobs that the state after the whole log needs, and those that records
/// from `since` on name. `fold` is of this log, and is moved on to its end.
///
/// What forgotten devices contributed is needed by nothing, and neither is
/// what was computed before a device was forgotten, unless the state still
/// stands on it. Signed students stay: devices hold them. Nothing of a deleted
/// task is needed.
///
/// Cost: linear in the records from `since` or the fold on.
///
/// # Errors
/// Those of the store and of the fold.
pub fn needed(
    store: &dyn Store,
    fold: &mut Fold,
    since: Position,
) -> Result<BTreeSet<BlobHash>, ReplayError> {
    fold.finish(store)?;
    let mut named: BTreeMap<TaskHash, Named> = BTreeMap::new();
    let mut at = since.max(store.first()?);
    while at < fold.head.next {
        let records = store.read(at, RECORDS_PER_READ)?;
        let Some(last) = records.last() else { break };
        at = last.position.next();
        for record in &records {
            // The fold has understood them all.
            if let Ok(LogEntry::Task(TaskEvent { task, event })) =
                LogEntry::from_bytes(&record.bytes)
            {
                match event {
                    Event::Deleted { .. } => drop(named.remove(&task)),
                    event => named.entry(task).or_default().see(&event),
                }
            }
        }
    }
    let states = || fold.states.iter().map(|(_, state)| state);
    let forgotten: BTreeSet<_> = states()
        .flat_map(|state| state.forgotten.keys().copied())
        .collect();
    let mut needed = BTreeSet::new();
    for named in named.into_values() {
        needed.extend(named.finish(&forgotten));
    }
    for state in states() {
        of_state(state, &forgotten, &mut needed);
        needed.extend(bases(state, store));
        needed.extend(models(state, store));
    }
    needed.extend(backbone::list(store)?.into_iter().map(|file| file.model));
    Ok(needed)
}

/// The models that a task sends its inputs through. A task that cannot be read is
/// not this one's to report.
fn models(state: &State, store: &dyn Store) -> Vec<BlobHash> {
    let spec = state.spec.and_then(|spec| store.blob(spec).ok().flatten());
    let task = spec.and_then(|bytes| Task::from_bytes(&bytes).ok());
    let backbone = task.and_then(|task| task.definition().backbone.clone());
    backbone.map_or_else(Vec::new, |backbone| backbone.blobs().collect())
}

/// The blobs that contributions which still count are differences to, such as
/// the key frames of labels. A damaged blob is not this one's to report: anyone
/// who reads it for its content does.
fn bases(state: &State, store: &dyn Store) -> Vec<BlobHash> {
    let standing = state.standing.iter().chain(&state.newest);
    let standing = standing.map(|((_, kind), one)| (*kind, one.blob));
    let round = state.round.iter();
    let inputs = round.clone().flat_map(|round| &round.inputs);
    let inputs = inputs.map(|(_, kind, blob)| (*kind, *blob));
    let open = round.flat_map(|round| &round.phase);
    let open = open.flat_map(|open| &open.taken);
    let open = open.map(|((_, kind), one)| (*kind, one.blob));
    let all = standing.chain(inputs).chain(open);
    let contributions: BTreeSet<(Kind, BlobHash)> =
        { all }.filter(|(kind, _)| kind.has_differences()).collect();
    let read = |(kind, blob): (Kind, BlobHash)| Some((kind, store.blob(blob).ok().flatten()?));
    let read = contributions.into_iter().filter_map(read);
    read.filter_map(|(kind, bytes)| kind.base(&bytes)).collect()
}

/// What a task's records name.
#[derive(Default)]
struct Named {
    /// Contributions, and whose they are.
    contributions: BTreeSet<(DeviceId, BlobHash)>,
    /// What was computed since a device was last forgotten.
    products: BTreeSet<BlobHash>,
    others: BTreeSet<BlobHash>,
}

impl Named {
    fn see(&mut self, event: &Event) {
        match event {
            Event::TaskCreated { spec, .. } => {
                self.others.insert(*spec);
            }
            Event::Accepted { device, blob, .. } => {
                self.contributions.insert((*device, *blob));
            }
            Event::Produced { product, .. } => {
                let (Product::Normaliser(blob)
                | Product::TransferSet { blob, .. }
                | Product::Teacher(blob)
                | Product::Student(blob)) = product;
                self.products.insert(*blob);
            }
            Event::Forgotten { .. } | Event::Relearnt { .. } => {
                self.products.clear();
            }
            Event::Released { blob, .. } | Event::ReReleased { blob, .. } => {
                self.others.insert(*blob);
            }
            Event::RoundOpened { .. }
            | Event::PhaseOpened { .. }
            | Event::PhaseClosed { .. }
            | Event::Joined { .. }
            | Event::Abstained { .. }
            | Event::Refused { .. }
            | Event::Pardoned { .. }
            | Event::Missed(_)
            | Event::Planned { .. }
            | Event::Compared { .. }
            | Event::Archived { .. }
            | Event::Unarchived { .. }
            | Event::Deleted { .. }
            | Event::Excluded { .. }
            | Event::RoundEnded { .. }
            | Event::Resumed { .. }
            | Event::DataChanged { .. }
            | Event::Held { .. }
            | Event::RolloutStarted { .. }
            | Event::StageOpened { .. }
            | Event::Piloted { .. }
            | Event::StageBounded { .. }
            | Event::Carried { .. }
            | Event::Heard { .. }
            | Event::RolloutChanged { .. }
            | Event::Tried { .. } => {}
        }
    }

    fn finish(self, forgotten: &BTreeSet<DeviceId>) -> BTreeSet<BlobHash> {
        let mut blobs = self.others;
        blobs.extend(self.products);
        let theirs = self.contributions.into_iter();
        blobs.extend(
            theirs
                .filter(|(device, _)| !forgotten.contains(device))
                .map(|(_, blob)| blob),
        );
        blobs
    }
}

/// What the state of a task needs: its shared products, the round in
/// progress, the contributions that count in a later one, every release that
/// is listed (offered, held, to roll back to, or the base of a delta), and
/// the reports of the rounds that are listed.
fn of_state(state: &State, forgotten: &BTreeSet<DeviceId>, needed: &mut BTreeSet<BlobHash>) {
    let transfer = state.transfer.map(|transfer| transfer.blob);
    let shared = [state.spec, state.normaliser, transfer, state.teacher];
    needed.extend(shared.into_iter().flatten());
    needed.extend(state.release.iter().map(|release| release.blob));
    needed.extend(state.releases.iter().map(|release| release.blob));
    let standing = state.standing.iter().chain(&state.newest);
    let mut contributions: Vec<_> = standing
        .map(|((device, _), standing)| (*device, standing.blob))
        .collect();
    if let Some(round) = &state.round {
        needed.extend(round.student);
        let inputs = round.inputs.iter();
        contributions.extend(inputs.map(|(device, _, blob)| (*device, *blob)));
        if let Some(open) = &round.phase {
            let taken = open.taken.iter();
            contributions.extend(taken.map(|((device, _), one)| (*device, one.blob)));
        }
    }
    let reports = state.history.iter().flat_map(|ended| &ended.reports);
    contributions.extend(reports.copied());
    let theirs = contributions.into_iter();
    let kept = theirs.filter(|(device, _)| !forgotten.contains(device));
    needed.extend(kept.map(|(_, blob)| blob));
}
