//! The loop against a scripted coordinator over real loopback QUIC.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::ids::{BlobHash, RoundId, TaskHash, Version};
use common::round::{ContributionKey, Kind, Phase, Reason};
use common::transport::{CloseCode, Protocol, Stream};
use common::wire::codec::{decode, encode};
use common::wire::messages::{
    Announcement, Call, Context, EnrolAnswer, EnrolRequest, ToCoordinator, ToDevice,
    TransferAnswer, TransferRequest,
};
use common::withheld::WithheldCode;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::backend::{Blobs, Verdict};
use super::status::RunStatus;
use super::{Agent, AgentError, AgentSettings, Backend, BackendError, Built};
use crate::cache::Cache;
use crate::fleet::Fleet;
use crate::session::{CallName, Pending, Settled};

const TASK: TaskHash = TaskHash([1; 32]);

/// A backend whose outbox is in memory and whose work is a script.
#[derive(Default)]
struct Script {
    outbox: Mutex<BTreeMap<ContributionKey, (Pending, Vec<u8>)>>,
    builds: Mutex<Vec<Step>>,
    told: Mutex<Vec<String>>,
    installed: Mutex<Vec<(TaskHash, Version)>>,
    grown: Mutex<bool>,
    base: Mutex<Option<Vec<u8>>>,
    heard: Mutex<Option<mpsc::UnboundedSender<()>>>,
}

enum Step {
    Entry(&'static [u8]),
    Fail,
    Panic,
}

impl Script {
    fn tell(&self, what: impl Into<String>) {
        self.told.lock().unwrap().push(what.into());
        if let Some(heard) = &*self.heard.lock().unwrap() {
            let _ = heard.send(());
        }
    }

    /// A bell that rings whenever something was told.
    fn bell(&self) -> mpsc::UnboundedReceiver<()> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.heard.lock().unwrap() = Some(sender);
        receiver
    }
}

impl Backend for Script {
    fn installed(&self) -> Vec<(TaskHash, Version)> {
        self.installed.lock().unwrap().clone()
    }

    fn seen(&self) -> Vec<(TaskHash, Version)> {
        self.installed()
    }

    fn unanswered(&self) -> Result<Vec<Pending>, BackendError> {
        let outbox = self.outbox.lock().unwrap();
        Ok(outbox.values().map(|(pending, _)| *pending).collect())
    }

    fn partial(&self) -> Result<Vec<CallName>, BackendError> {
        Ok(Vec::new())
    }

    fn build(&self, call: &Call, blobs: &Blobs<'_>) -> Result<Built, BackendError> {
        for blob in call.context.blobs() {
            blobs(blob).map_err(|_| BackendError::Blob(blob))?;
        }
        let step = self.builds.lock().unwrap().remove(0);
        let bytes = match step {
            Step::Entry(bytes) => bytes,
            Step::Fail => {
                return Err(BackendError::Failed {
                    what: "no data folder /nowhere".to_owned(),
                    advice: "make it".to_owned(),
                });
            }
            Step::Panic => panic!("a fault on purpose"),
        };
        let pending = Pending {
            key: ContributionKey {
                task: call.task,
                transfer: None,
                round: call.round,
                phase: call.phase,
                kind: Kind::Profile,
            },
            blob: BlobHash::of(bytes),
            bytes: bytes.len() as u64,
        };
        let mut outbox = self.outbox.lock().unwrap();
        outbox.insert(pending.key, (pending, bytes.to_vec()));
        Ok(Built {
            entries: vec![pending],
            partial: false,
            why: None,
        })
    }

    fn bytes(&self, pending: &Pending) -> Result<Vec<u8>, BackendError> {
        Ok(self.outbox.lock().unwrap()[&pending.key].1.clone())
    }

    fn settle(&self, pending: &Pending, settled: Settled) -> Result<(), BackendError> {
        self.outbox.lock().unwrap().remove(&pending.key);
        self.tell(format!("{settled:?}"));
        Ok(())
    }

