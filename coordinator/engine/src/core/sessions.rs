//! Devices that are connected, and what they have cost on the network.

use std::collections::{BTreeMap, BTreeSet};

use protocol::close::CloseCode;
use protocol::evaluation::Evaluation;
use protocol::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use protocol::round::Phase;
use protocol::traffic::Traffic;
use protocol::wire::messages::{PROTOCOL_MINOR, ToCoordinator, ToDevice, TransferAnswer, Welcome};
use protocol::withheld::{RawWithheld, Withheld};

use super::Core;
use super::effect::Effect;
use super::shared_keys::SharedKeys;
use crate::core::command::{SessionId, Speaker, TrafficMeter};
use crate::round::Input;
use crate::status::{Progress, SharedKey};

/// The newest session of each device, and every device's traffic.
#[derive(Default)]
pub(super) struct Sessions {
    open: BTreeMap<DeviceId, Session>,
    counters: BTreeMap<DeviceId, Counters>,
    keys: SharedKeys,
    /// Why devices give nothing to a task, and since when. Kept when their
    /// sessions end: members are bounded, and tasks of each as well.
    withheld: BTreeMap<DeviceId, BTreeMap<TaskHash, (Withheld, Time)>>,
}

/// A device that said hello.
pub(super) struct Arrival {
    pub(super) device: DeviceId,
    pub(super) session: SessionId,
    pub(super) installed: Vec<(TaskHash, Version)>,
    pub(super) speaker: Speaker,
    pub(super) meter: Box<dyn TrafficMeter>,
}

struct Session {
    id: SessionId,
    installed: Vec<(TaskHash, Version)>,
    /// The gateway that passes it on, if one does.
    gateway: Option<DeviceId>,
    /// What it said of releases, newest last. It says so once a session, and
    /// the state may be rebuilt meanwhile.
    tried: Vec<Tried>,
    /// Tasks that it has new rows for and was not asked about since.
    changed: BTreeSet<TaskHash>,
    /// The newest round and phase of each task from which it abstained. It says
    /// so once a session, and does not answer when it is called again.
    abstained: BTreeMap<TaskHash, (RoundId, Phase)>,
    meter: Box<dyn TrafficMeter>,
}

/// A task, a release of it, and how that fares on a device.
type Tried = (TaskHash, Version, Evaluation);

/// Tasks of which a session's words are kept; a device has one for each.
const TASKS_MAX: usize = 32;

/// A device's traffic since the server's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) handshake: Traffic,
    pub(super) work: Traffic,
    pub(super) sessions: u64,
    /// When a session last began or ended.
    pub(super) seen: Option<Time>,
}

impl Sessions {
    /// Devices with a session, and the student of this task they run.
    pub(super) fn connected(&self, task: TaskHash) -> Vec<(DeviceId, Option<Version>)> {
        let open = self.open.iter();
        open.map(|(device, session)| (*device, installed(&session.installed, task)))
            .collect()
    }

    /// The student of this task that a device with a session said it runs.
    pub(super) fn installed(&self, device: DeviceId, task: TaskHash) -> Option<Version> {
        let session = self.open.get(&device)?;
        installed(&session.installed, task)
    }

    /// What devices with a session have said of this task's releases.
    pub(super) fn tried(&self, task: TaskHash) -> Vec<(DeviceId, Version, Evaluation)> {
        let open = self.open.iter();
        let said = open.flat_map(|(device, session)| {
            let of_task = session.tried.iter().filter(move |tried| tried.0 == task);
            of_task.map(|(_, version, evaluation)| (*device, *version, *evaluation))
        });
        said.collect()
    }

    /// Devices with a session that said they have new rows for this task, and
    /// were not asked for them since.
    pub(super) fn changed(&self, task: TaskHash) -> Vec<DeviceId> {
        let open = self.open.iter();
        let changed = open.filter(|(_, session)| session.changed.contains(&task));
        changed.map(|(device, _)| *device).collect()
    }

