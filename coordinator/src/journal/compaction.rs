//! Keeps a store from growing with its age: a snapshot, then what is older
//! goes, then the blobs that nothing needs.
//!
//! Nothing is deleted before what stands for it was written, read back and
//! compared. Each [`Compaction::step`] changes one thing at most, so that a crash
//! between any two leaves a store that opens.

use std::collections::{BTreeSet, VecDeque};

use common::ids::BlobHash;

use super::Retention;
use super::fold::{Fold, RECORDS_PER_READ, ReplayError};
use super::pins::Pins;
use super::references::needed;
use super::snapshot;
use crate::store::{Epoch, Position, Store, StoreError};

/// Why the store could not be kept small. Nothing that is needed is lost.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// The store failed, or its log does not fold.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// What was read back is not what was written.
    #[error("snapshot {name} is not what was written; look at the disk, nothing was deleted")]
    Unproven {
        /// The document.
        name: String,
    },
}

impl From<StoreError> for CompactionError {
    fn from(error: StoreError) -> Self {
        Self::Replay(error.into())
    }
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Where the log goes on after the newest snapshot, if there is one.
    pub snapshot: Option<Position>,
    /// Whether it was written now.
    pub written: bool,
    /// Records forgotten.
    pub records: u64,
    /// Blobs deleted.
    pub blobs: usize,
    /// Snapshots that were no good.
    pub refused: Vec<snapshot::Refused>,
    /// Whether there was no room for a snapshot. Blobs were deleted all the
    /// same, which may help.
    pub is_full: bool,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// This is all.
    Done(Done),
}

/// Upkeep of a store, step by step.
#[derive(Debug)]
pub struct Compaction {
    epoch: Epoch,
    retention: Retention,
    stage: Stage,
    sweeps_only: bool,
    /// The snapshot that was the newest before.
    earlier: Option<Position>,
    done: Done,
}

#[derive(Debug)]
enum Stage {
    Load,
    Fold(Box<Fold>),
    Write(Box<Fold>),
    Prove(Box<Fold>),
    Prune(Box<Fold>, VecDeque<String>),
    Trim(Box<Fold>, Position),
    Look(Box<Fold>),
    Sweep(VecDeque<BlobHash>),
    Over,
}

impl Compaction {
    /// All of it, by a writer of this epoch.
    pub fn begin(epoch: Epoch, retention: Retention) -> Self {
        Self {
            epoch,
            retention,
            stage: Stage::Load,
            sweeps_only: false,
            earlier: None,
            done: Done::default(),
        }
    }

    /// Only the blobs that nothing needs, such as those of a device that was
    /// just forgotten.
    pub fn sweep(epoch: Epoch, retention: Retention) -> Self {
        Self {
            sweeps_only: true,
            ..Self::begin(epoch, retention)
        }
    }

