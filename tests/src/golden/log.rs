//! What the coordinator's log holds.

use common::ids::{BlobHash, DeviceId, Time, Version};
use common::round::{Kind, Phase, Reason};
use common::task::{BudgetPlan, Contribute};
use common::trust::certificate::Fingerprint;
use common::trust::token::{Approval, TokenRecord};
use coordinator::journal::LogEntry;
use coordinator::registry::{Certified, RegistryEvent};
use coordinator::rollout::{Plan, Standing};
use coordinator::round::{
    AbsenceReason, BudgetReasons, Comparison, Event, Missed, Outcome, PlannedBudget, Product,
    TaskEvent,
};

use super::{
    AT, BLOB, Case, DEVICE, ROUND, TASK, TOKEN, VERSION, case, evaluations, refusals, word,
};

/// What the coordinator's log holds.
pub fn log_entries() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, event) in events() {
        let entry = LogEntry::Task(TaskEvent { task: TASK, event });
        cases.push(case("log_task", &name, entry));
    }
    for (name, event) in registry_events() {
        cases.push(case("log_registry", &name, LogEntry::Registry(event)));
    }
    cases
}

fn events() -> Vec<(String, Event)> {
    let (at, device, round, version, blob) = (AT, DEVICE, ROUND, VERSION, BLOB);
    let plan = Plan {
        stages: vec![1, 10, 100],
        worse_permille_max: 20,
        soak_ms: 60_000,
    };
    let mut events = vec![
        (
            "task_created".to_owned(),
            Event::TaskCreated { spec: blob, at },
        ),
        ("round_opened".to_owned(), Event::RoundOpened { round, at }),
        (
            "phase_opened".to_owned(),
            Event::PhaseOpened {
                phase: Phase::Profile,
                at,
                participants: vec![device, DeviceId([9; 16])],
            },
        ),
        ("phase_closed".to_owned(), Event::PhaseClosed { at }),
        ("joined".to_owned(), Event::Joined { device }),
        ("abstained".to_owned(), Event::Abstained { device, at }),
        (
            "accepted".to_owned(),
            Event::Accepted {
                device,
                kind: Kind::Labels,
                round,
                blob,
                transfer: Some(BlobHash([6; 32])),
                rows: 1_000,
                at,
            },
        ),
        (
            "refused".to_owned(),
            Event::Refused {
                device,
                kind: Kind::Summary,
                reason: Reason::NotFinite,
                at,
            },
        ),
        (
            "released".to_owned(),
            Event::Released {
                version,
                blob,
                bytes: 9_000,
                lineage: vec![device, DeviceId([9; 16])],
                at,
            },
        ),
        ("resumed".to_owned(), Event::Resumed { at }),
        ("data_changed".to_owned(), Event::DataChanged { device }),
        ("held".to_owned(), Event::Held { version }),
        (
            "rollout_started".to_owned(),
            Event::RolloutStarted { version, plan, at },
        ),
        (
            "stage_opened".to_owned(),
            Event::StageOpened { stage: 1, at },
        ),
        ("piloted".to_owned(), Event::Piloted { device }),
        ("stage_bounded".to_owned(), Event::StageBounded { last: 9 }),
        ("planned".to_owned(), planned(at)),
        ("compared".to_owned(), compared(at)),
        ("archived".to_owned(), Event::Archived { at }),
        ("unarchived".to_owned(), Event::Unarchived { at }),
        ("deleted".to_owned(), Event::Deleted { at }),
        (
            "re_released".to_owned(),
            Event::ReReleased {
                from: Version {
                    epoch: 1,
                    number: 4,
                },
                version,
                blob,
                bytes: 9_000,
                at,
            },
        ),
        ("forgotten".to_owned(), Event::Forgotten { device, at }),
        ("pardoned".to_owned(), Event::Pardoned { device, at }),
        (
            "missed".to_owned(),
            Event::Missed(Missed {
                named: vec![
                    (device, AbsenceReason::Refused(Reason::NotFinite)),
                    (DeviceId([9; 16]), AbsenceReason::NotAsked),
                ],
                counts: vec![
                    (AbsenceReason::Refused(Reason::NotFinite), 1),
                    (AbsenceReason::NotAsked, 1),
                ],
            }),
        ),
    ];
    let products = [
        ("normaliser", Product::Normaliser(blob)),
        ("transfer_set", Product::TransferSet { blob, points: 300 }),
        ("teacher", Product::Teacher(blob)),
        ("student", Product::Student(blob)),
    ];
    for (name, product) in products {
        events.push((format!("produced-{name}"), Event::Produced { product, at }));
    }
    for (name, outcome) in outcomes() {
        events.push((format!("ended-{name}"), Event::RoundEnded { outcome, at }));
    }
    for (name, standing) in standings() {
        events.push((
            format!("rollout-{name}"),
            Event::RolloutChanged { standing, at },
        ));
    }
    for evaluation in evaluations() {
        let event = Event::Tried {
            device,
            version,
            evaluation,
            at,
        };
        events.push((format!("tried-{}", word(&evaluation)), event));
    }
    events
}

