//! What devices say of a release together, and what follows where it is worse than
//! the one before it: that one is released again, before the round ends.

use bincode::{Decode, Encode};
use protocol::ids::{BlobHash, DeviceId};
use protocol::round::{Kind, Phase};
use serde::Serialize;

use super::engine::{Engine, JobKind};
use super::state::{Release, State};
use crate::rollout::Releases;

/// A release on the held-out rows of all devices that reported, against the
/// student that each of them had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// It does better on them.
    Better,
    /// It does no better, and no worse than chance explains.
    NoBetter,
    /// It does worse, beyond chance.
    Worse,
}

impl Engine {
    /// Whether what devices reported in the open phase is to be compared: there is a
    /// release that they can have had before.
    pub(super) fn compares(&self) -> bool {
        let state = &self.state;
        let reported = state.reports().next().is_some();
        // An operator may have released an earlier one again meanwhile.
        let newest = state.release.as_ref().map(|release| release.round);
        let of_round = newest == state.round.as_ref().map(|round| round.id);
        reported && of_round && !self.is_standing() && state.releases.len() >= 2
    }

    /// The release that the newest one gives way to, if the devices found it worse, or
    /// no better where it is nothing but that release refined: a step of few rows may do
    /// harm, and few held-out rows do not see a harm beyond chance.
    ///
    /// Only where a release goes to all devices at once: a rollout stops by itself,
    /// and a release that is held back waits for its operator.
    pub(super) fn goes_back_to(&self) -> Option<&Release> {
        let state = &self.state;
        let newest = state.release.as_ref()?;
        let found = state
            .compared
            .filter(|(version, _)| *version == newest.version);
        let is_enough = match found.map(|(_, found)| found)? {
            Comparison::Better => false,
            Comparison::NoBetter => state.is_refining(),
            Comparison::Worse => true,
        };
        if !is_enough || !matches!(self.policy.releases, Releases::All { .. }) {
            return None;
        }
        let mut older = state.releases.iter().rev().skip(1);
        let before = older.find(|one| !state.held.contains(&one.version))?;
        let has_forgotten =
            { before.lineage.iter() }.any(|device| state.forgotten.contains_key(device));
        (!has_forgotten).then_some(before)
    }

    /// What is computed once the devices have reported.
    pub(super) fn conclude(&self) -> Option<JobKind> {
        if self.state.open().is_some_and(|open| !open.produced) {
            return Some(JobKind::Compare {
                version: self.state.release.as_ref()?.version,
                reports: self.state.reports().collect(),
            });
        }
        let before = self.goes_back_to()?;
        Some(JobKind::SignAgain {
            release: before.blob,
            from: before.version,
            version: self.next_version(),
        })
    }
}

impl State {
    /// What was reported in the open phase, in device order.
    fn reports(&self) -> impl Iterator<Item = (DeviceId, BlobHash)> {
        let open = self.open().filter(|open| open.phase == Phase::Report);
        let taken = open.into_iter().flat_map(|open| &open.taken);
        taken
            .filter(|((_, kind), _)| *kind == Kind::Report)
            .map(|((device, _), standing)| (*device, standing.blob))
    }
}