    /// Does one thing. A call takes as long as reading or writing a thousand
    /// records, or the snapshot; only the one that looks which blobs are
    /// needed reads the newest rounds in one go.
    ///
    /// # Errors
    /// Those of the store, and [`CompactionError::Unproven`]; the compaction is over
    /// then, and another may be begun.
    pub fn step(&mut self, store: &dyn Store, pins: &Pins) -> Result<Step, CompactionError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let next = self.run(stage, store, pins);
        if next.is_err() {
            pins.end_sweep();
        }
        self.stage = next?;
        Ok(match self.stage {
            Stage::Over => Step::Done(self.done.clone()),
            _ => Step::More,
        })
    }

    /// All steps, one after another.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn run_all(mut self, store: &dyn Store, pins: &Pins) -> Result<Done, CompactionError> {
        loop {
            if let Step::Done(done) = self.step(store, pins)? {
                return Ok(done);
            }
        }
    }

    fn run(
        &mut self,
        stage: Stage,
        store: &dyn Store,
        pins: &Pins,
    ) -> Result<Stage, CompactionError> {
        match stage {
            Stage::Load => {
                let loaded = snapshot::newest(store)?;
                self.done.refused = loaded.refused;
                self.earlier = loaded.name.map(|_| loaded.fold.head.next);
                self.done.snapshot = self.earlier;
                let fold = Box::new(loaded.fold);
                Ok(match self.sweeps_only {
                    true => Stage::Look(fold),
                    false => Stage::Fold(fold),
                })
            }
            Stage::Fold(mut fold) => match fold.advance(store, RECORDS_PER_READ)? {
                0 if self.earlier == Some(fold.head.next) => self.prune(fold, store),
                0 => Ok(Stage::Write(fold)),
                _ => Ok(Stage::Fold(fold)),
            },
            Stage::Write(fold) => self.write(fold, store),
            Stage::Prove(fold) => self.self_check(fold, store),
            Stage::Prune(fold, mut names) => match names.pop_front() {
                Some(name) => {
                    store.remove_document(self.epoch, &name)?;
                    Ok(Stage::Prune(fold, names))
                }
                None => self.plan_trim(fold, store),
            },
            Stage::Trim(fold, until) => self.trim(fold, until, store),
            Stage::Look(fold) => self.look(fold, store, pins),
            Stage::Sweep(mut blobs) => {
                let some: Vec<_> = blobs.drain(..blobs.len().min(BLOBS_PER_STEP)).collect();
                let epoch = self.epoch;
                self.done.blobs += pins.unpinned(&some, |free| store.remove_blobs(epoch, free))?;
                if blobs.is_empty() {
                    pins.end_sweep();
                    return Ok(Stage::Over);
                }
                Ok(Stage::Sweep(blobs))
            }
            Stage::Over => Ok(Stage::Over),
        }
    }

    fn write(&mut self, fold: Box<Fold>, store: &dyn Store) -> Result<Stage, CompactionError> {
        let name = snapshot::name(fold.head.next);
        match store.put_document(self.epoch, &name, &snapshot::encode(&fold)) {
            Ok(()) => Ok(Stage::Prove(fold)),
            Err(StoreError::DiskFull { .. }) => {
                self.done.is_full = true;
                Ok(Stage::Look(fold))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Only what was read back and found to be the fold of the events stands
    /// for them.
    fn self_check(&mut self, fold: Box<Fold>, store: &dyn Store) -> Result<Stage, CompactionError> {
        let name = snapshot::name(fold.head.next);
        if !snapshot::proves(store, &name, &fold)? {
            store.remove_document(self.epoch, &name)?;
            return Err(CompactionError::Unproven { name });
        }
        self.done.snapshot = Some(fold.head.next);
        self.done.written = true;
        self.prune(fold, store)
    }

    /// Two are kept: the newest, and the newest before it that is good too.
    fn prune(&self, fold: Box<Fold>, store: &dyn Store) -> Result<Stage, CompactionError> {
        let newest = fold.head.next;
        let mut others = snapshot::names(store)?;
        others.retain(|(at, _)| *at != newest);
        let mut fallback = None;
        for (at, name) in others.iter().rev() {
            if *at < newest && snapshot::is_good(store, name)? {
                fallback = Some(*at);
                break;
            }
        }
        others.retain(|(at, _)| Some(*at) != fallback);
        let names = others.into_iter().map(|(_, name)| name).collect();
        Ok(Stage::Prune(fold, names))
    }

    /// The log keeps the rounds that were asked for, and all since the older
    /// of the two snapshots: if the newer one is lost, it is not missed.
    fn plan_trim(&self, fold: Box<Fold>, store: &dyn Store) -> Result<Stage, CompactionError> {
        let Some(rounds) = self.retention.rounds else {
            return Ok(Stage::Look(fold));
        };
        let snapshots = snapshot::names(store)?;
        let oldest = match snapshots.as_slice() {
            [(oldest, _), _, ..] => *oldest,
            _ => Position(0),
        };
        let until = oldest.min(fold.floor(rounds));
        Ok(Stage::Trim(fold, until))
    }

    fn trim(
        &mut self,
        fold: Box<Fold>,
        until: Position,
        store: &dyn Store,
    ) -> Result<Stage, CompactionError> {
        let first = store.first()?;
        if first >= until {
            return Ok(Stage::Look(fold));
        }
        let next = until.min(first.after(RECORDS_PER_READ));
        match store.trim(self.epoch, next) {
            Ok(()) => {}
            Err(StoreError::DiskFull { .. }) => {
                self.done.is_full = true;
                return Ok(Stage::Look(fold));
            }
            Err(error) => return Err(error.into()),
        }
        self.done.records += next.0 - first.0;
        Ok(Stage::Trim(fold, until))
    }

    /// The order matters: a blob that is pinned from here on stays, and one
    /// that was pinned before is named by the log that is read after it.
    fn look(
        &mut self,
        mut fold: Box<Fold>,
        store: &dyn Store,
        pins: &Pins,
    ) -> Result<Stage, CompactionError> {
        pins.begin_sweep();
        let blobs = store.blobs()?;
        fold.finish(store)?;
        let since = fold.floor(self.retention.blob_rounds);
        let needed: BTreeSet<_> = needed(store, &mut fold, since)?;
        let idle = blobs.into_iter().filter(|blob| !needed.contains(blob));
        Ok(Stage::Sweep(idle.collect()))
    }
}

/// Files removed while anyone who pins a blob waits.
const BLOBS_PER_STEP: usize = 64;