    fn install(&self, release: &Announcement, blobs: &Blobs<'_>) -> Result<Verdict, BackendError> {
        blobs(release.blob).map_err(|_| BackendError::Blob(release.blob))?;
        let mut installed = self.installed.lock().unwrap();
        installed.push((release.task, release.version));
        drop(installed);
        self.tell("installed");
        Ok(Verdict::Installed { score: None })
    }

    fn base(&self, _: TaskHash) -> Option<Vec<u8>> {
        self.base.lock().unwrap().clone()
    }

    fn glance(&self) -> bool {
        *self.grown.lock().unwrap()
    }

    fn count(&self) -> Result<Vec<TaskHash>, BackendError> {
        *self.grown.lock().unwrap() = false;
        Ok(vec![TASK])
    }
}

struct Running {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Running {
    fn start(fleet: &Fleet, script: &Arc<Script>) -> Self {
        let identity = fleet.join();
        let state = fleet.state();
        let cache = Cache::open(&state.file("cache"), 1 << 20).unwrap();
        let settings = AgentSettings {
            route: fleet.route(identity),
            glance_ms: 20,
            data: None,
            service: common::service::Service::none(),
            disclose: Default::default(),
            broker: None,
        };
        let agent = Agent::new(settings, state, cache, script.clone());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(agent.run(async {
            let _ = stopped.await;
        }));
        Self {
            stop: Some(stop),
            task,
        }
    }

