//! Tasks for groups of devices.

use std::collections::BTreeSet;

use super::*;
use crate::core::command::Admission;
use protocol::trust::token::JoinToken;

const PUMP: DeviceId = DEVICE;
const VALVE: DeviceId = DeviceId([2; 16]);

fn task(name: &str, groups: &str) -> Arc<Task> {
    let text = TASK.replace("name = \"one\"", &format!("name = \"{name}\"\n{groups}"));
    Arc::new(RawTask::parse(&text).unwrap())
}

fn certificate() -> Certified {
    Certified {
        fingerprint: Fingerprint([1; 32]),
        authority: Fingerprint([2; 32]),
        expires: Time(u64::MAX),
    }
}

/// A registry of a pump and a valve, and the tokens of their groups.
fn registry() -> (Registry, [JoinToken; 2]) {
    let mut registry = Registry::default();
    let tokens = [("pumps", PUMP), ("valves", VALVE)].map(|(group, device)| {
        let terms = TokenTerms {
            expires: Time(u64::MAX),
            uses_max: 9,
            group: Some(group.to_owned()),
            approval: Approval::Auto,
        };
        let (token, record) = TokenRecord::create(Fingerprint([0; 32]), terms).unwrap();
        registry.apply(&RegistryEvent::TokenCreated { record, at: NOW });
        registry.apply(&RegistryEvent::Admitted {
            device,
            certificate: certificate(),
            label: group.to_owned(),
            token: token.id,
            at: NOW,
        });
        token
    });
    (registry, tokens)
}

/// A core with both devices connected and these tasks.
fn fleet(tasks: &[&Arc<Task>]) -> (Driven, [JoinToken; 2]) {
    let (registry, tokens) = registry();
    let mut driven = Driven::new();
    driven.core.restore(NOW, 1, registry, Vec::new());
    for task in tasks {
        driven.create(Arc::clone(task), Namesake::Refuse);
    }
    connect(&mut driven, PUMP, 1);
    connect(&mut driven, VALVE, 2);
    driven.commit();
    (driven, tokens)
}

fn connect(driven: &mut Driven, device: DeviceId, session: u64) {
    driven.handle(Command::Connect {
        device,
        session: SessionId(session),
        installed: Vec::new(),
        speaker: Speaker::default(),
        meter: Box::new(NoMeter),
    });
}

fn connected(driven: &Driven, task: &Task) -> Vec<DeviceId> {
    let engine = driven.core.engine(task.hash()).unwrap();
    engine.connected().iter().copied().collect()
}

fn start(driven: &mut Driven, task: &Task) {
    let name = Some(task.definition().name.clone());
    driven.admin(|reply| AdminCommand::StartRound { name, reply });
    driven.core.tick(NOW);
    driven.commit();
}

/// Tasks that the device's welcome names.
fn welcomed(driven: &Driven, of: DeviceId) -> Vec<TaskHash> {
    let welcome = driven.done.iter().find_map(|effect| match effect {
        Effect::Send {
            device,
            message: ToDevice::Welcome(welcome),
            ..
        } if *device == of => Some(welcome),
        _ => None,
    });
    let tasks = welcome.unwrap().tasks.iter();
    tasks.map(|(task, _)| *task).collect()
}

#[test]
fn devices_hear_only_of_tasks_of_their_group() {
    let (pumps, all) = (task("pumps", "groups = [\"pumps\"]"), task("all", ""));
    let (mut driven, _) = fleet(&[&pumps, &all]);
    assert_eq!(welcomed(&driven, PUMP), [pumps.hash(), all.hash()]);
    assert_eq!(welcomed(&driven, VALVE), [all.hash()]);
    assert_eq!(connected(&driven, &pumps), [PUMP]);
    assert_eq!(connected(&driven, &all), [PUMP, VALVE]);

    let newest = |driven: &mut Driven, device, task: Option<TaskHash>| {
        let id = driven.ask(|reply| Command::Newest {
            device,
            task,
            reply,
        });
        driven.answer::<TransferAnswer>(id).unwrap()
    };
    let its = Some(pumps.hash());
    assert_eq!(
        newest(&mut driven, PUMP, its),
        TransferAnswer::NoRelease,
        "it has none yet"
    );
    assert_eq!(newest(&mut driven, VALVE, its), TransferAnswer::NotFound);
    // Without a name, the only task that a device hears of is meant.
    assert_eq!(newest(&mut driven, PUMP, None), TransferAnswer::NotFound);
    assert_eq!(newest(&mut driven, VALVE, None), TransferAnswer::NoRelease);
}

