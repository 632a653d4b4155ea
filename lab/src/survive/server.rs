//! The coordinator: the real engine and store under the driver's rules. One
//! append for all that is ready, then its effects; nothing before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::ids::{BlobHash, DeviceId, Time, Version};
use common::round::{ContributionKey, Kind, Phase, Reason};
use common::task::Task;
use common::wire::messages::{PROTOCOL_MINOR, ToCoordinator, ToDevice, TransferAnswer, Welcome};
use coordinator::round::{
    Action, Engine, Event, Input, Job, JobKind, JobOutput, TaskEvent, Ticket,
};
use coordinator::serve::{LogEntry, SteadyTime, replay};
use coordinator::store::{AppendFault, Chunk, Epoch, MemoryStore, PartialKey, Position, Store};
use edge_agent::session::Pending;

use super::Planted;
use super::craft::{self, Contribution};
use super::network::{Down, Up};
use super::world::{Happening, World};

pub(super) struct Server {
    pub(super) store: MemoryStore,
    life: u64,
    process: Option<Process>,
    /// How far its wall clock is from the true time, forward or back.
    pub(super) skew_ms: i64,
    /// Until when its disk is slow.
    pub(super) slow_until: u64,
}

/// What is gone when the process is.
struct Process {
    /// What its engine is told.
    time: SteadyTime,
    epoch: Epoch,
    next: Position,
    /// None while the store is out of order.
    engine: Option<Engine>,
    sessions: BTreeMap<usize, Session>,
    commands: VecDeque<Command>,
    entries: Vec<Vec<u8>>,
    effects: Vec<Effect>,
    appending: Option<Vec<Vec<u8>>>,
    appends: u64,
    tickets: u64,
    waiting: BTreeMap<Ticket, Waiting>,
    runs: u64,
    run: Option<u64>,
    /// Contributions that were taken a second time; for a planted fault.
    resent: Vec<(DeviceId, Kind, BlobHash)>,
    /// The timeout that a tick is under way for.
    awaited: Option<Time>,
}

struct Session {
    id: u64,
    installed: Option<Version>,
}

/// What waits for the driver.
enum Command {
    Hello {
        device: usize,
        session: u64,
        installed: Option<Version>,
    },
    Gone {
        device: usize,
        session: u64,
    },
    Said {
        device: usize,
        session: u64,
        message: ToCoordinator,
    },
    Offered(Waiting),
    Arrived {
        waiting: Waiting,
        checked: Result<u64, Reason>,
    },
    Computed {
        run: u64,
        result: Result<JobOutput, String>,
    },
    Start,
    Cancel,
}

/// An offer whose device waits for the answer.
#[derive(Clone, Copy)]
struct Waiting {
    device: usize,
    session: u64,
    stream: u64,
    pending: Pending,
}

enum Effect {
    Answer {
        waiting: Waiting,
        answer: TransferAnswer,
    },
    Send {
        device: usize,
        message: ToDevice,
    },
    Compute {
        run: u64,
        job: Job,
    },
}

impl Server {
    /// An empty coordinator with one task.
    pub(super) fn new(task: &Task) -> Self {
        let store = MemoryStore::new();
        let event = Event::TaskCreated {
            spec: BlobHash::of(task.bytes()),
            at: Time(0),
        };
        let entry = LogEntry::Task(TaskEvent {
            task: task.hash(),
            event,
        });
        // A new store in memory refuses nothing.
        let _ = store.put_blob(task.bytes());
        let _ = store
            .open_epoch()
            .and_then(|epoch| store.append(epoch, None, &[entry.to_bytes()]));
        Self {
            store,
            life: 0,
            process: None,
            skew_ms: 0,
            slow_until: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    fn engine(&self) -> Option<&Engine> {
        self.process.as_ref()?.engine.as_ref()
    }

    /// Whether no round is open and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        let idle = |process: &Process| process.appending.is_none() && process.commands.is_empty();
        self.process.as_ref().is_some_and(idle)
            && self
                .engine()
                .is_some_and(|engine| engine.state().round.is_none())
    }

    pub(super) fn describe(&self) -> String {
        match self.engine() {
            None => "the coordinator is out of service".to_owned(),
            Some(engine) => match &engine.state().round {
                None => "no round is open".to_owned(),
                Some(round) => {
                    format!(
                        "round {} is in {:?}",
                        round.id,
                        round.phase.as_ref().map(|o| o.phase)
                    )
                }
            },
        }
    }

    pub(super) fn public(&self) -> BTreeSet<BlobHash> {
        let Some(state) = self.engine().map(Engine::state) else {
            return BTreeSet::new();
        };
        let shared = [
            state.spec,
            state.normaliser,
            state.transfer.map(|set| set.blob),
            state.teacher,
        ];
        let releases = state.releases.iter().map(|release| release.blob);
        shared.into_iter().flatten().chain(releases).collect()
    }
}

impl World {
    /// What the coordinator's wall clock reads.
    fn wall(&self) -> Time {
        Time((START_MS + self.now).saturating_add_signed(self.server.skew_ms))
    }

