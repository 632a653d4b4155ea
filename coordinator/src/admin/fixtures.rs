//! Statuses for tests: each with nothing in it that the test does not say.

use common::ids::{DeviceId, RoundId, TaskHash, Time};
use common::round::Phase;

use super::{
    Absence, AbsenceReason, DeviceName, EndedStatus, MissedStatus, OutcomeStatus, ReleaseStatus,
    RolloutStatus, TaskStatus,
};

/// A round that was cancelled, with these devices named and counted.
pub(crate) fn ended(absent: Vec<Absence>, missed: Vec<MissedStatus>) -> EndedStatus {
    EndedStatus {
        round: RoundId(1),
        outcome: OutcomeStatus::Cancelled,
        ended: Time(9),
        wall_ms: 9,
        phase_ms: Default::default(),
        accepted: Default::default(),
        report: None,
        bytes: None,
        absent,
        missed,
        reports: Vec::new(),
    }
}

/// A device of this number and label that did not do its part in these phases.
pub(crate) fn absence(at: u8, label: &str, phases: &[Phase], why: AbsenceReason) -> Absence {
    Absence {
        phases: phases.to_vec(),
        device: DeviceName {
            device: DeviceId([at; 16]),
            label: label.to_owned(),
        },
        why,
    }
}

/// So many devices that did not do their part in a phase.
pub(crate) fn missed(phase: Phase, why: AbsenceReason, devices: u32) -> MissedStatus {
    MissedStatus {
        phase,
        why,
        devices,
    }
}

/// A task with these releases and this rollout, in no round.
pub(crate) fn task(releases: Vec<ReleaseStatus>, rollout: Option<RolloutStatus>) -> TaskStatus {
    TaskStatus {
        task: TaskHash([1; 32]),
        name: "har".into(),
        points: 0,
        normaliser: None,
        transfer: None,
        teacher: None,
        round: None,
        history: Vec::new(),
        releases,
        rollout,
    }
}