    /// Devices with a session that said they abstain from a phase of this task,
    /// and which that was.
    pub(super) fn abstained(&self, task: TaskHash) -> Vec<(DeviceId, RoundId, Phase)> {
        let open = self.open.iter();
        let said = open.filter_map(|(device, session)| {
            let (round, phase) = session.abstained.get(&task)?;
            Some((*device, *round, *phase))
        });
        said.collect()
    }

    fn remember_abstention(&mut self, device: DeviceId, task: TaskHash, from: (RoundId, Phase)) {
        let Some(session) = self.open.get_mut(&device) else {
            return;
        };
        let has_room = session.abstained.len() < TASKS_MAX;
        if has_room || session.abstained.contains_key(&task) {
            session.abstained.insert(task, from);
        }
    }

    fn remember_change(&mut self, device: DeviceId, task: TaskHash) {
        let session = self.open.get_mut(&device);
        if let Some(session) = session.filter(|session| session.changed.len() < TASKS_MAX) {
            session.changed.insert(task);
        }
    }

    fn remember(&mut self, device: DeviceId, tried: Tried) {
        if let Some(session) = self.open.get_mut(&device) {
            session.tried.retain(|before| before.0 != tried.0);
            session.tried.push(tried);
            if session.tried.len() > TASKS_MAX {
                session.tried.remove(0);
            }
        }
    }

    /// Why devices give nothing to a task, and since when.
    pub(super) fn withheld(
        &self,
        task: TaskHash,
    ) -> impl Iterator<Item = (DeviceId, &Withheld, Time)> {
        self.withheld.iter().filter_map(move |(device, tasks)| {
            let (why, since) = tasks.get(&task)?;
            Some((*device, why, *since))
        })
    }

    /// Why this device gives nothing to this task, or less.
    pub(super) fn withheld_by(&self, device: DeviceId, task: TaskHash) -> Option<&Withheld> {
        let (why, _) = self.withheld.get(&device)?.get(&task)?;
        Some(why)
    }

    /// Remembers why a device gives nothing to a task, or that it gives again;
    /// whether that is another reason than before.
    fn remember_withheld(
        &mut self,
        now: Time,
        device: DeviceId,
        task: TaskHash,
        why: Option<&Withheld>,
    ) -> bool {
        let tasks = self.withheld.entry(device).or_default();
        let Some(why) = why else {
            tasks.remove(&task);
            if tasks.is_empty() {
                self.withheld.remove(&device);
            }
            return false;
        };
        let known = tasks.get(&task).map(|(known, _)| known);
        let is_news = known != Some(why) && (known.is_some() || tasks.len() < TASKS_MAX);
        if is_news {
            tasks.insert(task, (why.clone(), now));
        }
        is_news
    }

    /// Whether a device's key was seen on two machines.
    pub(super) fn shared_key(&self, now: Time, device: DeviceId) -> Option<SharedKey> {
        self.keys.of(now, device)
    }

    pub(super) fn is_connected(&self, device: DeviceId) -> bool {
        self.open.contains_key(&device)
    }

    /// The gateway that passes a device's session on, if it has a session and
    /// one does.
    pub(super) fn gateway(&self, device: DeviceId) -> Option<DeviceId> {
        self.open.get(&device)?.gateway
    }

    /// Devices whose sessions this gateway passes on.
    pub(super) fn behind(&self, gateway: DeviceId) -> u64 {
        let open = self.open.values();
        open.filter(|session| session.gateway == Some(gateway))
            .count() as u64
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = DeviceId> {
        self.counters.keys().copied()
    }

    /// What a device has cost so far, its open session included.
    pub(super) fn counters(&self, device: DeviceId) -> Counters {
        let mut counters = self.counters.get(&device).copied().unwrap_or_default();
        if let Some(session) = self.open.get(&device) {
            counters.handshake = counters.handshake + session.meter.handshake();
            counters.work = counters.work + session.meter.work();
        }
        counters
    }

    pub(super) fn count_handshake(&mut self, device: DeviceId, traffic: Traffic) {
        let counters = self.counters.entry(device).or_default();
        counters.handshake = counters.handshake + traffic;
    }

    fn settle(&mut self, device: DeviceId, session: &Session) {
        let counters = self.counters.entry(device).or_default();
        counters.handshake = counters.handshake + session.meter.handshake();
        counters.work = counters.work + session.meter.work();
    }
}

impl Core {
    /// Hands a message to the device's session, if it has one.
    pub(super) fn send(&mut self, device: DeviceId, message: ToDevice) {
        let Some(session) = self.sessions.open.get_mut(&device) else {
            return;
        };
        if let Some(task) = message.asks_for_rows_of() {
            session.changed.remove(&task);
        }
        self.ready.push_back(Effect::Send {
            device,
            session: session.id,
            message,
        });
    }

