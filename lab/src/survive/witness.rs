//! Watches a fleet from outside, and says what no fault excuses.
//!
//! It reads the coordinator's log on its own, in another way than the fold
//! does, and remembers what devices were told.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{BlobHash, DeviceId, RoundId, Version};
use common::round::{ContributionKey, Kind, Phase};
use common::wire::codec::decode_blob;
use coordinator::round::{Engine, Event, JobKind, Product};
use coordinator::serve::LogEntry;
use coordinator::store::{Position, Store};

use super::craft::{Contribution, Stuff};

/// An invariant that does not hold, in words.
pub(super) type Violation = String;

type Accepted = (DeviceId, Kind, RoundId, BlobHash);

/// What must hold, and what it is held against.
#[derive(Debug, Default)]
pub(super) struct Witness {
    reading: Reading,
    /// What devices were told is durable.
    acknowledged: BTreeSet<Accepted>,
    installed: BTreeMap<DeviceId, Version>,
    settled: BTreeSet<(DeviceId, ContributionKey, BlobHash)>,
}

/// What the durable log says.
#[derive(Debug, Default)]
struct Reading {
    next: Position,
    round: RoundId,
    open: bool,
    phase: Option<Phase>,
    accepted: BTreeSet<Accepted>,
    transfer: Option<BlobHash>,
    standing: BTreeMap<(DeviceId, Kind), BlobHash>,
    /// What the teacher is to be solved from.
    inputs: Vec<(DeviceId, Kind, BlobHash)>,
    version: Option<Version>,
    completed: u64,
}

impl Witness {
    /// Events became durable. The store, not their writer, is asked which.
    pub(super) fn read_on(&mut self, store: &dyn Store) -> Result<(), Violation> {
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
                    Ok(LogEntry::Task(entry)) => self.reading.see(&entry.event, store)?,
                    Ok(LogEntry::Registry(_)) => {}
                    Err(error) => return Err(format!("a record cannot be read: {error}")),
                }
            }
        }
    }

    /// The coordinator came back: its log is read anew, and whatever any
    /// device was told must be in it.
    pub(super) fn read_again(&mut self, store: &dyn Store) -> Result<(), Violation> {
        self.reading = Reading::default();
        self.read_on(store)?;
        match self.acknowledged.difference(&self.reading.accepted).next() {
            None => Ok(()),
            Some((device, kind, round, _)) => Err(format!(
                "{kind} of device {} for round {round} was acknowledged and is lost",
                device.short()
            )),
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

    /// Rounds that ended with a student.
    pub(super) fn completed(&self) -> u64 {
        self.reading.completed
    }
}

impl Reading {
    fn see(&mut self, event: &Event, store: &dyn Store) -> Result<(), Violation> {
        match event {
            Event::RoundOpened { round, .. } => {
                if round.0 != self.round.0 + 1 || self.open {
                    return Err(format!("round {round} opened after round {}", self.round));
                }
                (self.round, self.open, self.phase) = (*round, true, None);
                self.inputs.clear();
            }
            Event::PhaseOpened { phase, .. } => {
                if self.phase.is_some_and(|before| before >= *phase) {
                    return Err(format!("{phase} opened after {:?}", self.phase));
                }
                self.phase = Some(*phase);
            }
            Event::PhaseClosed { .. } if self.phase == Some(Phase::Contribute) => {
                let standing = self.standing.iter();
                self.inputs = standing
                    .map(|((device, kind), blob)| (*device, *kind, *blob))
                    .collect();
            }
            Event::Accepted {
                device,
                kind,
                round,
                blob,
                transfer,
                ..
            } => {
                self.accepted.insert((*device, *kind, *round, *blob));
                if matches!(kind, Kind::Labels | Kind::Moments) {
                    if *transfer != self.transfer {
                        return Err(format!("{kind} stands on a transfer set that is replaced"));
                    }
                    self.standing.insert((*device, *kind), *blob);
                }
            }
            Event::Produced { product, .. } => self.produced(product, store)?,
            Event::Released {
                version,
                blob,
                lineage,
                ..
            } => {
                if self.version.is_some_and(|before| before >= *version) {
                    return Err(format!("{version} was released after {:?}", self.version));
                }
                self.version = Some(*version);
                let release: Stuff = open(store, *blob)?;
                if release.version != Some(*version) {
                    return Err(format!("release {version} holds {:?}", release.version));
                }
                if !release.origin.iter().eq(lineage.iter()) {
                    return Err(format!(
                        "release {version} names {} devices and holds work of {}",
                        lineage.len(),
                        release.origin.len()
                    ));
                }
            }
            Event::RoundEnded { outcome, .. } => {
                (self.open, self.phase) = (false, None);
                let completed = matches!(outcome, coordinator::round::Outcome::Completed { .. });
                self.completed += u64::from(completed);
            }
            _ => {}
        }
        Ok(())
    }

    fn produced(&mut self, product: &Product, store: &dyn Store) -> Result<(), Violation> {
        match product {
            Product::TransferSet { blob, .. } => {
                if self.transfer.replace(*blob) != Some(*blob) {
                    self.standing.clear();
                }
            }
            Product::Teacher(blob) => {
                let mut sum = 0;
                for (_, _, input) in &self.inputs {
                    sum += open::<Contribution>(store, *input)?.value;
                }
                let found = open::<Stuff>(store, *blob)?.sum;
                if found != sum {
                    return Err(format!(
                        "the moments sum to {found}, what was accepted to {sum}"
                    ));
                }
            }
            Product::Normaliser(_) | Product::Student(_) => {}
        }
        Ok(())
    }
}

fn open<T: bincode::Decode<()>>(store: &dyn Store, blob: BlobHash) -> Result<T, Violation> {
    let bytes = store.blob(blob).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("blob {} is named and not kept", blob.short()))?;
    decode_blob(&bytes).map_err(|error| error.to_string())
}
