//! The state that a log folds to, and how far it was folded.

use std::collections::VecDeque;

use bincode::{Decode, Encode};
use common::ids::TaskHash;
use common::task::TaskError;
use common::wire::codec::DecodeError;

use super::ROUNDS_MAX;
use crate::journal::LogEntry;
use crate::registry::Registry;
use crate::round::{Event, State, TaskEvent};
use crate::store::{Head, Position, Record, Store, StoreError};

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
    /// A snapshot of a later version of the program.
    #[error(
        "{name} has format {version}, this program knows {known}; run the version that wrote it"
    )]
    SnapshotNewer {
        /// The document.
        name: String,
        /// Its format.
        version: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The log begins late and nothing stands for what came before.
    #[error(
        "the log begins with record {first} and no snapshot stands for those before it: \
         {refused}; restore a backup"
    )]
    SnapshotLost {
        /// The first record that is kept.
        first: Position,
        /// Which snapshots there are, and what is wrong with each.
        refused: String,
    },
}

/// What a log folds to, up to a record.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Fold {
    /// Where the log goes on, and the hash of the last record in here.
    pub head: Head,
    /// Who belongs to the fleet.
    pub registry: Registry,
    /// The tasks' states, oldest first.
    pub states: Vec<(TaskHash, State)>,
    /// Where the newest rounds of all tasks began, oldest first; at most
    /// [`ROUNDS_MAX`] of them.
    rounds: VecDeque<Position>,
}

impl Default for Fold {
    /// Of an empty log.
    fn default() -> Self {
        Self {
            head: Head::START,
            registry: Registry::default(),
            states: Vec::new(),
            rounds: VecDeque::new(),
        }
    }
}

impl Fold {
    /// Goes on with up to this many records of this log, and returns how many
    /// there were.
    ///
    /// # Errors
    /// If the store fails, a record does not follow, or is not understood;
    /// the fold is then good for nothing.
    pub fn advance(&mut self, store: &dyn Store, records_max: usize) -> Result<usize, ReplayError> {
        let records = store.read(self.head.next, records_max)?;
        for record in &records {
            self.see(record)?;
        }
        Ok(records.len())
    }

    /// Goes on to the end of the log. Linear in what is left of it.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn finish(&mut self, store: &dyn Store) -> Result<(), ReplayError> {
        while self.advance(store, RECORDS_PER_READ)? > 0 {}
        Ok(())
    }

    /// The fold with one more record, which must be the next.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn see(&mut self, record: &Record) -> Result<(), ReplayError> {
        let head = self.head.follow(record)?;
        let entry = LogEntry::from_bytes(&record.bytes).map_err(|source| ReplayError::Record {
            position: record.position.0,
            source,
        })?;
        match entry {
            LogEntry::Registry(event) => self.registry.apply(&event),
            LogEntry::Task(event) => {
                if matches!(event.event, Event::RoundOpened { .. }) {
                    self.rounds.push_back(record.position);
                    if self.rounds.len() > ROUNDS_MAX as usize {
                        self.rounds.pop_front();
                    }
                }
                self.task(&event);
            }
        }
        self.head = head;
        Ok(())
    }

    /// Where the oldest of this many of the newest rounds began; the start of
    /// the log if there were fewer.
    pub fn floor(&self, rounds: u32) -> Position {
        let rounds = rounds as usize;
        match self.rounds.len().checked_sub(rounds) {
            // The record before it belongs to an earlier round.
            Some(older) if rounds > 0 => self.rounds[older],
            _ => Position(0),
        }
    }

    /// How many of the newest rounds began at or after this position; it
    /// knows of [`ROUNDS_MAX`] at most.
    pub fn rounds_since(&self, position: Position) -> u64 {
        let rounds = self.rounds.iter().rev();
        rounds.take_while(|at| **at >= position).count() as u64
    }

    fn task(&mut self, TaskEvent { task, event }: &TaskEvent) {
        match self.states.iter_mut().find(|(hash, _)| hash == task) {
            Some(_) if matches!(event, Event::Deleted { .. }) => {
                self.states.retain(|(hash, _)| hash != task);
            }
            Some((_, state)) => state.apply(event),
            None if matches!(event, Event::TaskCreated { .. }) => {
                let mut state = State::default();
                state.apply(event);
                self.states.push((*task, state));
            }
            // The fold of a task begins with its creation.
            None => {}
        }
    }
}

/// One read gives no more bytes than `READ_BYTES_MAX` in any case.
pub(super) const RECORDS_PER_READ: usize = 1_024;