    /// Ends the device's session, if it has one.
    pub(super) fn close(&mut self, device: DeviceId, code: CloseCode, reason: &'static str) {
        if let Some(session) = self.sessions.open.remove(&device) {
            self.sessions.settle(device, &session);
            self.ready.push_back(Effect::Close {
                session: session.id,
                code,
                reason,
            });
        }
    }

    /// A new session; the newest one of a device wins, unless two machines
    /// have its key: then the one that is there stays, for they would throw
    /// each other out for ever.
    pub(super) fn connect(&mut self, now: Time, arrival: Arrival) {
        let Arrival {
            device,
            session,
            installed,
            speaker,
            meter,
        } = arrival;
        if self.registry.revoked().contains_key(&device) {
            self.ready.push_back(Effect::Close {
                session,
                code: CloseCode::Revoked,
                reason: "revoked by an operator",
            });
            return;
        }
        if self.registry.is_gateway(device) {
            // Before its first renewal it has a device's certificate.
            self.ready.push_back(Effect::Close {
                session,
                code: CloseCode::Unauthenticated,
                reason: "a gateway is no device",
            });
            return;
        }
        let is_second = self.sessions.keys.hear(now, device, speaker);
        if is_second && self.sessions.is_connected(device) {
            tracing::warn!(
                device = %device.short(), address = ?speaker.address,
                "two machines have this device's key; the one that is connected stays"
            );
            self.ready.push_back(Effect::Close {
                session,
                code: CloseCode::Superseded,
                reason: "another machine has this device's key",
            });
            return;
        }
        self.sessions.keys.takes_over(device, speaker);
        let reason = "a newer session of this device took over";
        self.close(device, CloseCode::Superseded, reason);
        let counters = self.sessions.counters.entry(device).or_default();
        counters.sessions += 1;
        counters.seen = Some(now);
        self.sessions.open.insert(
            device,
            Session {
                id: session,
                installed: installed.clone(),
                gateway: speaker.gateway,
                tried: Vec::new(),
                changed: BTreeSet::new(),
                abstained: BTreeMap::new(),
                meter,
            },
        );
        // Nothing in a welcome waits for the log, and every call that does
        // comes after it in the same queue.
        let welcome = ToDevice::Welcome(Welcome {
            minor: PROTOCOL_MINOR,
            time: now,
            tasks: self.known_tasks(device),
            trust_root: self.about.freshness.trust_root(),
            freshness: self.about.freshness.freshness(now),
        });
        self.send(device, welcome);
        let ends = self.registry.members().get(&device);
        let ends = ends.map(|member| member.certificate.expires);
        if ends < self.about.renew_ending_before {
            self.send(device, ToDevice::Renew);
        }
        for at in self.tasks_for(device) {
            let installed = self::installed(&installed, self.tasks[at].task.hash());
            self.tell_of_ahead(at, device);
            self.feed(now, at, Input::Connected { device, installed });
        }
    }

    /// A session ended; an older one than the newest changes nothing.
    pub(super) fn disconnect(&mut self, now: Time, device: DeviceId, session: SessionId) {
        if self.is_newest(device, session)
            && let Some(session) = self.sessions.open.remove(&device)
        {
            self.sessions.settle(device, &session);
            self.sessions.counters.entry(device).or_default().seen = Some(now);
            for at in 0..self.tasks.len() {
                self.feed(now, at, Input::Disconnected { device });
            }
        }
    }

