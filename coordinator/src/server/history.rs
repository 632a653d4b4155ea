//! Follows the rounds of all tasks and keeps what they came to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::ids::TaskHash;
use common::round::Kind;
use tokio::sync::broadcast::error::RecvError;

use crate::core::AdminCommand;
use crate::journal::{
    EndedRound, History, ReachedThen, load_history, retain_histories, save_history,
};
use crate::server::handle::{Shared, ask, summarise};
use crate::status::{EndedStatus, OutcomeStatus, Progress, ReportSummary, Status, TaskStatus};
use crate::store::Epoch;

/// What the rounds of the tasks came to.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    known: Mutex<BTreeMap<TaskHash, Known>>,
}

#[derive(Debug)]
struct Known {
    history: History,
    saved: Option<Instant>,
}

impl Histories {
    /// Of all tasks.
    pub(crate) fn all(&self) -> BTreeMap<TaskHash, History> {
        let known = self.lock();
        let all = known.iter();
        all.map(|(task, known)| (*task, known.history.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskHash, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the rounds that ended since the last time. Blocks.
    fn update(&self, shared: &Shared, status: &Status) {
        if !status.state_known {
            return; // no task is named then, which says nothing of their histories
        }
        let epoch = Epoch(status.epoch);
        for task in &status.tasks {
            let mut history = match self.lock().get(&task.task) {
                Some(known) => known.history.clone(),
                None => match shared.store.with(|store| load_history(store, task.task)) {
                    Ok(history) => history,
                    Err(error) => {
                        tracing::warn!(task = %task.task.short(), %error, "its history cannot be read");
                        continue;
                    }
                },
            };
            let new = { task.history.iter() }.filter(|ended| ended.round > history.last());
            let new: Vec<&EndedStatus> = new.collect();
            for ended in &new {
                history.add(&of_round(task, ended, summarise(shared, &ended.reports)));
            }
            self.keep(shared, epoch, task.task, history, !new.is_empty());
        }
        let tasks: Vec<TaskHash> = status.tasks.iter().map(|task| task.task).collect();
        let before = self.lock().len();
        self.lock().retain(|task, _| tasks.contains(task));
        if self.lock().len() < before
            && let Err(error) = shared
                .store
                .with(|store| retain_histories(store, epoch, &tasks))
        {
            tracing::warn!(%error, "the history of a deleted task is still there");
        }
    }

    /// Writes a history that has changed, unless it was written a moment ago: what
    /// is not written when the coordinator stops is read again from the newest
    /// rounds' state, but for their bytes.
    fn keep(
        &self,
        shared: &Shared,
        epoch: Epoch,
        task: TaskHash,
        history: History,
        has_changed: bool,
    ) {
        let saved = self.lock().get(&task).and_then(|known| known.saved);
        let is_due = saved.is_none_or(|saved| saved.elapsed() >= WRITE_EACH);
        let mut now = saved;
        if has_changed && is_due {
            now = Some(Instant::now());
            if let Err(error) = shared
                .store
                .with(|store| save_history(store, epoch, task, &history))
            {
                tracing::warn!(task = %task.short(), %error, "its history could not be written");
            }
        }
        let known = Known {
            history,
            saved: now,
        };
        self.lock().insert(task, known);
    }
}

/// Follows the rounds for as long as the server runs.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut steps = shared.progress.subscribe();
    loop {
        if let Ok(status) = ask(&shared, |reply| AdminCommand::Status { reply }).await {
            let shared = shared.clone();
            let updating = tokio::task::spawn_blocking(move || {
                shared.histories.update(&shared, &status);
            });
            // Fails only if the server stops.
            let _ = updating.await;
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

fn of_round(task: &TaskStatus, ended: &EndedStatus, report: Option<ReportSummary>) -> EndedRound {
    let given = { ended.accepted.iter() }
        .filter(|(kind, _)| !matches!(kind, Kind::Report | Kind::Gradient));
    let given = given.map(|(_, devices)| *devices).max().unwrap_or(0);
    let made = { task.releases.iter() }.find(|release| release.round == ended.round);
    let made = made.map_or(0, |release| {
        u32::try_from(release.lineage).unwrap_or(u32::MAX)
    });
    let reached = report.and_then(|report| match (report.accuracy, report.error) {
        (Some(accuracy), _) => Some(ReachedThen::Accuracy(accuracy)),
        (None, Some(error)) => Some(ReachedThen::Rmse(error.rmse)),
        (None, None) => None,
    });
    EndedRound {
        round: ended.round,
        ended: ended.ended,
        completed: matches!(ended.outcome, OutcomeStatus::Completed { .. }),
        devices: given.max(made),
        bytes: ended.bytes,
        reached,
    }
}

/// A history is not written more often.
const WRITE_EACH: Duration = Duration::from_secs(60);
