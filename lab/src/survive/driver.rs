//! The coordinator's loop: one append for all that is ready, then its effects;
//! nothing before it.

use std::sync::Arc;

use common::ids::BlobHash;
use common::round::ContributionKey;
use common::wire::messages::{ToDevice, TransferAnswer};
use coordinator::journal::LogEntry;
use coordinator::journal::Pin;
use coordinator::round::{Action, Event, Input, Job, JobKind, JobOutput, TaskEvent, Ticket};
use coordinator::store::{PartialKey, Store};

use super::Planted;
use super::craft::{self};
use super::network::Down;
use super::server::{Command, Effect};
use super::world::{Happening, World};

impl World {
    pub(super) fn command(&mut self, command: Command) {
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
    pub(super) fn pump(&mut self) {
        while let Some(process) = self.process()
            && process.appending.is_none()
            && let Some(command) = process.commands.pop_front()
        {
            self.handle(command);
            self.settle();
        }
        self.wake_server();
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        match self.process() {
            Some(process) => {
                process.tickets += 1;
                Ticket(process.tickets)
            }
            None => Ticket(0),
        }
    }

    /// Gives the engine one input and queues all that follows.
    pub(super) fn feed(&mut self, input: Input) {
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
                    if matches!(
                        event,
                        Event::PhaseOpened { .. }
                            | Event::PhaseClosed { .. }
                            | Event::RoundOpened { .. }
                    ) {
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
    pub(super) fn settle(&mut self) {
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
                    let held = held.and_then(|()| self.witness.rollout(engine));
                    self.hold(held);
                }
                self.effects();
            }
            Err(_) => self.fail_store(),
        }
        self.pump();
    }

    pub(super) fn effects(&mut self) {
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
                    if let ToDevice::Released(release) = &message {
                        let id = self.devices[device].id;
                        let held = self.witness.announced(id, release.version);
                        self.hold(held);
                    }
                    if let Some(session) = session {
                        self.asks_for_news(device, &message);
                        self.send_down(device, session, Down::Said(message));
                    }
                }
                Effect::Compute { run, job } => self.compute(run, job),
                Effect::LetGo(pin) => drop(pin),
            }
        }
    }

    fn asks_for_news(&mut self, device: usize, message: &ToDevice) {
        let session = self
            .process()
            .and_then(|open| open.sessions.get_mut(&device));
        if message.asks_for_rows_of().is_some()
            && let Some(session) = session
        {
            session.changed = false;
        }
    }

    pub(super) fn compute(&mut self, run: u64, mut job: Job) {
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
        let (store, pins) = (&self.server.store, self.pins());
        let mut pin = None;
        let mut result =
            craft::run(&job.kind, &|name| store.blob(name).ok().flatten()).and_then(|made| {
                pin = Some(pins.pin(BlobHash::of(&made.bytes)));
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
        let computed = Happening::Computed {
            life,
            run,
            result,
            pin: pin.map(Arc::new),
        };
        self.at(at, computed);
    }

    pub(super) fn computed(
        &mut self,
        life: u64,
        run: u64,
        result: Result<JobOutput, String>,
        pin: Option<Arc<Pin>>,
    ) {
        if life == self.server.life {
            self.command(Command::Computed { run, result, pin });
        }
    }
}

/// As in the server's driver.
const COMMANDS_MAX: usize = 1_024;
