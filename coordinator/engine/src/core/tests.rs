//! The core alone: what is said before and after entries are durable.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use protocol::close::CloseCode;
use protocol::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use protocol::round::{ContributionKey, Kind, Phase, Reason};
use protocol::task::{RawTask, Task};
use protocol::traffic::Traffic;
use protocol::trust::certificate::Fingerprint;
use protocol::trust::keys::SigningKey;
use protocol::trust::token::{Approval, TokenId, TokenRecord, TokenTerms};
use protocol::trust::trust_root::{SignedTrustRoot, TrustRoot};
use protocol::wire::messages::{ToCoordinator, ToDevice, TransferAnswer};
use protocol::withheld::{RawWithheld, WithheldCode};

mod groups;
mod tasks;

use super::answer::{Answer, Reply, ReplyId};
use super::{About, Core, Effect};
use crate::core::command::{
    AdminCommand, Command, Offer, ReReleaseOf, SessionId, Speaker, TrafficMeter,
};
use crate::core::freshness::FreshnessSigner;
use crate::entry::LogEntry;
use crate::registry::{Certified, GATEWAY_GROUP, Registry, RegistryEvent};
use crate::round::{Event, Outcome, ReRelease, State, TaskEvent};
use crate::status::{Ahead, Fault, FaultKind, Namesake, Progress, Status, TaskSummary};

const TASK: &str = r#"
name = "one"
[input]
shape = [2]
[classes]
names = ["off", "on"]
[rounds]
devices_min = 1
"#;
const NOW: Time = Time(1_000);
const DEVICE: DeviceId = DeviceId([1; 16]);

struct NoMeter;

impl TrafficMeter for NoMeter {
    fn handshake(&self) -> Traffic {
        Traffic::default()
    }
    fn work(&self) -> Traffic {
        Traffic {
            udp_tx_bytes: 1,
            udp_rx_bytes: 2,
        }
    }
}

fn freshness() -> FreshnessSigner {
    let (root, key) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let trust_root = TrustRoot {
        number: 1,
        issued: NOW,
        expires: NOW.after_ms(3_600_000),
        root: root.verifying_key(),
        release_keys: vec![key.verifying_key()],
    };
    let trust_root = SignedTrustRoot::sign(trust_root, &[&root]).unwrap();
    FreshnessSigner::new(&trust_root, Arc::new(key))
}

fn about() -> About {
    About {
        address: ([127, 0, 0, 1], 1).into(),
        started: NOW,
        policies: super::policies(crate::rollout::Releases::default(), u64::MAX),
        freshness: freshness(),
        renew_ending_before: None,
    }
}

fn core() -> Core {
    let mut core = Core::new(about());
    core.restore(NOW, 1, Registry::default(), Vec::new());
    core
}

/// A core, and what it wanted done so far.
struct Driven {
    core: Core,
    done: Vec<Effect>,
    questions: u64,
}

impl Driven {
    fn new() -> Self {
        Self {
            core: core(),
            done: Vec::new(),
            questions: 0,
        }
    }

