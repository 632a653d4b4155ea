//! The state that the coordinator's log folds to.

use std::sync::Arc;

use common::ids::TaskHash;
use common::task::Task;

use super::fold::ReplayError;
use super::snapshot::{self, Loaded, Refused};
use crate::registry::Registry;
use crate::round::State;
use crate::store::{Position, Store};

/// What a log folds to.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Who belongs to the fleet.
    pub registry: Registry,
    /// The tasks and their states, oldest first.
    pub tasks: Vec<(Arc<Task>, State)>,
    /// Where the log continues.
    pub next: Position,
    /// Where it continued when the snapshot was made that this stands on.
    pub snapshot: Option<Position>,
    /// Rounds that began since, as far as they are known.
    pub rounds_since: u64,
    /// Newer snapshots that are no good.
    pub refused: Vec<Refused>,
}

impl Replayed {
    /// Rounds of all tasks so far.
    pub fn rounds(&self) -> u64 {
        let rounds = self.tasks.iter().map(|(_, state)| state.last_round.0);
        rounds.sum()
    }
}

/// Folds the log, from the newest snapshot that is good. Blocks; linear in
/// the records after it.
///
/// # Errors
/// If the store fails, holds what this version does not understand, or
/// nothing stands for records that are gone.
pub fn replay(store: &dyn Store) -> Result<Replayed, ReplayError> {
    let Loaded {
        mut fold,
        name,
        refused,
    } = snapshot::newest(store)?;
    let snapshot = name.map(|_| fold.head.next);
    fold.finish(store)?;
    let rounds_since = fold.rounds_since(snapshot.unwrap_or_default());
    let mut tasks = Vec::new();
    for (hash, state) in fold.states {
        tasks.push((load(store, hash, &state)?, state));
    }
    Ok(Replayed {
        registry: fold.registry,
        tasks,
        next: fold.head.next,
        snapshot,
        rounds_since,
        refused,
    })
}

fn load(store: &dyn Store, task: TaskHash, state: &State) -> Result<Arc<Task>, ReplayError> {
    let blob = state.spec.map(|spec| store.blob(spec)).transpose()?;
    let bytes = blob.flatten().ok_or(ReplayError::TaskMissing { task })?;
    let read = Task::from_bytes(&bytes).map_err(|source| ReplayError::Task { task, source })?;
    Ok(Arc::new(read))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::journal::LogEntry;
    use crate::round::TaskEvent;
    use common::ids::{BlobHash, Time};
    use proptest::prelude::*;

    use crate::round::Event;
    use crate::store::MemoryStore;

    fn created(task: &Task) -> LogEntry {
        LogEntry::Task(TaskEvent {
            task: task.hash(),
            event: Event::TaskCreated {
                spec: BlobHash::of(task.bytes()),
                at: Time(1),
            },
        })
    }

    fn task() -> Task {
        let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
        common::task::RawTask::parse(text).unwrap()
    }

    #[test]
    fn entries_survive_the_log() {
        let entry = created(&task());
        assert_eq!(LogEntry::from_bytes(&entry.to_bytes()).unwrap(), entry);
    }

    proptest! {
        #[test]
        fn arbitrary_records_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = LogEntry::from_bytes(&bytes);
        }
    }

    #[test]
    fn a_log_folds_to_its_tasks_and_says_where_it_goes_on() {
        let store = MemoryStore::new();
        let epoch = store.open_epoch().unwrap();
        store.put_blob(task().bytes()).unwrap();
        store
            .append(epoch, None, &[created(&task()).to_bytes()])
            .unwrap();
        let replayed = replay(&store).unwrap();
        assert_eq!(replayed.next, Position(1));
        assert_eq!(replayed.tasks[0].0.hash(), task().hash());
    }

    #[test]
    fn a_missing_definition_and_a_foreign_record_are_named() {
        let store = MemoryStore::new();
        let epoch = store.open_epoch().unwrap();
        store
            .append(epoch, None, &[created(&task()).to_bytes()])
            .unwrap();
        assert!(matches!(
            replay(&store),
            Err(ReplayError::TaskMissing { task: named }) if named == task().hash()
        ));
        store.append(epoch, None, &[vec![250]]).unwrap();
        assert!(matches!(
            replay(&store),
            Err(ReplayError::Record { position: 1, .. })
        ));
    }
}