    /// What its engine is told.
    fn server_time(&mut self) -> Time {
        let (wall, now) = (self.wall(), self.now);
        let idle = self
            .server
            .engine()
            .is_none_or(|engine| engine.state().round.is_none());
        match self.process() {
            Some(process) => process.time.read(wall, now, idle),
            None => wall,
        }
    }

    fn process(&mut self) -> Option<&mut Process> {
        self.server.process.as_mut()
    }

    pub(super) fn start_server(&mut self) {
        if self.server.is_up() {
            return;
        }
        self.server.life += 1;
        let wall = self.wall();
        self.server.process = Some(Process {
            time: SteadyTime::begin(wall, self.now),
            epoch: Epoch(0),
            next: Position(0),
            engine: None,
            sessions: BTreeMap::new(),
            commands: VecDeque::new(),
            entries: Vec::new(),
            effects: Vec::new(),
            appending: None,
            appends: 0,
            tickets: 0,
            waiting: BTreeMap::new(),
            runs: 0,
            run: None,
            resent: Vec::new(),
            awaited: None,
        });
        self.mend_store(self.server.life);
    }

    /// Opens the store and builds the engine from its log.
    pub(super) fn mend_store(&mut self, life: u64) {
        if life != self.server.life || self.server.engine().is_some() {
            return;
        }
        self.server.store.restart();
        let Ok(epoch) = self.server.store.open_epoch() else {
            let at = self.now + 1_000;
            return self.at(at, Happening::StoreMended { life });
        };
        let read = self.witness.read_again(&self.server.store);
        self.hold(read);
        let mut replayed = match replay(&self.server.store) {
            Ok(replayed) => replayed,
            Err(error) => return self.hold(Err(format!("the log does not fold: {error}"))),
        };
        let Some((_, state)) = replayed.tasks.pop() else {
            return self.hold(Err("the task is gone".to_owned()));
        };
        let engine = Engine::new(
            self.task.hash(),
            self.weather.policy.clone(),
            epoch.0,
            state,
        );
        let held = self.witness.state(&engine);
        self.hold(held);
        let Some(process) = self.process() else {
            return;
        };
        process.epoch = epoch;
        process.next = replayed.next;
        process.engine = Some(engine);
        let connected: Vec<_> = process
            .sessions
            .iter()
            .map(|(device, session)| (*device, session.installed))
            .collect();
        self.phase_since = self.now;
        self.feed(Input::Started);
        for (device, installed) in connected {
            let device = self.devices[device].id;
            self.feed(Input::Connected { device, installed });
        }
        self.settle();
        self.wake_server();
    }

    /// The process is gone, with or without all that was only written.
    pub(super) fn crash_server(&mut self, power_lost: bool) {
        let Some(process) = self.server.process.take() else {
            return;
        };
        self.survived.coordinator_crashes += 1;
        if let Some(entries) = &process.appending
            && self.dice.chance(0.5)
        {
            // It was on the disk, and nobody was told so.
            let _ = self
                .server
                .store
                .append(process.epoch, Some(process.next), entries);
        }
        if power_lost {
            self.server.store.lose_unflushed();
        }
        for (device, session) in process.sessions {
            let at = self.now + self.dice.duration(1, 30_000);
            self.at(
                at,
                Happening::LinkLost {
                    device,
                    session: session.id,
                },
            );
        }
    }