    async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap().unwrap();
    }

    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

const DEFINITION: &[u8] = b"the definition of a task";

fn call(round: u64) -> ToDevice {
    ToDevice::Call(Call {
        task: TASK,
        round: RoundId(round),
        phase: Phase::Profile,
        context: Context {
            task: BlobHash::of(DEFINITION),
            normaliser: None,
            transfer: None,
            teacher: None,
            release: None,
        },
        remaining_ms: 60_000,
    })
}

fn steps(steps: Vec<Step>) -> Arc<Script> {
    Arc::new(Script {
        builds: Mutex::new(steps),
        ..Script::default()
    })
}

#[tokio::test]
async fn a_contribution_survives_a_kill() {
    let fleet = Fleet::new();
    let script = steps(vec![Step::Entry(b"sums")]);
    let agent = Running::start(&fleet, &script);
    let mut session = fleet.session().await;
    session.push(call(1)).await;
    session.serve(DEFINITION).await;
    let (first, stream) = session.transfer().await;
    agent.kill().await;
    drop((stream, session));
    assert_eq!(script.told.lock().unwrap().len(), 0);

    let agent = Running::start(&fleet, &script);
    let mut bell = script.bell();
    let session = fleet.session().await;
    let (second, bytes) = session.accept().await;
    assert_eq!(first, second);
    assert_eq!(bytes, b"sums");
    bell.recv().await.unwrap();
    assert_eq!(*script.told.lock().unwrap(), ["Accepted"]);
    assert!(script.outbox.lock().unwrap().is_empty());
    agent.stop().await;
}

/// The next transfer, which must ask for a delta.
async fn delta_asked(session: &crate::fleet::Session, of: &[u8], against: &[u8]) -> Stream {
    let (request, stream) = session.transfer().await;
    let expected = TransferRequest::FetchAgainst {
        blob: BlobHash::of(of),
        base: BlobHash::of(against),
    };
    assert_eq!(request, expected);
    stream
}

#[tokio::test]
async fn a_release_comes_as_a_delta_if_there_is_one() {
    let fleet = Fleet::new();
    let script = steps(vec![]);
    let base: Vec<u8> = (0..40_000u32).map(|at| (at >> 3) as u8).collect();
    *script.base.lock().unwrap() = Some(base.clone());
    let agent = Running::start(&fleet, &script);
    let mut session = fleet.session().await;
    for (number, answer) in ["a delta", "another delta", "no delta"].iter().enumerate() {
        let mut bell = script.bell();
        let mut new = base.clone();
        new[7] = number as u8 + 100;
        let release = Announcement {
            task: TASK,
            version: Version {
                epoch: 1,
                number: number as u64 + 1,
            },
            blob: BlobHash::of(&new),
            bytes: new.len() as u64,
            soak_ms: 0,
        };
        session.push(ToDevice::Released(release)).await;
        let mut stream = delta_asked(&session, &new, &base).await;
        // The second leads to something else than was asked for.
        let delta = match number {
            1 => common::delta::encode(&base, b"something else"),
            _ => common::delta::encode(&base, &new),
        };
        if *answer == "no delta" {
            stream
                .send(&encode(&TransferAnswer::NoDelta))
                .await
                .unwrap();
            stream.sender.finish();
        } else {
            let bytes = delta.len() as u64;
            assert!(bytes < 1_000, "{bytes}");
            let head = encode(&TransferAnswer::Delta { bytes });
            stream.send(&head).await.unwrap();
            stream.sender.send_blob(0, &delta).await.unwrap();
            stream.sender.finish();
        }
        if number > 0 {
            session.serve(&new).await;
        }
        while script.told.lock().unwrap().len() <= number {
            bell.recv().await.unwrap();
        }
    }
    assert_eq!(*script.told.lock().unwrap(), ["installed"; 3]);
    agent.stop().await;
}

#[tokio::test]
async fn a_fetch_goes_on_where_a_broken_link_stopped_it() {
    let fleet = Fleet::new();
    let script = steps(vec![]);
    let agent = Running::start(&fleet, &script);
    let blob: Vec<u8> = (0..40_000u32).map(|at| at as u8).collect();
    let release = ToDevice::Released(Announcement {
        task: TASK,
        version: Version {
            epoch: 1,
            number: 1,
        },
        blob: BlobHash::of(&blob),
        bytes: blob.len() as u64,
        soak_ms: 0,
    });
    let mut session = fleet.session().await;
    session.push(release.clone()).await;
    let (_, mut stream) = session.transfer().await;
    let answer = TransferAnswer::Blob {
        bytes: blob.len() as u64,
    };
    stream.send(&encode(&answer)).await.unwrap();
    stream.sender.send_blob(0, &blob[..20_000]).await.unwrap();
    stream.sender.finish();
    stream.sender.delivered().await.unwrap();

    let mut bell = script.bell();
    let mut session = fleet.session().await;
    session.push(release).await;
    let request = session.serve(&blob).await;
    assert_eq!(
        request,
        TransferRequest::Fetch {
            blob: BlobHash::of(&blob),
            offset: 20_000
        }
    );
    bell.recv().await.unwrap();
    assert_eq!(*script.told.lock().unwrap(), ["installed"]);
    agent.stop().await;
}

#[tokio::test]
async fn failed_work_makes_the_device_abstain() {
    let fleet = Fleet::new();
    let script = steps(vec![Step::Panic, Step::Fail, Step::Entry(b"ok")]);
    let agent = Running::start(&fleet, &script);
    let mut session = fleet.session().await;
    for round in 1..=2 {
        session.push(call(round)).await;
        if round == 1 {
            session.serve(DEFINITION).await;
        }
        let abstain = ToCoordinator::Abstain {
            task: TASK,
            round: RoundId(round),
            phase: Phase::Profile,
        };
        // The operator is told why before the device is waited for no more.
        match session.hear().await {
            ToCoordinator::Withholds { task: TASK, why } => {
                let why = why.unwrap();
                assert_eq!(why.code, WithheldCode::Failed);
                let said = ["a fault in this program", "/nowhere"][round as usize - 1];
                assert!(why.detail.contains(said), "{why:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(session.hear().await, abstain);
    }
    let status = RunStatus::load(&fleet.state()).unwrap().unwrap();
    let problem = status.work_error.unwrap();
    assert!(problem.contains("/nowhere"), "{problem}");
    session.push(call(3)).await;
    let all_again = ToCoordinator::Withholds {
        task: TASK,
        why: None,
    };
    assert_eq!(session.hear().await, all_again);
    assert_eq!(session.accept().await.1, b"ok");
    agent.stop().await;
}

#[tokio::test]
async fn damaged_caches_are_fetched_again() {
    let fleet = Fleet::new();
    let script = steps(vec![Step::Entry(b"one"), Step::Entry(b"two")]);
    let agent = Running::start(&fleet, &script);
    let mut bell = script.bell();
    let mut session = fleet.session().await;
    session.push(call(1)).await;
    session.serve(DEFINITION).await;
    let (_, mut stream) = session.transfer().await;
    let refused = TransferAnswer::Refused(Reason::WrongRound);
    stream.send(&encode(&refused)).await.unwrap();
    bell.recv().await.unwrap();
    assert_eq!(*script.told.lock().unwrap(), ["Refused(WrongRound)"]);

    let cached = fleet.state().file("cache");
    let cached = cached.join(BlobHash::of(DEFINITION).to_string());
    std::fs::write(cached, b"rotten").unwrap();
    session.push(call(2)).await;
    session.serve(DEFINITION).await;
    assert_eq!(session.accept().await.1, b"two");
    agent.stop().await;
}

#[tokio::test]
async fn an_installed_release_is_not_fetched_again() {
    let fleet = Fleet::new();
    let script = steps(vec![]);
    let version = Version {
        epoch: 1,
        number: 4,
    };
    script.installed.lock().unwrap().push((TASK, version));
    let agent = Running::start(&fleet, &script);
    let mut session = fleet.session().await;
    assert_eq!(session.hello.installed, [(TASK, version)]);
    let release = Announcement {
        task: TASK,
        version,
        blob: BlobHash([7; 32]),
        bytes: 9,
        soak_ms: 0,
    };
    session.push(ToDevice::Released(release)).await;
    let newer = Announcement {
        version: Version {
            epoch: 1,
            number: 5,
        },
        blob: BlobHash([8; 32]),
        ..release
    };
    session.push(ToDevice::Released(newer)).await;
    let (request, _stream) = session.transfer().await;
    assert_eq!(
        request,
        TransferRequest::Fetch {
            blob: newer.blob,
            offset: 0
        }
    );
    agent.stop().await;
}

#[tokio::test]
async fn new_data_is_told_and_a_stopping_agent_says_goodbye() {
    let fleet = Fleet::new();
    let script = steps(vec![]);
    let agent = Running::start(&fleet, &script);
    let mut session = fleet.session().await;
    *script.grown.lock().unwrap() = true;
    assert_eq!(session.hear().await, ToCoordinator::DataChanged(TASK));
    agent.stop().await;
    let end = session.connection.closed().await;
    assert!(
        matches!(
            end,
            common::transport::TransportError::Closed {
                code: CloseCode::Shutdown,
                ..
            }
        ),
        "{end}"
    );
    let status = RunStatus::load(&fleet.state()).unwrap().unwrap();
    assert!(status.work_bytes.up > 0 && status.handshake_bytes.down > 0);
}

#[tokio::test]
async fn a_clock_that_is_ahead_does_not_renew_again_and_again() {
    let mut fleet = Fleet::new();
    // Certificates of 30 days.
    fleet.behind_ms = 20 * 24 * 3_600_000;
    let agent = Running::start(&fleet, &steps(vec![]));
    let mut renewals = 0;
    let serve = async {
        let mut open = Vec::new();
        loop {
            let connection = fleet.arrival().await.admit().await.unwrap();
            if connection.protocol() == Protocol::Enrolment {
                let mut stream = connection.accept_transfer().await.unwrap();
                let asked = decode(&stream.recv().await.unwrap().unwrap()).unwrap();
                let EnrolRequest::Renew { csr } = asked else {
                    panic!("not a renewal");
                };
                let renewed = EnrolAnswer::Renewed {
                    certificate: fleet.certify(&csr),
                    authorities: Vec::new(),
                };
                stream.send(&encode(&renewed)).await.unwrap();
                stream.sender.finish();
                renewals += 1;
            }
            open.push(connection);
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(3), serve).await;
    assert_eq!(renewals, 1);
    let status = RunStatus::load(&fleet.state()).unwrap().unwrap();
    let problem = status.clock_error.unwrap();
    assert!(
        problem.contains("ahead") && problem.contains("20 days"),
        "{problem}"
    );
    agent.stop().await;
}
