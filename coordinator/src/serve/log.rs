//! What stands in the coordinator's log, and the state it folds to.

use std::sync::Arc;

use bincode::{Decode, Encode};
use common::ids::TaskHash;
use common::task::{Task, TaskError};
use common::wire::codec::{self, DecodeError};
use serde::Serialize;

use crate::registry::{Registry, RegistryEvent};
use crate::round::{Event, State, TaskEvent};
use crate::store::{Position, Store, StoreError};

/// One record. Variants are only ever added at the end, so every log that an
/// earlier version wrote stays readable.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEntry {
    /// A change of one task's state.
    Task(TaskEvent),
    /// A change of the registry.
    Registry(RegistryEvent),
}

impl LogEntry {
    /// The record's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The record with these bytes.
    ///
    /// # Errors
    /// If they are none, or of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}

/// Why a log did not fold to a state.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is from a later version of the program, or damaged.
    #[error(
        "record {position} of the log is not understood: {source}; run the version that wrote it"
    )]
    Record {
        /// Where it stands.
        position: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// A task's definition is gone.
    #[error("the definition of task {task} is not in the store; restore a backup")]
    TaskMissing {
        /// Which task.
        task: TaskHash,
    },
    /// A task's definition does not fit this version.
    #[error("task {task}: {source}")]
    Task {
        /// Which task.
        task: TaskHash,
        /// What is wrong.
        source: TaskError,
    },
}

/// What a log folds to.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Who belongs to the fleet.
    pub registry: Registry,
    /// The tasks and their states, oldest first.
    pub tasks: Vec<(Arc<Task>, State)>,
    /// Where the log continues.
    pub next: Position,
}

/// Folds the whole log. Blocks; linear in its length.
///
/// # Errors
/// If the store fails, or holds what this version does not understand.
pub fn replay(store: &dyn Store) -> Result<Replayed, ReplayError> {
    let mut replayed = Replayed {
        next: store.first()?,
        ..Replayed::default()
    };
    let mut states: Vec<(TaskHash, State)> = Vec::new();
    loop {
        let records = store.read(replayed.next, RECORDS_PER_READ)?;
        let Some(last) = records.last() else { break };
        replayed.next = last.position.next();
        for record in &records {
            let entry =
                LogEntry::from_bytes(&record.bytes).map_err(|source| ReplayError::Record {
                    position: record.position.0,
                    source,
                })?;
            match entry {
                LogEntry::Registry(event) => replayed.registry.apply(&event),
                LogEntry::Task(event) => fold(&mut states, &event),
            }
        }
    }
    for (hash, state) in states {
        replayed.tasks.push((load(store, hash, &state)?, state));
    }
    Ok(replayed)
}

fn fold(states: &mut Vec<(TaskHash, State)>, TaskEvent { task, event }: &TaskEvent) {
    match states.iter_mut().find(|(hash, _)| hash == task) {
        Some((_, state)) => state.apply(event),
        None if matches!(event, Event::TaskCreated { .. }) => {
            let mut state = State::default();
            state.apply(event);
            states.push((*task, state));
        }
        // The fold of a task begins with its creation.
        None => {}
    }
}

fn load(store: &dyn Store, task: TaskHash, state: &State) -> Result<Arc<Task>, ReplayError> {
    let blob = state.spec.map(|spec| store.blob(spec)).transpose()?;
    let bytes = blob.flatten().ok_or(ReplayError::TaskMissing { task })?;
    let read = Task::from_bytes(&bytes).map_err(|source| ReplayError::Task { task, source })?;
    Ok(Arc::new(read))
}

const RECORDS_PER_READ: usize = 1_024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::ids::{BlobHash, Time};
    use proptest::prelude::*;

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
        let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]";
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
