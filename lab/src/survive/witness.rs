//! Watches a fleet from outside, and says what no fault excuses.
//!
//! It reads the coordinator's log on its own, in another way than the fold
//! does, and remembers what devices were told.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{BlobHash, DeviceId, Version};
use common::round::ContributionKey;
use coordinator::journal::Fold;
use coordinator::journal::LogEntry;
use coordinator::round::{Engine, Event, JobKind, Product, State};
use coordinator::store::{Record, Store};

use super::reading::{Accepted, Reading};

/// An invariant that does not hold, in words.
pub(super) type Violation = String;

/// What must hold, and what it is held against.
#[derive(Debug, Default)]
pub(super) struct Witness {
    reading: Reading,
    /// What devices were told is durable.
    acknowledged: BTreeSet<Accepted>,
    /// Every record that became durable, also those that went since.
    archive: Vec<Record>,
    installed: BTreeMap<DeviceId, Version>,
    settled: BTreeSet<(DeviceId, ContributionKey, BlobHash)>,
}

impl Witness {
    /// Events became durable. The store, not their writer, is asked which.
    pub(super) fn read_on(&mut self, store: &dyn Store) -> Result<(), Violation> {
        self.reading.offers.begin_batch();
        loop {
            let records = store
                .read(self.reading.next, 1_024)
                .map_err(|error| error.to_string())?;
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                self.reading.next = record.position.next();
                match LogEntry::from_bytes(&record.bytes) {
                    Ok(LogEntry::Task(entry)) => self.reading.see(&entry.event, Some(store))?,
                    Ok(LogEntry::Registry(_)) => {}
                    Err(error) => return Err(format!("a record cannot be read: {error}")),
                }
                self.archive.push(record);
            }
        }
    }

    /// The coordinator came back: its log is read anew, and whatever any
    /// device was told must be in it, or in what it no longer keeps.
    pub(super) fn read_again(
        &mut self,
        store: &dyn Store,
        blob_rounds: u32,
    ) -> Result<(), Violation> {
        let begin = store.begin().map_err(|error| error.to_string())?;
        let gone = self.archive.get(..begin.next.0 as usize);
        let Some(gone) = gone else {
            return Err("records went that never were durable".to_owned());
        };
        if gone.last().is_some_and(|last| last.hash() != begin.hash) {
            return Err("the log begins with another chain".to_owned());
        }
        let mut records = gone.to_vec();
        let mut next = begin.next;
        loop {
            let more = store.read(next, 1_024).map_err(|error| error.to_string())?;
            let Some(last) = more.last() else { break };
            next = last.position.next();
            records.extend(more);
        }
        self.archive = records;
        self.reread(store, blob_rounds)?;
        match self.acknowledged.difference(&self.reading.accepted).next() {
            None => Ok(()),
            Some((device, kind, round, _)) => Err(format!(
                "{kind} of device {} for round {round} was acknowledged and is lost",
                device.short()
            )),
        }
    }

    /// What the newest rounds name must be there.
    fn reread(&mut self, store: &dyn Store, blob_rounds: u32) -> Result<(), Violation> {
        self.reading = Reading::default();
        let mut events = Vec::new();
        let mut opened = Vec::new();
        for record in &self.archive {
            self.reading.next = record.position.next();
            match LogEntry::from_bytes(&record.bytes) {
                Ok(LogEntry::Task(entry)) => {
                    if matches!(entry.event, Event::RoundOpened { .. }) {
                        opened.push(record.position);
                    }
                    events.push((record.position, entry.event));
                }
                Ok(LogEntry::Registry(_)) => {}
                Err(error) => return Err(format!("a record cannot be read: {error}")),
            }
        }
        let older = opened.len().checked_sub(blob_rounds as usize);
        let floor = older.and_then(|older| opened.get(older)).copied();
        let floor = floor.unwrap_or_default();
        for (position, event) in events {
            self.reading.offers.begin_batch();
            self.reading.see(&event, None)?;
            if position >= floor
                && let Some(blob) = names(&event)
                && !store.has_blob(blob).map_err(|error| error.to_string())?
            {
                return Err(format!(
                    "blob {} is named by record {position} and not kept",
                    blob.short()
                ));
            }
        }
        Ok(())
    }

    /// A state that was folded from a snapshot on is the one that all records
    /// fold to.
    pub(super) fn folded(&self, state: &State) -> Result<(), Violation> {
        let mut whole = Fold::default();
        for record in &self.archive {
            whole.see(record).map_err(|error| error.to_string())?;
        }
        match whole.states.first() {
            Some((_, folded)) if folded == state => Ok(()),
            _ => Err("what a snapshot says is not what the records said".to_owned()),
        }
    }

    /// Whatever the coordinator goes on with is there.
    pub(super) fn kept(&self, state: &State, store: &dyn Store) -> Result<(), Violation> {
        let transfer = state.transfer.map(|transfer| transfer.blob);
        let shared = [state.spec, state.normaliser, transfer, state.teacher];
        let releases = state.releases.iter().map(|release| release.blob);
        let standing = state.standing.values().map(|standing| standing.blob);
        let round = state.round.iter();
        let taken = round.clone().flat_map(|round| {
            let open = round.phase.iter().flat_map(|open| open.taken.values());
            let inputs = round.inputs.iter().map(|(_, _, blob)| *blob);
            open.map(|one| one.blob).chain(inputs).chain(round.student)
        });
        let needed = shared.into_iter().flatten();
        for blob in needed.chain(releases).chain(standing).chain(taken) {
            if !store.has_blob(blob).map_err(|error| error.to_string())? {
                return Err(format!("blob {} is needed and gone", blob.short()));
            }
        }
        Ok(())
    }

    /// What is kept of the log is one chain, to its end.
    pub(super) fn chain(&self, store: &dyn Store) -> Result<(), Violation> {
        let (begin, head) = (store.begin(), store.verify());
        let (begin, _) = (
            begin.map_err(|error| error.to_string())?,
            head.map_err(|error| error.to_string())?,
        );
        match (begin.next.0 as usize).checked_sub(1) {
            Some(last) if self.archive.get(last).map(Record::hash) != Some(begin.hash) => {
                Err("the log begins with another chain".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// A device was told that its contribution is durable.
    pub(super) fn acknowledged(
        &mut self,
        device: DeviceId,
        key: &ContributionKey,
        blob: BlobHash,
    ) -> Result<(), Violation> {
        let accepted = (device, key.kind, key.round, blob);
        self.acknowledged.insert(accepted);
        if self.reading.accepted.contains(&accepted) {
            return Ok(());
        }
        Err(format!(
            "{key} of device {} was acknowledged before it was durable",
            device.short()
        ))
    }

    /// A device wrote an accepted contribution into its ledger.
    pub(super) fn settled(
        &mut self,
        device: DeviceId,
        key: ContributionKey,
        blob: BlobHash,
    ) -> Result<(), Violation> {
        match self.settled.insert((device, key, blob)) {
            true => Ok(()),
            false => Err(format!(
                "{key} of device {} was settled twice",
                device.short()
            )),
        }
    }

    /// A device switched to a student.
    pub(super) fn installed(
        &mut self,
        device: DeviceId,
        version: Version,
    ) -> Result<(), Violation> {
        match self.installed.insert(device, version) {
            Some(before) if before > version => Err(format!(
                "device {} went from version {before} down to {version}",
                device.short()
            )),
            _ => Ok(()),
        }
    }

    /// A device went back from a student that it found worse in use.
    pub(super) fn went_back(
        &mut self,
        device: DeviceId,
        from: Version,
        to: Version,
    ) -> Result<(), Violation> {
        match self.installed.insert(device, to) {
            Some(before) if before == from && to < from => Ok(()),
            before => Err(format!(
                "device {} went back from {from} to {to} and ran {before:?}",
                device.short()
            )),
        }
    }

    /// A job is about to run.
    pub(super) fn job(&self, job: &JobKind) -> Result<(), Violation> {
        match job {
            JobKind::Solve { inputs, .. } if *inputs != self.reading.inputs => Err(format!(
                "the teacher is solved from {} contributions, the log has {}",
                inputs.len(),
                self.reading.inputs.len()
            )),
            _ => Ok(()),
        }
    }

    /// No rollout goes on that is to be halted.
    pub(super) fn rollout(&self, engine: &Engine) -> Result<(), Violation> {
        self.reading.offers.check(engine.connected())
    }

    /// The engine's state, when all it did is durable.
    pub(super) fn state(&self, engine: &Engine) -> Result<(), Violation> {
        let state = engine.state();
        let standing = state.standing.iter().map(|(key, held)| (*key, held.blob));
        if !standing.eq(self
            .reading
            .standing
            .iter()
            .map(|(key, blob)| (*key, *blob)))
        {
            return Err("what stands in memory is not what the log says".to_owned());
        }
        let phase = state.open().map(|open| open.phase);
        if (state.last_round, state.round.is_some()) != (self.reading.round, self.reading.open)
            || phase != self.reading.phase
        {
            return Err(format!(
                "the engine is at {phase:?} of round {}, the log at {:?} of round {}",
                state.last_round, self.reading.phase, self.reading.round
            ));
        }
        Ok(())
    }

    /// A device is told of a release.
    pub(super) fn announced(&self, device: DeviceId, version: Version) -> Result<(), Violation> {
        match self.reading.offers.allow(device, version) {
            true => Ok(()),
            false => Err(format!(
                "device {} was offered {version}, which the log does not offer it",
                device.short()
            )),
        }
    }

    /// Rollouts that reached everyone, and that were halted.
    pub(super) fn rollouts(&self) -> (u64, u64) {
        self.reading.offers.ended()
    }

    /// Rounds that ended with a student.
    pub(super) fn completed(&self) -> u64 {
        self.reading.completed
    }
}

/// The blob that an event names.
fn names(event: &Event) -> Option<BlobHash> {
    match event {
        Event::TaskCreated { spec, .. } => Some(*spec),
        Event::Accepted { blob, .. }
        | Event::Released { blob, .. }
        | Event::ReReleased { blob, .. } => Some(*blob),
        Event::Produced { product, .. } => {
            let (Product::Normaliser(blob)
            | Product::TransferSet { blob, .. }
            | Product::Teacher(blob)
            | Product::Student(blob)) = product;
            Some(*blob)
        }
        _ => None,
    }
}
