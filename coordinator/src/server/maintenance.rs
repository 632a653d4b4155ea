//! Has the store kept small while it is served: when enough was written since
//! the last time, beside everything else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::journal::Replayed;
use crate::journal::{Compaction, Done, Retention};
use crate::metrics::Metrics;
use crate::server::store_handle::StoreHandle;
use crate::store::{Epoch, Position};

pub(crate) struct Maintenance {
    store: Arc<StoreHandle>,
    metrics: Arc<Metrics>,
    retention: Retention,
    /// Where things stood at the last compaction.
    last: Mark,
    running: Option<Running>,
    not_before: Option<Instant>,
    /// Rounds that had ended when it was last looked how much room the store takes.
    measured: u64,
}

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    next: Position,
    rounds: u64,
}

struct Running {
    begun: Mark,
    /// Whether it came to its end.
    ended: oneshot::Receiver<bool>,
}

impl Maintenance {
    pub(crate) fn new(
        store: Arc<StoreHandle>,
        metrics: Arc<Metrics>,
        retention: Retention,
    ) -> Self {
        Self {
            store,
            metrics,
            retention,
            last: Mark {
                next: Position(0),
                rounds: 0,
            },
            running: None,
            not_before: None,
            measured: 0,
        }
    }

    /// A log was replayed; `rounds` is what [`Self::look`] is told next.
    pub(crate) fn replayed(&mut self, replayed: &Replayed, rounds: u64) {
        for refused in &replayed.refused {
            tracing::error!(
                snapshot = refused.name,
                reason = refused.reason,
                "a snapshot is no good; the log was replayed from an earlier one, nothing is lost; \
                 look at the disk"
            );
        }
        self.last = Mark {
            next: replayed.snapshot.unwrap_or_default(),
            rounds: rounds.saturating_sub(replayed.rounds_since),
        };
    }

    /// Begins an compaction if it is time for one. Never waits.
    pub(crate) fn look(&mut self, epoch: Epoch, next: Position, rounds: u64) {
        self.collect();
        let early = self.not_before.is_some_and(|at| Instant::now() < at);
        let now = Mark { next, rounds };
        if self.running.is_some() || early || !is_due(self.last, now) {
            return;
        }
        let (end, ended) = oneshot::channel();
        self.running = Some(Running { begun: now, ended });
        let (store, metrics) = (self.store.clone(), self.metrics.clone());
        let compaction = Compaction::begin(epoch, self.retention);
        tokio::spawn(async move {
            let done = keep(store, metrics, compaction).await;
            // Fails only if the server has stopped.
            let _ = end.send(done);
        });
    }

    /// Looks how much room the store takes once another round has ended.
    /// Never waits.
    pub(crate) fn measure(&mut self, ended: u64) {
        if ended == self.measured {
            return;
        }
        self.measured = ended;
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.measure());
    }

    fn collect(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        match running.ended.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => return,
            Ok(true) => {
                self.last = running.begun;
                self.not_before = None;
            }
            Ok(false) | Err(oneshot::error::TryRecvError::Closed) => {
                self.not_before = Some(Instant::now() + RETRY);
            }
        }
        self.running = None;
    }
}

fn is_due(last: Mark, now: Mark) -> bool {
    now.next.0.saturating_sub(last.next.0) >= RECORDS_BETWEEN
        || now.rounds.saturating_sub(last.rounds) >= ROUNDS_BETWEEN
}

/// Whether it came to its end.
async fn keep(store: Arc<StoreHandle>, metrics: Arc<Metrics>, compaction: Compaction) -> bool {
    let Ok(_still) = store.still.try_lock() else {
        tracing::debug!("the store is being copied; its compaction waits");
        return false;
    };
    let begun = Instant::now();
    let keeping = store.clone();
    let kept = tokio::task::spawn_blocking(move || keeping.keep(compaction)).await;
    let failed: &dyn std::fmt::Display = match &kept {
        Ok(Ok(done)) if !done.is_full => {
            told(done, begun.elapsed());
            return true;
        }
        Ok(Ok(done)) => {
            told(done, begun.elapsed());
            &"the disk is full"
        }
        Ok(Err(error)) => error,
        Err(error) => error,
    };
    metrics.compaction_failed();
    tracing::error!(
        error = %failed,
        "the log could not be shortened; it goes on growing until it can"
    );
    false
}

fn told(done: &Done, took: Duration) {
    tracing::info!(
        snapshot = done.snapshot.unwrap_or_default().0,
        records = done.records,
        blobs = done.blobs,
        ms = took.as_millis() as u64,
        "the store was kept small: what is older than the retention is gone"
    );
}

/// A replay of this many records takes a fraction of a second.
const RECORDS_BETWEEN: u64 = 16_384;
/// Where rounds have few records, blobs are what takes the room.
const ROUNDS_BETWEEN: u64 = 8;
const RETRY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_time_after_many_records_or_a_few_rounds() {
        let mark = |next, rounds| Mark {
            next: Position(next),
            rounds,
        };
        let last = mark(1_000, 50);
        assert!(!is_due(last, mark(1_000, 50)));
        assert!(!is_due(
            last,
            mark(1_000 + RECORDS_BETWEEN - 1, 50 + ROUNDS_BETWEEN - 1)
        ));
        assert!(is_due(last, mark(1_000 + RECORDS_BETWEEN, 50)));
        assert!(is_due(last, mark(1_001, 50 + ROUNDS_BETWEEN)));
    }
}
