//! A device: the real session engine over a disk that outlives the process.

use std::collections::BTreeMap;

use common::evaluation::Evaluation;
use common::ids::{BlobHash, DeviceId, TaskHash, Time, Version};
use common::round::Reason;
use common::wire::messages::{
    Announcement, Call, EnrolRefusal, Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice,
    TransferAnswer,
};
use coordinator::core::command::Admitted;
use edge_agent::session::{Action, Engine, Input, Pending};

use super::device_work::CHUNK_BYTES;
use super::network::{Down, Up};
use super::simulator::{Simulator, SimulatorEvent};

pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) seed: u64,
    pub(super) life: u64,
    pub(super) process: Option<Process>,
    /// Its disk takes nothing.
    pub(super) full: bool,
    /// Contributions without an answer, by the order they were made in.
    pub(super) outbox: BTreeMap<u64, (Pending, Vec<u8>)>,
    pub(super) made: u64,
    pub(super) cache: BTreeMap<BlobHash, Vec<u8>>,
    /// Whether it has its certificate.
    pub(super) is_member: bool,
    /// Its students, by task.
    pub(super) students: BTreeMap<TaskHash, Student>,
}

/// A task's student on a device.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Student {
    /// The newest version it judged, and the one it runs.
    pub(super) floor: Option<Version>,
    pub(super) installed: Option<Version>,
    /// What it ran before that, and what it thinks of the newest it tried.
    pub(super) before: Option<Version>,
    pub(super) evaluation: Option<(Version, Evaluation)>,
}

pub(super) struct Process {
    pub(super) engine: Engine,
    pub(super) born: u64,
    pub(super) session: Option<u64>,
    pub(super) is_open: bool,
    pub(super) transfers: BTreeMap<u64, Transfer>,
    pub(super) awaited: Option<Time>,
}

/// A stream that waits for an answer.
#[derive(Clone, Copy)]
pub(super) enum Transfer {
    Upload(Pending),
    Fetch(BlobHash),
}

/// What a device computes.
#[derive(Clone, Debug)]
pub(super) enum DeviceWork {
    Build(Call),
    Install(Announcement),
}

impl Device {
    pub(super) fn new(seed: u64, index: usize) -> Self {
        Self {
            id: DeviceId::of_public_key(format!("{seed}/{index}").as_bytes()),
            seed: index as u64,
            life: 0,
            process: None,
            full: false,
            outbox: BTreeMap::new(),
            made: 0,
            cache: BTreeMap::new(),
            is_member: false,
            students: BTreeMap::new(),
        }
    }

    /// The newest version of a task's student that it judged.
    pub(super) fn floor(&self, task: TaskHash) -> Option<Version> {
        self.students.get(&task).and_then(|one| one.floor)
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn session(&self) -> Option<u64> {
        self.process.as_ref()?.session
    }

    /// Whether it is connected and everything it made was answered.
    pub(super) fn is_settled(&self) -> bool {
        let idle = |process: &Process| {
            process.engine.is_connected() && process.engine.is_idle() && process.is_open
        };
        self.outbox.is_empty() && self.process.as_ref().is_some_and(idle)
    }

    /// Whether it has new rows for a task that nobody has asked for.
    pub(super) fn has_news_of(&self, task: TaskHash) -> bool {
        let news = |process: &Process| process.engine.has_news_of(task);
        self.process.as_ref().is_some_and(news)
    }

    pub(super) fn describe(&self) -> String {
        match &self.process {
            None => format!("{} is down", self.id.short()),
            Some(process) => format!(
                "{} has {} unanswered, connected: {}, idle: {}, new rows: {}",
                self.id.short(),
                self.outbox.len(),
                process.engine.is_connected(),
                process.engine.is_idle(),
                process.engine.has_news()
            ),
        }
    }
}

impl Simulator {
    pub(super) fn start_device(&mut self, device: usize) {
        let now = self.now;
        let one = &mut self.devices[device];
        if one.is_up() {
            return;
        }
        one.life += 1;
        one.process = Some(Process {
            engine: Engine::new(one.seed.wrapping_add(one.life << 32)),
            born: now,
            session: None,
            is_open: false,
            transfers: BTreeMap::new(),
            awaited: None,
        });
        let started = Input::Started {
            outbox: one.outbox.values().map(|(pending, _)| *pending).collect(),
            cached: one.cache.keys().copied().collect(),
            partial: Vec::new(),
        };
        self.drive(device, started);
        self.resume_evaluation(device);
    }

