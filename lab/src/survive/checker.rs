//! Watches a fleet from outside, and says what no fault excuses.
//!
//! It reads the coordinator's log on its own, in another way than the fold
//! does, and remembers what devices were told.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{BlobHash, DeviceId, TaskHash, Version};
use common::round::ContributionKey;
use coordinator::journal::Fold;
use coordinator::journal::LogEntry;
use coordinator::registry::Registry;
use coordinator::round::{Engine, Event, JobKind, Product, State, TaskEvent};
use coordinator::store::{Position, Record, Store};

use super::members::Members;
use super::reading::{Accepted, Reading};

/// An invariant that does not hold, in words.
pub(super) type Violation = String;

/// What must hold, and what it is held against.
#[derive(Debug, Default)]
pub(super) struct Checker {
    readings: BTreeMap<TaskHash, Reading>,
    members: Members,
    /// The first record that was not read yet.
    next: Position,
    /// What devices were told is durable, by task.
    acknowledged: BTreeSet<(TaskHash, Accepted)>,
    /// Devices that were told they are members, and those of which an operator
    /// was told that they are not.
    admitted: BTreeSet<DeviceId>,
    revoked: BTreeSet<DeviceId>,
    /// Every record that became durable, also those that went since.
    archive: Vec<Record>,
    installed: BTreeMap<(DeviceId, TaskHash), Version>,
    settled: BTreeSet<(DeviceId, ContributionKey, BlobHash)>,
}