#[test]
fn rounds_of_a_group_count_its_devices_alone() {
    let pumps = task("pumps", "groups = [\"pumps\"]");
    let (mut driven, _) = fleet(&[&pumps]);
    driven.done.clear();
    start(&mut driven, &pumps);
    let called = driven.done.iter().filter_map(|effect| match effect {
        Effect::Send {
            device,
            message: ToDevice::Call(_),
            ..
        } => Some(*device),
        _ => None,
    });
    assert_eq!(called.collect::<Vec<_>>(), [PUMP]);
    let id = driven.admin(|reply| AdminCommand::Status { reply });
    let status = driven.answer::<Box<Status>>(id).unwrap();
    let told = &status.tasks[0];
    assert_eq!(told.groups, ["pumps"]);
    assert_eq!(
        (status.members(), status.members_of(told)),
        ((2, 2), (1, 1))
    );
    assert_eq!(told.round.as_ref().unwrap().quorum, Some(1));

    // What a device of another group says of it, or sends to it, is not taken.
    let key = ContributionKey {
        task: pumps.hash(),
        transfer: None,
        round: RoundId(1),
        phase: Phase::Profile,
        kind: Kind::Profile,
    };
    let offer = Offer {
        device: VALVE,
        key,
        blob: BlobHash([7; 32]),
        bytes: 3,
    };
    let id = driven.ask(|reply| Command::Offer { offer, reply });
    let refused = TransferAnswer::Refused(Reason::UnknownTask);
    assert_eq!(driven.answer(id), Some(refused));
    driven.handle(Command::Said {
        device: VALVE,
        session: SessionId(2),
        message: ToCoordinator::DataChanged(pumps.hash()),
    });
    driven.handle(Command::Disconnect {
        device: VALVE,
        session: SessionId(2),
    });
    driven.admin(|reply| AdminCommand::CancelRound { name: None, reply });
    let state = driven.core.engine(pumps.hash()).unwrap().state();
    let named = state.history[0].absences.named.iter();
    assert_eq!(named.map(|one| one.device).collect::<Vec<_>>(), [PUMP]);
    assert_eq!(state.changed, BTreeSet::new());
    assert_eq!(state.strikes.get(&VALVE), None, "an honest mistake");
}

#[test]
fn a_restart_keeps_a_groups_tasks_apart() {
    let pumps = task("pumps", "groups = [\"pumps\"]");
    let (mut driven, _) = fleet(&[&pumps]);
    let state = driven.core.engine(pumps.hash()).unwrap().state().clone();
    driven.core.failed();
    for (device, session) in [(PUMP, 1), (VALVE, 2)] {
        driven.handle(Command::Said {
            device,
            session: SessionId(session),
            message: ToCoordinator::DataChanged(pumps.hash()),
        });
    }
    let (registry, _) = registry();
    driven
        .core
        .restore(NOW, 2, registry, vec![(pumps.clone(), state)]);
    assert_eq!(connected(&driven, &pumps), [PUMP]);
    let state = driven.core.engine(pumps.hash()).unwrap().state();
    assert_eq!(state.changed, BTreeSet::from([PUMP]));
}

#[test]
fn a_device_that_changes_group_changes_tasks() {
    let pumps = task("pumps", "groups = [\"pumps\"]");
    let valves = task("valves", "groups = [\"valves\", \"taps\"]");
    let (mut driven, [_, token]) = fleet(&[&pumps, &valves]);
    start(&mut driven, &pumps);
    start(&mut driven, &valves);
    let admission = Admission {
        device: PUMP,
        certificate: certificate(),
        label: String::new(),
        token: token.id,
        secret: token.secret,
    };
    driven.ask(|reply| Command::Admit { admission, reply });
    driven.commit();
    assert_eq!(connected(&driven, &pumps), []);
    assert_eq!(connected(&driven, &valves), [PUMP, VALVE]);
    let open = |task: &Task| {
        let state = driven.core.engine(task.hash()).unwrap().state();
        state.open().cloned()
    };
    // The round that it was called to waits for it no more.
    let left = open(&pumps).unwrap();
    assert!(left.abstained.contains(&PUMP), "{left:?}");
    let entered = open(&valves).unwrap();
    assert!(entered.participants.contains(&PUMP), "{entered:?}");
}

#[test]
fn a_group_that_nobody_is_in_is_doubted() {
    let (mut driven, _) = fleet(&[]);
    let warning = |driven: &mut Driven, name: &str, groups: &str| {
        let id = driven.create(task(name, groups), Namesake::Refuse);
        driven.commit();
        let made: Result<TaskSummary, Fault> = driven.answer(id).unwrap();
        made.unwrap().warning
    };
    let told = warning(&mut driven, "a", "groups = [\"pump\", \"valves\"]").unwrap();
    assert!(told.contains("in pump,"), "{told}");
    assert!(told.contains("pumps, valves"), "{told}");
    assert_eq!(warning(&mut driven, "b", "groups = [\"pumps\"]"), None);
    assert_eq!(warning(&mut driven, "c", ""), None);

    let mut empty = Driven::new();
    let told = warning(&mut empty, "d", "groups = [\"pumps\"]").unwrap();
    assert!(told.contains("no groups yet"), "{told}");
}
