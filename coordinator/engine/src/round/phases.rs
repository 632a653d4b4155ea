//! How a round moves: when phases close, what is computed between them, and
//! how it ends.

use protocol::ids::{DeviceId, RoundId, Time, Version};
use protocol::round::{Kind, Phase};
use protocol::wire::messages::ToDevice;

use super::engine::{Action, Engine, Job, JobKind, JobOutput};
use super::event::{Event, Outcome, Product};
use super::open_phase::OpenPhase;

/// Whether a gathering phase may close.
enum Verdict {
    Wait(Time),
    Close,
    QuorumNotMet { got: u32, needed: u32 },
}

/// What follows a phase.
enum Next {
    Compute,
    Open(Phase),
    Complete(Version),
}

impl Engine {
    /// When the engine wants to be woken without another input.
    pub fn poll_timeout(&self) -> Option<Time> {
        let round = self.round_timeout();
        round.into_iter().chain(self.rollout_due).min()
    }

    fn round_timeout(&self) -> Option<Time> {
        if self.is_archived() {
            return None;
        }
        match self.state.open() {
            Some(open) if open.phase.gathers() && !open.closed && self.is_standing() => self.due(),
            Some(open) if open.phase.gathers() && !open.closed => match self.judge(open, None) {
                Verdict::Wait(until) => Some(until),
                _ => Some(Time(0)),
            },
            Some(_) => None,
            None if self.state.round.is_none() => self.automatic_start(),
            None => Some(Time(0)),
        }
    }

    /// Moves on as far as the state allows.
    pub(super) fn advance(&mut self, now: Time) {
        if self.is_archived() {
            return;
        }
        if self.state.round.is_none() {
            if self.automatic_start().is_none_or(|at| at > now) {
                return;
            }
            self.open_round(now);
        }
        let Some(open) = self.state.open() else {
            self.open_first_phase(now);
            return;
        };
        if open.phase.gathers() && !open.closed && self.is_standing() {
            if self.due().is_some_and(|due| due <= now) {
                self.close_standing(now);
                self.advance(now);
            }
        } else if open.phase.gathers() && !open.closed {
            match self.judge(open, Some(now)) {
                Verdict::Wait(_) => {}
                Verdict::Close => self.close_gathering(now),
                Verdict::QuorumNotMet { got, needed } => {
                    let phase = open.phase;
                    self.end(now, Outcome::QuorumNotMet { phase, got, needed });
                }
            }
        } else if !self.computing {
            match self.next(open) {
                Next::Compute => self.compute(now),
                Next::Open(phase) => self.open_phase(now, phase),
                Next::Complete(version) => {
                    self.end(now, Outcome::Completed { version });
                    if self.is_standing() {
                        self.advance(now);
                    }
                }
            }
        }
    }

    pub(super) fn open_round(&mut self, now: Time) -> RoundId {
        let round = self.next_round();
        self.record(Event::RoundOpened { round, at: now });
        round
    }

    pub(super) fn cancel(&mut self, now: Time) {
        if self.state.round.is_some() {
            self.end(now, Outcome::Cancelled);
        }
    }

    /// Before something that a standing task stands on goes, its round ends,
    /// which loses nothing; the next one opens at once.
    pub(super) fn begin_standing_anew(&mut self, now: Time, is_due: bool) {
        if self.is_standing() && is_due {
            self.cancel(now);
            self.unask_all();
        }
    }

