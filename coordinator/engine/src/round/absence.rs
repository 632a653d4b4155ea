//! Who did not do their part in a round, and why.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use protocol::ids::DeviceId;
use protocol::round::{Phase, Reason};
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::event::Event;

/// Why a device did not do its part, those first that somebody may have to
/// look after.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum AbsenceReason {
    /// What it sent was refused.
    Refused(Reason),
    /// Nothing of it is taken any more, for too much of it was refused.
    Quarantined,
    /// It has a session and did not answer.
    Silent,
    /// It was waited for and has no session.
    Away,
    /// Its answer came when the phase had closed.
    Late,
    /// It said that it will not, by its policy or for want of rows.
    Abstained,
    /// It belongs to the fleet, had no session, and was not waited for.
    NotAsked,
}

impl AbsenceReason {
    /// Whether the round waited for the device, or would have.
    pub fn is_missed(self) -> bool {
        !matches!(self, Self::Abstained | Self::NotAsked)
    }
}

impl std::fmt::Display for AbsenceReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "refused: {}", reason.describe()),
            Self::Quarantined => f.write_str("quarantined: too much of it was refused"),
            Self::Silent => f.write_str("connected, no answer"),
            Self::Away => f.write_str("away: no session"),
            Self::Late => f.write_str("late: its answer came after the phase"),
            Self::Abstained => f.write_str("abstained, by policy or for want of data"),
            Self::NotAsked => f.write_str("away, and not waited for"),
        }
    }
}

/// Who did not do their part in one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Missed {
    /// The first [`ABSENCES_MAX`] of them, by reason.
    pub named: Vec<(DeviceId, AbsenceReason)>,
    /// All of them, counted.
    pub counts: Vec<(AbsenceReason, u32)>,
}

impl Missed {
    pub(super) fn of(mut all: Vec<(DeviceId, AbsenceReason)>) -> Self {
        let mut counts = BTreeMap::new();
        for (_, why) in &all {
            *counts.entry(*why).or_default() += 1;
        }
        all.sort_by_key(|(device, why)| (*why, *device));
        all.truncate(ABSENCES_MAX);
        Self {
            named: all,
            counts: counts.into_iter().collect(),
        }
    }
}

/// Who did not do their part in a round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Absences {
    /// The first [`ABSENCES_MAX`] devices and reasons, by reason.
    pub named: Vec<Absent>,
    /// How many devices there were in all, by phase and reason.
    pub counts: BTreeMap<(Phase, AbsenceReason), u32>,
}

/// A device that did not do its part, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Absent {
    /// The device.
    pub device: DeviceId,
    /// Why.
    pub why: AbsenceReason,
    /// The phases in which that was so.
    pub phases: Vec<Phase>,
}

impl Absences {
    pub(super) fn add(&mut self, phase: Phase, missed: &Missed) {
        for (why, devices) in &missed.counts {
            *self.counts.entry((phase, *why)).or_default() += devices;
        }
        let mut known: BTreeMap<_, usize> = BTreeMap::new();
        for (at, absent) in self.named.iter().enumerate() {
            known.insert((absent.device, absent.why), at);
        }
        for &(device, why) in &missed.named {
            match known.get(&(device, why)) {
                Some(&at) => self.named[at].phases.push(phase),
                None => self.named.push(Absent {
                    device,
                    why,
                    phases: vec![phase],
                }),
            }
        }
        self.order();
    }

    /// An answer to a phase in which this device was waited for in vain has
    /// come after all. Only known of those that are named.
    pub(super) fn came(&mut self, device: DeviceId, phase: Phase) {
        let waits = |absent: &&mut Absent| {
            let is_silent = matches!(absent.why, AbsenceReason::Silent | AbsenceReason::Away);
            absent.device == device && is_silent && absent.phases.contains(&phase)
        };
        let Some(absent) = self.named.iter_mut().find(waits) else {
            return;
        };
        let why = absent.why;
        absent.phases.retain(|one| *one != phase);
        self.named.retain(|absent| !absent.phases.is_empty());
        if let Some(count) = self.counts.get_mut(&(phase, why)) {
            *count = count.saturating_sub(1);
        }
        self.counts.retain(|_, count| *count > 0);
        let late = Missed::of(vec![(device, AbsenceReason::Late)]);
        self.add(phase, &late);
    }

    /// Those that somebody may have to look after stay, whenever they came.
    fn order(&mut self) {
        self.named.sort_by_key(|absent| absent.why);
        self.named.truncate(ABSENCES_MAX);
    }
}

impl Engine {
    /// Why a device does not do its part in the open phase; none if it has, or
    /// if nothing gathers.
    pub fn absence(&self, device: DeviceId) -> Option<AbsenceReason> {
        let open = self.state.open().filter(|open| open.phase.gathers())?;
        if !open.participants.contains(&device) {
            return match self.connected.contains(&device) {
                _ if self.is_struck_out(device) => Some(AbsenceReason::Quarantined),
                true => None,
                false => Some(AbsenceReason::NotAsked),
            };
        }
        let refused = open.refused.get(&device).copied();
        if open.abstained.contains(&device) {
            return Some(match refused {
                _ if self.is_struck_out(device) => AbsenceReason::Quarantined,
                Some(reason) => AbsenceReason::Refused(reason),
                None => AbsenceReason::Abstained,
            });
        }
        if open.is_done(device, self.policy.kinds(open.phase)) {
            return None;
        }
        Some(match refused {
            Some(reason) => AbsenceReason::Refused(reason),
            None if self.connected.contains(&device) => AbsenceReason::Silent,
            None => AbsenceReason::Away,
        })
    }

    /// Records who does not do their part in the gathering phase that is about
    /// to close. Linear in the fleet.
    pub(super) fn miss(&mut self) {
        let Some(open) = self.state.open().filter(|open| open.phase.gathers()) else {
            return;
        };
        // To have nothing for a phase that can do without is an answer.
        let is_optional = self.is_optional(open.phase);
        // A standing task waits for nobody.
        let members = self.members.iter().filter(|_| !self.is_standing());
        let devices: BTreeSet<_> = open.participants.iter().chain(members).copied().collect();
        let devices = devices.into_iter();
        let absent = devices.filter_map(|device| Some((device, self.absence(device)?)));
        let absent = absent.filter(|(_, why)| !(is_optional && *why == AbsenceReason::Abstained));
        let missed = Missed::of(absent.collect());
        if missed != open.missed {
            self.record(Event::Missed(missed));
        }
    }
}

/// Devices that are named for each round; the others are counted.
pub const ABSENCES_MAX: usize = 100;