    pub(super) fn crash_device(&mut self, device: usize) {
        if let Some(process) = self.devices[device].process.take() {
            self.survived.device_crashes += 1;
            if let Some(session) = process.session {
                let at = self.now + self.random.duration(1, 30_000);
                self.at(at, SimulatorEvent::SessionLost { device, session });
            }
        }
    }

    pub(super) fn drive(&mut self, device: usize, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let Some(process) = &mut self.devices[device].process else {
                return;
            };
            process.engine.handle(Time(self.now - process.born), input);
            let mut actions = Vec::new();
            while let Some(action) = process.engine.poll_action() {
                actions.push(action);
            }
            for action in actions {
                self.act(device, action);
            }
        }
        self.wake_device(device);
    }

    pub(super) fn wake_device(&mut self, device: usize) {
        let one = &mut self.devices[device];
        let life = one.life;
        let Some(process) = &mut one.process else {
            return;
        };
        let due = process.engine.poll_timeout();
        if due == process.awaited {
            return;
        }
        process.awaited = due;
        if let Some(due) = due {
            let at = process.born + due.0;
            self.at(at, SimulatorEvent::DeviceTick { device, life });
        }
    }

    pub(super) fn device_tick(&mut self, device: usize, life: u64) {
        let now = self.now;
        let one = &mut self.devices[device];
        let Some(process) = &mut one.process else {
            return;
        };
        let due = process
            .awaited
            .is_some_and(|due| process.born + due.0 <= now);
        if life == one.life && due {
            process.awaited = None;
            self.drive(device, Input::Tick);
        }
    }

    pub(super) fn act(&mut self, device: usize, action: Action) {
        let life = self.devices[device].life;
        match action {
            Action::Connect => self.connect(device),
            Action::Send(message) => {
                if let Some(session) = self.devices[device].session() {
                    self.send_up(device, session, Up::Said(message));
                }
            }
            Action::Fetch(blobs) => {
                for blob in blobs {
                    if let Some((session, stream)) = self.begin(device, Transfer::Fetch(blob)) {
                        self.send_up(device, session, Up::Fetch { stream, blob });
                    }
                }
            }
            Action::Upload(pending) => {
                let held = self.devices[device].outbox.values();
                let is_held = held.into_iter().any(|(held, _)| *held == pending);
                if let Some((session, stream)) = self.begin(device, Transfer::Upload(pending)) {
                    if is_held {
                        self.send_up(device, session, Up::Offer { stream, pending });
                    } else {
                        // It made room for another; the agent refuses it by itself.
                        let answer = TransferAnswer::Refused(Reason::HashMismatch);
                        let packet = Down::Answer { stream, answer };
                        let event = SimulatorEvent::Down {
                            device,
                            session,
                            packet,
                        };
                        self.at(self.now, event);
                    }
                }
            }
            Action::Build(call) => self.work(device, life, DeviceWork::Build(call)),
            Action::Install(release) => self.work(device, life, DeviceWork::Install(release)),
            Action::Settle { pending, settled } => self.write_down(device, pending, settled),
        }
    }

    pub(super) fn connect(&mut self, device: usize) {
        self.sessions += 1;
        let session = self.sessions;
        let one = &mut self.devices[device];
        let students = one.students.iter();
        let installed = students.filter_map(|(task, one)| Some((*task, one.installed?)));
        let installed: Vec<_> = installed.collect();
        let is_member = one.is_member;
        let Some(process) = &mut one.process else {
            return;
        };
        (process.session, process.is_open) = (Some(session), false);
        let hello = ToCoordinator::Hello(Hello {
            minor: PROTOCOL_MINOR,
            agent: "survive".to_owned(),
            installed,
            instance: 0,
            clock: Time(0),
        });
        // A handshake that gets no answer is given up.
        let at = self.now + HANDSHAKE_MS;
        self.at(
            at,
            SimulatorEvent::TransferStalled {
                device,
                stream: session,
            },
        );
        match is_member {
            true => self.send_up(device, session, Up::Hello(hello)),
            false => self.send_up(device, session, Up::Join),
        }
    }

    /// Opens a stream, unless the session is gone.
    pub(super) fn begin(&mut self, device: usize, transfer: Transfer) -> Option<(u64, u64)> {
        self.sessions += 1;
        let stream = self.sessions;
        let process = self.devices[device].process.as_mut()?;
        let session = process.session?;
        process.transfers.insert(stream, transfer);
        let at = self.now + NO_PROGRESS_MS;
        self.at(at, SimulatorEvent::TransferStalled { device, stream });
        Some((session, stream))
    }

