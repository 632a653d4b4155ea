//! A device: the real session engine over a disk that outlives the process.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{BlobHash, DeviceId, Time, Version};
use common::round::{ContributionKey, Phase};
use common::wire::codec::{decode_blob, encode};
use common::wire::messages::{
    Announcement, Call, Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice, TransferAnswer,
};
use edge_agent::outbox::OUTBOX_ENTRIES_MAX;
use edge_agent::session::{Action, Engine, Input, Pending, Settled};

use super::craft::{Contribution, Stuff};
use super::network::{Down, Up};
use super::world::{Happening, World};

pub(super) struct Device {
    pub(super) id: DeviceId,
    seed: u64,
    life: u64,
    process: Option<Process>,
    /// Its disk takes nothing.
    pub(super) full: bool,
    /// Contributions without an answer, by the order they were made in.
    outbox: BTreeMap<u64, (Pending, Vec<u8>)>,
    made: u64,
    cache: BTreeMap<BlobHash, Vec<u8>>,
    /// The newest version it judged, and the one it runs.
    floor: Option<Version>,
    installed: Option<Version>,
}

struct Process {
    engine: Engine,
    born: u64,
    session: Option<u64>,
    is_open: bool,
    transfers: BTreeMap<u64, Transfer>,
    awaited: Option<Time>,
}

/// A stream that waits for an answer.
#[derive(Clone, Copy)]
enum Transfer {
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
            floor: None,
            installed: None,
        }
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

    pub(super) fn describe(&self) -> String {
        match &self.process {
            None => format!("{} is down", self.id.short()),
            Some(process) => format!(
                "{} has {} unanswered, connected: {}, idle: {}",
                self.id.short(),
                self.outbox.len(),
                process.engine.is_connected(),
                process.engine.is_idle()
            ),
        }
    }
}

