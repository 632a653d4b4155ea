//! The core alone: what is said before and after entries are durable.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use common::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use common::round::{ContributionKey, Kind, Phase, Reason};
use common::task::RawTask;
use common::transport::{CloseCode, Traffic};
use common::wire::messages::{ToCoordinator, ToDevice, TransferAnswer};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{About, Core, Revoked};
use crate::core::PeerLimits;
use crate::core::command::{AdminCommand, Command, Link, Offer, SessionId};
use crate::core::freshness::Word;
use crate::journal::{LogEntry, Replayed};
use crate::round::{Event, Outcome, ReRelease, State, TaskEvent};
use crate::status::FaultKind;

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

struct NoLink;

impl Link for NoLink {
    fn handshake(&self) -> Traffic {
        Traffic::default()
    }
    fn work(&self) -> Traffic {
        Traffic {
            udp_tx_bytes: 1,
            udp_rx_bytes: 2,
        }
    }
    fn close(&self, _: CloseCode, _: &str) {}
}

fn word() -> Word {
    let identity = crate::identity::Identity::generate(&[], NOW).unwrap();
    Word::new(&identity.charter, identity.release_key)
}

fn core() -> Core {
    let about = About {
        address: ([127, 0, 0, 1], 1).into(),
        started: NOW,
        releases: crate::rollout::Releases::default(),
        rows_max: u64::MAX,
        peer_limits: Arc::new(PeerLimits::new(Default::default())),
        word: word(),
    };
    let (progress, _) = broadcast::channel(16);
    let mut core = Core::new(about, progress, Revoked::default());
    core.restore(NOW, 1, Replayed::default());
    core
}

fn commit(core: &mut Core) -> usize {
    let entries = core.take_entries().len();
    core.committed();
    entries
}

/// A core with a task, one connected device and an open round.
fn in_round() -> (Core, mpsc::Receiver<ToDevice>, ContributionKey) {
    let mut core = core();
    let task = Arc::new(RawTask::parse(TASK).unwrap());
    let hash = task.hash();
    let (reply, _made) = oneshot::channel();
    core.handle(NOW, Command::Admin(AdminCommand::AddTask { task, reply }));
    let (outbox, messages) = mpsc::channel(8);
    let (reply, _session) = oneshot::channel();
    core.handle(
        NOW,
        Command::Connect {
            device: DEVICE,
            installed: Vec::new(),
            link: Box::new(NoLink),
            outbox,
            reply,
        },
    );
    let (reply, _round) = oneshot::channel();
    core.handle(
        NOW,
        Command::Admin(AdminCommand::StartRound { name: None, reply }),
    );
    core.tick(NOW);
    commit(&mut core);
    let key = ContributionKey {
        task: hash,
        transfer: None,
        round: RoundId(1),
        phase: Phase::Profile,
        kind: Kind::Profile,
    };
    (core, messages, key)
}

fn arrive(core: &mut Core, key: ContributionKey) -> oneshot::Receiver<TransferAnswer> {
    let (reply, answer) = oneshot::channel();
    core.handle(
        NOW,
        Command::Arrived {
            offer: Offer {
                device: DEVICE,
                key,
                blob: BlobHash([7; 32]),
                bytes: 3,
            },
            checked: Ok(30),
            reply,
        },
    );
    answer
}

#[test]
fn a_contribution_is_acknowledged_only_once_it_is_durable() {
    let (mut core, _messages, key) = in_round();
    let mut answer = arrive(&mut core, key);
    assert!(core.entries() > 0);
    assert!(
        answer.try_recv().is_err(),
        "nothing is said before the append"
    );
    core.take_entries();
    assert!(answer.try_recv().is_err());
    core.committed();
    assert_eq!(answer.try_recv(), Ok(TransferAnswer::Accepted));
}

#[test]
fn nothing_happens_of_what_could_not_be_stored() {
    let (mut core, mut messages, key) = in_round();
    while messages.try_recv().is_ok() {}
    let mut answer = arrive(&mut core, key);
    core.take_entries();
    core.failed();
    let refused = TransferAnswer::Refused(Reason::Storage);
    assert_eq!(answer.try_recv(), Ok(refused));
    assert!(messages.try_recv().is_err());
    assert!(core.committed().is_empty(), "no computation starts");
    assert!(!core.in_service());
    // Out of service, everyone is told to come again later.
    assert_eq!(arrive(&mut core, key).try_recv(), Ok(refused));
    assert_eq!(core.entries(), 0);
    assert_eq!(core.timeout(), None);
}

