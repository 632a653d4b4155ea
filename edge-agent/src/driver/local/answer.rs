//! From a call to what waits in the outbox.

use std::collections::BTreeMap;

use common::ids::{BlobHash, TaskHash};
use common::round::{ContributionKey, Kind, Phase};
use common::task::Task;
use common::wire::codec::encode;
use common::wire::messages::Call;
use tracing::{info, warn};

use super::holdings::{Source, hashes, only, view};
use super::{LocalWorkshop, explained};
use crate::cache::CacheError;
use crate::driver::workshop::{Blobs, Built, WorkshopError};
use crate::policy::{RowHistory, RowSet};
use crate::session::Pending;
use crate::work::{Entry, Work};

impl<S: Source> LocalWorkshop<S> {
    /// Computes, asks the policy, remembers the rows, and only then writes
    /// the outbox.
    pub(super) fn answer(&self, call: &Call, blobs: &Blobs<'_>) -> Result<Built, WorkshopError> {
        let blobs = gather(call, blobs)?;
        let task = task_of(call, &blobs)?;
        self.tasks()
            .remember(&task)
            .map_err(|error| explained(&error, error.advice()))?;
        let split = self.source.load(&task)?;
        if call.phase == Phase::Report {
            return self.report(call, &blobs, split.held_out);
        }
        let train = split.training;
        let hashes = hashes(&train);
        let mut history = self.history(ROWS, task.hash())?;
        let admitted = history.admit(
            hashes.iter().copied().collect(),
            self.settings.policy.rows_min(),
        );
        if admitted.is_empty() {
            warn!(
                rows = hashes.len(),
                rows_min = self.settings.policy.rows_min(),
                "too few rows; nothing leaves. Wait for more data, or lower policy.rows_min"
            );
            return Ok(ABSTAIN);
        }
        let train = only(train, &hashes, &admitted);
        drop(hashes);
        let work = Work {
            task: &task,
            blobs: &blobs,
            rows: view(&train),
            privacy: self
                .settings
                .policy
                .privacy(task.definition().budget.cluster_size_min),
            teacher: &self.settings.teacher,
            seed: self.settings.seed,
        };
        let built = work.answer(call).map_err(|error| {
            let advice = "check that the data folder holds what the task expects; the device \
                 abstains from this phase"
                .to_owned();
            explained(&error, advice)
        })?;
        self.hand_out(call, built.entries, built.partial, &mut history, admitted)
    }

    /// What the policy permits goes into the outbox.
    pub(super) fn hand_out(
        &self,
        call: &Call,
        entries: Vec<Entry>,
        partial: bool,
        history: &mut RowHistory,
        described: RowSet,
    ) -> Result<Built, WorkshopError> {
        let mut built = Built {
            entries: Vec::new(),
            partial,
        };
        let mut leaving = Vec::new();
        let mut store = self.store();
        let mut spent = store.spent(self.settings.clock.now());
        for entry in entries {
            let bytes = entry.bytes.len() as u64;
            match self
                .settings
                .policy
                .permit(entry.kind, entry.rows, bytes, spent)
            {
                Ok(()) => {
                    spent += bytes;
                    leaving.push(entry);
                }
                Err(refusal) => {
                    info!("{} not sent: {refusal}; {}", entry.kind, refusal.advice());
                    built.partial = true;
                }
            }
        }
        if leaving.is_empty() {
            return Ok(built);
        }
        // Before anything that describes these rows can leave.
        history
            .record(described)
            .map_err(|error| explained(&error, error.advice()))?;
        self.begin_answer(call)?;
        for entry in leaving {
            let pending = Pending {
                key: key(call, entry.kind),
                blob: BlobHash::of(&entry.bytes),
                bytes: entry.bytes.len() as u64,
            };
            let put = store.outbox.put(&pending, entry.rows, &entry.bytes);
            put.map_err(|error| explained(&error, error.advice()))?;
            built.entries.push(pending);
        }
        self.end_answer()?;
        Ok(built)
    }

    /// Every set of rows of a task that was described before.
    pub(super) fn history(&self, name: &str, task: TaskHash) -> Result<RowHistory, WorkshopError> {
        RowHistory::open(&self.state.file(name), task)
            .map_err(|error| explained(&error, error.advice()))
    }

    /// The rows of a task that the next contribution would describe, and
    /// those the last one did.
    pub(super) fn growth(&self, task: &Task) -> Result<(RowSet, RowSet), WorkshopError> {
        let train = self.source.load(task)?.training;
        let history = self.history(ROWS, task.hash())?;
        let current = hashes(&train).into_iter().collect();
        let admitted = history.admit(current, self.settings.policy.rows_min());
        Ok((admitted, history.last().cloned().unwrap_or_default()))
    }

    /// A kill between two files of one answer must not leave half of it: the
    /// next start would take it for the whole. The file names the answer that
    /// is being written.
    fn begin_answer(&self, call: &Call) -> Result<(), WorkshopError> {
        let name = encode(&(call.task, call.round, call.phase));
        let written = self.state.write(UNFINISHED, &name);
        written.map_err(|error| explained(&error, error.advice()))
    }

    fn end_answer(&self) -> Result<(), WorkshopError> {
        self.state
            .remove(UNFINISHED)
            .map_err(|error| explained(&error, error.advice()))
    }
}

/// Folder of the rows that were described, and of those reports spoke of.
const ROWS: &str = "rows";
pub(super) const REPORTED: &str = "rows-reported";

/// Names the answer that is being written into the outbox.
pub(super) const UNFINISHED: &str = "answer.unfinished";

pub(super) const ABSTAIN: Built = Built {
    entries: Vec::new(),
    partial: true,
};

pub(super) fn key(call: &Call, kind: Kind) -> ContributionKey {
    ContributionKey {
        task: call.task,
        transfer: call.context.transfer,
        round: call.round,
        phase: call.phase,
        kind,
    }
}

fn gather(call: &Call, blobs: &Blobs<'_>) -> Result<BTreeMap<BlobHash, Vec<u8>>, WorkshopError> {
    call.context
        .blobs()
        .map(|name| Ok((name, read(blobs, name)?)))
        .collect()
}

/// A blob that is missing or damaged is fetched again; a disk that fails is
/// a failure.
pub(super) fn read(blobs: &Blobs<'_>, name: BlobHash) -> Result<Vec<u8>, WorkshopError> {
    blobs(name).map_err(|error| match error {
        CacheError::Missing(_) | CacheError::Damaged { .. } => WorkshopError::Blob(name),
        CacheError::Io { .. } => {
            explained(&error, "check the disk of the state directory".to_owned())
        }
    })
}

fn task_of(call: &Call, blobs: &BTreeMap<BlobHash, Vec<u8>>) -> Result<Task, WorkshopError> {
    let bytes = &blobs[&call.context.task];
    let update = || "update the older of the two programs".to_owned();
    let task = Task::from_bytes(bytes).map_err(|error| explained(&error, update()))?;
    if task.hash() != call.task {
        let what = format!(
            "task {} was called for, {} was sent",
            call.task,
            task.hash()
        );
        return Err(explained(&what, update()));
    }
    Ok(task)
}
