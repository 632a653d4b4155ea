//! The tasks this device was called for, so that new data can be announced
//! right after a start.

use std::collections::BTreeMap;

use common::ids::TaskHash;
use common::task::Task;
use tracing::warn;

use super::students::{open_all, verified};
use super::{explained, of_state};
use crate::backbone::keep_only;
use crate::cache::Cache;
use crate::driver::backend::BackendError;
use crate::state::{StateDir, StateError};
use crate::trust::Trust;

/// Most tasks that are remembered.
const TASKS_MAX: usize = 16;

/// The folder in the state directory.
const FOLDER: &str = "tasks";

/// Tasks by name, each also a file.
#[derive(Debug)]
pub(super) struct Tasks {
    state: StateDir,
    known: BTreeMap<TaskHash, Task>,
}

/// The tasks that a device was called for, as its state directory remembers
/// them; nothing is made or changed.
///
/// # Errors
/// If the folder is there and cannot be read.
pub fn known_tasks(state: &StateDir) -> Result<Vec<Task>, StateError> {
    let folder = state.file(FOLDER);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    Ok(Tasks::read(StateDir::at(&folder))?.all())
}

/// Removes the models, and what they made of rows, that no task needs any more: none
/// that this device was called for, nor that of an installed student. If these cannot
/// be read, all stay.
///
/// # Errors
/// What is in the way.
pub fn keep_models(state: &StateDir, cache: &Cache) -> Result<(), BackendError> {
    let mut tasks = known_tasks(state).map_err(of_state)?;
    let signers = Trust::known_signers_in(state);
    let signers = signers.map_err(|error| explained(&error, error.advice()))?;
    for slots in open_all(state)?.into_values() {
        for bytes in [slots.current().ok().flatten(), slots.previous()] {
            let student = bytes.and_then(|(_, bytes)| verified(&bytes, &signers).ok());
            tasks.extend(student.map(|student| student.task().clone()));
        }
    }
    let kept = keep_only(state, cache, &tasks);
    kept.map_err(|error| explained(&error, error.advice()))
}

impl Tasks {
    /// The tasks remembered in a state directory. Files that are not valid are
    /// passed over: the coordinator calls with the task again.
    pub(super) fn open(state: &StateDir) -> Result<Self, StateError> {
        Self::read(StateDir::create(&state.file(FOLDER))?)
    }

    fn read(folder: StateDir) -> Result<Self, StateError> {
        let entries = std::fs::read_dir(folder.path())
            .map_err(|source| StateError::io(folder.path(), source))?;
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.ok()?.path();
            if path.extension().is_some() {
                return None; // what an interruption left unfinished
            }
            let bytes = std::fs::read(&path).ok()?;
            let name = path.file_name()?.to_str()?;
            // Other bytes may be a task too, but not this one.
            let task = Task::from_bytes(&bytes).ok();
            let task = task.filter(|task| task.hash().to_string() == name);
            if task.is_none() {
                warn!(
                    "{} is damaged; the coordinator sends the task again when it calls",
                    path.display()
                );
            }
            task
        };
        let tasks = entries.filter_map(read).take(TASKS_MAX);
        Ok(Self {
            known: tasks.map(|task| (task.hash(), task)).collect(),
            state: folder,
        })
    }

    /// Remembers a task; the first ones stay if there are too many.
    pub(super) fn remember(&mut self, task: &Task) -> Result<(), StateError> {
        if self.known.contains_key(&task.hash()) || self.known.len() >= TASKS_MAX {
            return Ok(());
        }
        self.state.write(&task.hash().to_string(), task.bytes())?;
        self.known.insert(task.hash(), task.clone());
        Ok(())
    }

    /// The tasks.
    pub(super) fn all(&self) -> Vec<Task> {
        self.known.values().cloned().collect()
    }
}
