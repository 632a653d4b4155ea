//! The state of one task: the fold of its events.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use bincode::{Decode, Encode};
use protocol::contribution::StandsOn;
use protocol::evaluation::Evaluation;
use protocol::ids::{BlobHash, DeviceId, RoundId, Time, Version};
use protocol::round::{Kind, Phase};

use super::absence::Absences;
use super::budget::PlannedBudget;
use super::comparison::Comparison;
use super::event::{Event, Outcome, Product};
use super::exclusion::ExclusionReason;
use super::open_phase::{OpenPhase, Span, Standing};
use crate::rollout::{self, Evaluations, Rollout, Tally};

/// Everything the engine knows about a task that survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct State {
    /// The task definition's blob.
    pub spec: Option<BlobHash>,
    /// The normaliser every device uses.
    pub normaliser: Option<BlobHash>,
    /// The newest transfer set.
    pub transfer: Option<TransferRef>,
    /// The global teacher of the newest transfer set.
    pub teacher: Option<BlobHash>,
    /// The round in progress.
    pub round: Option<Round>,
    /// The last round that was opened.
    pub last_round: RoundId,
    /// When the last round ended.
    pub last_ended: Option<Time>,
    /// Ended rounds, newest last.
    pub history: Vec<Ended>,
    /// The newest release.
    pub release: Option<Release>,
    /// The newest released versions, oldest first.
    pub releases: Vec<Release>,
    /// Newest labels and moments by device and kind, with the transfer set
    /// they stand on. They count in a later round while it is unchanged.
    pub standing: BTreeMap<(DeviceId, Kind), Standing>,
    /// The newest contribution of each device and kind, whatever became of
    /// it: the same content is acknowledged again even after its phase.
    pub newest: BTreeMap<(DeviceId, Kind), Standing>,
    /// Devices with new rows that no contribute phase has asked for yet.
    pub changed: BTreeSet<DeviceId>,
    /// Devices whose profile or points are in the normaliser and the
    /// transfer set.
    pub founders: BTreeSet<DeviceId>,
    /// Contributions refused for a fault no honest device makes.
    pub strikes: BTreeMap<DeviceId, u32>,
    /// Releases that are not offered to every device.
    pub held: BTreeSet<Version>,
    /// The newest rollout.
    pub rollout: Option<Rollout>,
    /// The newest release each device has tried, and how it fared.
    pub evaluations: Evaluations,
    /// Devices that are forgotten, and whether a student was released since
    /// that stands on nothing of theirs.
    pub forgotten: BTreeMap<DeviceId, bool>,
    /// What the newest computations left out: of profiles that of the
    /// normaliser, of points that of the transfer set, of labels and moments
    /// that of the teacher.
    pub excluded: BTreeMap<(DeviceId, Kind), ExclusionReason>,
    /// What bytes are spent on, where the task leaves that to the coordinator
    /// and its normaliser is learnt.
    pub planned: Option<PlannedBudget>,
    /// The newest release that devices' reports compared with what they had before,
    /// and how it does.
    pub compared: Option<(Version, Comparison)>,
    /// When the task was put away, if it is.
    pub archived: Option<Time>,
}

/// A transfer set by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TransferRef {
    /// Its blob.
    pub blob: BlobHash,
    /// Points it holds.
    pub points: u32,
}

/// A round in progress.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Round {
    /// Its number.
    pub id: RoundId,
    /// When it began.
    pub opened: Time,
    /// The phase it is in; none between its opening and its first phase.
    pub phase: Option<OpenPhase>,
    /// When earlier phases of this round opened and closed.
    pub spans: Vec<Span>,
    /// The student, once distilled.
    pub student: Option<BlobHash>,
    /// The labels and moments that the teacher is solved from, final once
    /// the contribute phase has closed; the points, where each round makes the
    /// transfer set anew.
    pub inputs: Vec<(DeviceId, Kind, BlobHash)>,
    /// Contributions that count in it, by kind: those taken, and once their
    /// phase has closed those too that stand from before.
    pub accepted: BTreeMap<Kind, u32>,
    /// Who did not do their part in its earlier phases.
    pub absences: Absences,
}