    /// A job's result, which moves the round on.
    pub(super) fn computed(&mut self, now: Time, result: Result<JobOutput, String>) {
        if !self.computing {
            return; // the round ended meanwhile
        }
        self.computing = false;
        let Some(phase) = self.state.open().map(|open| open.phase) else {
            return;
        };
        match result {
            Err(cause) => self.end(now, Outcome::Failed { phase, cause }),
            Ok(output) if !fits(phase, &output) => {
                let cause = format!("the computation of {phase} returned {output:?}");
                self.end(now, Outcome::Failed { phase, cause });
            }
            Ok(JobOutput::Product(product)) => {
                self.record(Event::Produced { product, at: now });
            }
            Ok(JobOutput::Judged {
                product,
                excluded,
                planned,
            }) => {
                for exclusion in excluded {
                    self.record(Event::Excluded { exclusion, at: now });
                }
                if let Some(budget) = planned {
                    self.policy.follow(&budget.plan);
                    self.record(Event::Planned { budget, at: now });
                }
                self.record(Event::Produced { product, at: now });
            }
            Ok(JobOutput::Compared(comparison)) => {
                if let Some(release) = &self.state.release {
                    let version = release.version;
                    self.record(Event::Compared {
                        version,
                        comparison,
                        at: now,
                    });
                }
            }
            Ok(JobOutput::Release { blob, bytes }) if phase == Phase::Report => {
                // An operator may have ordered the same meanwhile.
                if let Some(from) = self.goes_back_to().map(|before| before.version) {
                    let version = self.next_version();
                    self.record(Event::ReReleased {
                        from,
                        version,
                        blob,
                        bytes,
                        at: now,
                    });
                    self.announce();
                }
            }
            Ok(JobOutput::Release { blob, bytes }) => {
                let version = self.next_version();
                let lineage = self.state.lineage();
                self.hold(version);
                self.record(Event::Released {
                    version,
                    blob,
                    bytes,
                    lineage,
                    at: now,
                });
                self.announce();
            }
        }
    }

    /// What follows a phase that is closed or computes. Depends on the state
    /// alone, so a restart between any two events goes on in the same way.
    fn next(&self, open: &OpenPhase) -> Next {
        match open.phase {
            Phase::Summarise if open.taken.is_empty() => Next::Open(self.phase_after_points()),
            Phase::Contribute => Next::Open(Phase::Solve),
            Phase::Report if !open.produced && self.compares() => Next::Compute,
            Phase::Report if self.goes_back_to().is_some() => Next::Compute,
            Phase::Report => self.complete(),
            _ if !open.produced => Next::Compute,
            Phase::Profile => Next::Open(self.phase_after_profile()),
            Phase::Summarise => Next::Open(self.phase_after_points()),
            Phase::Solve => Next::Open(Phase::Distil),
            Phase::Distil => Next::Open(Phase::Release),
            // Nobody is waited for: devices say how a student fares when they
            // have tried it.
            Phase::Release if self.is_standing() => self.complete(),
            Phase::Release => Next::Open(Phase::Report),
        }
    }

    fn complete(&self) -> Next {
        let released = self.state.release.as_ref().map(|release| release.version);
        Next::Complete(released.unwrap_or(Version {
            epoch: self.epoch,
            number: 0,
        }))
    }

    /// The automatic policy: the first round as soon as enough devices are
    /// there, later ones at intervals while there is something new, or the
    /// last one came to nothing; those of a standing task without a gap.
    fn automatic_start(&self) -> Option<Time> {
        if self.is_standing() {
            return Some(Time(0));
        }
        if self.refines_next() {
            // It belongs to the round before, however that was started.
            return Some(Time(0));
        }
        let interval = self.policy.interval_ms?;
        if (self.connected.len() as u32) < self.policy.devices_min {
            return None;
        }
        let Some(last) = self.state.history.last() else {
            return Some(Time(0));
        };
        let due = match last.outcome {
            Outcome::QuorumNotMet { .. } | Outcome::Failed { .. } => true,
            Outcome::Completed { .. } | Outcome::Cancelled => {
                let changed = self.connected.intersection(&self.state.changed).count();
                changed as u32 >= self.policy.new_data_devices_min
            }
        };
        let ended = match self.ended_ahead {
            Some((round, at)) if round == last.id => at,
            _ => last.ended,
        };
        due.then(|| ended.after_ms(interval))
    }

    fn open_first_phase(&mut self, now: Time) {
        let first = match self.state.normaliser {
            None => Phase::Profile,
            Some(_) if self.refines_next() => Phase::Distil,
            Some(_) => self.phase_after_profile(),
        };
        self.open_phase(now, first);
    }

    /// Whether another round would ask devices for their rows at all.
    pub(super) fn asks_for_rows(&self) -> bool {
        self.state.normaliser.is_none() || self.phase_after_profile() != Phase::Solve
    }

    /// Points are asked for until the transfer set is full. A standing task
    /// keeps the set that contributions stand on, and where there are none
    /// makes it anew of all points.
    fn phase_after_profile(&self) -> Phase {
        if self.is_standing() {
            let keeps = !self.policy.contribute.is_empty() && self.state.transfer.is_some();
            return if keeps {
                Phase::Contribute
            } else {
                Phase::Summarise
            };
        }
        match self.state.transfer {
            Some(transfer) if transfer.points >= self.policy.points_max => {
                self.phase_after_points()
            }
            _ => Phase::Summarise,
        }
    }