#[test]
fn new_rows_that_were_told_of_while_nothing_could_be_stored_are_known_after_that() {
    let (mut core, _messages, key) = in_round();
    let changed = |core: &Core| core.tasks[0].engine.state().changed.contains(&DEVICE);
    core.failed();
    let message = ToCoordinator::DataChanged(key.task);
    core.handle(
        NOW,
        Command::Said {
            device: DEVICE,
            session: SessionId(1),
            message,
        },
    );
    core.restore(NOW, 2, Replayed::default());
    let task = Arc::new(RawTask::parse(TASK).unwrap());
    let (reply, _made) = oneshot::channel();
    core.handle(NOW, Command::Admin(AdminCommand::AddTask { task, reply }));
    assert!(changed(&core));
}

#[test]
fn calls_leave_only_once_their_phase_is_durable() {
    let mut core = core();
    let task = Arc::new(RawTask::parse(TASK).unwrap());
    let (reply, _made) = oneshot::channel();
    core.handle(NOW, Command::Admin(AdminCommand::AddTask { task, reply }));
    let (outbox, mut messages) = mpsc::channel(8);
    let (reply, _session) = oneshot::channel();
    core.handle(
        NOW,
        Command::Connect {
            device: DEVICE,
            installed: Vec::new(),
            link: Box::new(NoLink),
            outbox,
            reply,
        },
    );
    commit(&mut core);
    assert!(matches!(messages.try_recv(), Ok(ToDevice::Welcome(_))));
    let (reply, mut round) = oneshot::channel();
    core.handle(
        NOW,
        Command::Admin(AdminCommand::StartRound { name: None, reply }),
    );
    core.tick(NOW);
    assert!(messages.try_recv().is_err() && round.try_recv().is_err());
    assert!(commit(&mut core) >= 2);
    assert!(matches!(messages.try_recv(), Ok(ToDevice::Call(_))));
    assert!(round.try_recv().unwrap().is_ok());
}

#[test]
fn an_ended_session_keeps_its_bytes_and_an_old_one_ends_nothing() {
    let (mut core, _messages, _) = in_round();
    let uplink = |core: &mut Core| {
        let (reply, mut status) = oneshot::channel();
        core.handle(NOW, Command::Admin(AdminCommand::Status { reply }));
        let device = status.try_recv().unwrap().devices.remove(0);
        (device.connected, device.uplink_bytes)
    };
    assert_eq!(uplink(&mut core), (true, 2));
    let (outbox, _messages) = mpsc::channel(8);
    let (reply, mut session) = oneshot::channel();
    core.handle(
        NOW,
        Command::Connect {
            device: DEVICE,
            installed: Vec::new(),
            link: Box::new(NoLink),
            outbox,
            reply,
        },
    );
    let newest = session.try_recv().unwrap();
    assert_eq!(uplink(&mut core), (true, 4));
    let device = DEVICE;
    let old = SessionId(newest.0 - 1);
    core.handle(
        NOW,
        Command::Disconnect {
            device,
            session: old,
        },
    );
    assert_eq!(uplink(&mut core), (true, 4));
    let session = newest;
    core.handle(NOW, Command::Disconnect { device, session });
    assert_eq!(uplink(&mut core), (false, 4));
}

#[test]
fn what_a_device_sent_before_it_was_revoked_does_not_count_if_it_arrives_after() {
    let (mut core, _messages, key) = in_round();
    core.record(crate::registry::RegistryEvent::Revoked {
        device: DEVICE,
        reason: String::new(),
        at: NOW,
    });
    let mut answer = arrive(&mut core, key);
    commit(&mut core);
    let refused = TransferAnswer::Refused(common::round::Reason::NotAdmitted);
    assert_eq!(answer.try_recv(), Ok(refused));
}

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

/// A core whose task has a student that all devices are offered, and a later
/// one that is held back.
fn with_two_students() -> (Core, TaskHash) {
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
    let mut core = core();
    let replayed = Replayed {
        tasks: vec![(task, state)],
        ..Replayed::default()
    };
    core.restore(NOW, 1, replayed);
    commit(&mut core);
    (core, hash)
}

#[test]
fn releases_that_are_signed_again_together_are_in_the_log_together_or_not_at_all() {
    let (mut core, task) = with_two_students();
    let again = |from, above, held| ReRelease {
        from: version(from),
        version: version(2).above(above),
        blob: BlobHash([9; 32]),
        bytes: 9,
        held,
    };
    let mut release = |done: Vec<ReRelease>| {
        let (reply, mut answer) = oneshot::channel();
        core.handle(
            NOW,
            Command::Admin(AdminCommand::ReRelease { task, done, reply }),
        );
        let entries = core.take_entries();
        core.committed();
        (entries, answer.try_recv().unwrap())
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