impl Checker {
    /// Events became durable. The store, not their writer, is asked which.
    pub(super) fn read_on(&mut self, store: &dyn Store) -> Result<(), Violation> {
        for reading in self.readings.values_mut() {
            reading.offers.begin_batch();
        }
        loop {
            let records = store
                .read(self.next, 1_024)
                .map_err(|error| error.to_string())?;
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                self.next = record.position.next();
                self.see(&entry(&record)?, Some(store))?;
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
        for (task, accepted) in &self.acknowledged {
            let reading = self.readings.get(task);
            if !reading.is_some_and(|reading| reading.accepted.contains(accepted)) {
                let (device, kind, round, _) = accepted;
                return Err(format!(
                    "{kind} of device {} for round {round} was acknowledged and is lost",
                    device.short()
                ));
            }
        }
        for device in &self.admitted {
            if !self.members.is_admitted(*device) {
                return Err(format!("{} was let in, and that is lost", device.short()));
            }
        }
        for device in &self.revoked {
            if !self.members.is_revoked(*device) {
                return Err(format!("{} was revoked, and that is lost", device.short()));
            }
        }
        Ok(())
    }

    /// One record. Without a store, what it names may be gone.
    fn see(&mut self, entry: &LogEntry, store: Option<&dyn Store>) -> Result<(), Violation> {
        match entry {
            LogEntry::Task(TaskEvent { task, event }) => {
                if let Event::Accepted { device, .. } = event {
                    self.members.may_contribute(*device)?;
                }
                self.readings.entry(*task).or_default().see(event, store)
            }
            LogEntry::Registry(event) => self.members.see(event),
        }
    }

    /// What the newest rounds name must be there.
    fn reread(&mut self, store: &dyn Store, blob_rounds: u32) -> Result<(), Violation> {
        self.readings.clear();
        self.members = Members::default();
        let archive = std::mem::take(&mut self.archive);
        let mut opened = Vec::new();
        let mut named = Vec::new();
        for record in &archive {
            self.next = record.position.next();
            let entry = entry(record)?;
            if let LogEntry::Task(TaskEvent { task, event }) = &entry {
                if matches!(event, Event::RoundOpened { .. }) {
                    opened.push(record.position);
                }
                if let Some(blob) = names(event) {
                    named.push((record.position, blob));
                }
                self.readings.entry(*task).or_default().offers.begin_batch();
            }
            self.see(&entry, None)?;
        }
        self.archive = archive;
        // The newest rounds of all tasks together.
        let older = opened.len().checked_sub(blob_rounds as usize);
        let floor = older.and_then(|older| opened.get(older)).copied();
        let floor = floor.unwrap_or_default();
        for (position, blob) in named {
            if position >= floor && !store.has_blob(blob).map_err(|error| error.to_string())? {
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
    pub(super) fn folded(&self, task: TaskHash, state: &State) -> Result<(), Violation> {
        let mut whole = Fold::default();
        for record in &self.archive {
            whole.see(record).map_err(|error| error.to_string())?;
        }
        match whole.states.iter().find(|(of, _)| *of == task) {
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
        self.acknowledged.insert((key.task, accepted));
        if self.reading(key.task)?.accepted.contains(&accepted) {
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
        task: TaskHash,
        version: Version,
    ) -> Result<(), Violation> {
        match self.installed.insert((device, task), version) {
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
        task: TaskHash,
        from: Version,
        to: Version,
    ) -> Result<(), Violation> {
        match self.installed.insert((device, task), to) {
            Some(before) if before == from && to < from => Ok(()),
            before => Err(format!(
                "device {} went back from {from} to {to} and ran {before:?}",
                device.short()
            )),
        }
    }

    /// A job is about to run.
    pub(super) fn job(&self, task: TaskHash, job: &JobKind) -> Result<(), Violation> {
        let reading = self.reading(task)?;
        match job {
            JobKind::Solve { inputs, .. } if *inputs != reading.inputs => Err(format!(
                "the teacher is solved from {} contributions, the log has {}",
                inputs.len(),
                reading.inputs.len()
            )),
            _ => Ok(()),
        }
    }

    /// No rollout goes on that is to be halted.
    pub(super) fn rollout(&self, task: TaskHash, engine: &Engine) -> Result<(), Violation> {
        self.reading(task)?.offers.check(engine.connected())
    }

    /// A device was told that it is a member.
    pub(super) fn admitted(&mut self, device: DeviceId) -> Result<(), Violation> {
        self.admitted.insert(device);
        match self.members.is_admitted(device) {
            true => Ok(()),
            false => Err(format!(
                "{} was let in before that was durable",
                device.short()
            )),
        }
    }

    /// An operator was told that a device is out.
    pub(super) fn was_revoked(&mut self, device: DeviceId) -> Result<(), Violation> {
        self.revoked.insert(device);
        match self.members.is_revoked(device) {
            true => Ok(()),
            false => Err(format!(
                "{} was said to be revoked before that was durable",
                device.short()
            )),
        }
    }

    /// The registry that was restored.
    pub(super) fn registry(&self, registry: &Registry) -> Result<(), Violation> {
        self.members.check(registry)
    }

    fn reading(&self, task: TaskHash) -> Result<&Reading, Violation> {
        let reading = self.readings.get(&task);
        reading.ok_or_else(|| format!("task {} is not in the log", task.short()))
    }

    /// The engine's state, when all it did is durable.
    pub(super) fn state(&self, task: TaskHash, engine: &Engine) -> Result<(), Violation> {
        let reading = self.reading(task)?;
        let state = engine.state();
        let standing = state.standing.iter().map(|(key, held)| (*key, held.blob));
        let read = reading.standing.iter().map(|(key, blob)| (*key, *blob));
        if !standing.eq(read) {
            return Err("what stands in memory is not what the log says".to_owned());
        }
        let phase = state.open().map(|open| open.phase);
        if (state.last_round, state.round.is_some()) != (reading.round, reading.open)
            || phase != reading.phase
        {
            return Err(format!(
                "the engine is at {phase:?} of round {}, the log at {:?} of round {}",
                state.last_round, reading.phase, reading.round
            ));
        }
        Ok(())
    }

    /// A device is told of a release.
    pub(super) fn announced(
        &self,
        device: DeviceId,
        task: TaskHash,
        version: Version,
    ) -> Result<(), Violation> {
        match self.reading(task)?.offers.allow(device, version) {
            true => Ok(()),
            false => Err(format!(
                "device {} was offered {version}, which the log does not offer it",
                device.short()
            )),
        }
    }

    /// Rollouts that reached everyone, and that were halted.
    pub(super) fn rollouts(&self) -> (u64, u64) {
        let ended = self.readings.values().map(|reading| reading.offers.ended());
        ended.fold((0, 0), |(all, halted), one| (all + one.0, halted + one.1))
    }

    /// Rounds that ended with a student.
    pub(super) fn completed(&self) -> u64 {
        self.readings
            .values()
            .map(|reading| reading.completed)
            .sum()
    }
}

fn entry(record: &Record) -> Result<LogEntry, Violation> {
    LogEntry::from_bytes(&record.bytes).map_err(|error| format!("a record cannot be read: {error}"))
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