fn outcomes() -> [(&'static str, Outcome); 4] {
    let phase = Phase::Contribute;
    [
        ("completed", Outcome::Completed { version: VERSION }),
        (
            "quorum",
            Outcome::QuorumNotMet {
                phase,
                got: 3,
                needed: 20,
            },
        ),
        (
            "failed",
            Outcome::Failed {
                phase,
                cause: "no rows".to_owned(),
            },
        ),
        ("cancelled", Outcome::Cancelled),
    ]
}

fn standings() -> [(&'static str, Standing); 5] {
    [
        ("running", Standing::Running),
        ("paused", Standing::Paused),
        ("completed", Standing::Completed),
        ("halted", Standing::Halted { worse: 1, of: 3 }),
        ("aborted", Standing::Aborted),
    ]
}

fn registry_events() -> Vec<(String, RegistryEvent)> {
    let (at, device, token) = (AT, DEVICE, TOKEN);
    let certificate = Certified {
        fingerprint: Fingerprint([5; 32]),
        authority: Fingerprint([6; 32]),
        expires: AT,
    };
    let record = |approval, group, revoked| TokenRecord {
        id: token,
        secret_hash: [7; 32],
        expires: at,
        uses_max: 10,
        redeemed_by: vec![device],
        group,
        approval,
        revoked,
    };
    let (label, reason) = ("pump 7".to_owned(), "stolen".to_owned());
    let mut events: Vec<(String, RegistryEvent)> = [
        (
            "token",
            RegistryEvent::TokenCreated {
                record: record(Approval::Auto, None, None),
                at,
            },
        ),
        (
            "token-manual",
            RegistryEvent::TokenCreated {
                record: record(Approval::Manual, Some("hall".to_owned()), Some(at)),
                at,
            },
        ),
        (
            "admitted",
            RegistryEvent::Admitted {
                device,
                certificate,
                label: label.clone(),
                token,
                at,
            },
        ),
        ("revoked", RegistryEvent::Revoked { device, reason, at }),
        ("token_revoked", RegistryEvent::TokenRevoked { token, at }),
        (
            "applied",
            RegistryEvent::Applied {
                device,
                label: label.clone(),
                token,
                at,
            },
        ),
        ("approved", RegistryEvent::Approved { device, at }),
        ("denied", RegistryEvent::Denied { device, at }),
        (
            "renewed",
            RegistryEvent::Renewed {
                device,
                certificate,
                at,
            },
        ),
        ("labelled", RegistryEvent::Labelled { device, label, at }),
    ]
    .map(|(name, event)| (name.to_owned(), event))
    .into();
    for refusal in refusals() {
        let event = RegistryEvent::TurnedAway {
            device,
            token,
            reason: refusal,
            at,
        };
        events.push((format!("turned_away-{}", word(&refusal)), event));
    }
    events
}

fn compared(at: Time) -> Event {
    Event::Compared {
        version: VERSION,
        comparison: Comparison::Worse,
        at,
    }
}

fn planned(at: Time) -> Event {
    Event::Planned {
        budget: PlannedBudget {
            plan: BudgetPlan {
                points_per_device: 30,
                points_max: 300,
                bits: 8,
                rank_max: 12,
                landmarks_max: 0,
                contribute: Contribute::Moments,
            },
            devices: 10,
            rows: 4_000,
            reasons: BudgetReasons::default(),
        },
        at,
    }
}
