//! Turns a task's events into what a watcher is shown.

use std::collections::{BTreeSet, VecDeque};

use protocol::ids::{DeviceId, RoundId, TaskHash};
use protocol::round::Kind;

use crate::registry::Registry;
use crate::round::{Ended, Event, RoundPolicy, State};
use crate::status::{DeviceName, OutcomeStatus, Progress};

/// Who is waited for and who is done, one event at a time. The engine itself
/// may be several events ahead by the time they are shown.
#[derive(Debug)]
pub(super) struct ProgressTracker {
    task: TaskHash,
    wanted: Vec<Kind>,
    round: RoundId,
    participants: BTreeSet<DeviceId>,
    taken: BTreeSet<(DeviceId, Kind)>,
    /// Participants that are done: counted as it goes, for there are many.
    done: usize,
    policy: RoundPolicy,
    /// Bytes of contributions in the open round.
    bytes: u64,
    /// The same for ended rounds, newest last: the log does not keep it.
    ended: VecDeque<(RoundId, u64)>,
}

/// Ended rounds of which this is kept.
const ENDED_MAX: usize = 16;

/// What an event alone does not say.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) registry: &'a Registry,
    pub(super) state: &'a State,
    /// Length of the contribution that is being taken.
    pub(super) bytes: u64,
}

impl ProgressTracker {
    /// A follower of a task in this state.
    pub(super) fn new(task: TaskHash, policy: RoundPolicy, state: &State) -> Self {
        let open = state.open();
        let mut tracker = Self {
            task,
            done: 0,
            wanted: open.map_or_else(Vec::new, |open| policy.kinds(open.phase).to_vec()),
            round: state.last_round,
            participants: open.map_or_else(BTreeSet::new, |open| open.participants.clone()),
            taken: open.map_or_else(BTreeSet::new, |open| open.taken.keys().copied().collect()),
            policy,
            bytes: 0,
            ended: VecDeque::new(),
        };
        let participants = tracker.participants.iter();
        let done = participants.filter(|device| tracker.is_done(**device));
        tracker.done = done.count();
        tracker
    }

    /// Bytes of the contributions that were seen in the open round.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same of a round that ended, if it was seen.
    pub(super) fn ended(&self, round: RoundId) -> Option<u64> {
        let mut ended = self.ended.iter();
        ended.find(|(id, _)| *id == round).map(|(_, bytes)| *bytes)
    }

    /// What to show of this event.
    pub(super) fn see(&mut self, event: &Event, context: Context<'_>) -> Option<Progress> {
        let task = self.task;
        let name = |device: DeviceId| DeviceName {
            device,
            label: context.registry.label(device).to_owned(),
        };
        Some(match event {
            Event::Planned { budget, .. } => {
                self.policy.follow(&budget.plan);
                return None;
            }
            Event::RoundOpened { round, at } => {
                self.round = *round;
                self.bytes = 0;
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
                self.wanted = self.policy.kinds(*phase).to_vec();
                self.participants = participants.iter().copied().collect();
                self.taken.clear();
                self.done = 0;
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
            Event::Abstained { device, at } => Progress::Abstained {
                task,
                device: name(*device),
                at: *at,
            },
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
                self.bytes += context.bytes;
                Progress::Accepted {
                    task,
                    device: name(*device),
                    kind: *kind,
                    rows: *rows,
                    bytes: context.bytes,
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
            } => Progress::Refused {
                task,
                device: name(*device),
                kind: *kind,
                reason: *reason,
                at: *at,
            },
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
            Event::ReReleased {
                from, version, at, ..
            } => Progress::ReleasedAgain {
                task,
                from: *from,
                version: *version,
                at: *at,
            },
            Event::RoundEnded { .. } => {
                self.ended
                    .push_back((self.round, std::mem::take(&mut self.bytes)));
                if self.ended.len() > ENDED_MAX {
                    self.ended.pop_front();
                }
                ended(task, context.state.history.last()?)
            }
            _ => return None,
        })
    }

    fn is_done(&self, device: DeviceId) -> bool {
        let mut wanted = self.wanted.iter();
        wanted.all(|kind| self.taken.contains(&(device, *kind)))
    }
}

/// Writes a step to the log, in the span of its task.
pub fn log(step: &Progress) {
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
        Progress::Withheld {
            device,
            reason,
            text,
            ..
        } => {
            let device = device.device.short();
            tracing::warn!(%device, reason = reason.name(), "gives nothing, or less: {text}");
        }
        Progress::Released {
            version,
            bytes,
            lineage,
            ..
        } => tracing::info!(%version, bytes, lineage, "released"),
        Progress::ReleasedAgain { from, version, .. } => {
            tracing::warn!(%from, %version, "an earlier student is released again");
        }
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
pub(super) fn phase_ms(ended: &Ended) -> std::collections::BTreeMap<protocol::round::Phase, u64> {
    ended
        .spans
        .iter()
        .map(|span| (span.phase, span.closed.since_ms(span.opened)))
        .collect()
}
