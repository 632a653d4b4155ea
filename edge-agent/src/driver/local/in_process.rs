//! The heavy work, done where it is asked for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::task::Task;
use common::trust::clock::Clock;

use super::holdings::{Source, described, hashes};
use super::tasks::Tasks;
use super::worker::{Done, Job, Told, Worker};
use super::{explained, of_state};
use crate::driver::backend::{BackendError, Blobs};
use crate::policy::{Policy, RowHistory, RowSet, RowSetDigest};
use crate::state::StateDir;
use crate::work::TeacherChoice;

/// What the work obeys.
#[derive(Clone, Debug)]
pub struct WorkSettings {
    /// What may leave.
    pub policy: Policy,
    /// The local teacher.
    pub teacher: TeacherChoice,
    /// The device's clock, never below what it knows to have passed.
    pub clock: Clock,
    /// The device's own seed.
    pub seed: u64,
}

/// A worker that computes in the calling thread.
pub struct InProcess<S> {
    pub(super) state: StateDir,
    pub(super) source: S,
    pub(super) settings: WorkSettings,
    tasks: Mutex<Tasks>,
}

impl<S: Source> InProcess<S> {
    /// A worker on a state directory.
    ///
    /// # Errors
    /// If the tasks that are remembered there cannot be read.
    pub fn open(state: &StateDir, source: S, settings: WorkSettings) -> Result<Self, BackendError> {
        Ok(Self {
            tasks: Mutex::new(Tasks::open(state).map_err(of_state)?),
            state: state.clone(),
            source,
            settings,
        })
    }

    pub(super) fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every set of rows that was described before, whatever the task.
    pub(super) fn history(&self, name: &str) -> Result<RowHistory, BackendError> {
        RowHistory::open(&self.state.file(name)).map_err(|error| explained(&error, error.advice()))
    }

    fn count(&self, told: &Told) -> Result<Told, BackendError> {
        let mut grown = Told::new();
        if self.settings.policy.budget().is_some() {
            // That there are new rows is something about rows as well.
            return Ok(grown);
        }
        let tasks = self.tasks().all();
        if tasks.is_empty() {
            self.source.probe()?;
        }
        for task in tasks {
            let (next, last) = match self.growth(&task) {
                // Its model comes with the next call.
                Err(BackendError::Blob(_)) => continue,
                grown => grown?,
            };
            let digest = next.digest();
            let known = told.get(&task.hash()).copied();
            if !next.is_empty() && Some(digest) != known.or(last) {
                grown.insert(task.hash(), digest);
            }
        }
        Ok(grown)
    }

    /// The rows of a task that the next contribution would describe, and
    /// those the last one did.
    fn growth(&self, task: &Task) -> Result<(RowSet, Option<RowSetDigest>), BackendError> {
        let train = self.described_rows(task)?;
        let history = self.history(ROWS)?;
        let current = described(&hashes(&train), train.labels());
        let admitted = history.admit(&current, self.settings.policy.rows_min());
        Ok((admitted.whole().clone(), history.last(task.hash())))
    }
}

impl<S: Source> Worker for InProcess<S> {
    fn work(&self, job: Job, blobs: &Blobs<'_>) -> Result<Done, BackendError> {
        match job {
            Job::Answer {
                call,
                spent,
                judged,
            } => {
                let judged = judged.map(|judged| *judged);
                self.answer(&call, spent, judged, blobs).map(Done::Answered)
            }
            Job::Judge(announced) => self.judge(&announced, blobs).map(Done::Judged),
            Job::Soak(task) => self.soak(task).map(Done::Soaked),
            Job::Count(told) => self.count(&told).map(Done::Counted),
        }
    }

    fn glance(&self) -> bool {
        self.source.glance()
    }
}

/// Folder of the rows that were described, and of those reports spoke of.
pub(super) const ROWS: &str = "rows";
pub(super) const REPORTED: &str = "rows-reported";