    /// A packet reached the coordinator's machine.
    pub(super) fn heard(&mut self, device: usize, session: u64, packet: Up) {
        let known = self
            .server
            .process
            .as_ref()
            .map(|process| process.sessions.get(&device).map(|open| open.id));
        let Some(known) = known else {
            let at = self.now + self.dice.between(1, 10_000);
            return self.at(at, Happening::LinkLost { device, session });
        };
        if let Up::Hello(ToCoordinator::Hello(hello)) = packet {
            let installed = hello.installed.first().map(|(_, version)| *version);
            return self.command(Command::Hello {
                device,
                session,
                installed,
            });
        }
        // Its connection is gone, and its streams with it.
        if known != Some(session) {
            return;
        }
        match packet {
            Up::Hello(_) => {}
            Up::Said(message) => self.command(Command::Said {
                device,
                session,
                message,
            }),
            Up::Offer { stream, pending } => {
                let waiting = Waiting {
                    device,
                    session,
                    stream,
                    pending,
                };
                self.command(Command::Offered(waiting));
            }
            Up::Chunk {
                stream,
                pending,
                offset,
                bytes,
            } => {
                let waiting = Waiting {
                    device,
                    session,
                    stream,
                    pending,
                };
                self.chunk(waiting, offset, &bytes);
            }
            Up::Fetch { stream, blob } => {
                if self.server.engine().is_none() {
                    return;
                }
                let public = self.server.public().contains(&blob);
                let found = public
                    .then(|| self.server.store.blob(blob).ok().flatten())
                    .flatten();
                self.send_down(
                    device,
                    session,
                    Down::Blob {
                        stream,
                        bytes: found,
                    },
                );
            }
        }
    }

    /// Part of a contribution; the last one makes it whole.
    fn chunk(&mut self, waiting: Waiting, offset: usize, bytes: &[u8]) {
        let pending = waiting.pending;
        let key = PartialKey {
            device: self.devices[waiting.device].id,
            hash: pending.blob,
        };
        let chunk = Chunk {
            declared_bytes: pending.bytes,
            offset: offset as u64,
            bytes,
        };
        let store = &self.server.store;
        let Ok(length) = store.append_partial(key, chunk) else {
            return self.answer(waiting, TransferAnswer::Refused(Reason::Storage));
        };
        if length < pending.bytes {
            return;
        }
        let checked = match store
            .finish_partial(key)
            .and_then(|()| store.blob(pending.blob))
        {
            Ok(Some(bytes)) => Contribution::check(&bytes, &pending.key),
            _ => return self.answer(waiting, TransferAnswer::Refused(Reason::Storage)),
        };
        if self.dice.chance(self.weather.duplicates) {
            self.command(Command::Arrived { waiting, checked });
        }
        self.command(Command::Arrived { waiting, checked });
    }

    fn answer(&mut self, waiting: Waiting, answer: TransferAnswer) {
        let Waiting {
            device,
            session,
            stream,
            ..
        } = waiting;
        self.send_down(device, session, Down::Answer { stream, answer });
    }

    fn command(&mut self, command: Command) {
        let Some(process) = self.process() else {
            return;
        };
        process.commands.push_back(command);
        if process.commands.len() > COMMANDS_MAX {
            self.hold(Err(format!(
                "{COMMANDS_MAX} commands wait for the coordinator"
            )));
        }
        self.pump();
    }