    /// Where points are all that a task asks for, the teacher is solved from
    /// them at once.
    fn phase_after_points(&self) -> Phase {
        if self.policy.contribute.is_empty() {
            Phase::Solve
        } else {
            Phase::Contribute
        }
    }

    fn open_phase(&mut self, now: Time, phase: Phase) {
        if self.is_standing() {
            self.open_standing(now, phase);
            return self.advance(now);
        }
        let participants: Vec<_> = if phase.gathers() {
            let returning = std::mem::take(&mut self.returning);
            let all = self.connected.union(&returning).copied();
            all.filter(|device| !self.is_struck_out(*device)).collect()
        } else {
            Vec::new()
        };
        let named = participants.len().min(PARTICIPANTS_MAX);
        self.record(Event::PhaseOpened {
            phase,
            at: now,
            participants: participants[..named].to_vec(),
        });
        for &device in &participants[named..] {
            self.record(Event::Joined { device });
        }
        for device in participants {
            if self.connected.contains(&device) {
                self.call(now, device);
            }
        }
        self.advance(now);
    }

    /// Whether a phase may close without a single contribution: reports are
    /// for people, and new points are welcome but the old ones do.
    pub(super) fn is_optional(&self, phase: Phase) -> bool {
        match phase {
            Phase::Report => true,
            Phase::Summarise => self.state.transfer.is_some(),
            _ => false,
        }
    }

    /// Judges a gathering phase; without a time, says until when to wait.
    fn judge(&self, open: &OpenPhase, now: Option<Time>) -> Verdict {
        let optional = self.is_optional(open.phase);
        let tally = &self.tally;
        let got = tally.contributed() as u32;
        let quorum_at = if optional {
            // Anyone who says it has nothing to send has answered too.
            let needed = self.policy.share_of(tally.participants());
            tally.answered_by(needed as usize)
        } else {
            let needed = self.policy.quorum_of(tally.expected());
            tally.contributed_by(needed as usize)
        };
        let may_close = quorum_at.is_some() || optional;
        if may_close && tally.participants() > 0 && tally.missing() == 0 {
            return Verdict::Close;
        }
        let deadline = open
            .counts_from
            .after_ms(self.policy.deadline_of(open.phase));
        // Where all who were called have nothing to give, there is nobody to
        // wait for but newcomers.
        let nobody_left = (got == 0 && tally.missing() == 0)
            .then(|| tally.abstained_last())
            .flatten();
        let until = quorum_at.or(nobody_left).map_or(deadline, |at| {
            let graced = at.max(open.counts_from).after_ms(self.policy.grace_ms);
            graced.min(deadline)
        });
        match now {
            Some(now) if now >= until && may_close => Verdict::Close,
            Some(now) if now >= until => {
                let needed = self
                    .policy
                    .quorum_of(tally.expected() - self.uncalled(open));
                match got >= needed {
                    true => Verdict::Close,
                    false => Verdict::QuorumNotMet { got, needed },
                }
            }
            _ => Verdict::Wait(until),
        }
    }

    /// Devices waited for that had no session all the while, so that nobody
    /// could call them: at the deadline they are no part of the quorum, as
    /// those are not that had none when the phase opened. Linear in the devices.
    fn uncalled(&self, open: &OpenPhase) -> usize {
        let wanted = self.policy.kinds(open.phase);
        let missing = open.missing(wanted).into_iter();
        let expected = missing.filter(|device| open.is_expected(*device, wanted));
        expected
            .filter(|device| !self.called.contains(device))
            .count()
    }

    fn close_gathering(&mut self, now: Time) {
        self.miss();
        let (Some(round), Some(open)) = (&self.state.round, self.state.open()) else {
            return;
        };
        let (round, phase) = (round.id, open.phase);
        let late = open.missing(self.policy.kinds(phase));
        self.record(Event::PhaseClosed { at: now });
        self.call_off(round, phase, late);
        self.advance(now);
    }