    /// Nothing came for too long.
    pub(super) fn stalled(&mut self, device: usize, stream: u64) {
        let Some(process) = &mut self.devices[device].process else {
            return;
        };
        if process.session == Some(stream) && !process.is_open {
            return self.link_lost(device, stream);
        }
        match process.transfers.remove(&stream) {
            None => {}
            Some(Transfer::Upload(pending)) => {
                self.drive(
                    device,
                    Input::Answered {
                        key: pending.key,
                        answer: None,
                    },
                );
            }
            Some(Transfer::Fetch(_)) => {
                if let Some(session) = self.devices[device].session() {
                    self.link_lost(device, session);
                }
            }
        }
    }

    pub(super) fn link_lost(&mut self, device: usize, session: u64) {
        let Some(process) = &mut self.devices[device].process else {
            return;
        };
        if process.session != Some(session) {
            return;
        }
        process.session = None;
        process.is_open = false;
        process.transfers.clear();
        let at = self.now + self.random.duration(1, 10_000);
        self.at(at, SimulatorEvent::SessionLost { device, session });
        self.drive(device, Input::Disconnected);
    }

    /// A packet reached a device.
    pub(super) fn told(&mut self, device: usize, session: u64, packet: Down) {
        let Some(process) = &mut self.devices[device].process else {
            return;
        };
        if process.session != Some(session) {
            return;
        }
        if let Down::Joined(result) = packet {
            return self.joined(device, session, result);
        }
        if !process.is_open {
            process.is_open = true;
            self.drive(device, Input::Connected);
        }
        match packet {
            Down::Said(ToDevice::Released(release))
                if self.devices[device].floor(release.task) >= Some(release.version) => {}
            Down::Said(message) => self.drive(device, Input::Received(message)),
            Down::Answer { stream, answer } => self.answered(device, session, stream, answer),
            Down::Blob { stream, bytes } => self.fetched(device, stream, bytes),
            Down::Joined(_) => {}
        }
    }

    /// The coordinator's word on its token. It connects anew, as a member or
    /// to ask again.
    fn joined(&mut self, device: usize, session: u64, result: Result<Admitted, EnrolRefusal>) {
        if result == Ok(Admitted::Member) {
            self.devices[device].is_member = true;
        }
        self.link_lost(device, session);
    }

    pub(super) fn answered(
        &mut self,
        device: usize,
        session: u64,
        stream: u64,
        answer: TransferAnswer,
    ) {
        let one = &mut self.devices[device];
        let Some(process) = &mut one.process else {
            return;
        };
        let Some(Transfer::Upload(pending)) = process.transfers.get(&stream).copied() else {
            return;
        };
        if let TransferAnswer::Send { offset } = answer {
            let entry = one
                .outbox
                .values()
                .find(|(held, _)| held.key == pending.key);
            let Some((_, bytes)) = entry.filter(|(held, _)| held.blob == pending.blob) else {
                return;
            };
            let rest = bytes[(offset as usize).min(bytes.len())..].to_vec();
            let mut at = offset as usize;
            for bytes in rest.chunks(CHUNK_BYTES) {
                let (offset, bytes) = (at, bytes.to_vec());
                at += bytes.len();
                self.send_up(
                    device,
                    session,
                    Up::Chunk {
                        stream,
                        pending,
                        offset,
                        bytes,
                    },
                );
            }
            return;
        }
        process.transfers.remove(&stream);
        if answer == TransferAnswer::Accepted {
            let id = self.devices[device].id;
            let held = self.checker.acknowledged(id, &pending.key, pending.blob);
            self.hold(held);
        }
        self.drive(
            device,
            Input::Answered {
                key: pending.key,
                answer: Some(answer),
            },
        );
    }

    pub(super) fn fetched(&mut self, device: usize, stream: u64, bytes: Option<Vec<u8>>) {
        let one = &mut self.devices[device];
        let Some(process) = &mut one.process else {
            return;
        };
        let Some(Transfer::Fetch(blob)) = process.transfers.remove(&stream) else {
            return;
        };
        let found = bytes.is_some();
        if let Some(bytes) = bytes {
            one.cache.insert(blob, bytes);
        }
        self.drive(device, Input::Fetched { blob, found });
    }
}

/// A handshake that takes longer is given up.
const HANDSHAKE_MS: u64 = 10_000;
/// As in the transport.
const NO_PROGRESS_MS: u64 = common::limits::NO_PROGRESS_MS_MAX;
