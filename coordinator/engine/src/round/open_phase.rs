//! The phase a round is in: whom it waits for, and what it took.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use protocol::ids::{BlobHash, DeviceId, RoundId, Time};
use protocol::round::{Kind, Phase, Reason};

use super::absence::Missed;

/// The phase a round is in.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct OpenPhase {
    /// Which one.
    pub phase: Phase,
    /// When it began.
    pub opened: Time,
    /// From when its deadline counts: the opening, or the last restart.
    pub counts_from: Time,
    /// Devices waited for.
    pub participants: BTreeSet<DeviceId>,
    /// Devices that said they will not contribute.
    pub abstained: BTreeSet<DeviceId>,
    /// What was taken.
    pub taken: BTreeMap<(DeviceId, Kind), Standing>,
    /// When devices abstained, in log order.
    pub abstained_at: Vec<Time>,
    /// Why the newest contribution of a device was refused, if nothing of it
    /// was taken since.
    pub refused: BTreeMap<DeviceId, Reason>,
    /// Who had not done their part when it closed.
    pub missed: Missed,
    /// Whether what was taken is final; the coordinator now computes.
    pub closed: bool,
    /// Whether what the coordinator computes in it is there.
    pub produced: bool,
}

/// A contribution that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Standing {
    /// Its bytes.
    pub blob: BlobHash,
    /// The transfer set it stands on.
    pub transfer: Option<BlobHash>,
    /// Rows it describes.
    pub rows: u64,
    /// The round it was made for.
    pub round: RoundId,
    /// When the first content of its round was taken.
    pub at: Time,
    /// How often other content took its place in its phase.
    pub replaced: u32,
}

/// When a phase ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Span {
    /// The phase.
    pub phase: Phase,
    /// When it opened.
    pub opened: Time,
    /// When the next one opened or the round ended.
    pub closed: Time,
}

impl OpenPhase {
    pub(super) fn new(phase: Phase, opened: Time, participants: &[DeviceId]) -> Self {
        Self {
            phase,
            opened,
            counts_from: opened,
            participants: participants.iter().copied().collect(),
            abstained: BTreeSet::new(),
            taken: BTreeMap::new(),
            abstained_at: Vec::new(),
            refused: BTreeMap::new(),
            missed: Missed::default(),
            closed: false,
            produced: false,
        }
    }

    /// Whether contributions of this kind count in it now.
    pub fn takes(&self, kind: Kind) -> bool {
        !self.closed && self.phase.kinds().contains(&kind)
    }

    /// Takes a contribution, in place of an earlier one of this device and
    /// kind. Whether it is the first.
    pub(super) fn take(&mut self, key: (DeviceId, Kind), mut standing: Standing) -> bool {
        let earlier = self.taken.get(&key).copied();
        if let Some(earlier) = earlier {
            standing.at = earlier.at;
            standing.replaced = earlier.replaced.saturating_add(1);
        }
        self.taken.insert(key, standing);
        self.refused.remove(&key.0);
        earlier.is_none()
    }

    pub(super) fn abstain(&mut self, device: DeviceId, at: Time) {
        if self.abstained.insert(device) {
            self.abstained_at.push(at);
        }
    }

    /// Whether nothing more is expected of this device: it abstained, or
    /// every wanted kind is taken.
    pub fn is_done(&self, device: DeviceId, wanted: &[Kind]) -> bool {
        self.abstained.contains(&device)
            || wanted
                .iter()
                .all(|kind| self.taken.contains_key(&(device, *kind)))
    }

    /// Devices of whom at least one contribution was taken and no more is
    /// expected.
    pub fn contributed(&self, wanted: &[Kind]) -> BTreeSet<DeviceId> {
        self.taken
            .keys()
            .map(|(device, _)| *device)
            .filter(|device| self.is_done(*device, wanted))
            .collect()
    }

    /// When each of those devices was done, earliest first.
    pub fn contributed_at(&self, wanted: &[Kind]) -> Vec<Time> {
        let last = |device: DeviceId| {
            let taken = Kind::ALL.into_iter();
            let taken = taken.filter_map(|kind| self.taken.get_key_value(&(device, kind)));
            taken.map(|(_, standing)| standing.at).max()
        };
        let mut times: Vec<_> = self
            .contributed(wanted)
            .into_iter()
            .filter_map(last)
            .collect();
        times.sort_unstable();
        times
    }

    /// Devices waited for that are not done.
    pub fn missing(&self, wanted: &[Kind]) -> Vec<DeviceId> {
        self.participants
            .iter()
            .copied()
            .filter(|device| !self.is_done(*device, wanted))
            .collect()
    }

    /// Devices that contributed or still may.
    pub fn expected(&self, wanted: &[Kind]) -> usize {
        let expected = |device: &&DeviceId| self.is_expected(**device, wanted);
        self.participants.iter().filter(expected).count()
    }

    /// Whether a device counts for the quorum: it has contributed, or it has
    /// neither abstained nor sent what was refused. Liars cannot end a round by
    /// what is not taken of them, also beside something that was.
    pub(super) fn is_expected(&self, device: DeviceId, wanted: &[Kind]) -> bool {
        let is_gone = self.abstained.contains(&device) || self.refused.contains_key(&device);
        let mut kinds = Kind::ALL.into_iter();
        let gave = kinds.any(|kind| self.taken.contains_key(&(device, kind)));
        !is_gone || (gave && self.is_done(device, wanted))
    }
}
