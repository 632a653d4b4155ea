//! The coordinator's store is kept small, step by step, among everything
//! else that happens, and is cut off between any two steps.

use std::sync::Arc;

use coordinator::journal::{
    self, Compaction, CompactionError, Done, Pins, ReplayError, Step, is_snapshot,
};
use coordinator::store::{Store, StoreError};

use super::Planted;
use super::simulator::{Simulator, SimulatorEvent};

impl Simulator {
    /// What keeps blobs that are on their way into the log.
    pub(super) fn pins(&self) -> Arc<Pins> {
        let process = self.server.process.as_ref();
        process.map_or_else(Pins::new, |process| process.pins.clone())
    }

    pub(super) fn next_compaction(&mut self) {
        let at = self.now + self.random.between(1, 2 * self.scenario.compaction_ms);
        if let Some(process) = &self.server.process {
            let epoch = process.epoch.0;
            self.at(at, SimulatorEvent::Compaction { epoch });
        }
    }

    /// One step. Epochs tell the compactions of one opening of the store apart
    /// from those of another.
    pub(super) fn compaction(&mut self, epoch: u32) {
        let retention = self.scenario.retention;
        let in_flight = self.planted == Some(Planted::SweepInFlight);
        let Some(process) = self.server.process.as_mut() else {
            return;
        };
        if process.epoch.0 != epoch || !process.core.in_service() {
            return;
        }
        let begun = Compaction::begin(process.epoch, retention);
        let mut compaction = process.compaction.take().unwrap_or(begun);
        let pins = match in_flight {
            true => &process.blind,
            false => &process.pins,
        };
        let stepped = compaction.step(&self.server.store, pins);
        match stepped {
            Ok(Step::More) => {
                process.compaction = Some(compaction);
                if self.scenario.kinds[0] && !self.is_calm && self.random.chance(0.04) {
                    return self.cut_compaction();
                }
                let at = self.now + self.random.between(0, self.scenario.flush_ms + 1);
                self.at(at, SimulatorEvent::Compaction { epoch });
            }
            Ok(Step::Done(done)) => self.kept(&done),
            Err(error) => {
                self.survived.cut += 1;
                // One who has lost the lead may miss what is gone since.
                if self.leads() && !self.excuses(&error) {
                    self.hold(Err(format!("the log could not be shortened: {error}")));
                }
                self.next_compaction();
            }
        }
    }

    fn kept(&mut self, done: &Done) {
        self.survived.snapshots += u64::from(done.written);
        self.survived.trimmed += done.records;
        self.survived.swept += done.blobs as u64;
        self.remark(|| format!("{done:?}"));
        if self.planted == Some(Planted::TrimTooFar)
            && let Some(process) = &self.server.process
        {
            // Also what came while the snapshot was written.
            let store = &self.server.store;
            let head = store.head().map(|head| head.next);
            let _ = head.and_then(|next| store.trim(process.epoch, next));
        }
        for task in self.tasks.clone() {
            if self.leads()
                && let Some(engine) = self.server.engine(task.hash())
            {
                let held = self.checker.kept(engine.state(), &self.server.store);
                self.hold(held);
            }
        }
        let held = self.checker.chain(&self.server.store);
        self.hold(held);
        self.next_compaction();
    }

    /// The process is killed between two steps.
    fn cut_compaction(&mut self) {
        self.survived.cut += 1;
        self.remark(|| "killed in the compaction".to_owned());
        let power_lost = self.random.chance(0.5);
        self.crash_server(power_lost);
        let ends = self.now + self.random.duration(1, 20_000);
        let node = self.server.host.number;
        self.at(ends, SimulatorEvent::ServerStart { node });
    }

    /// Whether a fault that happens in this seed explains it.
    fn excuses(&self, error: &CompactionError) -> bool {
        match error {
            CompactionError::Replay(ReplayError::Store(error)) => matches!(
                error,
                StoreError::Stopped { .. }
                    | StoreError::DiskFull { .. }
                    | StoreError::Engine { .. }
            ),
            CompactionError::Replay(_) => false,
            CompactionError::Unproven { .. } => self.survived.damaged > 0,
        }
    }

    /// The newest snapshot loses a bit, if the coordinator can do without: it
    /// keeps two for one such fault, not for two at once.
    pub(super) fn damage_snapshot(&mut self) {
        let store = &self.server.store;
        let is_whole = journal::newest(store).is_ok_and(|loaded| loaded.refused.is_empty());
        let names = store.documents().unwrap_or_default();
        let newest = names.iter().rfind(|name| is_snapshot(name));
        let Some(newest) = newest.filter(|_| is_whole) else {
            return;
        };
        store.damage_document(newest);
        match journal::newest(store) {
            Ok(_) => self.survived.damaged += 1,
            // The same bit again.
            Err(_) => {
                store.damage_document(newest);
            }
        }
    }
}