    fn perform(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            self.done.push(effect);
        }
    }

    fn handle(&mut self, command: Command) {
        self.core.handle(NOW, command);
        self.perform();
    }

    fn ask<T: Into<Answer>>(&mut self, command: impl FnOnce(Reply<T>) -> Command) -> ReplyId {
        self.questions += 1;
        let id = ReplyId(self.questions);
        self.handle(command(Reply::to(id)));
        id
    }

    fn admin<T: Into<Answer>>(
        &mut self,
        command: impl FnOnce(Reply<T>) -> AdminCommand,
    ) -> ReplyId {
        self.ask(|reply| Command::Admin(command(reply)))
    }

    /// The answer to a question, if it has come. Each comes once.
    fn answer<T: TryFrom<Answer>>(&mut self, id: ReplyId) -> Option<T> {
        let is_answer = |one: &Effect| matches!(one, Effect::Answer { to, .. } if *to == id);
        let at = self.done.iter().position(is_answer)?;
        let Effect::Answer { answer, .. } = self.done.remove(at) else {
            return None;
        };
        T::try_from(answer).ok()
    }

    /// Messages to sessions since the last look.
    fn messages(&mut self) -> Vec<ToDevice> {
        let (sent, rest) = std::mem::take(&mut self.done)
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Send { .. }));
        self.done = rest;
        let messages = Vec::into_iter(sent).filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(message),
            _ => None,
        });
        messages.collect()
    }

    fn commit(&mut self) -> usize {
        let entries = self.core.take_entries().len();
        self.core.committed();
        self.perform();
        entries
    }

    fn connect(&mut self, session: u64) {
        self.handle(Command::Connect {
            device: DEVICE,
            session: SessionId(session),
            installed: Vec::new(),
            speaker: Speaker::default(),
            meter: Box::new(NoMeter),
        });
    }

    fn create(&mut self, task: Arc<Task>, namesake: Namesake) -> ReplyId {
        self.admin(|reply| AdminCommand::AddTask {
            task,
            namesake,
            reply,
        })
    }

    fn add_task(&mut self) -> TaskHash {
        let task = Arc::new(RawTask::parse(TASK).unwrap());
        let hash = task.hash();
        self.create(task, Namesake::Refuse);
        hash
    }

    fn start_round(&mut self) -> ReplyId {
        let id = self.admin(|reply| AdminCommand::StartRound { name: None, reply });
        self.core.tick(NOW);
        self.perform();
        id
    }

    /// A contribution's bytes have come.
    fn arrive(&mut self, key: ContributionKey) -> ReplyId {
        let offer = Offer {
            device: DEVICE,
            key,
            blob: BlobHash([7; 32]),
            bytes: 3,
        };
        self.ask(|reply| Command::Arrived {
            offer,
            checked: Ok(30),
            reply,
        })
    }
}

/// A core with a task, one connected device and an open round.
fn in_round() -> (Driven, ContributionKey) {
    let mut driven = Driven::new();
    let task = driven.add_task();
    driven.connect(1);
    driven.start_round();
    driven.commit();
    let key = ContributionKey {
        task,
        transfer: None,
        round: RoundId(1),
        phase: Phase::Profile,
        kind: Kind::Profile,
    };
    (driven, key)
}

#[test]
fn a_contribution_is_acknowledged_only_once_it_is_durable() {
    let (mut driven, key) = in_round();
    let id = driven.arrive(key);
    assert!(driven.core.entries() > 0);
    assert_eq!(driven.answer::<TransferAnswer>(id), None);
    driven.core.take_entries();
    driven.perform();
    assert_eq!(driven.answer::<TransferAnswer>(id), None);
    driven.core.committed();
    driven.perform();
    assert_eq!(driven.answer(id), Some(TransferAnswer::Accepted));
}

#[test]
fn nothing_happens_of_what_could_not_be_stored() {
    let (mut driven, key) = in_round();
    driven.messages();
    let id = driven.arrive(key);
    driven.core.take_entries();
    driven.core.failed();
    driven.perform();
    let refused = TransferAnswer::Refused(Reason::Storage);
    assert_eq!(driven.answer(id), Some(refused));
    assert_eq!(driven.messages(), []);
    driven.core.committed();
    driven.perform();
    let computes = |effect: &Effect| matches!(effect, Effect::Compute(_));
    assert!(!driven.done.iter().any(computes), "no computation starts");
    assert!(!driven.core.in_service());
    // Out of service, every device is told to come again later.
    let id = driven.arrive(key);
    assert_eq!(driven.answer(id), Some(refused));
    assert_eq!(driven.core.entries(), 0);
    assert_eq!(driven.core.timeout(), None);
}

#[test]
fn a_question_that_waits_for_the_store_is_given_up() {
    let (mut driven, _) = in_round();
    driven.core.failed();
    driven.perform();
    let blob = BlobHash([7; 32]);
    let id = driven.ask(|reply| Command::IsPublic { blob, reply });
    let given_up = |one: &Effect| matches!(one, Effect::NoAnswer { to } if *to == id);
    assert!(driven.done.iter().any(given_up));
}