    /// The driver's loop, until it waits for the disk.
    fn pump(&mut self) {
        while let Some(process) = self.process()
            && process.appending.is_none()
            && let Some(command) = process.commands.pop_front()
        {
            self.handle(command);
            self.settle();
        }
        self.wake_server();
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Hello {
                device,
                session,
                installed,
            } => self.welcome(device, session, installed),
            Command::Gone { device, session } => {
                let Some(process) = self.process() else {
                    return;
                };
                if process
                    .sessions
                    .get(&device)
                    .is_some_and(|open| open.id == session)
                {
                    process.sessions.remove(&device);
                    let device = self.devices[device].id;
                    self.feed(Input::Disconnected { device });
                }
            }
            Command::Said {
                device,
                session,
                message,
            } => {
                let Some(process) = self.process() else {
                    return;
                };
                if process
                    .sessions
                    .get(&device)
                    .is_some_and(|open| open.id == session)
                {
                    let device = self.devices[device].id;
                    match message {
                        ToCoordinator::Abstain { round, phase, .. } => {
                            self.feed(Input::Abstained {
                                device,
                                round,
                                phase,
                            });
                        }
                        ToCoordinator::DataChanged(_) => self.feed(Input::DataChanged { device }),
                        _ => {}
                    }
                }
            }
            Command::Offered(waiting) => self.offered(waiting, None),
            Command::Arrived { waiting, checked } => self.offered(waiting, Some(checked)),
            Command::Computed { run, result } => {
                let Some(process) = self.process() else {
                    return;
                };
                if process.run == Some(run) {
                    process.run = None;
                    self.feed(Input::Computed { result });
                }
            }
            Command::Start => {
                let ticket = self.ticket();
                self.feed(Input::StartRound { ticket });
            }
            Command::Cancel => {
                if let Some(process) = self.process() {
                    process.run = None;
                }
                self.feed(Input::CancelRound);
            }
        }
    }

    fn welcome(&mut self, device: usize, session: u64, installed: Option<Version>) {
        let time = self.server_time();
        let Some(process) = self.process() else {
            return;
        };
        process.sessions.insert(
            device,
            Session {
                id: session,
                installed,
            },
        );
        let welcome = Welcome {
            minor: PROTOCOL_MINOR,
            time,
            tasks: Vec::new(),
        };
        self.send_down(device, session, Down::Said(ToDevice::Welcome(welcome)));
        let device = self.devices[device].id;
        self.feed(Input::Connected { device, installed });
    }

    fn ticket(&mut self) -> Ticket {
        match self.process() {
            Some(process) => {
                process.tickets += 1;
                Ticket(process.tickets)
            }
            None => Ticket(0),
        }
    }

    fn offered(&mut self, waiting: Waiting, checked: Option<Result<u64, Reason>>) {
        if self.server.engine().is_none() {
            return self.answer(waiting, TransferAnswer::Refused(Reason::Storage));
        }
        let ticket = self.ticket();
        let device = self.devices[waiting.device].id;
        let Pending { key, blob, bytes } = waiting.pending;
        if let Some(process) = self.process() {
            process.waiting.insert(ticket, waiting);
        }
        self.feed(match checked {
            None => Input::Offered {
                device,
                key,
                blob,
                bytes,
                ticket,
            },
            Some(checked) => Input::Arrived {
                device,
                key,
                blob,
                checked,
                ticket,
            },
        });
    }

    /// Gives the engine one input and queues all that follows.
    fn feed(&mut self, input: Input) {
        let now = self.server_time();
        let Some(process) = self.server.process.as_mut() else {
            return;
        };
        let Some(engine) = process.engine.as_mut() else {
            return;
        };
        let task = engine.task();
        engine.handle(now, input);
        let mut recorded = false;
        while let Some(action) = engine.poll_action() {
            match action {
                Action::Append(event) => {
                    recorded |= matches!(event, Event::Accepted { .. });
                    if matches!(event, Event::PhaseOpened { .. }
                            | Event::PhaseClosed { .. }
                            | Event::RoundOpened { .. }) {
                        self.phase_since = self.now;
                    }
                    let entry = LogEntry::Task(TaskEvent { task, event });
                    process.entries.push(entry.to_bytes());
                }
                Action::Answer { ticket, answer } => {
                    let Some(waiting) = process.waiting.remove(&ticket) else {
                        continue;
                    };
                    if answer == TransferAnswer::Accepted && !recorded {
                        self.survived.resent += 1;
                        let ContributionKey { kind, .. } = waiting.pending.key;
                        let device = self.devices[waiting.device].id;
                        process.resent.push((device, kind, waiting.pending.blob));
                    }
                    process.effects.push(Effect::Answer { waiting, answer });
                }
                Action::Send { device, message } => {
                    let found = self.devices.iter().position(|known| known.id == device);
                    if let Some(device) = found {
                        process.effects.push(Effect::Send { device, message });
                    }
                }
                Action::Compute(job) => {
                    process.runs += 1;
                    let run = process.runs;
                    process.run = Some(run);
                    process.effects.push(Effect::Compute { run, job });
                }
                _ => {}
            }
        }
    }

