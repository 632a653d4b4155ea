//! Rounds that refine a released student: nobody is asked for anything new before
//! the release. What devices said of the last student's errors, beside their
//! reports, moves its last layer, and the result is released as any student is.

use std::collections::BTreeSet;

use protocol::ids::{BlobHash, DeviceId};
use protocol::round::{Kind, Phase};

use super::admission::STRIKES_MAX;
use super::comparison::Comparison;
use super::engine::Engine;
use super::event::Outcome;
use super::open_phase::Span;
use super::state::{Ended, Release, State};

impl Engine {
    /// Whether the next round refines the newest student: the last round released it,
    /// its devices sent gradients of it, steps are left, those that tried it want it,
    /// and the step before, if there was one, made it better on their held-out rows.
    pub fn refines_next(&self) -> bool {
        let (state, policy) = (&self.state, &self.policy);
        let (Some(release), Some(last)) = (&state.release, state.history.last()) else {
            return false;
        };
        let is_of_last = last.id == release.round
            && matches!(last.outcome, Outcome::Completed { version } if version == release.version);
        let is_whole = state.transfer.is_some() && state.teacher.is_some();
        let has_forgotten =
            { release.lineage.iter() }.any(|device| state.forgotten.contains_key(device));
        let senders = state.gradients().len();
        state.refined() < policy.refinement_steps
            && is_of_last
            && is_whole
            && !has_forgotten
            && senders >= policy.devices_min.max(1) as usize
            && state.is_judged_by_most_rows()
            && !state.evaluations_of(release.version).is_unwanted()
            && (state.refined() == 0 || state.is_better())
    }
}

impl State {
    /// By how many rounds the newest student was refined.
    pub fn refined(&self) -> u32 {
        let newest_first = self.history.iter().rev();
        let refining = newest_first.take_while(|ended| {
            matches!(ended.outcome, Outcome::Completed { .. }) && !solved(&ended.spans)
        });
        u32::try_from(refining.count()).unwrap_or(u32::MAX)
    }

    /// Whether the devices that reported on the newest release hold two thirds of the rows or
    /// more that are described by samples: what a step is worth to those that hold out
    /// too few rows to report, nobody can say.
    fn is_judged_by_most_rows(&self) -> bool {
        let Some(release) = &self.release else {
            return false;
        };
        let described = { self.newest.iter() }
            .filter(|((_, kind), _)| *kind == Kind::Summary)
            .map(|((device, _), standing)| (*device, standing.rows));
        let has_reported = |device: DeviceId| {
            let report = self.newest.get(&(device, Kind::Report));
            report.is_some_and(|report| report.round == release.round)
        };
        let (mut all, mut judging) = (0_u64, 0_u64);
        for (device, rows) in described {
            all = all.saturating_add(rows);
            if has_reported(device) {
                judging = judging.saturating_add(rows);
            }
        }
        judging.saturating_mul(3) >= all.saturating_mul(2)
    }

    /// Whether devices found the newest release better than what they had before.
    fn is_better(&self) -> bool {
        let newest = self.release.as_ref().map(|release| release.version);
        matches!(self.compared, Some((version, Comparison::Better)) if Some(version) == newest)
    }

    /// Whether the round in progress refines the student before it.
    pub fn is_refining(&self) -> bool {
        let Some(round) = &self.round else {
            return false;
        };
        let phase = round.phase.as_ref().map(|open| open.phase);
        phase.is_some_and(|phase| phase > Phase::Solve) && !solved(&round.spans)
    }

    /// What devices said of the newest student's errors in the round that released
    /// it, in device order; not that of devices of which something was left out,
    /// or of whom nothing is taken any more.
    pub(super) fn gradients(&self) -> Vec<(DeviceId, BlobHash)> {
        let excluded: BTreeSet<_> = self.excluded.keys().map(|(device, _)| *device).collect();
        let strikes = |device: &DeviceId| self.strikes.get(device).copied().unwrap_or(0);
        self.all_gradients()
            .filter(|(device, _)| !excluded.contains(device) && strikes(device) < STRIKES_MAX)
            .collect()
    }

    /// Whose gradients may be in the student that this round makes: those of devices
    /// that were left out, or struck, since its step was computed are in it still.
    pub(super) fn may_have_refined(&self) -> impl Iterator<Item = DeviceId> {
        self.all_gradients().map(|(device, _)| device)
    }

    /// The student that the round in progress refines, where it does: the one of the
    /// round before, also if an operator has gone back to an earlier one since; else
    /// the newest.
    pub(super) fn refined_from(&self) -> Option<&Release> {
        let of_last = |last: &Ended| match last.outcome {
            Outcome::Completed { version } => {
                let mut newest_first = self.releases.iter().rev();
                newest_first.find(|one| one.version == version)
            }
            _ => None,
        };
        let last = self.history.last().filter(|_| self.is_refining());
        last.and_then(of_last).or(self.release.as_ref())
    }

    fn all_gradients(&self) -> impl Iterator<Item = (DeviceId, BlobHash)> {
        let round = self.refined_from().map(|release| release.round);
        let newest = self.newest.iter();
        newest
            .filter(move |((_, kind), one)| *kind == Kind::Gradient && Some(one.round) == round)
            .map(|((device, _), one)| (*device, one.blob))
    }
}

/// Whether a teacher was solved: a round without one refines.
fn solved(spans: &[Span]) -> bool {
    spans.iter().any(|span| span.phase == Phase::Solve)
}