impl World {
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
        };
        self.drive(device, started);
    }

    pub(super) fn crash_device(&mut self, device: usize) {
        if let Some(process) = self.devices[device].process.take() {
            self.survived.device_crashes += 1;
            if let Some(session) = process.session {
                let at = self.now + self.dice.duration(1, 30_000);
                self.at(at, Happening::SessionLost { device, session });
            }
        }
    }

    fn drive(&mut self, device: usize, input: Input) {
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

    fn wake_device(&mut self, device: usize) {
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
            self.at(at, Happening::DeviceTick { device, life });
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

    fn act(&mut self, device: usize, action: Action) {
        let life = self.devices[device].life;
        match action {
            Action::Connect => self.connect(device),
            Action::Send(message) => {
                if let Some(session) = self.devices[device].session() {
                    self.send_up(device, session, Up::Said(message));
                }
            }
            Action::Fetch(blob) => {
                if let Some((session, stream)) = self.begin(device, Transfer::Fetch(blob)) {
                    self.send_up(device, session, Up::Fetch { stream, blob });
                }
            }
            Action::Upload(pending) => {
                if let Some((session, stream)) = self.begin(device, Transfer::Upload(pending)) {
                    self.send_up(device, session, Up::Offer { stream, pending });
                }
            }
            Action::Build(call) => self.work(device, life, DeviceWork::Build(call)),
            Action::Install(release) => self.work(device, life, DeviceWork::Install(release)),
            Action::Settle { pending, settled } => self.write_down(device, pending, settled),
        }
    }

    fn work(&mut self, device: usize, life: u64, work: DeviceWork) {
        let at = self.now + self.dice.duration(1, self.weather.work_ms);
        self.at(at, Happening::DeviceWork { device, life, work });
    }

    fn connect(&mut self, device: usize) {
        self.sessions += 1;
        let session = self.sessions;
        let installed = self.devices[device].installed;
        let Some(process) = &mut self.devices[device].process else {
            return;
        };
        (process.session, process.is_open) = (Some(session), false);
        let hello = ToCoordinator::Hello(Hello {
            minor: PROTOCOL_MINOR,
            agent: "survive".to_owned(),
            installed: installed
                .map(|version| (self.task.hash(), version))
                .into_iter()
                .collect(),
        });
        // A handshake that gets no answer is given up.
        let at = self.now + HANDSHAKE_MS;
        self.at(
            at,
            Happening::TransferStalled {
                device,
                stream: session,
            },
        );
        self.send_up(device, session, Up::Hello(hello));
    }

    /// Opens a stream, unless the session is gone.
    fn begin(&mut self, device: usize, transfer: Transfer) -> Option<(u64, u64)> {
        self.sessions += 1;
        let stream = self.sessions;
        let process = self.devices[device].process.as_mut()?;
        let session = process.session?;
        process.transfers.insert(stream, transfer);
        let at = self.now + NO_PROGRESS_MS;
        self.at(at, Happening::TransferStalled { device, stream });
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
        let at = self.now + self.dice.duration(1, 10_000);
        self.at(at, Happening::SessionLost { device, session });
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
        if !process.is_open {
            process.is_open = true;
            self.drive(device, Input::Connected);
        }
        match packet {
            Down::Said(ToDevice::Released(release))
                if self.devices[device]
                    .floor
                    .is_some_and(|floor| floor >= release.version) => {}
            Down::Said(message) => self.drive(device, Input::Received(message)),
            Down::Answer { stream, answer } => self.answered(device, session, stream, answer),
            Down::Blob { stream, bytes } => self.fetched(device, stream, bytes),
        }
    }

    fn answered(&mut self, device: usize, session: u64, stream: u64, answer: TransferAnswer) {
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
            let held = self.witness.acknowledged(id, &pending.key, pending.blob);
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

    fn fetched(&mut self, device: usize, stream: u64, bytes: Option<Vec<u8>>) {
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

    /// An answer is written into the ledger, and leaves the outbox.
    fn write_down(&mut self, device: usize, pending: Pending, settled: Settled) {
        // Sometimes the process is gone just before.
        if self.weather.kinds[1] && !self.is_calm && self.dice.chance(0.01) {
            self.crash_device(device);
            let at = self.now + 500;
            return self.at(at, Happening::DeviceStart { device });
        }
        let one = &mut self.devices[device];
        let held = one
            .outbox
            .iter()
            .find(|(_, (held, _))| *held == pending)
            .map(|(at, _)| *at);
        let Some(at) = held else { return };
        one.outbox.remove(&at);
        let id = one.id;
        if settled == Settled::Accepted {
            self.survived.settled += 1;
            let held = self.witness.settled(id, pending.key, pending.blob);
            self.hold(held);
        }
    }

    /// Work is done.
    pub(super) fn worked(&mut self, device: usize, life: u64, work: DeviceWork) {
        if self.devices[device].life != life || !self.devices[device].is_up() {
            return;
        }
        match work {
            DeviceWork::Build(call) => self.built(device, call),
            DeviceWork::Install(release) => self.judged(device, release),
        }
    }

    fn built(&mut self, device: usize, call: Call) {
        let cache = &self.devices[device].cache;
        if let Some(gone) = call.context.blobs().find(|blob| !cache.contains_key(blob)) {
            return self.drive(device, Input::Evicted(gone));
        }
        let abstains = self.devices[device].full || self.dice.chance(0.03);
        let partial = abstains || self.dice.chance(0.05);
        let mut kinds = call.phase.kinds().to_vec();
        if call.phase == Phase::Contribute {
            kinds.retain(|kind| self.weather.policy.contribute.contains(kind));
        }
        if abstains {
            kinds.clear();
        } else if partial {
            kinds.truncate(1);
        }
        let mut entries = Vec::new();
        for kind in kinds {
            let key = ContributionKey {
                task: call.task,
                transfer: call.context.transfer,
                round: call.round,
                phase: call.phase,
                kind,
            };
            let padding = if self.dice.chance(0.2) {
                CHUNK_BYTES + 100
            } else {
                10
            };
            let made = Contribution {
                device: self.devices[device].id,
                key,
                value: self.dice.between(1, 1_000_000),
                sound: !self.dice.chance(self.weather.unsound),
                padding: vec![7; padding],
            };
            let bytes = encode(&made);
            let pending = Pending {
                key,
                blob: BlobHash::of(&bytes),
                bytes: bytes.len() as u64,
            };
            self.put(device, pending, bytes);
            entries.push(pending);
        }
        self.drive(
            device,
            Input::Built {
                call,
                entries,
                partial,
            },
        );
    }

    fn put(&mut self, device: usize, pending: Pending, bytes: Vec<u8>) {
        let one = &mut self.devices[device];
        one.outbox.retain(|_, (held, _)| held.key != pending.key);
        one.made += 1;
        one.outbox.insert(one.made, (pending, bytes));
        if one.outbox.len() > OUTBOX_ENTRIES_MAX {
            self.hold(Err(format!(
                "{OUTBOX_ENTRIES_MAX} contributions wait in an outbox"
            )));
        }
    }

    fn judged(&mut self, device: usize, release: Announcement) {
        let one = &mut self.devices[device];
        let Some(bytes) = one.cache.get(&release.blob) else {
            return self.drive(device, Input::Evicted(release.blob));
        };
        let believed =
            decode_blob::<Stuff>(bytes).is_ok_and(|stuff| stuff.version == Some(release.version));
        if !believed {
            self.hold(Err(format!(
                "release {} is not what was announced",
                release.version
            )));
        } else if one.floor.is_none_or(|floor| floor < release.version) {
            one.floor = Some(release.version);
            if !self.dice.chance(0.1) {
                one.installed = Some(release.version);
                let id = one.id;
                let held = self.witness.installed(id, release.version);
                self.hold(held);
            }
        }
        self.drive(device, Input::Installed { release });
    }

    /// Its cache made room for something.
    pub(super) fn evict(&mut self, device: usize) {
        let one = &mut self.devices[device];
        let blobs: BTreeSet<BlobHash> = one.cache.keys().copied().collect();
        let Some(blob) = blobs.into_iter().next() else {
            return;
        };
        one.cache.remove(&blob);
        self.drive(device, Input::Evicted(blob));
    }

    pub(super) fn new_data(&mut self, device: usize) {
        let task = self.task.hash();
        self.drive(device, Input::DataChanged { task });
    }
}

/// A handshake that takes longer is given up.
const HANDSHAKE_MS: u64 = 10_000;
/// As in the transport.
const NO_PROGRESS_MS: u64 = common::limits::NO_PROGRESS_MS_MAX;
/// Larger contributions go in pieces.
const CHUNK_BYTES: usize = 256;
