//! How a round moves: when phases close, what is computed between them, and
//! how it ends.

use common::ids::{RoundId, Time, Version};
use common::round::{Kind, Phase};
use common::wire::messages::{Announcement, ToDevice};

use super::engine::{Action, Engine, Job, JobKind, JobOutput};
use super::event::{Event, Outcome};
use super::state::OpenPhase;

/// Whether a gathering phase may close.
enum Verdict {
    Wait(Time),
    Close,
    QuorumNotMet { got: u32, needed: u32 },
}

impl Engine {
    /// When the engine wants to be woken without another input.
    pub fn poll_timeout(&self) -> Option<Time> {
        match self.state.open() {
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
        if self.state.round.is_none() {
            if self.automatic_start().is_some_and(|at| at <= now) {
                self.open_round(now);
            }
            return;
        }
        let Some(open) = self.state.open() else {
            self.open_first_phase(now);
            return;
        };
        if open.phase.gathers() && !open.closed {
            match self.judge(open, Some(now)) {
                Verdict::Wait(_) => {}
                Verdict::Close => self.close_gathering(now),
                Verdict::QuorumNotMet { got, needed } => {
                    let phase = open.phase;
                    self.end(now, Outcome::QuorumNotMet { phase, got, needed });
                }
            }
        } else if !self.computing {
            self.compute();
        }
    }

    pub(super) fn open_round(&mut self, now: Time) -> RoundId {
        let round = RoundId(self.state.last_round.0 + 1);
        self.changed.clear();
        self.record(Event::RoundOpened { round, at: now });
        round
    }

    pub(super) fn cancel(&mut self, now: Time) {
        if self.state.round.is_some() {
            self.end(now, Outcome::Cancelled);
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
            Ok(JobOutput::Product(product)) => {
                self.record(Event::Produced { product, at: now });
                let next = match phase {
                    Phase::Profile => self.phase_after_profile(),
                    Phase::Summarise => Phase::Contribute,
                    Phase::Solve => Phase::Distil,
                    _ => Phase::Release,
                };
                self.open_phase(now, next);
            }
            Ok(JobOutput::Release { blob, bytes }) => {
                let version = self.next_version();
                let lineage = self.state.lineage();
                self.record(Event::Released {
                    version,
                    blob,
                    bytes,
                    lineage,
                    at: now,
                });
                self.announce(Announcement {
                    task: self.task,
                    version,
                    blob,
                    bytes,
                });
                self.open_phase(now, Phase::Report);
            }
        }
    }

    /// The automatic policy: the first round as soon as enough devices are
    /// there, later ones at intervals while there is something new.
    fn automatic_start(&self) -> Option<Time> {
        let interval = self.policy.interval_ms?;
        if (self.connected.len() as u32) < self.policy.devices_min {
            return None;
        }
        match self.state.last_ended {
            None => Some(Time(0)),
            Some(_) if (self.changed.len() as u32) < self.policy.new_data_devices_min => None,
            Some(ended) => Some(ended.after_ms(interval)),
        }
    }

    fn open_first_phase(&mut self, now: Time) {
        let first = match self.state.normaliser {
            None => Phase::Profile,
            Some(_) => self.phase_after_profile(),
        };
        self.open_phase(now, first);
    }

    /// Points are asked for until the transfer set is full.
    fn phase_after_profile(&self) -> Phase {
        match self.state.transfer {
            Some(transfer) if transfer.points >= self.policy.points_max => Phase::Contribute,
            _ => Phase::Summarise,
        }
    }

    fn open_phase(&mut self, now: Time, phase: Phase) {
        let participants: Vec<_> = if phase.gathers() {
            self.connected.iter().copied().collect()
        } else {
            Vec::new()
        };
        self.record(Event::PhaseOpened {
            phase,
            at: now,
            participants: participants.clone(),
        });
        for device in participants {
            self.call(now, device);
        }
        self.advance(now);
    }

    /// Judges a gathering phase; without a time, says until when to wait.
    fn judge(&self, open: &OpenPhase, now: Option<Time>) -> Verdict {
        let wanted = self.policy.wanted(open.phase);
        let missing = open.missing(wanted).len();
        let contributed = open.contributed(wanted).len() as u32;
        let needed = self
            .policy
            .quorum_of(open.participants.len() - open.abstained.len());
        let met = contributed >= needed;
        let report = open.phase == Phase::Report;
        if missing == 0 && !open.participants.is_empty() && (met || report) {
            return Verdict::Close;
        }
        let deadline = open
            .counts_from
            .after_ms(self.policy.deadline_of(open.phase));
        let until = match open.finished.last() {
            Some(last) if met => {
                let graced = self.quorum_at(open, needed).unwrap_or(*last);
                graced
                    .max(open.counts_from)
                    .after_ms(self.policy.grace_ms)
                    .min(deadline)
            }
            _ => deadline,
        };
        match now {
            Some(now) if now >= until => {
                let optional = open.phase == Phase::Summarise && self.state.transfer.is_some();
                if met || report || optional {
                    Verdict::Close
                } else {
                    Verdict::QuorumNotMet {
                        got: contributed,
                        needed,
                    }
                }
            }
            _ => Verdict::Wait(until),
        }
    }

    /// When the quorum was reached: the needed-th contribution of the phase.
    fn quorum_at(&self, open: &OpenPhase, needed: u32) -> Option<Time> {
        let each = self.policy.wanted(open.phase).len();
        open.finished
            .get((needed as usize * each).saturating_sub(1))
            .copied()
    }

    fn close_gathering(&mut self, now: Time) {
        let (Some(round), Some(open)) = (&self.state.round, self.state.open()) else {
            return;
        };
        let (round, phase) = (round.id, open.phase);
        let late = open.missing(self.policy.wanted(phase));
        let empty = open.taken.is_empty();
        self.record(Event::PhaseClosed { at: now });
        for device in late {
            let message = ToDevice::PhaseClosed {
                task: self.task,
                round,
                phase,
            };
            self.act(Action::Send { device, message });
        }
        match phase {
            Phase::Contribute => self.open_phase(now, Phase::Solve),
            Phase::Summarise if empty => self.open_phase(now, Phase::Contribute),
            Phase::Report => {
                let version = self.state.release.as_ref().map(|release| release.version);
                let version = version.unwrap_or(Version {
                    epoch: self.epoch,
                    number: 0,
                });
                self.end(now, Outcome::Completed { version });
            }
            _ => self.advance(now),
        }
    }

    /// Starts the computation that the open phase stands for.
    fn compute(&mut self) {
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
                previous: state.transfer.map(|transfer| transfer.blob),
                summaries: taken(Kind::Summary),
            }),
            Phase::Solve => state.transfer.map(|transfer| JobKind::Solve {
                transfer: transfer.blob,
                inputs: round.inputs.clone(),
            }),
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
                }),
            Phase::Contribute | Phase::Report => None,
        };
        if let Some(kind) = kind {
            let job = Job {
                round: round.id,
                kind,
            };
            self.computing = true;
            self.act(Action::Compute(job));
        }
    }

    fn next_version(&self) -> Version {
        let number = match &self.state.release {
            Some(release) if release.version.epoch == self.epoch => release.version.number + 1,
            _ => 1,
        };
        Version {
            epoch: self.epoch,
            number,
        }
    }

    fn announce(&mut self, announcement: Announcement) {
        let devices: Vec<_> = self.connected.iter().copied().collect();
        for device in devices {
            self.act(Action::Send {
                device,
                message: ToDevice::Released(announcement),
            });
        }
    }

    fn end(&mut self, now: Time, outcome: Outcome) {
        self.computing = false;
        self.record(Event::RoundEnded { outcome, at: now });
    }
}