    /// A device said something on its control stream.
    pub(super) fn said(
        &mut self,
        now: Time,
        device: DeviceId,
        session: SessionId,
        message: ToCoordinator,
    ) {
        if !self.is_newest(device, session) {
            return;
        }
        if let ToCoordinator::Tried {
            task,
            version,
            evaluation,
        } = message
        {
            self.sessions.remember(device, (task, version, evaluation));
        }
        if let ToCoordinator::Withholds { task, why } = message {
            return self.withholds(now, device, task, why.map(RawWithheld::check));
        }
        let (task, input) = match message {
            // Only the first message of a session is a hello.
            ToCoordinator::Hello(_) | ToCoordinator::Withholds { .. } => return,
            ToCoordinator::DataChanged(task) => {
                self.sessions.remember_change(device, task);
                (task, Input::DataChanged { device })
            }
            ToCoordinator::Tried {
                task,
                version,
                evaluation,
            } => (
                task,
                Input::Tried {
                    device,
                    version,
                    evaluation,
                },
            ),
            ToCoordinator::Abstain { task, round, phase } => {
                let from = (round, phase);
                self.sessions.remember_abstention(device, task, from);
                (
                    task,
                    Input::Abstained {
                        device,
                        round,
                        phase,
                    },
                )
            }
        };
        if let Some(at) = self.position_for(task, device) {
            self.feed(now, at, input);
        }
    }

    /// A device says why it gives nothing. What a stranger to the task says of
    /// it is not kept.
    fn withholds(&mut self, now: Time, device: DeviceId, task: TaskHash, why: Option<Withheld>) {
        if self.position_for(task, device).is_none() {
            return;
        }
        let is_news = self
            .sessions
            .remember_withheld(now, device, task, why.as_ref());
        if let Some(why) = why.filter(|_| is_news) {
            let step = Progress::Withheld {
                task,
                device: self.name(device),
                reason: why.code(),
                text: why.to_string(),
                at: now,
            };
            self.ready.push_back(Effect::Progress(step));
        }
    }

    /// Whether every device may have this blob: what a task publishes, never
    /// what another device contributed.
    pub(super) fn is_public(&self, blob: BlobHash) -> bool {
        self.tasks.iter().any(|runner| {
            let state = runner.engine.state();
            let transfer = state.transfer.map(|transfer| transfer.blob);
            let shared = [state.spec, state.normaliser, transfer, state.teacher];
            shared.contains(&Some(blob))
                || state.releases.iter().any(|release| release.blob == blob)
                || { runner.task.definition().backbone.iter() }
                    .any(|backbone| backbone.blobs().any(|model| model == blob))
        })
    }

    /// The newest release of a task that this device is offered.
    pub(super) fn newest(&self, device: DeviceId, task: Option<TaskHash>) -> TransferAnswer {
        let found = match task {
            Some(task) => self.position_for(task, device),
            None => {
                let at_work = |at: &usize| !self.tasks[*at].engine.is_archived();
                let mut at_work = self.tasks_for(device).into_iter().filter(at_work);
                at_work.next().filter(|_| at_work.next().is_none())
            }
        };
        let Some(at) = found else {
            return TransferAnswer::NotFound;
        };
        match self.tasks[at].engine.announcement(device) {
            None => TransferAnswer::NoRelease,
            Some(announcement) => TransferAnswer::Newest(announcement),
        }
    }

    /// The tasks that are for this device.
    fn known_tasks(&self, device: DeviceId) -> Vec<(TaskHash, BlobHash)> {
        let tasks = self.tasks_for(device).into_iter();
        let tasks = tasks.map(|at| &self.tasks[at]);
        tasks
            .filter_map(|runner| Some((runner.task.hash(), runner.engine.state().spec?)))
            .collect()
    }

    fn is_newest(&self, device: DeviceId, session: SessionId) -> bool {
        let newest = self.sessions.open.get(&device);
        newest.is_some_and(|newest| newest.id == session)
    }
}

fn installed(all: &[(TaskHash, Version)], task: TaskHash) -> Option<Version> {
    let of_task = all.iter().filter(|(of, _)| *of == task);
    of_task.map(|(_, version)| *version).max()
}