#[test]
fn new_rows_told_of_during_an_outage_are_known_after_it() {
    let (mut driven, key) = in_round();
    driven.core.failed();
    driven.handle(Command::Said {
        device: DEVICE,
        session: SessionId(1),
        message: ToCoordinator::DataChanged(key.task),
    });
    driven.core.restore(NOW, 2, Registry::default(), Vec::new());
    driven.add_task();
    let state = driven.core.tasks[0].engine.state();
    assert!(state.changed.contains(&DEVICE));
}

/// It was heard, or said, while nothing could be stored, and the device says it
/// once a session.
#[test]
fn abstentions_outlive_an_outage() {
    for is_in_service in [true, false] {
        let (mut driven, key) = in_round();
        let runner = &driven.core.tasks[0];
        let (task, stored) = (runner.task.clone(), runner.engine.state().clone());
        let (round, phase) = (key.round, key.phase);
        let abstains = Command::Said {
            device: DEVICE,
            session: SessionId(1),
            message: ToCoordinator::Abstain {
                task: key.task,
                round,
                phase,
            },
        };
        if is_in_service {
            driven.handle(abstains);
            assert!(driven.core.entries() > 0);
            driven.core.failed();
        } else {
            driven.core.failed();
            driven.handle(abstains);
        }
        let tasks = vec![(task, stored)];
        driven.core.restore(NOW, 2, Registry::default(), tasks);
        driven.commit();
        let open = driven.core.tasks[0].engine.state().open().unwrap();
        assert_eq!(open.phase, phase);
        assert!(open.abstained.contains(&DEVICE), "{is_in_service}");
    }
}

#[test]
fn why_a_device_gives_nothing_is_told_until_it_gives_again() {
    let (mut driven, key) = in_round();
    let say = |driven: &mut Driven, task: TaskHash, why: Option<(WithheldCode, &str)>| {
        driven.done.clear();
        driven.handle(Command::Said {
            device: DEVICE,
            session: SessionId(1),
            message: ToCoordinator::Withholds {
                task,
                why: why.map(|(code, detail)| RawWithheld {
                    code,
                    detail: detail.to_owned(),
                }),
            },
        });
        let told = |effect: &&Effect| matches!(effect, Effect::Progress(Progress::Withheld { .. }));
        let steps = driven.done.iter().filter(told).count();
        let id = driven.admin(|reply| AdminCommand::Status { reply });
        let status = driven.answer::<Box<Status>>(id).unwrap();
        (steps, status.tasks[0].withheld.clone())
    };
    let refused = (
        WithheldCode::DataRefused,
        "a.csv: line 3,\u{1b}[2J column \"flow\"",
    );
    let (steps, withheld) = say(&mut driven, key.task, Some(refused));
    assert_eq!((steps, withheld.len()), (1, 1));
    assert_eq!(
        (withheld[0].device.device, withheld[0].reason),
        (DEVICE, refused.0)
    );
    assert!(withheld[0].text.contains("line 3") && !withheld[0].text.contains('\u{1b}'));
    // Said again in a new session, it is no news; of another task, nothing.
    let (steps, _) = say(&mut driven, key.task, Some(refused));
    assert_eq!(steps, 0);
    let (steps, withheld) = say(&mut driven, TaskHash([9; 32]), Some(refused));
    assert_eq!((steps, withheld.len()), (0, 1));
    let entries = driven.core.entries();
    let (_, withheld) = say(&mut driven, key.task, None);
    assert_eq!(withheld, []);
    assert_eq!(driven.core.entries(), entries, "the log is not told");
}

#[test]
fn calls_leave_only_once_their_phase_is_durable() {
    let mut driven = Driven::new();
    driven.add_task();
    driven.connect(1);
    driven.commit();
    assert!(matches!(driven.messages()[..], [ToDevice::Welcome(_), ..]));
    let round = driven.start_round();
    assert_eq!(driven.messages(), []);
    assert_eq!(
        driven.answer::<Result<(TaskHash, RoundId), Fault>>(round),
        None
    );
    assert!(driven.commit() >= 2);
    assert!(matches!(driven.messages()[..], [ToDevice::Call(_), ..]));
    let started = driven.answer::<Result<(TaskHash, RoundId), Fault>>(round);
    assert!(started.unwrap().is_ok());
}