/// A released student.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// The signed release.
    pub blob: BlobHash,
    /// Its length in bytes.
    pub bytes: u64,
    /// The round it came from.
    pub round: RoundId,
    /// Devices whose contributions are in it.
    pub lineage: Vec<DeviceId>,
    /// When it was released.
    pub at: Time,
}

/// A round that ended.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Ended {
    /// Its number.
    pub id: RoundId,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub opened: Time,
    /// When it ended.
    pub ended: Time,
    /// When its phases ran.
    pub spans: Vec<Span>,
    /// Contributions that counted in it, by kind: those taken, and those that
    /// stood from before.
    pub accepted: BTreeMap<Kind, u32>,
    /// Evaluation reports taken, by device.
    pub reports: Vec<(DeviceId, BlobHash)>,
    /// Who did not do their part.
    pub absences: Absences,
}

/// Ended rounds kept in memory; older ones stay in the log.
pub(super) const HISTORY_MAX: usize = 64;
/// Releases kept in memory, each with its lineage; older ones stay in the
/// log.
pub(super) const RELEASES_MAX: usize = 64;

impl State {
    /// The state after one more event. Events that do not fit the state are
    /// ignored: the engine never makes them, and a fold must not fail.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::TaskCreated { spec, .. } => self.spec = Some(*spec),
            Event::RoundOpened { round, at } => self.open_round(*round, *at),
            Event::PhaseOpened {
                phase,
                at,
                participants,
            } => {
                self.open_phase(*phase, *at, participants);
            }
            Event::PhaseClosed { .. } => self.close_gathering(),
            Event::Joined { device } => {
                self.asked(*device);
                if let Some(open) = self.open_phase_mut() {
                    open.participants.insert(*device);
                }
            }
            Event::Abstained { device, at } => {
                if let Some(open) = self.open_phase_mut() {
                    open.abstain(*device, *at);
                }
            }
            Event::Accepted {
                device,
                kind,
                round,
                blob,
                transfer,
                rows,
                at,
            } => {
                let standing = Standing {
                    blob: *blob,
                    transfer: *transfer,
                    rows: *rows,
                    round: *round,
                    at: *at,
                    replaced: 0,
                };
                self.accept(*device, *kind, standing);
            }
            Event::Refused { device, reason, .. } => {
                if !reason.is_innocent() {
                    *self.strikes.entry(*device).or_default() += 1;
                }
                let open = self.open_phase_mut();
                if let Some(open) = open.filter(|open| open.participants.contains(device)) {
                    open.refused.insert(*device, *reason);
                }
            }
            Event::Produced { product, .. } => {
                self.produce(*product);
                self.mark_produced();
            }
            Event::Released {
                version,
                blob,
                bytes,
                lineage,
                at,
            } => {
                let release = Release {
                    version: *version,
                    blob: *blob,
                    bytes: *bytes,
                    round: self.last_round,
                    lineage: lineage.clone(),
                    at: *at,
                };
                self.keep(release);
                self.mark_produced();
            }
            Event::RoundEnded { outcome, at } => self.end_round(outcome.clone(), *at),
            Event::Resumed { at } => {
                if let Some(open) = self.open_phase_mut() {
                    open.counts_from = *at;
                }
            }
            Event::DataChanged { device } => {
                self.changed.insert(*device);
            }
            Event::Held { version } => {
                self.held.insert(*version);
            }
            Event::RolloutStarted { version, plan, at } => {
                self.rollout = Some(Rollout::new(*version, plan.clone(), *at));
            }
            Event::StageOpened { stage, at } => {
                if let Some(rollout) = &mut self.rollout {
                    rollout.stage = *stage as usize;
                    rollout.since = *at;
                }
            }
            Event::StageBounded { last } => {
                if let Some(rollout) = &mut self.rollout {
                    rollout.last = Some(*last);
                }
            }
            Event::Piloted { device } => {
                if let Some(rollout) = &mut self.rollout {
                    rollout.pilots.insert(*device);
                }
            }
            Event::RolloutChanged { standing, at } => self.change_rollout(standing, *at),
            Event::Tried {
                device,
                version,
                evaluation,
                ..
            } => {
                self.evaluations.insert(*device, (*version, *evaluation));
            }
            Event::Forgotten { device, .. } => self.forget(*device),
            Event::Pardoned { device, .. } => {
                self.strikes.remove(device);
            }
            Event::Excluded { exclusion, .. } => {
                let of = (exclusion.device, exclusion.kind);
                self.excluded.insert(of, exclusion.why);
            }
            Event::Relearnt { .. } => self.begin_anew(),
            Event::Carried { since, founds } => self.carry(*since, *founds),
            Event::Heard { device } => {
                self.changed.remove(device);
            }
            Event::Planned { budget, .. } => self.planned = Some(budget.clone()),
            Event::Compared {
                version,
                comparison,
                ..
            } => {
                self.compared = Some((*version, *comparison));
                self.mark_produced();
            }
            Event::Archived { at } => self.archived = Some(*at),
            Event::Unarchived { .. } => self.archived = None,
            // Who folds a log lets the whole state go.
            Event::Deleted { .. } => {}
            Event::Missed(missed) => {
                if let Some(open) = self.open_phase_mut() {
                    open.missed = missed.clone();
                }
            }
            Event::ReReleased {
                from,
                version,
                blob,
                bytes,
                at,
            } => {
                let again = self.releases.iter().find(|one| one.version == *from);
                if let Some(again) = again.cloned() {
                    self.keep(Release {
                        version: *version,
                        blob: *blob,
                        bytes: *bytes,
                        at: *at,
                        ..again
                    });
                }
            }
        }
    }

    /// Whether anything of this device is kept, or in what was made, that was
    /// not forgotten already.
    pub fn has_of(&self, device: DeviceId) -> bool {
        let kept = self.newest.keys().any(|(of, _)| *of == device);
        let made = |release: &Release| release.lineage.contains(&device);
        let released = !self.forgotten.contains_key(&device) && self.releases.iter().any(made);
        kept || self.founders.contains(&device) || released
    }

    /// Everything begins anew without this device: the others are asked for
    /// what stood on the old normaliser and transfer set.
    fn forget(&mut self, device: DeviceId) {
        if self.founders.contains(&device) {
            self.begin_anew();
        }
        let is_of = |(of, _): &(DeviceId, Kind)| *of == device;
        if self.standing.keys().any(is_of) {
            // The next solve sums the others' again.
            self.teacher = None;
        }
        self.standing.retain(|key, _| !is_of(key));
        self.newest.retain(|key, _| !is_of(key));
        self.excluded.retain(|key, _| !is_of(key));
        self.changed.remove(&device);
        self.evaluations.remove(&device);
        let stood_on_it = self.release.iter().any(|one| one.lineage.contains(&device));
        self.forgotten.insert(device, !stood_on_it);
    }

    /// The next round asks all devices for everything: nothing that was made so
    /// far is built upon.
    fn begin_anew(&mut self) {
        self.normaliser = None;
        self.planned = None;
        self.transfer = None;
        self.teacher = None;
        self.founders.clear();
        self.standing.clear();
        self.excluded.clear();
    }

    /// A computation judges anew what it is made from.
    fn judge_anew(&mut self, phase: Phase) {
        let first_set = self.transfer.is_none();
        self.excluded.retain(|(_, kind), _| match phase {
            Phase::Profile => kind.phase() != Phase::Profile,
            Phase::Summarise => kind.phase() != Phase::Summarise || !first_set,
            Phase::Solve => kind.stands_on() != StandsOn::TransferSet,
            Phase::Contribute | Phase::Distil | Phase::Release | Phase::Report => true,
        });
    }

    /// The newest release that every device is offered.
    pub fn baseline(&self) -> Option<&Release> {
        let mut newest_first = self.releases.iter().rev();
        newest_first.find(|release| !self.held.contains(&release.version))
    }

    /// The student to go back to from what devices are offered, or from a later
    /// one that a rollout brought or that they did not want. A student that is
    /// released again is the same: its round tells.
    ///
    /// # Errors
    /// The version on offer, if any, where no student came before it.
    pub fn before_offered(&self) -> Result<&Release, Option<Version>> {
        let offered = self.baseline();
        let is_later = |version| offered.is_none_or(|offered| offered.version < version);
        let brought = self.rollout.as_ref().map(|rollout| rollout.version);
        let newest = self.release.as_ref().map(|release| release.version);
        let is_tried = |version| self.evaluations.values().any(|(of, _)| *of == version);
        let unwanted = brought
            .filter(|version| is_later(*version))
            .or_else(|| newest.filter(|version| is_later(*version) && is_tried(*version)))
            .and_then(|version| self.released(version));
        let is_offered = |one: &&Release| !self.held.contains(&one.version);
        let mut newest_first = self.releases.iter().rev().filter(is_offered);
        let found = match (unwanted, offered) {
            // It is not what all are offered, so that what is offered is before it, even if
            // it is the same student.
            (Some(unwanted), _) => newest_first.find(|one| one.version < unwanted.version),
            (None, Some(offered)) => newest_first.find(|one| one.round < offered.round),
            (None, None) => None,
        };
        found.ok_or_else(|| unwanted.or(offered).map(|one| one.version))
    }

    /// What this device is offered.
    pub fn offered(&self, device: DeviceId) -> Option<&Release> {
        let staged = self.rollout.as_ref().filter(|rollout| {
            rollout.standing == rollout::Standing::Running && rollout.includes(device)
        });
        let staged = staged.and_then(|rollout| self.released(rollout.version));
        let baseline = self.baseline();
        staged
            .filter(|release| baseline.is_none_or(|base| base.version < release.version))
            .or(baseline)
    }

    /// A release by its version, if it is among the newest.
    pub fn released(&self, version: Version) -> Option<&Release> {
        self.releases.iter().find(|one| one.version == version)
    }

    /// How this release fares on all devices that said.
    pub fn evaluations_of(&self, version: Version) -> Tally {
        let mut tally = Tally::default();
        for (_, evaluation) in self
            .evaluations
            .values()
            .filter(|(tried, _)| *tried == version)
        {
            tally.count(*evaluation);
        }
        tally
    }

    /// How this release fares on this device, as far as it said.
    pub fn evaluation(&self, device: DeviceId, version: Version) -> Option<Evaluation> {
        let newest = self.evaluations.get(&device);
        newest
            .filter(|(tried, _)| *tried == version)
            .map(|(_, evaluation)| *evaluation)
    }

    /// What devices are offered stays, however many are held after it.
    fn keep(&mut self, release: Release) {
        for (device, is_out) in &mut self.forgotten {
            *is_out = !release.lineage.contains(device);
        }
        self.release = Some(release.clone());
        self.releases.push(release);
        if self.releases.len() > RELEASES_MAX {
            let baseline = self.baseline().map(|release| release.version);
            let open = self.rollout.as_ref().filter(|rollout| rollout.is_open());
            let rolling = open.map(|rollout| rollout.version);
            let gone = self
                .releases
                .iter()
                .position(|one| Some(one.version) != baseline && Some(one.version) != rolling);
            if let Some(gone) = gone {
                let gone = self.releases.remove(gone);
                self.held.remove(&gone.version);
            }
        }
    }

    fn change_rollout(&mut self, standing: &rollout::Standing, at: Time) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        if rollout.standing == rollout::Standing::Paused {
            // A pause is no soak.
            rollout.since = at;
        }
        rollout.standing = standing.clone();
        if *standing == rollout::Standing::Completed {
            self.held.remove(&rollout.version);
        }
    }

    /// The open phase, if a round is in one.
    pub fn open(&self) -> Option<&OpenPhase> {
        self.round.as_ref().and_then(|round| round.phase.as_ref())
    }

    fn open_phase_mut(&mut self) -> Option<&mut OpenPhase> {
        self.round.as_mut().and_then(|round| round.phase.as_mut())
    }

    fn mark_produced(&mut self) {
        if let Some(open) = self.open_phase_mut() {
            open.produced = true;
        }
    }

    fn open_round(&mut self, id: RoundId, at: Time) {
        self.last_round = id;
        self.round = Some(Round {
            id,
            opened: at,
            phase: None,
            spans: Vec::new(),
            student: None,
            inputs: Vec::new(),
            accepted: BTreeMap::new(),
            absences: Absences::default(),
        });
    }

    fn open_phase(&mut self, phase: Phase, at: Time, participants: &[DeviceId]) {
        self.judge_anew(phase);
        let Some(round) = &mut self.round else { return };
        round.close_phase(at);
        let contributed = |span: &Span| span.phase == Phase::Contribute;
        if phase == Phase::Solve && !round.spans.iter().any(contributed) {
            // Points were all that this task asks for, so nobody is asked for
            // the new rows any more.
            self.changed.clear();
        }
        round.phase = Some(OpenPhase::new(phase, at, participants));
        for device in participants {
            self.asked(*device);
        }
    }

    /// A contribute phase asks this device, so its answer holds the new rows.
    fn asked(&mut self, device: DeviceId) {
        if self.open().map(|open| open.phase) == Some(Phase::Contribute) {
            self.changed.remove(&device);
        }
    }

    fn close_gathering(&mut self) {
        let Some(round) = &mut self.round else { return };
        let Some(open) = &mut round.phase else { return };
        open.closed = true;
        if open.phase == Phase::Contribute {
            round.inputs = self
                .standing
                .iter()
                .map(|((device, kind), standing)| (*device, *kind, standing.blob))
                .collect();
            // What stands from before counts as well.
            round.accepted.retain(|kind, _| kind.phase() != open.phase);
            for (_, kind, _) in &round.inputs {
                *round.accepted.entry(*kind).or_default() += 1;
            }
        }
    }

    /// What stands of earlier rounds counts in the open phase, beside what it
    /// took.
    fn carry(&mut self, since: RoundId, founds: bool) {
        let Some(round) = &mut self.round else { return };
        let Some(open) = &mut round.phase else { return };
        let kinds = open.phase.kinds();
        self.excluded.retain(|(_, kind), _| !kinds.contains(kind));
        let stands = self.newest.iter();
        let stands = stands.filter(|((_, kind), one)| kinds.contains(kind) && one.round >= since);
        for (key, standing) in stands {
            if let Entry::Vacant(untaken) = open.taken.entry(*key) {
                untaken.insert(*standing);
                *round.accepted.entry(key.1).or_default() += 1;
            }
        }
        if !founds {
            let taken = open.taken.iter();
            let inputs = taken.map(|((device, kind), one)| (*device, *kind, one.blob));
            round.inputs = inputs.collect();
        }
    }

    /// Devices of which the round in progress has taken something.
    pub fn contributors(&self) -> BTreeSet<DeviceId> {
        let Some(round) = &self.round else {
            return BTreeSet::new();
        };
        let of_round = self
            .newest
            .iter()
            .filter(|(_, newest)| newest.round == round.id);
        of_round.map(|((device, _), _)| *device).collect()
    }

    /// Devices whose contributions the round's student stands on.
    pub fn lineage(&self) -> Vec<DeviceId> {
        let inputs = self.round.iter().flat_map(|round| round.inputs.iter());
        let mut devices: BTreeSet<DeviceId> = self
            .founders
            .iter()
            .copied()
            .chain(inputs.map(|(device, ..)| *device))
            .collect();
        if let Some(refined) = self.refined_from().filter(|_| self.is_refining()) {
            devices.extend(&refined.lineage);
            devices.extend(self.may_have_refined());
        }
        devices.into_iter().collect()
    }

    fn accept(&mut self, device: DeviceId, kind: Kind, standing: Standing) {
        let key = (device, kind);
        if kind.stands_on() == StandsOn::TransferSet {
            self.standing.insert(key, standing);
            if let Some(absences) = self.absences_mut(standing.round) {
                absences.came(device, kind.phase());
            }
        }
        self.newest.insert(key, standing);
        let Some(round) = &mut self.round else { return };
        let Some(open) = &mut round.phase else { return };
        // What was made for an earlier round stands, but does not answer the
        // call of this one.
        if standing.round == round.id && open.takes(kind) && open.take(key, standing) {
            *round.accepted.entry(kind).or_default() += 1;
        }
    }

    /// Who did not do their part in the closed phases of a round.
    fn absences_mut(&mut self, round: RoundId) -> Option<&mut Absences> {
        match &mut self.round {
            Some(open) if open.id == round => Some(&mut open.absences),
            _ => {
                let mut newest_first = self.history.iter_mut().rev();
                let ended = newest_first.find(|ended| ended.id == round);
                ended.map(|ended| &mut ended.absences)
            }
        }
    }

    /// The devices whose contributions the open phase's product is made of
    /// are in everything that stands on it.
    fn found(&mut self) {
        let Some(open) = self.round.as_ref().and_then(|round| round.phase.as_ref()) else {
            return;
        };
        let devices = open.taken.keys().map(|(device, _)| *device);
        self.founders.extend(devices);
    }

    fn produce(&mut self, product: Product) {
        match product {
            Product::Normaliser(blob) => {
                self.normaliser = Some(blob);
                self.found();
            }
            Product::TransferSet { blob, points } => {
                let before = self.transfer.map(|transfer| transfer.blob);
                if before != Some(blob) {
                    self.standing.clear();
                    // It stands on the previous points.
                    self.teacher = None;
                }
                self.transfer = Some(TransferRef { blob, points });
                // The points of a standing task are inputs of its round alone.
                if self.round.iter().all(|round| round.inputs.is_empty()) {
                    self.found();
                }
            }
            Product::Teacher(blob) => self.teacher = Some(blob),
            Product::Student(blob) => {
                if let Some(round) = &mut self.round {
                    round.student = Some(blob);
                }
            }
        }
    }

    fn end_round(&mut self, outcome: Outcome, at: Time) {
        let Some(mut round) = self.round.take() else {
            return;
        };
        let reports = match &round.phase {
            Some(open) => open
                .taken
                .iter()
                .filter(|((_, kind), _)| *kind == Kind::Report)
                .map(|((device, _), standing)| (*device, standing.blob))
                .collect(),
            None => Vec::new(),
        };
        round.close_phase(at);
        self.last_ended = Some(at);
        self.history.push(Ended {
            id: round.id,
            outcome,
            opened: round.opened,
            ended: at,
            spans: round.spans,
            accepted: round.accepted,
            reports,
            absences: round.absences,
        });
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
    }
}

impl Round {
    fn close_phase(&mut self, at: Time) {
        if let Some(open) = self.phase.take() {
            self.absences.add(open.phase, &open.missed);
            self.spans.push(Span {
                phase: open.phase,
                opened: open.opened,
                closed: at,
            });
        }
    }
}
