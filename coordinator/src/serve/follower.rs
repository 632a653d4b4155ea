//! Turns a task's events into what a watcher is shown.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::ids::{DeviceId, RoundId, TaskHash};
use common::round::{Kind, Phase, Reason};

use crate::admin::{ABSENCES_MAX, Absence, AbsenceReason, DeviceName, OutcomeStatus, Progress};
use crate::registry::Registry;
use crate::round::{Ended, Event, RoundPolicy, State};

/// Who is waited for and who is done, one event at a time. The engine itself
/// may be several events ahead by the time they are shown.
#[derive(Debug)]
pub(super) struct Follower {
    task: TaskHash,
    wanted: Vec<Kind>,
    round: RoundId,
    participants: BTreeSet<DeviceId>,
    taken: BTreeSet<(DeviceId, Kind)>,
    /// Participants that are done: counted as it goes, for there are many.
    done: usize,
    policy: RoundPolicy,
    /// The open phase, if it gathers.
    phase: Option<Phase>,
    abstained: BTreeSet<DeviceId>,
    /// Why the newest contribution of a device in the open phase was refused.
    refused: BTreeMap<DeviceId, Reason>,
    seen: Seen,
    /// What was seen of ended rounds, newest last.
    ended: VecDeque<(RoundId, Seen)>,
}

/// What the log does not keep of a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Bytes of contributions.
    pub(super) bytes: u64,
    /// Devices that were waited for in vain, the first of them.
    pub(super) absent: Vec<Absence>,
}

/// Ended rounds of which this is kept.
const ENDED_MAX: usize = 16;

/// What an event alone does not say.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) registry: &'a Registry,
    pub(super) state: &'a State,
    /// Length of the contribution that is being taken.
    pub(super) bytes: u64,
    /// Whether a device has a session.
    pub(super) connected: &'a dyn Fn(DeviceId) -> bool,
}

impl Follower {
    /// A follower of a task in this state.
    pub(super) fn new(task: TaskHash, policy: RoundPolicy, state: &State) -> Self {
        let open = state.open();
        let mut follower = Self {
            task,
            done: 0,
            wanted: open.map_or_else(Vec::new, |open| policy.wanted(open.phase, state).to_vec()),
            round: state.last_round,
            participants: open.map_or_else(BTreeSet::new, |open| open.participants.clone()),
            taken: open.map_or_else(BTreeSet::new, |open| open.taken.keys().copied().collect()),
            policy,
            phase: open.map(|open| open.phase).filter(|phase| phase.gathers()),
            abstained: open.map_or_else(BTreeSet::new, |open| open.abstained.clone()),
            refused: BTreeMap::new(),
            seen: Seen::default(),
            ended: VecDeque::new(),
        };
        let participants = follower.participants.iter();
        let done = participants.filter(|device| follower.is_done(**device));
        follower.done = done.count();
        follower
    }

    /// Bytes of the contributions that were seen in the open round.
    pub(super) fn bytes(&self) -> u64 {
        self.seen.bytes
    }

    /// What was seen of a round that ended.
    pub(super) fn ended(&self, round: RoundId) -> Option<&Seen> {
        let mut ended = self.ended.iter();
        ended.find(|(id, _)| *id == round).map(|(_, seen)| seen)
    }

    /// Why a device is missing in the open phase.
    pub(super) fn why(&self, device: DeviceId, is_connected: bool) -> AbsenceReason {
        match self.refused.get(&device) {
            _ if self.abstained.contains(&device) => AbsenceReason::Abstained,
            Some(reason) => AbsenceReason::Refused(*reason),
            None if is_connected => AbsenceReason::Silent,
            None => AbsenceReason::Away,
        }
    }