#[test]
fn a_stale_session_cannot_end_the_current_one() {
    let (mut driven, _) = in_round();
    let uplink = |driven: &mut Driven| {
        let id = driven.admin(|reply| AdminCommand::Status { reply });
        let mut status = driven.answer::<Box<Status>>(id).unwrap();
        let device = status.devices.remove(0);
        (device.connected, device.uplink_bytes)
    };
    let end = |driven: &mut Driven, session| {
        driven.handle(Command::Disconnect {
            device: DEVICE,
            session: SessionId(session),
        });
    };
    assert_eq!(uplink(&mut driven), (true, 2));
    driven.connect(2);
    let closed = |one: &Effect| {
        matches!(
            one,
            Effect::Close {
                session: SessionId(1),
                code: CloseCode::Superseded,
                ..
            }
        )
    };
    assert!(driven.done.iter().any(closed));
    assert_eq!(uplink(&mut driven), (true, 4));
    end(&mut driven, 1);
    assert_eq!(uplink(&mut driven), (true, 4));
    end(&mut driven, 2);
    assert_eq!(uplink(&mut driven), (false, 4));
}

#[test]
fn revoking_a_device_ends_its_session_and_upload() {
    let (mut driven, key) = in_round();
    driven.core.record(RegistryEvent::Applied {
        device: DEVICE,
        label: String::new(),
        token: "0011223344556677".parse().unwrap(),
        at: NOW,
    });
    driven.admin(|reply| AdminCommand::Revoke {
        device: DEVICE,
        reason: String::new(),
        reply,
    });
    let id = driven.arrive(key);
    driven.commit();
    assert_eq!(
        driven.answer(id),
        Some(TransferAnswer::Refused(Reason::NotAdmitted))
    );
    let published = |one: &Effect| matches!(one, Effect::Revoked(all) if all.contains(&DEVICE));
    assert!(driven.done.iter().any(published));
    driven.connect(2);
    let closed = |one: &Effect| {
        matches!(
            one,
            Effect::Close {
                session: SessionId(2),
                code: CloseCode::Revoked,
                ..
            }
        )
    };
    assert!(driven.done.iter().any(closed));
}

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

/// A core whose task has a student that all devices are offered, and a later
/// one that is held back.
fn with_two_students() -> (Driven, TaskHash) {
    let mut state = State::default();
    for number in 1..=2 {
        if number == 2 {
            state.apply(&Event::Held {
                version: version(number),
            });
        }
        state.apply(&Event::RoundOpened {
            round: RoundId(number),
            at: NOW,
        });
        state.apply(&Event::Released {
            version: version(number),
            blob: BlobHash([number as u8; 32]),
            bytes: 9,
            lineage: vec![DEVICE],
            at: NOW,
        });
        let version = version(number);
        state.apply(&Event::RoundEnded {
            outcome: Outcome::Completed { version },
            at: NOW,
        });
    }
    let task = Arc::new(RawTask::parse(TASK).unwrap());
    let hash = task.hash();
    let mut driven = Driven::new();
    driven
        .core
        .restore(NOW, 1, Registry::default(), vec![(task, state)]);
    driven.commit();
    (driven, hash)
}