    /// Starts the computation that the open phase stands for.
    pub(super) fn compute(&mut self, now: Time) {
        let state = &self.state;
        let (Some(round), Some(open)) = (&state.round, state.open()) else {
            return;
        };
        let taken = |wanted: Kind| {
            open.taken
                .iter()
                .filter(|((_, kind), _)| *kind == wanted)
                .map(|((device, _), standing)| (*device, standing.blob))
                .collect::<Vec<_>>()
        };
        let kind = match open.phase {
            Phase::Profile => Some(JobKind::Normalise {
                profiles: taken(Kind::Profile),
            }),
            Phase::Summarise => state.normaliser.map(|normaliser| JobKind::Gather {
                normaliser,
                previous: state
                    .transfer
                    .map(|transfer| transfer.blob)
                    .filter(|_| !self.is_standing()),
                summaries: taken(Kind::Summary),
            }),
            Phase::Solve => state.transfer.map(|transfer| JobKind::Solve {
                transfer: transfer.blob,
                inputs: round.inputs.clone(),
            }),
            Phase::Distil if state.is_refining() => self.refine(),
            Phase::Distil => state
                .transfer
                .zip(state.teacher)
                .map(|(transfer, teacher)| JobKind::Distil {
                    transfer: transfer.blob,
                    teacher,
                }),
            Phase::Release => round
                .student
                .zip(state.normaliser)
                .map(|(student, normaliser)| JobKind::Sign {
                    student,
                    normaliser,
                    version: self.next_version(),
                    lineage: state.lineage(),
                    refined: match state.is_refining() {
                        true => state.refined() + 1,
                        false => 0,
                    },
                }),
            Phase::Report => self.conclude(),
            Phase::Contribute => None,
        };
        let (round, phase) = (round.id, open.phase);
        match kind {
            Some(kind) => {
                self.computing = true;
                self.act(Action::Compute(Job { round, kind }));
            }
            // Unreachable while the log is whole; a round ends all the same.
            None => {
                let cause = "what it is computed from is not there".to_owned();
                self.end(now, Outcome::Failed { phase, cause });
            }
        }
    }

    pub(super) fn refine(&self) -> Option<JobKind> {
        let state = &self.state;
        Some(JobKind::Refine {
            release: state.refined_from()?.blob,
            transfer: state.transfer?.blob,
            teacher: state.teacher?,
            gradients: state.gradients(),
        })
    }

    /// The version of what is released next. Versions never go down, not
    /// even under an older store's epoch or where the task was deleted and
    /// made anew.
    pub fn next_version(&self) -> Version {
        let epoch = self.epoch.max(self.epoch_unknown);
        match self.highest_version() {
            Some(last) if last.epoch >= epoch => last.above(1),
            _ => Version { epoch, number: 1 },
        }
    }

    fn end(&mut self, now: Time, outcome: Outcome) {
        self.computing = false;
        self.returning.clear();
        if self.state.open().is_some_and(|open| !open.closed) {
            self.miss();
        }
        let called = self.state.round.as_ref().zip(self.state.open());
        let called = called
            .filter(|(_, open)| open.phase.gathers() && !open.closed)
            .map(|(round, open)| {
                let missing = open.missing(self.policy.kinds(open.phase));
                (round.id, open.phase, missing)
            });
        self.record(Event::RoundEnded { outcome, at: now });
        if let Some((round, phase, missing)) = called {
            self.call_off(round, phase, missing);
        }
    }

    /// Tells devices that are still at work that nobody waits any more.
    pub(super) fn call_off(&mut self, round: RoundId, phase: Phase, devices: Vec<DeviceId>) {
        for device in devices {
            if self.connected.contains(&device) {
                let task = self.task;
                let message = ToDevice::PhaseClosed { task, round, phase };
                self.act(Action::Send { device, message });
            }
        }
    }
}

/// Devices that one event names; the others join one by one.
const PARTICIPANTS_MAX: usize = 16_384;

/// Whether a computation's output is what its phase waits for.
fn fits(phase: Phase, output: &JobOutput) -> bool {
    let product = match output {
        JobOutput::Release { .. } => return matches!(phase, Phase::Release | Phase::Report),
        JobOutput::Compared(_) => return phase == Phase::Report,
        JobOutput::Product(product) | JobOutput::Judged { product, .. } => product,
    };
    matches!(
        (phase, product),
        (Phase::Profile, Product::Normaliser(_))
            | (Phase::Summarise, Product::TransferSet { .. })
            | (Phase::Solve, Product::Teacher(_))
            | (Phase::Distil, Product::Student(_))
    )
}
