//! Turns a task's events into what a watcher is shown.

use std::collections::BTreeSet;

use common::ids::{DeviceId, RoundId, TaskHash};
use common::round::Kind;

use crate::admin::{DeviceName, OutcomeStatus, Progress};
use crate::registry::Registry;
use crate::round::{Ended, Event, State};

/// Who is waited for and who is done, one event at a time. The engine itself
/// may be several events ahead by the time they are shown.
#[derive(Debug)]
pub(super) struct Follower {
    task: TaskHash,
    wanted: Vec<Kind>,
    round: RoundId,
    participants: BTreeSet<DeviceId>,
    taken: BTreeSet<(DeviceId, Kind)>,
    contribute: Vec<Kind>,
}

/// What an event alone does not say.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) registry: &'a Registry,
    pub(super) state: &'a State,
    /// Length of the contribution that is being taken.
    pub(super) bytes: u64,
}

impl Follower {
    /// A follower of a task in this state. `contribute` is what the task's
    /// contribute phase asks for.
    pub(super) fn new(task: TaskHash, contribute: Vec<Kind>, state: &State) -> Self {
        let open = state.open();
        Self {
            task,
            wanted: open.map_or_else(Vec::new, |open| wanted(open.phase.kinds(), &contribute)),
            round: state.last_round,
            participants: open.map_or_else(BTreeSet::new, |open| open.participants.clone()),
            taken: open.map_or_else(BTreeSet::new, |open| open.taken.keys().copied().collect()),
            contribute,
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
                self.wanted = wanted(phase.kinds(), &self.contribute);
                self.participants = participants.iter().copied().collect();
                self.taken.clear();
                Progress::PhaseOpened {
                    task,
                    round: self.round,
                    phase: *phase,
                    participants: participants.len(),
                    at: *at,
                }
            }
            Event::Joined { device } => {
                self.participants.insert(*device);
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
                self.taken.insert((*device, *kind));
                Progress::Accepted {
                    task,
                    device: name(*device),
                    kind: *kind,
                    rows: *rows,
                    bytes: around.bytes,
                    contributed: self.contributed(),
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
            Event::RoundEnded { .. } => ended(task, around.state.history.last()?),
            _ => return None,
        })
    }

    fn contributed(&self) -> usize {
        let done = |device: &&DeviceId| {
            self.wanted
                .iter()
                .all(|kind| self.taken.contains(&(**device, *kind)))
        };
        self.participants.iter().filter(done).count()
    }
}

fn wanted(kinds: &[Kind], contribute: &[Kind]) -> Vec<Kind> {
    if kinds.iter().any(|kind| contribute.contains(kind)) {
        contribute.to_vec()
    } else {
        kinds.to_vec()
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