#[test]
fn rereleases_are_logged_atomically() {
    let (mut driven, task) = with_two_students();
    let again = |from, above, held| ReRelease {
        from: version(from),
        version: version(2).above(above),
        blob: BlobHash([9; 32]),
        bytes: 9,
        held,
    };
    let mut release = |done: Vec<ReRelease>| {
        let id = driven.admin(|reply| AdminCommand::ReRelease { task, done, reply });
        let entries = driven.core.take_entries();
        driven.core.committed();
        driven.perform();
        (entries, driven.answer::<Result<(), Fault>>(id).unwrap())
    };
    // A third student came while the second of these was signed.
    let (entries, refused) = release(vec![again(1, 1, false), again(2, 3, true)]);
    assert_eq!(refused.unwrap_err().kind, FaultKind::Busy);
    assert_eq!(entries, Vec::<Vec<u8>>::new());

    let (entries, done) = release(vec![again(1, 1, false), again(2, 2, true)]);
    done.unwrap();
    let rereleased = |entry: &Vec<u8>| match LogEntry::from_bytes(entry).unwrap() {
        LogEntry::Task(TaskEvent {
            event: Event::ReReleased { version, .. },
            ..
        }) => Some(version),
        _ => None,
    };
    let versions: Vec<_> = entries.iter().filter_map(rereleased).collect();
    assert_eq!(versions, [version(3), version(4)], "in one batch");
}

/// A state that was restored from an older copy.
#[test]
fn devices_with_newer_students_than_the_logs_are_told_of() {
    let (mut driven, task) = with_two_students();
    let mut ahead = |session, installed| {
        driven.handle(Command::Connect {
            device: DEVICE,
            session: SessionId(session),
            installed: vec![(task, installed)],
            speaker: Speaker::default(),
            meter: Box::new(NoMeter),
        });
        let id = driven.admin(|reply| AdminCommand::Status { reply });
        let status = driven.answer::<Box<Status>>(id).unwrap();
        (status.tasks[0].ahead, driven.core.tasks[0].told_of_ahead)
    };
    assert_eq!(ahead(1, version(2)), (None, false));
    let newest = version(4);
    let one = Ahead { devices: 1, newest };
    assert_eq!(ahead(2, newest), (Some(one), true));
}

/// Its state is thrown away then, which is no fleet without devices.
#[test]
fn a_state_that_is_not_known_is_called_so() {
    let (mut driven, _) = with_two_students();
    let known = |driven: &mut Driven| {
        let id = driven.admin(|reply| AdminCommand::Status { reply });
        driven.answer::<Box<Status>>(id).unwrap().state_known
    };
    assert!(known(&mut driven));
    driven.core.failed();
    assert!(!known(&mut driven));
}

/// Each goes one student further, and none but the first says that it went
/// where it did not.
#[test]
fn rollbacks_go_back_student_by_student() {
    for with_rollout in [false, true] {
        let mut state = State::default();
        for number in 1..=3 {
            let (round, version) = (RoundId(number), version(number));
            state.apply(&Event::RoundOpened { round, at: NOW });
            state.apply(&Event::Released {
                version,
                blob: BlobHash([number as u8; 32]),
                bytes: 9,
                lineage: vec![DEVICE],
                at: NOW,
            });
            let outcome = Outcome::Completed { version };
            state.apply(&Event::RoundEnded { outcome, at: NOW });
        }
        if with_rollout {
            state.apply(&Event::Held {
                version: version(3),
            });
            state.apply(&Event::RolloutStarted {
                version: version(3),
                plan: crate::rollout::Plan::default(),
                at: NOW,
            });
        }
        let task = Arc::new(RawTask::parse(TASK).unwrap());
        let mut driven = Driven::new();
        let (registry, hash) = (Registry::default(), task.hash());
        driven.core.restore(NOW, 1, registry, vec![(task, state)]);
        driven.commit();
        let mut go_back = || {
            let id = driven.admin(|reply| AdminCommand::PlanReRelease {
                name: None,
                version: None,
                reply,
            });
            let planned: Result<ReReleaseOf, Fault> = driven.answer(id).unwrap();
            let mut again = planned?.again;
            again.blob = BlobHash([again.version.number as u8; 32]);
            let done = vec![again];
            driven.admin(|reply| AdminCommand::ReRelease {
                task: hash,
                done,
                reply,
            });
            driven.commit();
            Ok::<_, Fault>((again.from.number, again.version.number))
        };
        assert_eq!(go_back().unwrap(), (2, 4), "{with_rollout}");
        assert_eq!(go_back().unwrap(), (1, 5), "{with_rollout}");
        let none = go_back().unwrap_err();
        assert_eq!(none.kind, FaultKind::NotFound);
        assert!(none.message.contains("no student before 1.5"), "{none:?}");
    }
}

