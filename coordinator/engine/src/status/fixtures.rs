//! Statuses for tests: each with nothing in it that the test does not say.

use protocol::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use protocol::round::Phase;

use super::{
    Absence, AbsenceReason, DeviceName, EndedStatus, MissedStatus, OutcomeStatus, ReleaseStatus,
    RolloutStatus, Status, TaskStatus,
};
use crate::rollout::{Plan, Standing, Tally};

/// A coordinator that has run for 20 s without devices or tasks.
pub fn status() -> Status {
    Status {
        program: "0".into(),
        address: ([127, 0, 0, 1], 1).into(),
        now: Time(20_000),
        started: Time(0),
        epoch: 1,
        storage_failures: 0,
        storage_ok: true,
        state_known: true,
        page: None,
        store: None,
        authority: None,
        tasks: Vec::new(),
        devices: Vec::new(),
        gateways: Vec::new(),
    }
}

/// A round that was cancelled, with these devices named and counted.
pub fn ended(absent: Vec<Absence>, missed: Vec<MissedStatus>) -> EndedStatus {
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
pub fn absence(at: u8, label: &str, phases: &[Phase], why: AbsenceReason) -> Absence {
    Absence {
        phases: phases.to_vec(),
        device: DeviceName {
            device: DeviceId([at; 16]),
            label: label.to_owned(),
        },
        why,
    }
}

/// This many devices that did not do their part in a phase.
pub fn missed(phase: Phase, why: AbsenceReason, devices: u32) -> MissedStatus {
    MissedStatus {
        phase,
        why,
        devices,
    }
}

/// Release 1.`number` of a round.
pub fn release(number: u64, round: u64, held: bool) -> ReleaseStatus {
    ReleaseStatus {
        version: Version { epoch: 1, number },
        round: RoundId(round),
        blob: BlobHash([7; 32]),
        bytes: 1,
        lineage: 0,
        released: Time(1),
        report: None,
        held,
    }
}

/// A rollout of release 1.`number` at its first stage, which began at once.
pub fn rolling(number: u64, standing: Standing) -> RolloutStatus {
    RolloutStatus {
        version: Version { epoch: 1, number },
        plan: Plan::default(),
        standing,
        stage: 1,
        percent: 1,
        since: Time(1),
        tally: Tally::default(),
        unwanted_by: Vec::new(),
    }
}

/// A task with these releases and this rollout, in no round.
pub fn task(releases: Vec<ReleaseStatus>, rollout: Option<RolloutStatus>) -> TaskStatus {
    TaskStatus {
        task: TaskHash([1; 32]),
        name: "har".into(),
        archived: None,
        groups: Vec::new(),
        points: 0,
        normaliser: None,
        transfer: None,
        teacher: None,
        budget: None,
        round: None,
        history: Vec::new(),
        releases,
        rollout,
        evaluations: crate::rollout::Tally::default(),
        excluded: Vec::new(),
        unheard: Vec::new(),
        ahead: None,
        odd: Vec::new(),
        profiles: Vec::new(),
        withheld: Vec::new(),
    }
}