    /// What to show of this event.
    pub(super) fn see(&mut self, event: &Event, around: Around<'_>) -> Option<Progress> {
        let task = self.task;
        let name = |device: DeviceId| DeviceName {
            device,
            label: around.registry.label(device).to_owned(),
        };
        Some(match event {
            Event::RoundOpened { round, at } => {
                self.round = *round;
                self.seen = Seen::default();
                Progress::RoundOpened {
                    task,
                    round: *round,
                    at: *at,
                }
            }
            Event::PhaseOpened {
                phase,
                at,
                participants,
            } => {
                self.leave_phase(around);
                self.phase = Some(*phase).filter(|phase| phase.gathers());
                // The engine may be ahead, but not past a product, on which
                // alone this depends.
                self.wanted = self.policy.wanted(*phase, around.state).to_vec();
                self.participants = participants.iter().copied().collect();
                self.taken.clear();
                self.done = 0;
                self.abstained.clear();
                self.refused.clear();
                Progress::PhaseOpened {
                    task,
                    round: self.round,
                    phase: *phase,
                    participants: participants.len(),
                    at: *at,
                }
            }
            Event::Joined { device } => {
                let came = self.participants.insert(*device);
                self.done += usize::from(came && self.is_done(*device));
                return None;
            }
            Event::Abstained { device, at } => {
                self.abstained.insert(*device);
                Progress::Abstained {
                    task,
                    device: name(*device),
                    at: *at,
                }
            }
            Event::Accepted {
                device,
                kind,
                rows,
                at,
                ..
            } => {
                let was_done = self.is_done(*device);
                self.taken.insert((*device, *kind));
                let counts = !was_done && self.participants.contains(device);
                self.done += usize::from(counts && self.is_done(*device));
                self.refused.remove(device);
                self.seen.bytes += around.bytes;
                Progress::Accepted {
                    task,
                    device: name(*device),
                    kind: *kind,
                    rows: *rows,
                    bytes: around.bytes,
                    contributed: self.done,
                    participants: self.participants.len(),
                    at: *at,
                }
            }
            Event::Refused {
                device,
                kind,
                reason,
                at,
            } => {
                if self.refused.len() < ABSENCES_MAX {
                    self.refused.insert(*device, *reason);
                }
                Progress::Refused {
                    task,
                    device: name(*device),
                    kind: *kind,
                    reason: *reason,
                    at: *at,
                }
            }
            Event::Released {
                version,
                bytes,
                lineage,
                at,
                ..
            } => Progress::Released {
                task,
                version: *version,
                bytes: *bytes,
                lineage: lineage.len(),
                at: *at,
            },
            Event::RoundEnded { .. } => {
                self.leave_phase(around);
                self.phase = None;
                self.ended
                    .push_back((self.round, std::mem::take(&mut self.seen)));
                if self.ended.len() > ENDED_MAX {
                    self.ended.pop_front();
                }
                ended(task, around.state.history.last()?)
            }
            _ => return None,
        })
    }

    fn is_done(&self, device: DeviceId) -> bool {
        let mut wanted = self.wanted.iter();
        wanted.all(|kind| self.taken.contains(&(device, *kind)))
    }

    /// Keeps who did not do its part in the phase that ends.
    fn leave_phase(&mut self, around: Around<'_>) {
        let Some(phase) = self.phase else { return };
        let missing = self
            .participants
            .iter()
            .filter(|device| !self.is_done(**device));
        let absences = missing.map(|&device| Absence {
            phase,
            device: DeviceName {
                device,
                label: around.registry.label(device).to_owned(),
            },
            why: self.why(device, (around.connected)(device)),
        });
        let room = ABSENCES_MAX.saturating_sub(self.seen.absent.len());
        let absences: Vec<_> = absences.take(room).collect();
        self.seen.absent.extend(absences);
    }
}

/// Writes a step to the log, in the span of its task.
pub(super) fn log(step: &Progress) {
    let task = step.task().map(|task| task.short()).unwrap_or_default();
    let _entered = tracing::info_span!("round", %task).entered();
    match step {
        Progress::RoundOpened { round, .. } => tracing::info!(%round, "round began"),
        Progress::PhaseOpened {
            round,
            phase,
            participants,
            ..
        } => tracing::info!(%round, %phase, participants, "phase began"),
        Progress::Accepted {
            device,
            kind,
            rows,
            bytes,
            ..
        } => {
            tracing::info!(device = %device.device.short(), %kind, rows, bytes, "accepted");
        }
        Progress::Refused {
            device,
            kind,
            reason,
            ..
        } => tracing::warn!(device = %device.device.short(), %kind, %reason, "refused"),
        Progress::Abstained { device, .. } => {
            tracing::info!(device = %device.device.short(), "abstained");
        }
        Progress::Released {
            version,
            bytes,
            lineage,
            ..
        } => tracing::info!(%version, bytes, lineage, "released"),
        Progress::Ended {
            round,
            outcome,
            wall_ms,
            ..
        } => tracing::info!(%round, %outcome, wall_ms, "round ended"),
        Progress::Missed { .. } => {}
    }
}

fn ended(task: TaskHash, ended: &Ended) -> Progress {
    Progress::Ended {
        task,
        round: ended.id,
        outcome: OutcomeStatus::from(&ended.outcome),
        phase_ms: phase_ms(ended),
        wall_ms: ended.ended.since_ms(ended.opened),
        at: ended.ended,
    }
}

/// Milliseconds each phase of an ended round took.
pub(super) fn phase_ms(ended: &Ended) -> std::collections::BTreeMap<common::round::Phase, u64> {
    ended
        .spans
        .iter()
        .map(|span| (span.phase, span.closed.since_ms(span.opened)))
        .collect()
}
