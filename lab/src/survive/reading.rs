//! What the durable log says, read in another way than the fold does.

use std::collections::{BTreeMap, BTreeSet};

use common::contribution::StandsOn;
use common::ids::{BlobHash, DeviceId, RoundId, Version};
use common::round::{Kind, Phase};
use common::wire::codec::decode_blob;
use coordinator::round::{Event, Product};
use coordinator::store::Store;

use super::checker::Violation;
use super::fake_compute::{Contribution, FakeProduct};
use super::offers::Offers;

/// A contribution that counts.
pub(super) type Accepted = (DeviceId, Kind, RoundId, BlobHash);

/// What the durable log says.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) round: RoundId,
    pub(super) open: bool,
    pub(super) phase: Option<Phase>,
    pub(super) accepted: BTreeSet<Accepted>,
    pub(super) transfer: Option<BlobHash>,
    pub(super) standing: BTreeMap<(DeviceId, Kind), BlobHash>,
    /// What the teacher is to be solved from.
    pub(super) inputs: Vec<(DeviceId, Kind, BlobHash)>,
    pub(super) version: Option<Version>,
    pub(super) completed: u64,
    pub(super) offers: Offers,
    pub(super) lineages: BTreeMap<Version, Vec<DeviceId>>,
}

impl Reading {
    /// Without a store, what the event names may be gone.
    pub(super) fn see(
        &mut self,
        event: &Event,
        store: Option<&dyn Store>,
    ) -> Result<(), Violation> {
        self.offers.see(event)?;
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
                if kind.stands_on() == StandsOn::TransferSet {
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
                self.lineages.insert(*version, lineage.clone());
                let Some(store) = store else { return Ok(()) };
                let release: FakeProduct = open(store, *blob)?;
                if release.version != Some(*version) {
                    return Err(format!("release {version} holds {:?}", release.version));
                }
                let names_all = release.origin.iter().all(|one| lineage.contains(one));
                // A refined one names whom its step may be of, also one that was left
                // out before the step was computed.
                let refined = self.inputs.is_empty();
                if !names_all || (!refined && release.origin.len() != lineage.len()) {
                    return Err(format!(
                        "release {version} names {} devices and holds work of {}",
                        lineage.len(),
                        release.origin.len()
                    ));
                }
            }
            Event::ReReleased {
                from,
                version,
                blob,
                ..
            } => self.again(*from, *version, *blob, store)?,
            Event::RoundEnded { outcome, .. } => {
                (self.open, self.phase) = (false, None);
                let completed = matches!(outcome, coordinator::round::Outcome::Completed { .. });
                self.completed += u64::from(completed);
            }
            _ => {}
        }
        Ok(())
    }

    /// An earlier release, and whose work is in it, under a higher version.
    fn again(
        &mut self,
        from: Version,
        version: Version,
        blob: BlobHash,
        store: Option<&dyn Store>,
    ) -> Result<(), Violation> {
        if self.version.is_some_and(|before| before >= version) {
            return Err(format!("{version} was released after {:?}", self.version));
        }
        self.version = Some(version);
        let lineage = self.lineages.get(&from).cloned();
        let lineage = lineage.ok_or_else(|| format!("{from} was never released"))?;
        if let Some(store) = store
            && !open::<FakeProduct>(store, blob)?
                .origin
                .iter()
                .eq(lineage.iter())
        {
            return Err(format!("release {version} is not {from} again"));
        }
        self.lineages.insert(version, lineage);
        Ok(())
    }

    fn produced(&mut self, product: &Product, store: Option<&dyn Store>) -> Result<(), Violation> {
        match product {
            Product::TransferSet { blob, .. } => {
                if self.transfer.replace(*blob) != Some(*blob) {
                    self.standing.clear();
                }
            }
            Product::Teacher(blob) => {
                let Some(store) = store else { return Ok(()) };
                let mut sum = 0;
                for (_, _, input) in &self.inputs {
                    sum += open::<Contribution>(store, *input)?.value;
                }
                let found = open::<FakeProduct>(store, *blob)?.sum;
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