#[test]
fn of_two_machines_with_one_key_the_connected_one_stays() {
    let (mut driven, _) = in_round();
    let mut session = 10;
    let mut is_let_in = |driven: &mut Driven, instance| {
        session += 1;
        driven.handle(Command::Connect {
            device: DEVICE,
            session: SessionId(session),
            installed: Vec::new(),
            speaker: Speaker {
                instance,
                address: None,
                gateway: None,
            },
            meter: Box::new(NoMeter),
        });
        let refused = |one: &Effect| {
            matches!(
                one,
                Effect::Close { session: SessionId(closed), code: CloseCode::Superseded, .. }
                    if *closed == session
            )
        };
        !driven.done.iter().any(refused)
    };
    let named = |driven: &mut Driven| {
        let id = driven.admin(|reply| AdminCommand::Status { reply });
        let mut status = driven.answer::<Box<Status>>(id).unwrap();
        let device = status.devices.remove(0);
        assert!(device.connected);
        device.shared_key.is_some()
    };
    // The same machine, and then a later process of it.
    for instance in [1, 1, 2] {
        assert!(is_let_in(&mut driven, instance), "{instance}");
    }
    assert!(!named(&mut driven));
    assert!(!is_let_in(&mut driven, 1));
    assert!(named(&mut driven));
    assert!(
        is_let_in(&mut driven, 2),
        "the one that is there may come again"
    );
}

#[test]
fn devices_with_older_certificates_are_told_to_renew() {
    let member = |ends: u64| {
        let about = About {
            renew_ending_before: Some(Time(5_000)),
            ..about()
        };
        let mut driven = Driven::new();
        driven.core = Core::new(about);
        let mut registry = Registry::default();
        registry.apply(&RegistryEvent::Admitted {
            device: DEVICE,
            certificate: Certified {
                fingerprint: Fingerprint([1; 32]),
                authority: Fingerprint([2; 32]),
                expires: Time(ends),
            },
            label: String::new(),
            token: TokenId([3; 8]),
            at: NOW,
        });
        driven.core.restore(NOW, 1, registry, Vec::new());
        driven.connect(1);
        driven.messages().contains(&ToDevice::Renew)
    };
    assert!(member(4_999));
    assert!(!member(5_000), "one that was given since");
}

#[test]
fn a_gateway_is_no_device_and_no_participant() {
    let (token, record) = TokenRecord::create(
        Fingerprint([0; 32]),
        TokenTerms {
            expires: Time(u64::MAX),
            uses_max: 1,
            group: Some(GATEWAY_GROUP.to_owned()),
            approval: Approval::Auto,
        },
    )
    .unwrap();
    let mut registry = Registry::default();
    registry.apply(&RegistryEvent::TokenCreated { record, at: NOW });
    registry.apply(&RegistryEvent::Admitted {
        device: DEVICE,
        certificate: Certified {
            fingerprint: Fingerprint([1; 32]),
            authority: Fingerprint([0; 32]),
            expires: Time(u64::MAX),
        },
        label: "hall".to_owned(),
        token: token.id,
        at: NOW,
    });
    let mut driven = Driven::new();
    driven.core.restore(NOW, 1, registry, Vec::new());
    driven.perform();
    driven.connect(7);
    let refused = |one: &Effect| {
        matches!(
            one,
            Effect::Close {
                session: SessionId(7),
                code: CloseCode::Unauthenticated,
                ..
            }
        )
    };
    assert!(driven.done.iter().any(refused));
    assert_eq!(driven.messages(), []);
    let member = DEVICE;
    let id = driven.ask(|reply| Command::IsGateway { member, reply });
    assert_eq!(driven.answer::<bool>(id), Some(true));
    let id = driven.admin(|reply| AdminCommand::Status { reply });
    let status = driven.answer::<Box<Status>>(id).unwrap();
    assert_eq!((status.devices.len(), status.members()), (0, (0, 0)));
    assert_eq!(status.gateways[0].label, "hall");
}