    /// Begins to make durable what is queued; without any, effects happen.
    fn settle(&mut self) {
        let slow = self.server.slow_until > self.now;
        let flush_ms = match slow {
            true => self.dice.between(500, 5_000),
            false => self.dice.between(0, self.weather.flush_ms + 1),
        };
        let early = self.planted == Some(Planted::AcknowledgeBeforeFlush);
        let (now, life) = (self.now, self.server.life);
        let Some(process) = self.process() else {
            return;
        };
        if process.appending.is_some() {
            return;
        }
        if process.entries.is_empty() {
            return self.effects();
        }
        process.appending = Some(std::mem::take(&mut process.entries));
        process.appends += 1;
        let append = process.appends;
        self.at(now + flush_ms, Happening::Flushed { life, append });
        if early {
            self.effects();
        }
    }

    /// The disk is done.
    pub(super) fn flushed(&mut self, life: u64, append: u64) {
        if life != self.server.life {
            return;
        }
        let Some(process) = self.server.process.as_mut() else {
            return;
        };
        if process.appends != append {
            return;
        }
        let Some(entries) = process.appending.take() else {
            return;
        };
        let (epoch, next) = (process.epoch, process.next);
        let appended = entries
            .chunks(coordinator::store::BATCH_EVENTS_MAX)
            .try_fold(next, |at, batch| {
                self.server.store.append(epoch, Some(at), batch)
            });
        match appended {
            Ok(next) => {
                process.next = next;
                let read = self.witness.read_on(&self.server.store);
                self.hold(read);
                if let Some(engine) = self.server.engine() {
                    let held = self.witness.state(engine);
                    self.hold(held);
                }
                self.effects();
            }
            Err(_) => self.fail_store(),
        }
        self.pump();
    }

    fn effects(&mut self) {
        let Some(process) = self.process() else {
            return;
        };
        for effect in std::mem::take(&mut process.effects) {
            match effect {
                Effect::Answer {
                    waiting,
                    answer: TransferAnswer::Send { .. },
                } => {
                    let key = PartialKey {
                        device: self.devices[waiting.device].id,
                        hash: waiting.pending.blob,
                    };
                    let offset = self.server.store.partial_bytes(key).unwrap_or(0);
                    self.answer(waiting, TransferAnswer::Send { offset });
                }
                Effect::Answer { waiting, answer } => self.answer(waiting, answer),
                Effect::Send { device, message } => {
                    let open = self.server.process.as_ref();
                    let session = open
                        .and_then(|open| open.sessions.get(&device))
                        .map(|s| s.id);
                    if let Some(session) = session {
                        self.send_down(device, session, Down::Said(message));
                    }
                }
                Effect::Compute { run, job } => self.compute(run, job),
            }
        }
    }

    fn compute(&mut self, run: u64, mut job: Job) {
        let held = self.witness.job(&job.kind);
        self.hold(held);
        if self.planted == Some(Planted::CountResendTwice)
            && let JobKind::Solve { inputs, .. } = &mut job.kind
            && let Some(process) = self.server.process.as_ref()
        {
            let again = process
                .resent
                .iter()
                .filter(|one| inputs.contains(one))
                .copied();
            let again: Vec<_> = again.collect();
            inputs.extend(again);
        }
        let store = &self.server.store;
        let mut result =
            craft::run(&job.kind, &|name| store.blob(name).ok().flatten()).and_then(|made| {
                store
                    .put_blob(&made.bytes)
                    .map_err(|error| error.to_string())?;
                Ok(made.output)
            });
        if self.dice.chance(self.weather.failing) {
            result = Err("planned".to_owned());
        }
        let at = self.now + self.dice.duration(1, self.weather.work_ms);
        let life = self.server.life;
        self.at(at, Happening::Computed { life, run, result });
    }

    pub(super) fn computed(&mut self, life: u64, run: u64, result: Result<JobOutput, String>) {
        if life == self.server.life {
            self.command(Command::Computed { run, result });
        }
    }

    /// Nothing was acknowledged; the state, ahead of the log, is thrown away.
    fn fail_store(&mut self) {
        self.survived.outages += 1;
        let life = self.server.life;
        let Some(process) = self.process() else {
            return;
        };
        process.engine = None;
        process.run = None;
        process.entries.clear();
        process.resent.clear();
        let mut refused: Vec<_> = std::mem::take(&mut process.waiting).into_values().collect();
        for effect in std::mem::take(&mut process.effects) {
            if let Effect::Answer { waiting, .. } = effect {
                refused.push(waiting);
            }
        }
        for waiting in refused {
            self.answer(waiting, TransferAnswer::Refused(Reason::Storage));
        }
        let at = self.now + 1_000;
        self.at(at, Happening::StoreMended { life });
    }

    /// The next append fails, and with it the store.
    pub(super) fn break_store(&mut self) {
        let fault = match self.dice.chance(0.5) {
            true => AppendFault::BeforeFlush,
            false => AppendFault::AfterFlush,
        };
        self.server.store.fail_next_append(fault);
    }

    pub(super) fn session_lost(&mut self, device: usize, session: u64) {
        self.command(Command::Gone { device, session });
    }

    pub(super) fn operator(&mut self) {
        if self.weather.policy.interval_ms.is_none() {
            let cancels = self.dice.chance(0.05) && !self.is_calm;
            self.command(if cancels {
                Command::Cancel
            } else {
                Command::Start
            });
        }
        if !self.is_calm {
            let at = self.now + self.dice.duration(500, 20_000);
            self.at(at, Happening::Operator);
        }
    }

    /// Sees to it that the engine is woken when it wants to be.
    pub(super) fn wake_server(&mut self) {
        let (now, time, life) = (self.now, self.server_time(), self.server.life);
        let forgets = self.planted == Some(Planted::ForgetTimeout);
        let Some(process) = self.process() else {
            return;
        };
        let Some(engine) = &process.engine else {
            return;
        };
        let phase = engine.state().open().map(|open| open.phase);
        if forgets && phase == Some(Phase::Contribute) {
            return;
        }
        let due = engine.poll_timeout();
        if due == process.awaited {
            return;
        }
        process.awaited = due;
        if let Some(due) = due {
            let at = now + due.since_ms(time);
            self.at(at, Happening::ServerTick { life, due: due.0 });
        }
    }

    pub(super) fn server_tick(&mut self, life: u64, due: u64) {
        if life != self.server.life {
            return;
        }
        let time = self.server_time();
        let Some(process) = self.process() else {
            return;
        };
        if process.awaited != Some(Time(due)) {
            return;
        }
        if process.appending.is_some() {
            let at = self.now + 1;
            return self.at(at, Happening::ServerTick { life, due });
        }
        process.awaited = None;
        if time >= Time(due) {
            self.feed(Input::Tick);
            self.settle();
        }
        self.pump();
    }

    /// The wall clock was set; whoever waits for it looks again.
    pub(super) fn set_clock(&mut self, skew_ms: i64) {
        self.server.skew_ms = skew_ms;
        if let Some(process) = self.process() {
            process.awaited = None;
        }
        self.wake_server();
    }

    /// Every phase ends in its time, while the coordinator is there.
    pub(super) fn check_progress(&mut self) {
        let Some(open) = self
            .server
            .engine()
            .and_then(|engine| engine.state().open())
        else {
            return;
        };
        let policy = &self.weather.policy;
        let most = match open.phase.gathers() && !open.closed {
            true => policy.deadline_of(open.phase),
            false => WORK_MS_MAX,
        };
        if self.now > self.phase_since + most + SLACK_MS {
            let phase = open.phase;
            let ms = self.now - self.phase_since;
            self.hold(Err(format!(
                "{phase} has been open for {ms} ms, {most} are allowed"
            )));
        }
    }
}

/// The true time when the simulation begins.
const START_MS: u64 = 1_700_000_000_000;
/// As in the server's driver.
const COMMANDS_MAX: usize = 1_024;
/// Longest computation that a seed has.
const WORK_MS_MAX: u64 = 4_000;
/// Flushes and queues on the way to the next phase.
const SLACK_MS: u64 = 30_000;
